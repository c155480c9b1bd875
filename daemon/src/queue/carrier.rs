//! One connection of a profile: claims a message, delivers it, settles it, and takes the next.
//!
//! # Certainty
//!
//! `after_dot` is on disk before the final dot goes out, and so is the settlement of the message before: at any moment at
//! most one message of a connection is marked and not settled, which bounds what a crash leaves in doubt.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use frankd_proto::RecipientState;
use frankd_proto::diagnosis;
use frankd_proto::error::SmtpReply;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::connection::{self, Connection, Credentials, NoSession, Refused};
use super::line::{Counted, Line};
use super::settle::{self, Ended};
use super::shared::{Shared, Stop};
use crate::clock::{ClockExt as _, Instant};
use crate::domain::delivery::{Delivery, Envelope, Fault, RecipientResult, Stage, Trouble};
use crate::domain::{Gate, Message, Phase, Profile, Submission};
use crate::fail_point;
use crate::policy::classify::smtp::Judgement;
use crate::policy::retry::Outcome;
use crate::smtp::Content;
use crate::store::{BodyReader, Change, StoreError};
use crate::tokens::Unavailable;

/// How long a connection waits for more mail.
const IDLE: Duration = Duration::from_secs(30);
/// Messages after which a connection ends while another profile waits for one.
const TURN: u64 = 10;
/// How long a profile rests when the store fails.
const STORE_REST: Duration = Duration::from_secs(1);
/// How long a profile rests when it has no token, at least and at most.
const TOKEN_REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// One connection at work.
#[derive(Debug)]
pub(super) struct Carrier {
    shared: Arc<Shared>,
    line: Arc<Line>,
    connection: Option<Connection>,
    /// The settlement of the message before.
    before: Option<JoinHandle<bool>>,
    _counted: Counted,
}

/// A message on its way, with everything that its delivery needs.
struct Parcel {
    message: Message,
    envelope: Envelope,
    began: Instant,
    at: Timestamp,
    server: String,
}

/// What became of a delivery, before it is judged by the rules.
struct Arrived {
    delivery: Delivery,
    judgement: Option<Judgement>,
    transcript: Vec<String>,
    /// Whether the message was marked as past the dot on disk.
    marked: bool,
    outcomes: Vec<Outcome>,
}

impl Carrier {
    pub(super) fn new(shared: Arc<Shared>, line: Arc<Line>) -> Self {
        let counted = line.carrier();
        Self { shared, line, connection: None, before: None, _counted: counted }
    }

    /// Carries mail until there is none, a gate closes, or the daemon stops.
    pub(super) async fn run(mut self) {
        while let Some((message, profile)) = self.next().await {
            if !self.carry(message, &profile).await {
                break;
            }
        }
        if let Some(before) = self.before.take() {
            before.await.ok();
        }
        if let Some(connection) = self.connection.take() {
            connection.session.quit().await;
        }
    }

    /// The next message, claimed. Waits a while for one if the connection is open.
    async fn next(&mut self) -> Option<(Message, Profile)> {
        let idle_until = self.shared.clock.now() + IDLE;
        loop {
            let profile = self.ready().await?;
            let to = profile.smtp.as_ref()?;
            let wait = match self.line.take(to, self.shared.boot()) {
                Err(wait) => Some(wait),
                Ok(()) => match self.shared.store.claim(profile.id, self.shared.clock.wall(), 1).await {
                    Ok(mut claimed) => {
                        if let Some(message) = claimed.pop() {
                            if let Err(error) = fail_point::hit("queue.after_claim") {
                                tracing::warn!(%error, "the claim is left as it is");
                                return None;
                            }
                            if self.line.wants_more(to, self.shared.boot()) {
                                self.shared.wake();
                            }
                            return Some((message, profile));
                        }
                        self.line.give_back();
                        None
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no mail can be claimed");
                        self.line.rest(self.shared.boot(), STORE_REST);
                        return None;
                    }
                },
            };
            self.idle(idle_until, wait).await?;
        }
    }

