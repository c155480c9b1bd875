//! One connection: commands out, replies in, each within its time.
//!
//! Invariants: no command goes out with a credential in the transcript; a reply is never left half-read without an error;
//! what the server says is cleaned of credentials before anybody sees it.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Stream;
use super::redact::Redactor;
use super::reply::{Reply, ReplyReader};
use super::transcript::Transcript;
use crate::clock::{ClockExt as _, SharedClock};
use crate::domain::delivery::Trouble;

/// How long the phases of a conversation may take (RFC 5321 §4.5.3.2 asks for at least this from MAIL on).
pub(super) mod limit {
    use std::time::Duration;

    /// Name resolution, and TCP's handshake.
    pub(in crate::smtp) const CONNECT: Duration = Duration::from_secs(30);
    /// TLS's handshake, and the reply to STARTTLS.
    pub(in crate::smtp) const TLS: Duration = Duration::from_secs(60);
    /// The greeting.
    pub(in crate::smtp) const GREETING: Duration = Duration::from_secs(60);
    /// EHLO, and each step of AUTH.
    pub(in crate::smtp) const LOGIN: Duration = Duration::from_secs(60);
    /// MAIL, RCPT and RSET.
    pub(in crate::smtp) const ENVELOPE: Duration = Duration::from_secs(300);
    /// DATA, and each block of the message.
    pub(in crate::smtp) const DATA: Duration = Duration::from_secs(300);
    /// The final dot.
    pub(in crate::smtp) const FINAL: Duration = Duration::from_secs(600);
    /// QUIT, whose answer nobody needs.
    pub(in crate::smtp) const QUIT: Duration = Duration::from_secs(5);
    /// The reason that a server gives when it ends a connection under a message.
    pub(in crate::smtp) const LAST_WORDS: Duration = Duration::from_secs(5);
}

/// A connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    replies: ReplyReader,
    output: Vec<u8>,
    clock: SharedClock,
    pub(super) redactor: Redactor,
    pub(super) transcript: Transcript,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, clock: SharedClock) -> Self {
        Self {
            stream,
            replies: ReplyReader::default(),
            output: Vec::new(),
            clock,
            redactor: Redactor::default(),
            transcript: Transcript::default(),
        }
    }

    /// Adds a command to what [`Self::flush`] sends.
    pub(super) fn command(&mut self, line: &str) {
        self.transcript.client(line);
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Adds a command with a credential in it; `shown` stands for it in the transcript.
    pub(super) fn secret_command(&mut self, line: &str, shown: &str) {
        self.transcript.client(shown);
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Octets that wait for [`Self::flush`].
    pub(super) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Sends the commands.
    pub(super) async fn flush(&mut self, limit: Duration) -> Result<(), Trouble> {
        let output = std::mem::take(&mut self.output);
        self.write(&output, limit).await
    }

    /// Sends octets as they are, and waits until they have left frankd.
    pub(super) async fn write(&mut self, octets: &[u8], limit: Duration) -> Result<(), Trouble> {
        let stream = &mut self.stream;
        let writing = async {
            stream.write_all(octets).await?;
            stream.flush().await
        };
        match self.clock.deadline(limit, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Trouble::Closed),
            Err(_) => Err(Trouble::TimedOut),
        }
    }

    /// Sends one command and reads its reply.
    pub(super) async fn ask(&mut self, line: &str, limit: Duration) -> Result<Reply, Trouble> {
        self.command(line);
        self.flush(limit).await?;
        self.reply(limit).await
    }

    /// Reads one reply; all of it must be there within `limit`.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Trouble> {
        let clock = std::sync::Arc::clone(&self.clock);
        match clock.deadline(limit, self.read_reply()).await {
            Ok(reply) => reply,
            Err(_) => Err(Trouble::TimedOut),
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Trouble> {
        loop {
            if let Some(reply) = self.next_reply()? {
                return Ok(reply);
            }
            if let Ok(0) | Err(_) = self.stream.read_buf(self.replies.input()).await {
                return Err(Trouble::Closed);
            }
        }
    }

    fn next_reply(&mut self) -> Result<Option<Reply>, Trouble> {
        let next = self.replies.next();
        let Some(mut reply) = next.map_err(|broken| Trouble::Protocol(self.redactor.clean(broken)))? else {
            return Ok(None);
        };
        for line in &mut reply.lines {
            *line = self.redactor.clean(std::mem::take(line));
        }
        for (at, line) in reply.lines.iter().enumerate() {
            let mark = if at + 1 == reply.lines.len() { ' ' } else { '-' };
            self.transcript.server(format!("{}{mark}{line}", reply.code).trim_end());
        }
        Ok(Some(reply))
    }

    /// Whether octets of the server wait that nobody asked for, as far as frankd has read.
    pub(super) fn has_leftover(&self) -> bool {
        !self.replies.is_empty()
    }

    /// What the server did without being asked, `None` if nothing. Costs no round trip and never waits.
    pub(super) fn unasked(&mut self) -> Option<Trouble> {
        loop {
            match self.next_reply() {
                Ok(Some(reply)) => return Some(Trouble::Reply(reply.to_smtp())),
                Err(trouble) => return Some(trouble),
                Ok(None) => {}
            }
            match self.stream.read_buf(self.replies.input()).now_or_never() {
                None if self.replies.is_empty() => return None,
                None => return Some(Trouble::Protocol("half a reply that nobody asked for".to_owned())),
                Some(Ok(0) | Err(_)) => return Some(Trouble::Closed),
                Some(Ok(_)) => {}
            }
        }
    }

    /// The connection itself, to put TLS upon it. Only when nothing is left over.
    pub(super) fn into_parts(self) -> (Box<dyn Stream>, Transcript) {
        (self.stream, self.transcript)
    }

    /// Says goodbye and closes; nobody waits for long.
    pub(super) async fn quit(mut self) {
        if self.ask("QUIT", limit::QUIT).await.is_ok() {
            let clock = std::sync::Arc::clone(&self.clock);
            let _closed = clock.deadline(limit::QUIT, self.stream.shutdown()).await;
        }
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
