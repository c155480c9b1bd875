//! The stage: a folder, servers, a daemon, and a shell in which every command of the demo is run as it is printed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use frankd_proto::{Connection, Method, connect};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::DemoError;
use super::daemon::Daemon;
use super::person::Person;
use super::screen::Screen;
use crate::sandbox::authorization::Rotation;
use crate::sandbox::clock::within;
use crate::sandbox::{PASSWORD_USER, SERVICE_CLIENT, Sandbox, WEB_CLIENT};

/// Longest time for one command or wait.
const LIMIT: Duration = Duration::from_secs(60);

/// Life of access tokens: short, so that a refresh is seen within seconds.
const TOKEN_LIFE: Duration = Duration::from_secs(15);

/// Life of access tokens when the story is told, with `--keep`.
const TOKEN_LIFE_KEPT: Duration = Duration::from_secs(300);

/// How long the authorization server takes a refresh token that it has replaced, as real ones do. Without it a kill -9
/// between an answer and its way to the disk would cost the grant, on any daemon.
const GRACE: Duration = Duration::from_secs(30);

/// Everything that the story plays with.
pub(super) struct Stage {
    /// Where it is shown.
    pub(super) screen: Screen,
    /// The servers.
    pub(super) sandbox: Sandbox,
    /// Who signs in.
    pub(super) person: Person,
    folder: TempDir,
    path: String,
    daemon: Option<Daemon>,
    checks: usize,
}

impl Stage {
    /// Starts the servers and fills the folder.
    pub(super) async fn set(screen: Screen, programs: &Path) -> Result<Self, DemoError> {
        let sandbox = Sandbox::start().await?;
        sandbox.authorization.set_access_token_life(TOKEN_LIFE);
        sandbox.authorization.update_client(WEB_CLIENT.0, |client| client.rotation = Rotation::Grace(GRACE));
        let folder = tempfile::Builder::new().prefix("frankd-demo-").tempdir();
        let folder = folder.map_err(DemoError::system("make a temporary folder"))?;
        for (name, text) in [
            ("ca.pem", sandbox.ca_pem.as_str()),
            ("client.secret", WEB_CLIENT.1),
            ("service.secret", SERVICE_CLIENT.1),
            ("bob.password", PASSWORD_USER.1),
            ("frankd.toml", "# The settings of the demo's daemon: all as they are by default.\n"),
            ("letter.txt", "The disk of web1 is 91 % full.\n\nThis line begins with a dot on the wire:\n.\n"),
        ] {
            std::fs::write(folder.path().join(name), text).map_err(DemoError::system(format!("write {name}")))?;
        }
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let person = Person::new(&sandbox.pki)?;
        let stage = Self { screen, sandbox, person, folder, path, daemon: None, checks: 0 };
        stage.screen.chapter("The stage");
        stage.screen.tell(&format!(
            "An authorization server at {} and a mail server on port {} run in this process.\n\
             The commands below are run as they stand, in this folder and environment:",
            stage.sandbox.issuer, stage.sandbox.starttls_port
        ));
        stage.screen.command(&format!("cd {}", stage.folder.path().display()));
        stage.screen.command(&format!("export PATH={}:$PATH", programs.display()));
        stage.screen.command(&format!("export FRANKD_HOST={}", stage.host()));
        Ok(stage)
    }

    /// Runs a command and shows it with its output; `status` is the exit status that it should have. Gives its output.
    pub(super) async fn run(&self, line: &str, status: i32) -> Result<String, DemoError> {
        self.screen.command(line);
        let mut output = Output::of(self.shell(&format!("{line} 2>&1")))?;
        let mut text = String::new();
        while let Some(line) = output.line().await? {
            self.screen.output(&line);
            text.push_str(&line);
            text.push('\n');
        }
        output.end(line, status).await?;
        Ok(text)
    }

    /// Starts a command and shows it; its output is read line by line.
    pub(super) fn begin(&self, line: &str) -> Result<Output, DemoError> {
        self.screen.command(line);
        Output::of(self.shell(&format!("{line} 2>&1")))
    }

    /// Starts the daemon.
    pub(super) async fn start_daemon(&mut self) -> Result<(), DemoError> {
        let line = "frankd --config frankd.toml --state-dir state --runtime-dir run >> frankd.log 2>&1";
        self.screen.command(&format!("{line} &"));
        let daemon = bounded("frankd to be ready", Daemon::start(self.shell(line), &self.socket())).await;
        if daemon.is_err() {
            self.log().lines().for_each(|line| self.screen.output(line));
        }
        self.daemon = Some(daemon?);
        Ok(())
    }

    /// Kills the daemon as a crash would.
    pub(super) async fn kill_daemon(&mut self) -> Result<(), DemoError> {
        self.signal("kill -9").await.map(drop)
    }

