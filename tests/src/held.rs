//! Something outside that lives as long as the test that started it.
//!
//! A script of `tests/rig` starts servers, prints `export NAME=VALUE` lines and then `ready`, and stops everything when its
//! standard input ends. That happens when a [`Held`] is dropped, and also when the test process is killed.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

/// The rig did not do what a test asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// A file, a process or a connection of the rig failed.
    #[error("the rig cannot be reached")]
    Io(#[from] io::Error),
    /// A script ended with something else than what it was asked for.
    #[error("{script} failed: {said}")]
    Script {
        /// Which one, below `tests/rig`.
        script: String,
        /// What it wrote to standard error.
        said: String,
    },
    /// The admin port of the authorization server gave an answer that is not JSON.
    #[error("the authorization server's admin port answered something else than JSON")]
    Admin(#[from] serde_json::Error),
}

/// Finds a file of `tests/rig`.
pub(crate) fn rig_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rig").join(name)
}

/// A running script, and what it said of what it started.
#[derive(Debug)]
pub(crate) struct Held {
    script: Child,
    stdin: Option<ChildStdin>,
    values: BTreeMap<String, String>,
}

impl Held {
    /// Runs `script` of `tests/rig` until it is ready.
    pub(crate) fn start(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self, RigError> {
        let mut child = Command::new(rig_file(script))
            .args(arguments)
            .envs(environment.iter().copied())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut values = BTreeMap::new();
        let mut ready = false;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                if line == "ready" {
                    ready = true;
                    break;
                }
                if let Some((name, value)) = line.strip_prefix("export ").and_then(|pair| pair.split_once('=')) {
                    values.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        let mut held = Self { script: child, stdin, values };
        if ready { Ok(held) } else { Err(held.failure(script)) }
    }

    /// What the script printed for `name`; empty if nothing.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Everything that the script printed.
    pub(crate) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    fn failure(&mut self, script: &str) -> RigError {
        self.stdin = None;
        let mut said = String::new();
        if let Some(stderr) = &mut self.script.stderr {
            // Whatever could be read is part of the message.
            let _ = stderr.read_to_string(&mut said);
        }
        RigError::Script { script: script.to_owned(), said: said.trim().to_owned() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some(stdin), true) = (&mut self.stdin, thread::panicking()) {
            // The logs of a failed test are worth keeping; a script that is gone keeps nothing.
            let _ = stdin.write_all(b"keep\n");
        }
        self.stdin = None;
        let _ = self.script.wait();
    }
}
