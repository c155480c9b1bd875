//! What a process has around it: streams, terminals, environment, clock. Given as one value, so that a test can be it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Read, Write};

use crate::clock::Clock;

/// Names of the environment that frankctl reads.
const VARIABLES: &[&str] = &[
    "CLICOLOR_FORCE",
    "DISPLAY",
    "FRANKD_HOST",
    "NO_COLOR",
    "PATH",
    "SSH_CONNECTION",
    "SSH_TTY",
    "TERM",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
];

/// The surroundings of a run.
pub struct Io {
    /// Standard input. Sent to a thread when a line of it is waited for beside other things.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output: data only.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error: everything that is talk.
    pub stderr: Box<dyn Write + Send>,
    /// Which streams are terminals.
    pub terminal: Terminal,
    /// The environment; unset and empty are one.
    pub environment: BTreeMap<String, String>,
    /// Where wall time comes from.
    pub clock: Clock,
}

/// Which streams are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Standard input: questions may be asked.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error: a spinner may turn.
    pub stderr: bool,
}

impl Io {
    /// Those of this process.
    #[must_use]
    pub fn process() -> Self {
        let variable = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
        Self {
            stdin: Box::new(io::stdin()),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            terminal: Terminal {
                stdin: io::stdin().is_terminal(),
                stdout: io::stdout().is_terminal(),
                stderr: io::stderr().is_terminal(),
            },
            environment: VARIABLES.iter().filter_map(variable).collect(),
            clock: Clock::System,
        }
    }

    /// A variable of the environment, unless it is unset or empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("terminal", &self.terminal)
            .field("environment", &self.environment)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Reads one line, without its end; `None` at the end of input. Longer lines than `limit` octets are an error.
pub(crate) fn read_line(input: &mut dyn Read, limit: usize) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut octet = [0];
    loop {
        match input.read(&mut octet) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if octet[0] == b'\n' => break,
            Ok(_) if line.len() == limit => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit} octets")));
            }
            Ok(_) => line.push(octet[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_lf_crlf_or_the_end() {
        let mut input: &[u8] = b"one\r\ntwo\n\nlast";
        let mut next = || read_line(&mut input, 8).unwrap();
        assert_eq!(next().as_deref(), Some("one"));
        assert_eq!(next().as_deref(), Some("two"));
        assert_eq!(next().as_deref(), Some(""));
        assert_eq!(next().as_deref(), Some("last"));
        assert_eq!(next(), None);
        assert!(read_line(&mut &b"123456789\n"[..], 8).is_err());
    }
}
