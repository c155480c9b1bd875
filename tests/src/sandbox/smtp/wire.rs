//! The connection: lines in, replies out, plain or TLS.
//!
//! Replies are gathered and written when the server would wait for more input, as a server that pipelines does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::sandbox::clock::wait;

/// The session is over: the peer went away, or a fault cut it off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Most octets that are read for one line: a peer that never ends its line is cut off.
const LINE_BOUND: usize = 64 << 20;

enum Stream<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    Gone,
}

/// One line of a client.
pub(super) struct Line {
    /// The octets without the line's end.
    pub(super) octets: Vec<u8>,
    /// Whether it ended in a bare LF.
    pub(super) bare: bool,
    /// The octets with the line's end.
    pub(super) length: usize,
}

/// A message as it came.
#[derive(Default)]
pub(super) struct Body {
    /// Its octets, dots unstuffed; nothing beyond the limit is kept.
    pub(super) octets: Vec<u8>,
    /// Its length.
    pub(super) length: u64,
    /// Whether it has a CR or LF that is alone.
    pub(super) bare: bool,
    /// Whether it has a NUL.
    pub(super) nul: bool,
    /// Whether it has an octet above 127.
    pub(super) eight_bit: bool,
}

/// A buffered connection.
pub(super) struct Wire<S> {
    stream: Stream<S>,
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
    pace: Option<usize>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: Stream::Plain(stream), input: Vec::new(), at: 0, output: Vec::new(), pace: None }
    }

    /// Whether octets are here that nobody has read yet.
    pub(super) fn pending(&self) -> bool {
        self.at < self.input.len()
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Reads at most so many octets a second from here on; `None` is full speed.
    pub(super) fn set_pace(&mut self, octets_per_second: Option<usize>) {
        self.pace = octets_per_second;
    }

    /// Queues octets for the peer.
    pub(super) fn put(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Over> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        match &mut self.stream {
            Stream::Plain(stream) => write(stream, &output).await,
            Stream::Tls(stream) => write(stream, &output).await,
            Stream::Gone => Err(Over),
        }
    }

    /// Reads one line, however long.
    pub(super) async fn line(&mut self) -> Result<Line, Over> {
        let raw = self.raw_line().await?;
        let bare = !raw.ends_with(b"\r\n");
        let octets = raw.strip_suffix(b"\r\n").or(raw.strip_suffix(b"\n")).unwrap_or(&raw).to_vec();
        Ok(Line { octets, bare, length: raw.len() })
    }

    /// Reads a message up to the final dot; keeps `limit` octets of it.
    pub(super) async fn body(&mut self, limit: Option<u64>) -> Result<Body, Over> {
        let mut body = Body::default();
        let mut at_line_start = true;
        loop {
            let raw = self.raw_line().await?;
            if at_line_start && raw == b".\r\n" {
                return Ok(body);
            }
            let line = if at_line_start { raw.strip_prefix(b".").unwrap_or(&raw) } else { &raw };
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            body.bare |= text.len() == line.len() || text.contains(&b'\r');
            body.nul |= text.contains(&0);
            body.eight_bit |= !text.is_ascii();
            body.length += u64::try_from(line.len()).unwrap_or(u64::MAX);
            if limit.is_none_or(|limit| body.length <= limit) {
                body.octets.extend_from_slice(line);
            }
            at_line_start = raw.ends_with(b"\r\n");
        }
    }

    /// Waits until the peer leaves; whatever it says is thrown away.
    pub(super) async fn deaf(&mut self) -> Over {
        let _ = self.flush().await;
        loop {
            self.input.clear();
            self.at = 0;
            if self.fill().await.is_err() {
                return Over;
            }
        }
    }

    /// Throws away what was read and not yet used.
    pub(super) fn forget_input(&mut self) {
        self.input.clear();
        self.at = 0;
    }

    /// Shakes hands as a TLS server; the plain stream is gone afterwards either way.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<(), Over> {
        self.flush().await?;
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(Over);
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    /// Says goodbye properly, as far as the peer still listens.
    pub(super) async fn close(&mut self) {
        let _ = self.flush().await;
        let _ = match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
            Stream::Gone => Ok(()),
        };
    }

    async fn raw_line(&mut self) -> Result<Vec<u8>, Over> {
        let mut searched = self.at;
        loop {
            if let Some(found) = self.input[searched..].iter().position(|octet| *octet == b'\n') {
                let end = searched + found + 1;
                let line = self.input[self.at..end].to_vec();
                self.at = end;
                return Ok(line);
            }
            if self.input.len() - self.at > LINE_BOUND {
                return Err(Over);
            }
            self.input.drain(..self.at);
            self.at = 0;
            searched = self.input.len();
            self.flush().await?;
            self.fill().await?;
        }
    }

    /// Reads once more into the input.
    async fn fill(&mut self) -> Result<(), Over> {
        let before = self.input.len();
        let most = self.pace.map_or(64 * 1024, |pace| pace.clamp(1, 64 * 1024));
        self.input.resize(before + most, 0);
        let room = &mut self.input[before..];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(room).await,
            Stream::Tls(stream) => stream.read(room).await,
            Stream::Gone => Ok(0),
        };
        let read = read.unwrap_or(0);
        self.input.truncate(before + read);
        if read == 0 {
            return Err(Over);
        }
        if let Some(pace) = self.pace {
            let millis = u64::try_from(read * 1000 / pace).unwrap_or(u64::MAX);
            wait(Duration::from_millis(millis)).await;
        }
        Ok(())
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> Result<(), Over> {
    stream.write_all(octets).await?;
    stream.flush().await?;
    Ok(())
}