    /// The profile, if it may still send, and its connection in order: one that is used up or was opened for another
    /// revision of the profile is closed.
    async fn ready(&mut self) -> Option<Profile> {
        let shared = &self.shared;
        if shared.is_stopping() || shared.gates.holds(self.line.profile).is_some() {
            return None;
        }
        let carried = self.connection.as_ref().map_or(0, |connection| connection.session.messages());
        if carried >= TURN && shared.crowded.load(Ordering::Relaxed) {
            return None;
        }
        let profile = shared.registry.view().profile(self.line.profile)?.clone();
        let to = profile.smtp.as_ref()?;
        if self.line.is_crowded(to, shared.boot()) {
            return None;
        }
        let used_up = |connection: &mut Connection| {
            connection.revision != profile.revision
                || connection.session.messages() >= u64::from(to.max_messages_per_connection)
                || !connection.session.is_alive()
        };
        if self.connection.as_mut().is_some_and(used_up)
            && let Some(connection) = self.connection.take()
        {
            // Its end counts against the server's limit of connections until the server has seen it.
            connection.session.quit().await;
        }
        Some(profile)
    }

    /// Waits for work: `None` when the connection is not worth keeping.
    async fn idle(&mut self, until: Instant, wait: Option<Duration>) -> Option<()> {
        let left = until.since(self.shared.clock.now());
        let open = self.connection.as_mut().is_some_and(|connection| connection.session.is_alive());
        if left.is_zero() || !open || wait.is_some_and(|wait| wait > left) {
            return None;
        }
        let _idle = wait.is_none().then(|| self.line.idle());
        let mut gates = self.shared.gates.changed();
        let mut stop = self.shared.stop.subscribe();
        tokio::select! {
            () = self.shared.clock.sleep(wait.unwrap_or(left)) => {}
            () = self.line.work.notified(), if wait.is_none() => {}
            _ = gates.changed() => {}
            _ = stop.changed() => {}
        }
        Some(())
    }

    /// Delivers one message. `false` ends the connection.
    async fn carry(&mut self, message: Message, profile: &Profile) -> bool {
        let Some(to) = profile.smtp.as_ref() else { return false };
        let now = self.shared.clock.wall();
        if message.expires_at.is_some_and(|at| at <= now) {
            super::upkeep::expire(&self.shared, message, "its time is over", None).await;
            return true;
        }
        let parcel = Parcel {
            envelope: envelope(&message),
            began: self.shared.clock.now(),
            at: now,
            server: format!("{}:{}", to.host, to.port),
            message,
        };
        self.send(parcel, profile, to).await
    }

    /// Sends it, with one more try where the first cannot count: over a connection that had died unseen, or with a token
    /// that is no longer good.
    async fn send(&mut self, parcel: Parcel, profile: &Profile, to: &Submission) -> bool {
        let mut renewed = false;
        let mut reconnected = false;
        loop {
            let reused = self.connection.is_some();
            if self.connection.is_none() {
                match connection::open(&self.shared, profile, to).await {
                    Ok(connection) => self.connection = Some(connection),
                    Err(why) => return self.not_sent(parcel, why).await,
                }
            }
            let mut content = match content(&self.shared, &parcel.message).await {
                Ok(content) => content,
                Err(unreadable) => return self.unreadable(parcel.message, unreadable).await,
            };
            let Some(connection) = self.connection.as_mut() else { return false };
            let used = Credentials { renewed: connection.credentials.renewed || renewed, ..connection.credentials };
            let arrived =
                deliver(&self.shared, connection, (&parcel, &mut content), profile, (used, &mut self.before)).await;
            if !arrived.delivery.reusable {
                self.connection = None;
            }
            if let Some(unreadable) = content.failed.take() {
                return self.unreadable(parcel.message, unreadable).await;
            }
            if fail_point::hit("queue.after_dot").is_err() {
                return false;
            }
            let untouched = !arrived.marked && arrived.outcomes.iter().all(|o| *o == Outcome::NotSent);
            if let Some(judgement) = arrived.judgement.as_ref().filter(|_| untouched) {
                if reused && !reconnected && arrived.delivery.fault.as_ref().is_some_and(went_away) {
                    reconnected = true;
                    self.connection = None;
                    continue;
                }
                match connection::renew(&self.shared, profile, used, judgement).await {
                    None => {}
                    Some(Ok(_)) => {
                        renewed = true;
                        self.connection = None;
                        continue;
                    }
                    Some(Err(why)) => {
                        self.connection = None;
                        return self.not_sent(parcel, NoSession::Token(why)).await;
                    }
                }
            }
            return self.arrived(parcel, arrived).await;
        }
    }