    /// Stops the daemon in order, and the servers.
    pub(super) async fn clear(mut self) -> Result<(), DemoError> {
        self.screen.chapter("The end");
        let status = self.signal("kill").await?;
        self.check("frankd stopped in order", status.is_some_and(|status| status.success()))?;
        self.screen.tell(&format!("\nEvery step did what it should: {} checks.", self.checks));
        self.sandbox.stop().await;
        Ok(())
    }

    async fn signal(&mut self, kill: &str) -> Result<Option<std::process::ExitStatus>, DemoError> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(None) };
        self.run(&format!("{kill} {}", daemon.pid()), 0).await?;
        bounded("frankd to end", daemon.ended()).await.map(Some)
    }

    /// Goes on only if this is as it should be.
    pub(super) fn check(&mut self, what: &str, holds: bool) -> Result<(), DemoError> {
        if !holds {
            return Err(DemoError::Unmet(what.to_owned()));
        }
        self.checks += 1;
        self.screen.good(what);
        Ok(())
    }

    /// Asks the daemon itself, past frankctl: what is checked is the contract, not how it is shown.
    pub(super) async fn ask<M: Method>(&self, params: M::Params) -> Result<M::Output, DemoError> {
        let refused = |error| DemoError::Refused { method: M::NAME, error: Box::new(error) };
        let asked = async { self.connection().await?.call::<M>(params).await.map_err(refused) };
        bounded(M::NAME, asked).await
    }

    async fn connection(&self) -> Result<Connection, DemoError> {
        Ok(connect(&self.socket()).await?)
    }

    /// Tells what there is to play with.
    pub(super) fn keep(&self) {
        self.sandbox.authorization.set_access_token_life(TOKEN_LIFE_KEPT);
        self.screen.chapter("Yours now");
        let (service, sandbox) = (SERVICE_CLIENT.0, &self.sandbox);
        self.screen.tell(&format!(
            "Daemon and servers go on until Ctrl-C. In another terminal, after the three lines at the top:\n
  frankctl status --watch
  frankctl events -f
  frankctl token get alerts
  frankctl test email alerts --to you@sandbox.test --transcript
  frankctl grant alerts --no-browser      # sign in as {login}, password {password}
  frankctl client create service --client-id {service} --client-secret-stdin \\
      --token-endpoint {issuer}/token --ca-bundle ca.pem < service.secret
  frankctl profile create nightly --kind oauth2_smtp --client service --interactive=false \\
      --username {mailbox} --smtp-host localhost --smtp-port {port} --ca-bundle ca.pem
  frankctl profile create classic --kind smtp --username {bob} --password-stdin \\
      --smtp-host localhost --smtp-port {implicit} --tls implicit --ca-bundle ca.pem < bob.password
  frankctl send --profile classic --to you@sandbox.test -s Hello --text letter.txt --wait
  tail -f frankd.log",
            login = crate::sandbox::WEB_LOGIN.0,
            password = crate::sandbox::WEB_LOGIN.1,
            issuer = sandbox.issuer,
            mailbox = crate::sandbox::SERVICE_MAILBOX,
            port = sandbox.starttls_port,
            bob = PASSWORD_USER.0,
            implicit = sandbox.implicit_tls_port,
        ));
    }

    /// What the daemon wrote so far, over all its starts.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("frankd.log")).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/control.sock")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec {line}")])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("FRANKD_HOST", self.host())
            .stdin(Stdio::null());
        command
    }
}

/// A command that runs, read line by line. It dies with this.
pub(super) struct Output {
    child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Output {
    fn of(mut command: Command) -> Result<Self, DemoError> {
        let started = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = started.map_err(DemoError::system("run a shell"))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(DemoError::Unmet("a command has an output".to_owned()));
        };
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// The next line; nothing at the end.
    pub(super) async fn line(&mut self) -> Result<Option<String>, DemoError> {
        let line = async { self.lines.next_line().await.map_err(DemoError::system("read the output of a command")) };
        bounded("a command to go on", line).await
    }

    /// Waits for the end, with the exit status that it should have.
    pub(super) async fn end(mut self, line: &str, status: i32) -> Result<(), DemoError> {
        let ended = async { self.child.wait().await.map_err(DemoError::system("wait for a command")) };
        let ended = bounded("a command to end", ended).await?;
        if ended.code() == Some(status) {
            return Ok(());
        }
        Err(DemoError::Unmet(format!("`{line}` should end with exit status {status}, and ended with {ended}")))
    }
}

async fn bounded<T>(what: &str, future: impl Future<Output = Result<T, DemoError>>) -> Result<T, DemoError> {
    within(LIMIT, future).await.unwrap_or_else(|| Err(DemoError::Late(what.to_owned())))
}
