//! A connection that carries many messages each way: the newline framing and the WebSocket.
//!
//! One task reads, calls and writes. It reads nothing while an answer cannot be written, and only so many calls are in
//! flight, so a peer that does not read, or asks faster than it is answered, costs nothing more. At the end of the peer's
//! input, and at the daemon's stop, subscriptions end and calls in flight are still answered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{Kind, RpcError};
use futures::future::{BoxFuture, Either};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jsonrpsee::core::server::{Extensions, MethodResponse, MethodSink};
use jsonrpsee::types::Id;
use tokio::sync::{mpsc, watch};

use super::budget::Octets;
use super::dispatch::{Dispatch, Subscriptions, id_of, interpret};
use super::gate::{Gate, Session};
use super::house::stopped;
use super::patience::is_refusal;
use super::registrar::refusal;
use crate::clock::ClockExt as _;

/// Requests over this size count for the budget, and are read away from the runtime's workers.
pub(super) const LARGE: usize = 1024 * 1024;
/// Events that wait for a subscriber, at most.
const EVENTS_WAITING: usize = 16;

/// What a wire hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// A whole message.
    Message(Vec<u8>, Option<Octets>),
    /// The peer says no more.
    End,
    /// A message that is not acceptable: it is told, and the connection ends.
    Bad(Box<RpcError>),
}

/// What to do with a message while as many calls as may be are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It is not read before there is room.
    Wait,
    /// It is refused.
    Refuse,
}

/// Messages each way.
pub(super) trait Wire: Send {
    /// What happens when many calls are in flight.
    const WHEN_FULL: WhenFull;

    /// The next message. Nothing is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// Whether another message may be here already, so that writing can wait a little.
    fn has_more(&self) -> bool;

    /// Writes a message, or keeps it until `flush`.
    fn send(&mut self, json: &str) -> impl Future<Output = io::Result<()>> + Send;

    /// Writes what was kept.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

enum Next {
    Answer(MethodResponse),
    Event(Box<serde_json::value::RawValue>),
    Heard(Heard),
    Stop,
}

type Calls = FuturesUnordered<BoxFuture<'static, MethodResponse>>;

/// Talks until one side ends it.
pub(super) async fn converse<W: Wire>(
    session: Arc<Session>,
    wire: &mut W,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let (sink, mut events) = mpsc::channel(EVENTS_WAITING);
    let limits = session.house.settings().limits.clone();
    let subscriptions = Subscriptions::new(MethodSink::new(sink), limits.subscriptions_per_uid);
    let dispatch = Dispatch::new(session.house.router.clone(), session.connection, Some(subscriptions));
    let speaker = Speaker { service: Gate::new(Arc::clone(&session), dispatch), session };
    let mut calls = Calls::new();
    let mut open = true;
    while open || !calls.is_empty() {
        let most = speaker.session.house.settings().limits.calls_in_flight as usize;
        let room = calls.len() < most || W::WHEN_FULL == WhenFull::Refuse;
        let wait = speaker.session.wait();
        if !wire.has_more() || !room || !wait.is_zero() {
            wire.flush().await?;
        }
        let next = tokio::select! {
            biased;
            Some(answer) = calls.next(), if !calls.is_empty() => Next::Answer(answer),
            Some(event) = events.recv(), if open => Next::Event(event),
            () = stopped(&mut stop), if open => Next::Stop,
            heard = hear(&speaker.session, wire, wait), if open && room => Next::Heard(heard),
        };
        match next {
            Next::Answer(answer) => {
                write(&speaker.session, wire, answer).await?;
                while let Some(Some(answer)) = calls.next().now_or_never() {
                    write(&speaker.session, wire, answer).await?;
                }
            }
            Next::Event(json) => wire.send(json.get()).await?,
            Next::Heard(Heard::Message(text, octets)) => {
                if calls.len() >= most {
                    write(&speaker.session, wire, too_many(&text, most)).await?;
                } else {
                    match speaker.hear(text, octets).await {
                        Either::Left(answer) => write(&speaker.session, wire, answer).await?,
                        Either::Right(call) => calls.push(call),
                    }
                }
            }
            Next::Heard(Heard::Bad(error)) => {
                write(&speaker.session, wire, refusal(Id::Null, *error)).await?;
                open = false;
            }
            Next::Heard(Heard::End) | Next::Stop => open = false,
        }
        if !open {
            events.close();
        }
    }
    wire.flush().await
}

/// The next message, for a user that has to wait some time first.
async fn hear<W: Wire>(session: &Session, wire: &mut W, wait: Duration) -> Heard {
    if !wait.is_zero() {
        session.house.clock.sleep(wait).await;
    }
    wire.next().await
}

struct Speaker {
    session: Arc<Session>,
    service: Gate<Dispatch>,
}

impl Speaker {
    /// Makes the calls of a message. Gives the answer if it is there at once.
    async fn hear(
        &self,
        text: Vec<u8>,
        octets: Option<Octets>,
    ) -> Either<MethodResponse, BoxFuture<'static, MethodResponse>> {
        self.session.refresh().await;
        let most = self.session.house.settings().limits.batch;
        if text.len() > LARGE {
            return Either::Right(self.hear_large(text, octets, most));
        }
        // Lines that are in the buffer already need nothing of the runtime: this counts them as work all the same.
        tokio::task::coop::consume_budget().await;
        let mut answer = interpret(&text, &self.service, &Extensions::new(), most);
        drop(text);
        let at_once = (&mut answer).now_or_never();
        match at_once {
            Some(answer) => Either::Left(answer),
            None => Either::Right(answer),
        }
    }

    fn hear_large(&self, text: Vec<u8>, octets: Option<Octets>, most: u32) -> BoxFuture<'static, MethodResponse> {
        let service = self.service.clone();
        let user = Arc::clone(&self.session.user);
        async move { interpret_large(text, octets, service, &user, most).await.await }.boxed()
    }
}

/// Reads a large message on a thread of its own: its user's turn, and no worker of the runtime, is taken by it.
pub(super) async fn interpret_large(
    text: Vec<u8>,
    octets: Option<Octets>,
    service: Gate<Dispatch>,
    user: &super::limits::User,
    most: u32,
) -> BoxFuture<'static, MethodResponse> {
    let mut extensions = Extensions::new();
    if let Some(mut octets) = octets {
        octets.shrink(text.len() as u64);
        extensions.insert(Arc::new(octets));
    }
    let turn = user.large_read().await;
    let read = tokio::task::spawn_blocking(move || interpret(&text, &service, &extensions, most)).await;
    drop(turn);
    read.unwrap_or_else(|_| {
        let error = RpcError::new(Kind::Internal, "the request could not be read");
        std::future::ready(refusal(Id::Null, error)).boxed()
    })
}

fn too_many(text: &[u8], most: usize) -> MethodResponse {
    let error = RpcError::new(Kind::AccessRateLimited, format!("{most} calls are in flight on this connection"))
        .hint("wait for answers before the next call; the limit is `limits.calls_in_flight`");
    refusal(id_of(text), error)
}

async fn write<W: Wire>(session: &Session, wire: &mut W, answer: MethodResponse) -> io::Result<()> {
    if answer.as_error_code().is_some_and(is_refusal) {
        session.try_patience();
    }
    // A subscription's answer has gone through its sink.
    if answer.is_subscription() || answer.is_notification() {
        return Ok(());
    }
    let success = answer.is_success();
    let (json, written, _) = answer.into_parts();
    wire.send(json.get()).await?;
    if let Some(written) = written {
        written.notify(success);
    }
    Ok(())
}
