//! What the run before left in doubt: messages that had passed the final dot and were not settled.

use frankd_proto::{EventType, MessageId, OnDoubt, RecipientState};

use super::shared::Shared;
use crate::clock::ClockExt as _;
use crate::domain::{Message, NewEvent, Phase};
use crate::store::{Change, StoreError};
use std::time::Duration;

/// What the event and the record say.
const WHY: &str = "the daemon ended after the final dot and before the answer was written down";

/// Decides all of them, as each message says: told, and then pending again or in doubt. Runs before anything is delivered.
pub(super) async fn decide_all(shared: &Shared) {
    for id in shared.store.opened().in_doubt.clone() {
        while let Err(error) = decide(shared, id).await {
            tracing::error!(%id, %error, "a message in doubt cannot be decided");
            if matches!(error, StoreError::Closed | StoreError::ReadOnly(_)) || shared.is_stopping() {
                return;
            }
            if !matches!(error, StoreError::Full | StoreError::Failed(_)) {
                break;
            }
            shared.clock.sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn decide(shared: &Shared, id: MessageId) -> Result<(), StoreError> {
    let Some(message) = shared.store.message(id).await? else { return Ok(()) };
    let void = message.claim.is_some_and(|claim| claim.incarnation != shared.store.opened().incarnation);
    if !void || message.phase != Phase::AfterDot {
        return Ok(());
    }
    let now = shared.clock.wall();
    let (next, doubtful) = step(&message, now);
    tracing::warn!(%id, on_doubt = %next.on_doubt, "in doubt: {WHY}");
    let event = NewEvent::new(now, EventType::MessageInDoubt)
        .profile(&shared.profile_name(message.profile))
        .object(id)
        .with("recipients", doubtful)
        .with("on_doubt", next.on_doubt.as_str())
        .with("message_id", next.message_id.as_str())
        .with("detail", WHY);
    let change = Change::PutMessage { expected: message.version, message: Box::new(next) };
    shared.store.commit(vec![change], vec![event]).await.map(drop)
}

/// The message after the doubt is known, and the addresses that it is about.
fn step(message: &Message, now: jiff::Timestamp) -> (Message, Vec<String>) {
    let mut next = message.clone();
    next.version += 1;
    next.claim = None;
    next.phase = Phase::BeforeDot;
    next.attempts = next.attempts.saturating_add(1);
    next.due_at = now;
    let mut doubtful = Vec::new();
    for recipient in next.recipients.iter_mut().filter(|r| r.state == RecipientState::Pending) {
        doubtful.push(recipient.address.clone());
        if next.on_doubt == OnDoubt::Hold {
            recipient.state = RecipientState::InDoubt;
        }
    }
    (next, doubtful)
}
