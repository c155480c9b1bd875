//! A running `frankd`.

use std::path::Path;
use std::process::ExitStatus;

use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use super::DemoError;

/// A `frankd` that runs. It dies with this.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    pid: u32,
}

impl Daemon {
    /// Starts `command` and waits until it says that it is ready (sd_notify).
    pub(super) async fn start(mut command: Command, folder: &Path) -> Result<Self, DemoError> {
        let path = folder.join("notify.sock");
        // Left over from the daemon before; absent at the first start.
        let _ = std::fs::remove_file(&path);
        let notify = UnixDatagram::bind(&path).map_err(DemoError::system("listen for the daemon's readiness"))?;
        // In a process group of its own a Ctrl-C does not reach it: it is stopped in order.
        let child = command.env("NOTIFY_SOCKET", &path).process_group(0).kill_on_drop(true).spawn();
        let child = child.map_err(DemoError::system("start frankd"))?;
        let pid = child.id().unwrap_or_default();
        let mut daemon = Self { child, pid };
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                status = daemon.child.wait() => {
                    let status = status.map_err(DemoError::system("wait for frankd"))?;
                    return Err(DemoError::Unmet(format!("frankd does not start ({status})")));
                }
                received = notify.recv(&mut buffer) => {
                    let length = received.map_err(DemoError::system("listen for the daemon's readiness"))?;
                    if buffer[..length].split(|octet| *octet == b'\n').any(|line| line == b"READY=1") {
                        return Ok(daemon);
                    }
                }
            }
        }
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
