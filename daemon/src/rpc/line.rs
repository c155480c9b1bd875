//! The newline framing: one JSON text for each line, each way.
//!
//! A line may take its time only as long as octets keep coming, and a line over 1 MiB waits for its share of the budget
//! before the rest of it is read.

use std::io;
use std::sync::Arc;

use frankd_proto::{Kind, RpcError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::budget::Octets;
use super::conversation::{Heard, LARGE, WhenFull, Wire};
use super::gate::Session;
use super::limits::time_for;
use crate::clock::{ClockExt as _, Instant};

/// Small answers are written together up to this size.
const WRITE_TOGETHER: usize = 32 * 1024;

/// Lines each way.
pub(super) struct Lines<S> {
    io: BufReader<S>,
    session: Arc<Session>,
    line: Vec<u8>,
    out: Vec<u8>,
    share: Share,
    begun: Option<Begun>,
    ended: bool,
}

/// What a line has of the budget of large requests.
enum Share {
    None,
    Waiting(Instant, BoxFuture<'static, Octets>),
    Taken(Octets),
}

/// When a line that is not complete began, and when to look at it again.
struct Begun {
    at: Instant,
    look: BoxFuture<'static, ()>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Lines<S> {
    /// Speaks lines on a stream that may hold some already.
    pub(super) const fn new(io: BufReader<S>, session: Arc<Session>) -> Self {
        Self { io, session, line: Vec::new(), out: Vec::new(), share: Share::None, begun: None, ended: false }
    }

    fn complete(&mut self) -> Heard {
        self.begun = None;
        let octets = match std::mem::replace(&mut self.share, Share::None) {
            Share::Taken(octets) => Some(octets),
            Share::None | Share::Waiting(..) => None,
        };
        Heard::Message(std::mem::take(&mut self.line), octets)
    }

    /// Waits for more octets, for the budget, or until the line has taken too long.
    async fn wait(&mut self) -> io::Result<()> {
        let Some(begun) = &mut self.begun else {
            self.io.fill_buf().await?;
            return Ok(());
        };
        if let Share::Waiting(since, octets) = &mut self.share {
            let octets = octets.await;
            let waited = self.session.house.clock.now().since(*since);
            begun.at = begun.at + waited;
            self.share = Share::Taken(octets);
            return Ok(());
        }
        let limits = &self.session.house.settings().limits;
        loop {
            tokio::select! {
                biased;
                filled = self.io.fill_buf() => return filled.map(drop),
                () = &mut begun.look => {}
            }
            let deadline = begun.at + time_for(limits, self.line.len() as u64);
            if self.session.house.clock.now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            begun.look = self.session.house.clock.sleep_until(deadline);
        }
    }

    fn begin(&mut self) {
        if self.begun.is_none() {
            let clock = &self.session.house.clock;
            let limits = &self.session.house.settings().limits;
            self.begun = Some(Begun { at: clock.now(), look: clock.sleep(time_for(limits, 0)) });
        }
    }

    fn ask_for_share(&mut self, request_bytes: u64) {
        let house = Arc::clone(&self.session.house);
        let uid = self.session.user.uid;
        let limit = house.settings().limits.large_requests_bytes;
        let since = house.clock.now();
        let wait = async move { house.budget.take(uid, request_bytes, limit).await }.boxed();
        self.share = Share::Waiting(since, wait);
    }

    /// Takes octets out of the buffer. Gives what was heard, if anything was.
    fn take(&mut self) -> Option<Heard> {
        let limit = self.session.house.settings().limits.request_bytes;
        let chunk = self.io.buffer();
        let end = chunk.contains(&b'\n').then(|| chunk.iter().position(|octet| *octet == b'\n'));
        let end = end.flatten();
        let octets = end.unwrap_or(chunk.len());
        let length = self.line.len() + octets;
        if length as u64 > limit {
            return Some(Heard::Bad(Box::new(too_large(limit))));
        }
        if length > LARGE && matches!(self.share, Share::None) {
            self.begin();
            self.ask_for_share(limit);
            return None;
        }
        self.line.extend_from_slice(&chunk[..octets]);
        self.io.consume(octets + usize::from(end.is_some()));
        if end.is_none() {
            if !self.line.is_empty() {
                self.begin();
            }
            return None;
        }
        let blank = self.line.trim_ascii().is_empty();
        if blank {
            self.line.clear();
            self.begun = None;
            return None;
        }
        Some(self.complete())
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for Lines<S> {
    const WHEN_FULL: WhenFull = WhenFull::Wait;

    async fn next(&mut self) -> Heard {
        loop {
            while !self.io.buffer().is_empty() && !matches!(self.share, Share::Waiting(..)) {
                if let Some(heard) = self.take() {
                    return heard;
                }
            }
            if self.ended {
                return Heard::End;
            }
            match self.wait().await {
                Ok(()) if matches!(self.share, Share::Waiting(..)) => {}
                Ok(()) if self.io.buffer().is_empty() => {
                    // The last line may lack its end.
                    self.ended = true;
                    if !self.line.trim_ascii().is_empty() {
                        return self.complete();
                    }
                }
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Heard::Bad(Box::new(too_slow())),
                Err(_) => return Heard::End,
            }
        }
    }

    fn has_more(&self) -> bool {
        self.io.buffer().contains(&b'\n')
    }

    async fn send(&mut self, json: &str) -> io::Result<()> {
        if self.out.len() + json.len() > WRITE_TOGETHER {
            self.flush().await?;
        }
        if json.len() > WRITE_TOGETHER {
            self.io.write_all(json.as_bytes()).await?;
        } else {
            self.out.extend_from_slice(json.as_bytes());
        }
        self.out.push(b'\n');
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.io.write_all(&self.out).await?;
            self.out.clear();
            self.io.flush().await?;
        }
        Ok(())
    }
}

/// A request is larger than may be.
pub(super) fn too_large(limit: u64) -> RpcError {
    RpcError::new(Kind::RequestTooLarge, format!("a request has at most {limit} octets"))
        .hint("the limit is `limits.request_bytes`")
}

/// A request was not complete in time.
pub(super) fn too_slow() -> RpcError {
    RpcError::new(Kind::InvalidRequest, "the request was not complete in time").hint(
        "end each request with a newline; the limits are `limits.request_timeout_s` and \
               `limits.request_bytes_per_second`",
    )
}
