//! What people do to queued messages: cancel, retry, hold, release, resolve.
//!
//! Each is a pure step on one message, and one compare-and-swap: an order that comes while a delivery has the message
//! leaves it alone and says so.

use frankd_proto::methods::message::{Changed, Skipped};
use frankd_proto::{DoubtOutcome, EventType, Kind, MessageId, Name, RecipientState};
use jiff::Timestamp;

use super::error::QueueError;
use super::shared::{Scope, Shared};
use crate::domain::message::OperatorHold;
use crate::domain::{Message, NewEvent};
use crate::store::{Change, MessageFilter, StoreError};

/// Most ids of one call.
const IDS_MAX: usize = 1000;
/// Messages of one commit.
const BATCH: usize = 100;
/// How often a message that changes meanwhile is read again.
const TRIES: usize = 3;

/// What shall be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Call off what was not sent yet.
    Cancel,
    /// Try now.
    Retry,
    /// Hold, and why.
    Hold(Option<String>),
    /// Let go what was held.
    Release,
    /// Decide what is in doubt.
    Resolve(DoubtOutcome),
}

/// Which messages.
#[derive(Clone, Debug)]
pub(super) enum Which {
    /// These.
    Ids(Vec<MessageId>),
    /// All that wait of one profile.
    Profile(Name),
}

impl Which {
    /// Exactly one of the two.
    pub(super) fn new(ids: Vec<MessageId>, profile: Option<Name>) -> Result<Self, QueueError> {
        match (ids.len(), profile) {
            (0, Some(profile)) => Ok(Self::Profile(profile)),
            (1..=IDS_MAX, None) => Ok(Self::Ids(ids)),
            (1.., None) => Err(QueueError::Parameter { field: "ids", reason: format!("at most {IDS_MAX} ids") }),
            _ => Err(QueueError::Parameter { field: "ids", reason: "give either ids or a profile".to_owned() }),
        }
    }
}

/// Does it.
pub(super) async fn carry_out(
    shared: &Shared,
    which: Which,
    order: &Order,
    scope: Scope,
) -> Result<Changed, QueueError> {
    let mut done = Changed::default();
    match which {
        Which::Ids(ids) => {
            for batch in ids.chunks(BATCH) {
                let mut messages = Vec::with_capacity(batch.len());
                for id in batch {
                    match shared.store.message(*id).await?.filter(|message| scope.covers(message)) {
                        Some(message) => messages.push(message),
                        None => done.skipped.push(missing(*id)),
                    }
                }
                together(shared, messages, order, &mut done).await?;
            }
        }
        Which::Profile(name) => {
            let profile = shared.profile_id(&name).ok_or(QueueError::NoSuchProfile(name))?;
            let mut filter = MessageFilter {
                profile: Some(profile),
                uid: scope.uid(),
                waiting: true,
                limit: BATCH,
                ..MessageFilter::default()
            };
            loop {
                let page = shared.store.messages(filter.clone()).await?;
                together(shared, page.messages, order, &mut done).await?;
                filter.before = page.next;
                if filter.before.is_none() {
                    break;
                }
            }
        }
    }
    shared.wake();
    Ok(done)
}

fn skipped(id: MessageId, reason: impl Into<String>) -> Skipped {
    Skipped { id, kind: Kind::MessageNotCancellable, reason: reason.into() }
}

fn missing(id: MessageId) -> Skipped {
    Skipped { kind: Kind::ObjectNotFound, ..skipped(id, "there is no such message") }
}

