//! The WebSocket framing (RFC 6455): one JSON text for each message, each way.
//!
//! A message has at most 1 MiB; larger mail goes by `POST` or in a line. A message that has begun must end in the time of
//! every request, which the codec does not watch: [`Watched`] follows the frames on their way to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use soketto::connection::Error;
use soketto::handshake::http::Server;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::conversation::{Heard, LARGE, WhenFull, Wire};
use super::gate::Session;
use super::limits::time_for;
use super::line::{too_large, too_slow};
use crate::clock::Instant;

type Io = Compat<Watched<TokioIo<Upgraded>>>;

/// A connection that has asked to become a WebSocket.
pub(super) struct Upgrade {
    on: OnUpgrade,
    server: Server,
}

/// Answers the handshake, or says what is wrong with it.
pub(super) fn handshake(mut request: Request<Incoming>) -> Result<(Response<()>, Upgrade), String> {
    let mut server = Server::new();
    let response = server.receive_request(&request).map_err(|error| error.to_string())?;
    let on = hyper::upgrade::on(&mut request);
    Ok((response, Upgrade { on, server }))
}

/// Takes the connection over once the handshake is written.
pub(super) async fn accept(upgrade: Upgrade, session: Arc<Session>) -> io::Result<Messages> {
    let io = TokioIo::new(upgrade.on.await.map_err(io::Error::other)?);
    let watched = Watched { io, frames: Frames::default(), begun: None, session };
    let mut builder = upgrade.server.into_builder(watched.compat());
    builder.set_max_message_size(LARGE);
    builder.set_max_frame_size(LARGE);
    let (sender, receiver) = builder.finish();
    let heard = futures::stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        let mut message = Vec::new();
        match receiver.receive_data(&mut message).await {
            Ok(_) => Some((Heard::Message(message, None), Some(receiver))),
            Err(Error::MessageTooLarge { .. }) => Some((Heard::Bad(Box::new(too_large(LARGE as u64))), None)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Some((Heard::Bad(Box::new(too_slow())), None))
            }
            Err(_) => None,
        }
    });
    Ok(Messages { heard: heard.boxed(), sender })
}

/// Messages each way.
pub(super) struct Messages {
    heard: BoxStream<'static, Heard>,
    sender: soketto::Sender<Io>,
}

impl Messages {
    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        _ = self.sender.close().await;
    }
}

impl Wire for Messages {
    const WHEN_FULL: WhenFull = WhenFull::Refuse;

    async fn next(&mut self) -> Heard {
        self.heard.next().await.unwrap_or(Heard::End)
    }

    fn has_more(&self) -> bool {
        false
    }

    async fn send(&mut self, json: &str) -> io::Result<()> {
        self.sender.send_text(json).await.map_err(io::Error::other)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.sender.flush().await.map_err(io::Error::other)
    }
}

/// A stream that ends a message which takes too long.
struct Watched<S> {
    io: S,
    frames: Frames,
    begun: Option<Begun>,
    session: Arc<Session>,
}

struct Begun {
    at: Instant,
    octets: u64,
    look: BoxFuture<'static, ()>,
}

impl<S> Watched<S> {
    fn follow(&mut self, octets: &[u8]) {
        self.frames.follow(octets);
        if self.frames.is_between() {
            self.begun = None;
            return;
        }
        let clock = &self.session.house.clock;
        let limits = &self.session.house.settings().limits;
        let begun = self.begun.get_or_insert_with(|| Begun {
            at: clock.now(),
            octets: 0,
            look: clock.sleep_until(clock.now() + time_for(limits, 0)),
        });
        begun.octets += octets.len() as u64;
    }

    /// Whether the message that has begun has taken too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(begun) = &mut self.begun else {
            return Poll::Pending;
        };
        let clock = &self.session.house.clock;
        while begun.look.as_mut().poll(context).is_ready() {
            let deadline = begun.at + time_for(&self.session.house.settings().limits, begun.octets);
            if clock.now() >= deadline {
                return Poll::Ready(());
            }
            begun.look = clock.sleep_until(deadline);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.follow(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_late(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Where in the frames of RFC 6455 §5.2 a stream is.
#[derive(Debug, Default)]
struct Frames {
    /// Octets of the header so far.
    header: Vec<u8>,
    /// Octets of the payload that are still to come.
    payload: u64,
    /// A message of several frames is not complete.
    message: bool,
}

impl Frames {
    /// Whether neither a frame nor a message is incomplete.
    fn is_between(&self) -> bool {
        self.header.is_empty() && self.payload == 0 && !self.message
    }

    fn follow(&mut self, mut octets: &[u8]) {
        while let Some((first, rest)) = octets.split_first() {
            if self.payload > 0 {
                let here = octets.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= here as u64;
                octets = &octets[here..];
                continue;
            }
            self.header.push(*first);
            octets = rest;
            if let Some((flags, payload)) = complete(&self.header) {
                self.header.clear();
                self.payload = payload;
                // A control frame (opcode 8 and up) may stand between the frames of a message.
                if flags & 0x08 == 0 {
                    self.message = flags & 0x80 == 0;
                }
            }
        }
    }
}

/// The first octet and the payload's length of a header that is complete.
fn complete(header: &[u8]) -> Option<(u8, u64)> {
    let (flags, second) = (*header.first()?, *header.get(1)?);
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (extended, short) = match second & 0x7f {
        126 => (2, 0),
        127 => (8, 0),
        short => (0, u64::from(short)),
    };
    if header.len() < 2 + extended + mask {
        return None;
    }
    let length = header[2..2 + extended].iter().fold(short, |sum, octet| sum << 8 | u64::from(*octet));
    Some((flags, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_followed_whatever_pieces_they_come_in() {
        let mut stream = vec![0x81, 0x83, 1, 2, 3, 4, b'a', b'b', b'c'];
        stream.extend([0x01, 0xfe, 0x01, 0x00, 1, 2, 3, 4]);
        stream.extend([7; 256]);
        stream.extend([0x89, 0x80, 1, 2, 3, 4]);
        stream.extend([0x80, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6]);
        let ends = [9, stream.len()];
        for size in [1, 2, 3, 7, stream.len()] {
            let mut frames = Frames::default();
            let mut position = 0;
            for piece in stream.chunks(size) {
                frames.follow(piece);
                position += piece.len();
                assert_eq!(frames.is_between(), ends.contains(&position), "at {position} in pieces of {size}");
            }
        }
    }
}