    /// A message that is damaged waits for an operator, one that cannot be read now for a better time. `false` ends the
    /// connection.
    async fn unreadable(&mut self, message: Message, unreadable: Unreadable) -> bool {
        match unreadable {
            Unreadable::ForGood(cause) => {
                settle::hold(&self.shared, message, cause).await;
                true
            }
            Unreadable::Now(cause) => {
                tracing::warn!(id = %message.id, error = %cause, "the message cannot be read now");
                self.line.rest(self.shared.boot(), STORE_REST);
                settle::release(&self.shared, message).await;
                false
            }
        }
    }

    /// Settles: beside the next delivery if all went well, else before anything else is done.
    async fn arrived(&mut self, parcel: Parcel, arrived: Arrived) -> bool {
        let mut message = parcel.message;
        if arrived.marked {
            message.version += 1;
        }
        let well = arrived.judgement.is_none() && arrived.outcomes.iter().all(|o| matches!(o, Outcome::Sent(_)));
        if arrived.judgement.as_ref().is_some_and(|judgement| judgement.diagnosis == diagnosis::SM_432.id) {
            self.line.learn_limit(self.shared.boot());
        }
        let ended = Ended {
            message,
            outcomes: arrived.outcomes,
            reply: arrived.delivery.fault.as_ref().and_then(reply_of).cloned(),
            judgement: arrived.judgement,
            at: parcel.at,
            took: self.shared.clock.now().since(parcel.began),
            server: parcel.server,
            transcript: arrived.transcript,
        };
        if well {
            self.before = Some(settle::settle_beside(&self.shared, ended));
            return true;
        }
        settle::settle(&self.shared, ended).await
    }

    /// There is no session: the message waits, by what that means.
    async fn not_sent(&mut self, parcel: Parcel, why: NoSession) -> bool {
        let now = self.shared.clock.wall();
        match why {
            NoSession::Fault(refused) => {
                let Refused { fault, judgement, transcript } = *refused;
                if judgement.diagnosis == diagnosis::SM_432.id {
                    self.line.learn_limit(self.shared.boot());
                }
                let delivery = Delivery {
                    recipients: vec![RecipientResult::NotSent; parcel.envelope.recipients.len()],
                    fault: Some(fault),
                    reusable: false,
                };
                let outcomes = vec![Outcome::NotSent; delivery.recipients.len()];
                let arrived = Arrived { delivery, judgement: Some(judgement), transcript, marked: false, outcomes };
                self.arrived(parcel, arrived).await;
            }
            NoSession::Secret(detail) => {
                let gate = super::probe::secret_gate(self.line.profile, detail, now);
                self.hold_all(parcel.message, Some(gate)).await;
            }
            NoSession::Token(why) => {
                let gate = super::probe::token_gate(self.line.profile, &why, now);
                if gate.is_none() {
                    let rest = retry_after(&why).clamp(TOKEN_REST.0, TOKEN_REST.1);
                    tracing::debug!(profile = %self.line.profile, %why, "no token yet");
                    self.line.rest(self.shared.boot(), rest);
                }
                self.hold_all(parcel.message, gate).await;
            }
        }
        false
    }

    /// Closes the gate, if there is one, and gives the message back.
    async fn hold_all(&mut self, message: Message, gate: Option<Gate>) {
        if let Some(gate) = gate {
            let name = self.shared.profile_name(gate.profile);
            if let Err(error) = self.shared.gates.close(gate, &name, Vec::new(), Vec::new()).await {
                tracing::warn!(%error, profile = %name, "the gate could not be closed");
                self.line.rest(self.shared.boot(), TOKEN_REST.1);
            }
        }
        settle::release(&self.shared, message).await;
    }
}

/// The octets of a message cannot be read.
enum Unreadable {
    ForGood(String),
    Now(String),
}

impl Unreadable {
    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Damaged { .. } => Self::ForGood(error.to_string()),
            _ => Self::Now(error.to_string()),
        }
    }
}

/// The octets of a message, from their beginning.
async fn content(shared: &Shared, message: &Message) -> Result<Stored, Unreadable> {
    match shared.store.read_body(message.id).await {
        Ok(Some(reader)) => Ok(Stored { size: message.size_bytes, reader, failed: None }),
        Ok(None) => Err(Unreadable::ForGood("its octets are not in the store".to_owned())),
        Err(error) => Err(Unreadable::of(&error)),
    }
}

