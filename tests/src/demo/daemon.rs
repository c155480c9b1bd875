//! A running `frankd`.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::DemoError;
use crate::sandbox::clock::wait;

/// Between two looks at a daemon that starts.
const GLANCE: Duration = Duration::from_millis(20);

/// A `frankd` that runs. It dies with this.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    pid: u32,
}

impl Daemon {
    /// Starts `command` and waits until its socket answers.
    pub(super) async fn start(mut command: Command, socket: &Path) -> Result<Self, DemoError> {
        // In a process group of its own a Ctrl-C does not reach it: it is stopped in order.
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.map_err(DemoError::system("start frankd"))?;
        let pid = child.id().unwrap_or_default();
        let mut daemon = Self { child, pid };
        while UnixStream::connect(socket).await.is_err() {
            if let Some(status) = daemon.child.try_wait().map_err(DemoError::system("wait for frankd"))? {
                return Err(DemoError::Unmet(format!("frankd does not start ({status})")));
            }
            wait(GLANCE).await;
        }
        Ok(daemon)
    }

    /// Its process id.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, DemoError> {
        self.child.wait().await.map_err(DemoError::system("wait for frankd"))
    }
}
