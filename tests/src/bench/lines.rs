//! The plainest client: a request as octets, an answer up to its line feed.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::BenchError;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that waits for each answer before it asks again.
#[derive(Debug)]
pub(super) struct Lines {
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Lines {
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, answer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the answer, line feed included.
    pub(super) fn ask(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(request)?;
        self.answer.clear();
        let mut piece = [0; 4096];
        while self.answer.last() != Some(&b'\n') {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.answer.extend_from_slice(&piece[..read]);
        }
        Ok(&self.answer)
    }

    /// Calls a method and gives its result.
    pub(super) fn call(&mut self, method: &str, params: &Value) -> Result<Value, BenchError> {
        let mut answer: Value = serde_json::from_slice(self.ask(&request(method, params))?)?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(BenchError::Answer(format!("{method}: {answer}"))),
        }
    }
}

/// A request as it goes over the socket.
pub(super) fn request(method: &str, params: &Value) -> Vec<u8> {
    let mut line = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Whether an answer holds `what`.
pub(super) fn holds(answer: &[u8], what: &[u8]) -> bool {
    answer.windows(what.len()).any(|window| window == what)
}