/// A message as the store gives it.
struct Stored {
    size: u64,
    reader: Box<dyn BodyReader>,
    failed: Option<Unreadable>,
}

impl Content for Stored {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&mut self) -> BoxFuture<'_, Result<Option<Cow<'_, [u8]>>, String>> {
        Box::pin(async {
            self.reader.read().await.map(|piece| piece.map(Cow::Owned)).map_err(|error| {
                self.failed = Some(Unreadable::of(&error));
                error.to_string()
            })
        })
    }
}

fn retry_after(why: &Unavailable) -> Duration {
    match why {
        Unavailable::Refreshing { retry_after }
        | Unavailable::Failing { retry_after, .. }
        | Unavailable::RefusedRecently { retry_after }
        | Unavailable::Held { retry_after } => *retry_after,
        _ => TOKEN_REST.1,
    }
}

/// The recipients that are still to be served.
fn envelope(message: &Message) -> Envelope {
    let pending = message.recipients.iter().filter(|recipient| recipient.state == RecipientState::Pending);
    Envelope {
        from: message.from.clone(),
        recipients: pending.map(|recipient| recipient.address.clone()).collect(),
        eight_bit: message.eight_bit,
        smtputf8: message.smtputf8,
    }
}

async fn deliver(
    shared: &Arc<Shared>,
    connection: &mut Connection,
    (parcel, content): (&Parcel, &mut Stored),
    profile: &Profile,
    (used, before): (Credentials, &mut Option<JoinHandle<bool>>),
) -> Arrived {
    let marked = AtomicBool::new(false);
    let mark = mark(shared, &parcel.message, before, &marked);
    let delivery = connection.session.deliver(&parcel.envelope, content, mark).await;
    let facts = connection.session.facts();
    let judged = |fault: &Fault| connection::judged(fault, profile, facts, used);
    let outcome = |result: &RecipientResult| match result {
        RecipientResult::Sent(reply) => Outcome::Sent(reply.clone()),
        RecipientResult::Refused(reply) => {
            let fault = Fault { stage: Stage::Rcpt, trouble: Trouble::Reply(reply.clone()) };
            Outcome::Refused(reply.clone(), judged(&fault))
        }
        RecipientResult::NotSent => Outcome::NotSent,
        RecipientResult::InDoubt => Outcome::InDoubt,
    };
    Arrived {
        outcomes: delivery.recipients.iter().map(outcome).collect(),
        judgement: delivery.fault.as_ref().map(judged),
        transcript: connection.session.transcript(),
        marked: marked.load(Ordering::Relaxed),
        delivery,
    }
}

/// Sees that the message before is settled, then marks this one as past the final dot: on disk when it returns. The two
/// are not written at once, or a crash between them could leave both in doubt; the settlement began a whole envelope ago.
async fn mark(
    shared: &Shared,
    message: &Message,
    before: &mut Option<JoinHandle<bool>>,
    marked: &AtomicBool,
) -> Result<(), String> {
    if let Some(task) = before.take()
        && !task.await.unwrap_or(false)
    {
        return Err("the message before could not be settled".to_owned());
    }
    if *shared.stop.borrow() == Stop::Now {
        return Err("the daemon is stopping".to_owned());
    }
    let mut past = message.clone();
    past.phase = Phase::AfterDot;
    past.version += 1;
    let change = Change::PutMessage { message: Box::new(past), expected: message.version };
    shared.store.commit(vec![change], Vec::new()).await.map_err(|error| error.to_string())?;
    marked.store(true, Ordering::Relaxed);
    fail_point::hit("queue.after_mark").map_err(|error| error.to_string())
}

fn reply_of(fault: &Fault) -> Option<&SmtpReply> {
    match &fault.trouble {
        Trouble::Reply(reply) | Trouble::Challenged { reply, .. } => Some(reply),
        _ => None,
    }
}

/// Whether the server ended the connection before it looked at the message.
fn went_away(fault: &Fault) -> bool {
    let closing = match &fault.trouble {
        Trouble::Closed => true,
        Trouble::Reply(reply) => reply.code == 421,
        _ => false,
    };
    closing && fault.stage <= Stage::Rcpt
}
