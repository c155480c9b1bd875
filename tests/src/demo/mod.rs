//! The demo: the main job of frankd, step by step, with the real programs and servers of the sandbox.
//!
//! - Every command is printed as it is run, by a shell, in a folder of its own: it can be repeated by hand.
//! - Every step is checked, by what the daemon answers and by what the servers saw. The first that fails ends it.
//! - No root, no network beyond loopback, no other software than a shell.

mod daemon;
mod person;
mod screen;
mod stage;
mod story;

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::programs::{self, BuildError};
use crate::sandbox::SandboxError;
use frankd_proto::{ConnectError, RpcError};
use screen::Screen;
use stage::Stage;

/// How the demo is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leaves daemon and servers running when the story is told, until Ctrl-C.
    pub keep: bool,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something of this machine failed.
    #[error("failed to {what}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The programs do not build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The servers did not start.
    #[error("failed to start the sandbox servers")]
    Sandbox(#[from] SandboxError),
    /// The daemon's socket cannot be used.
    #[error("failed to reach the daemon")]
    Connect(#[from] ConnectError),
    /// The daemon answered with an error.
    #[error("the daemon refused {method}: {}", error.message)]
    Refused {
        /// The method.
        method: &'static str,
        /// Its answer.
        error: Box<RpcError>,
    },
    /// Something is not as it should be.
    #[error("not as it should be: {0}")]
    Unmet(String),
    /// Something did not come.
    #[error("gave up waiting for {0}")]
    Late(String),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// An error of the system while doing `what`.
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// Runs the demo.
pub async fn run(options: Options) -> Result<(), DemoError> {
    let screen = Screen::new();
    let own = std::env::current_exe().map_err(DemoError::system("find the demo's own program"))?;
    // Beside the demo itself, and with its profile.
    let target = own.ancestors().nth(2).unwrap_or(Path::new("/"));
    screen.command(&programs::command("demo"));
    let programs = programs::build("demo", target)?;
    let mut stage = Stage::set(screen, &programs).await?;
    let interrupted = async {
        // Without a signal handler there is no way but to go on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let mut interrupted = std::pin::pin!(interrupted);
    tokio::select! {
        told = story::tell(&mut stage) => told?,
        () = &mut interrupted => return Err(DemoError::Interrupted),
    }
    if options.keep {
        stage.keep();
        interrupted.await;
    }
    stage.clear().await
}

/// An error with all its causes, for a person.
#[must_use]
pub fn report(error: &DemoError) -> String {
    let mut out = format!("demo: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let _ = write!(out, "\n  cause: {cause}");
        source = cause.source();
    }
    out
}
