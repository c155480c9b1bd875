//! The real binaries, run as an administrator would: a `frankd` in folders of its own, and `frankctl` that talks to it.
//!
//! `tests/run` builds them and names their folder in `FRANKD_BIN_DIR`; without it the calling test counts as skipped. All
//! calls but [`Service::connect`] block.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use frankd_proto::{ConnectError, Connection};
use serde_json::Value;
use tempfile::TempDir;

use crate::skip;
use crate::stopwatch::{Stopwatch, pause};

/// How long a daemon may take until its socket answers, and until it stops.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at another process.
const GLANCE: Duration = Duration::from_millis(20);

/// A daemon or a command did not do what a test asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A file or a process failed.
    #[error("a file or process failed")]
    Io(#[from] io::Error),
    /// The daemon ended before its socket answered.
    #[error("the daemon ended with {status}:\n{log}")]
    Ended {
        /// How it ended.
        status: String,
        /// What it wrote.
        log: String,
    },
    /// The daemon did not become ready, or did not stop.
    #[error("the daemon took longer than a minute:\n{0}")]
    TooSlow(String),
    /// frankctl failed.
    #[error("frankctl {command} ended with {code:?}:\n{said}")]
    Ctl {
        /// Its arguments.
        command: String,
        /// Its exit status.
        code: Option<i32>,
        /// What it wrote to both outputs.
        said: String,
    },
    /// frankctl printed something that is not JSON.
    #[error("frankctl printed no JSON")]
    Json(#[from] serde_json::Error),
}

/// Where the binaries are; the calling test counts as skipped if there are none.
pub fn binaries() -> Option<PathBuf> {
    let folder = std::env::var_os("FRANKD_BIN_DIR").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("frankd").exists());
    if folder.is_none() {
        skip::skip("FRANKD_BIN_DIR names no folder with frankd and frankctl; tests/run makes one");
    }
    folder
}

/// A daemon with folders of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Service {
    folder: TempDir,
    binaries: PathBuf,
    child: Option<Child>,
    environment: Vec<(String, String)>,
    fail_points: bool,
}

impl Service {
    /// Starts a daemon on an empty store; `None` and skipped where there are no binaries.
    pub fn start_or_skip() -> Option<Result<Self, ServiceError>> {
        Some(Self::new(binaries()?).and_then(|mut service| {
            service.start()?;
            Ok(service)
        }))
    }

    /// Folders for a daemon that is not started yet.
    pub fn new(binaries: PathBuf) -> Result<Self, ServiceError> {
        let folder = tempfile::Builder::new().prefix("frankd-").tempdir()?;
        for name in ["state", "run", "etc"] {
            fs::create_dir(folder.path().join(name))?;
        }
        fs::write(folder.path().join("etc/frankd.toml"), "")?;
        Ok(Self { folder, binaries, child: None, environment: Vec::new(), fail_points: false })
    }

    /// Writes the configuration of the next start.
    pub fn configure(&self, toml: &str) -> Result<(), ServiceError> {
        Ok(fs::write(self.folder.path().join("etc/frankd.toml"), toml)?)
    }

    /// Sets an environment variable of the next starts.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Makes the next starts use the daemon with fail points, set to `point` (such as `queue.after_mark=kill`); an empty
    /// one sets none.
    pub fn fail_at(&mut self, point: &str) {
        self.fail_points = true;
        self.environment.retain(|(name, _)| name != "FRANKD_FAIL_POINT");
        if !point.is_empty() {
            self.env("FRANKD_FAIL_POINT", point);
        }
    }

    /// The command that starts the daemon, for a test that wraps it.
    pub fn command(&self) -> Command {
        let binary = if self.fail_points { "fail-points/frankd" } else { "frankd" };
        let mut command = Command::new(self.binaries.join(binary));
        self.arguments(&mut command);
        command
    }

