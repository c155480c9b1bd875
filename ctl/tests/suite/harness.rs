//! Runs a command line in this process, with everything around it given by the test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use frankctl::{Clock, Io, Terminal};

use crate::daemon::FakeDaemon;

/// The moment at which every run happens.
pub(crate) const NOW: &str = "2026-08-15T12:00:00Z";

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command line and its surroundings.
pub(crate) struct Run {
    arguments: Vec<String>,
    stdin: Box<dyn Read + Send>,
    terminal: Terminal,
    environment: BTreeMap<String, String>,
    stdout: Option<Box<dyn Write + Send>>,
}

impl Run {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            stdin: Box::new(io::empty()),
            terminal: Terminal::default(),
            environment: BTreeMap::new(),
            stdout: None,
        }
    }

    pub(crate) fn at(self, daemon: &FakeDaemon) -> Self {
        self.at_path(daemon.path())
    }

    pub(crate) fn at_path(self, path: &Path) -> Self {
        self.env("FRANKD_HOST", &format!("unix://{}", path.display()))
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Box::new(Cursor::new(text.to_owned().into_bytes()));
        self
    }

    pub(crate) fn stdin_is(mut self, stdin: impl Read + Send + 'static) -> Self {
        self.stdin = Box::new(stdin);
        self
    }

    pub(crate) fn stdout_is(mut self, stdout: impl Write + Send + 'static) -> Self {
        self.stdout = Some(Box::new(stdout));
        self
    }

    /// Standard input is a terminal.
    pub(crate) fn at_terminal(mut self) -> Self {
        self.terminal.stdin = true;
        self
    }

    /// Runs it.
    pub(crate) async fn go(self) -> Outcome {
        let (stdout, stderr) = (Buffer::default(), Buffer::default());
        let io = Io {
            stdin: self.stdin,
            stdout: self.stdout.unwrap_or_else(|| Box::new(stdout.clone())),
            stderr: Box::new(stderr.clone()),
            terminal: self.terminal,
            environment: self.environment,
            clock: Clock::Fixed(NOW.parse().unwrap()),
        };
        let arguments = std::iter::once("frankctl".to_owned()).chain(self.arguments);
        let code = frankctl::run(arguments.map(OsString::from), io).await;
        Outcome { code, stdout: stdout.text(), stderr: stderr.text() }
    }
}

/// Runs a command line against a daemon.
pub(crate) async fn run(daemon: &FakeDaemon, arguments: &[&str]) -> Outcome {
    Run::new(arguments).at(daemon).go().await
}

/// Output that can be read while it is still written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