/// All in one commit; one by one if a delivery was quicker with any of them.
async fn together(
    shared: &Shared,
    messages: Vec<Message>,
    order: &Order,
    done: &mut Changed,
) -> Result<(), QueueError> {
    let now = shared.clock.wall();
    let (mut changes, mut events, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for message in &messages {
        match step(message, order, now) {
            Ok(next) => {
                events.push(event(shared, &next, order, now));
                ids.push(next.id);
                changes.push(Change::PutMessage { expected: message.version, message: Box::new(next) });
            }
            Err(reason) => done.skipped.push(skipped(message.id, reason)),
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    match shared.store.commit(changes, events).await {
        Ok(_) => done.changed.extend(ids),
        Err(StoreError::Conflict(_) | StoreError::Missing(_)) => {
            for id in ids {
                alone(shared, id, order, done).await?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn alone(shared: &Shared, id: MessageId, order: &Order, done: &mut Changed) -> Result<(), QueueError> {
    let now = shared.clock.wall();
    for _ in 0..TRIES {
        let Some(message) = shared.store.message(id).await? else {
            done.skipped.push(missing(id));
            return Ok(());
        };
        let next = match step(&message, order, now) {
            Ok(next) => next,
            Err(reason) => {
                done.skipped.push(skipped(id, reason));
                return Ok(());
            }
        };
        let event = event(shared, &next, order, now);
        let change = Change::PutMessage { expected: message.version, message: Box::new(next) };
        match shared.store.commit(vec![change], vec![event]).await {
            Ok(_) => {
                done.changed.push(id);
                return Ok(());
            }
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    done.skipped.push(skipped(id, "changed while it was to be changed: try again"));
    Ok(())
}

fn event(shared: &Shared, message: &Message, order: &Order, now: Timestamp) -> NewEvent {
    let event_type = match order {
        Order::Cancel => EventType::MessageCancelled,
        Order::Retry | Order::Release | Order::Resolve(DoubtOutcome::Retry) => EventType::MessageReleased,
        Order::Hold(_) => EventType::MessageHeld,
        Order::Resolve(DoubtOutcome::Sent) => EventType::MessageSent,
        Order::Resolve(DoubtOutcome::Fail) => EventType::MessageFailed,
    };
    let event = NewEvent::new(now, event_type).profile(&shared.profile_name(message.profile)).object(message.id);
    match order {
        Order::Resolve(outcome) => event.with("resolved", outcome.as_str()),
        Order::Hold(Some(reason)) => event.with("reason", "operator").with("detail", reason.as_str()),
        Order::Hold(None) => event.with("reason", "operator"),
        _ => event,
    }
}

/// The message after the order, or why it stays as it is.
fn step(message: &Message, order: &Order, now: Timestamp) -> Result<Message, &'static str> {
    let mut next = message.clone();
    next.version += 1;
    if message.is_final() {
        return Err("is final already");
    }
    if message.claim.is_some() {
        return Err("is being sent");
    }
    let in_doubt = message.recipients.iter().any(|r| r.state == RecipientState::InDoubt);
    match order {
        Order::Resolve(_) if !in_doubt => return Err("is not in doubt"),
        Order::Resolve(outcome) => {
            let state = match outcome {
                DoubtOutcome::Sent => RecipientState::Sent,
                DoubtOutcome::Retry => RecipientState::Pending,
                DoubtOutcome::Fail => RecipientState::Failed,
            };
            turn(&mut next, RecipientState::InDoubt, state, now);
            next.due_at = now;
        }
        _ if !message.is_pending() => return Err("is in doubt and waits for message.resolve"),
        Order::Cancel => {
            turn(&mut next, RecipientState::Pending, RecipientState::Cancelled, now);
            next.hold = None;
        }
        Order::Hold(_) if message.hold.is_some() => return Err("is held already"),
        Order::Hold(reason) => next.hold = Some(OperatorHold { since: now, reason: reason.clone() }),
        Order::Release if message.hold.is_none() => return Err("is not held"),
        Order::Release => next.hold = None,
        Order::Retry if message.hold.is_some() => return Err("is held: release it"),
        Order::Retry if message.attempts == 0 && message.send_at.is_some_and(|at| at > now) => {
            return Err("is scheduled for later");
        }
        Order::Retry => next.due_at = now,
    }
    Ok(next)
}

/// Moves every recipient of one state to another.
pub(super) fn turn(message: &mut Message, from: RecipientState, to: RecipientState, now: Timestamp) {
    for recipient in message.recipients.iter_mut().filter(|recipient| recipient.state == from) {
        recipient.state = to;
        recipient.ended_at = (!matches!(to, RecipientState::Pending | RecipientState::InDoubt)).then_some(now);
    }
    message.ended_at = message.is_final().then_some(now);
}