    /// Adds the daemon's arguments and environment to a command.
    pub fn arguments(&self, command: &mut Command) {
        command
            .arg("--config")
            .arg(self.folder.path().join("etc/frankd.toml"))
            .arg("--state-dir")
            .arg(self.state())
            .arg("--runtime-dir")
            .arg(self.folder.path().join("run"))
            .env("FRANKD_LOG", "trace")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Starts the daemon and waits until its socket answers.
    pub fn start(&mut self) -> Result<(), ServiceError> {
        let command = self.command();
        self.start_with(command)
    }

    /// Starts the daemon by a command of the test's own and waits until its socket answers.
    pub fn start_with(&mut self, mut command: Command) -> Result<(), ServiceError> {
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let began = Stopwatch::start();
        while UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = child.try_wait()? {
                return Err(ServiceError::Ended { status: status.to_string(), log: self.log_tail() });
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                return Err(ServiceError::TooSlow(self.log_tail()));
            }
            pause(GLANCE);
        }
        self.child = Some(child);
        Ok(())
    }

    /// Starts the daemon and waits until it ends by itself, as it does at a fail point that it reaches without being asked.
    pub fn run_to_its_end(&mut self) -> Result<(), ServiceError> {
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        let mut command = self.command();
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        self.wait_for_end()
    }

    /// Kills the daemon where it stands.
    pub fn kill(&mut self) -> Result<(), ServiceError> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Waits until the daemon ended by itself, as it does at a fail point.
    pub fn wait_for_end(&mut self) -> Result<(), ServiceError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let began = Stopwatch::start();
        while child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                return Err(ServiceError::TooSlow(self.log_tail()));
            }
            pause(GLANCE);
        }
        Ok(())
    }

    /// Asks the daemon to stop (SIGTERM) and waits until it did.
    pub fn stop(&mut self) -> Result<(), ServiceError> {
        self.signal("TERM")?;
        self.wait_for_end()
    }

    /// Sends the daemon a signal by name, such as `HUP`.
    pub fn signal(&self, name: &str) -> Result<(), ServiceError> {
        if let Some(child) = &self.child {
            Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status()?;
        }
        Ok(())
    }

    /// Whether the daemon still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Process id of the daemon.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The folder that holds everything of this daemon.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The daemon's state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/control.sock")
    }

    /// The submit socket.
    pub fn submit_socket(&self) -> PathBuf {
        self.folder.path().join("run/submit.sock")
    }

    /// Where the daemon's output goes, of all its starts.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("frankd.log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// A typed connection to the daemon.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        frankd_proto::connect(&self.socket()).await
    }

    /// A frankctl that talks to this daemon.
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(self.binaries.join("frankctl"));
        command
            .args(arguments)
            .env("FRANKD_HOST", format!("unix://{}", self.socket().display()))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs frankctl and gives what it printed; anything but exit status 0 is an error.
    pub fn run(&self, arguments: &[&str]) -> Result<String, ServiceError> {
        self.run_with(arguments, "")
    }

    /// Runs frankctl with `input` as its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Result<String, ServiceError> {
        let output = self.output(arguments, input)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(ServiceError::Ctl {
            command: arguments.join(" "),
            code: output.status.code(),
            said: format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// Runs frankctl and gives all that came of it.
    pub fn output(&self, arguments: &[&str], input: &str) -> Result<Output, ServiceError> {
        let mut child =
            self.ctl(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads no input may have ended already.
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(child.wait_with_output()?)
    }

    /// Runs frankctl with `-o json` and reads what it printed.
    pub fn json(&self, arguments: &[&str]) -> Result<Value, ServiceError> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        Ok(serde_json::from_str(&self.run(&all)?)?)
    }

    /// Calls `ask` until it gives something, for at most `limit`.
    pub fn until<T>(
        &self,
        limit: Duration,
        mut ask: impl FnMut() -> Result<Option<T>, ServiceError>,
    ) -> Result<T, ServiceError> {
        let began = Stopwatch::start();
        loop {
            if let Some(found) = ask()? {
                return Ok(found);
            }
            if began.elapsed() > limit {
                return Err(ServiceError::TooSlow(self.log_tail()));
            }
            pause(GLANCE);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
