//! What follows from a record alone, the same in every engine: which version may follow which, where a message is
//! counted, whether its body is still needed.

use frankd_proto::{GrantId, GrantState, RecipientState};

use super::{LaneCount, MessageFilter, Record, StoreError};
use crate::domain::{Message, NewEvent, Profile, StoredEvent};

/// Most messages that one call of [`Store::messages`](super::Store::messages) looks at.
pub(super) const LOOKED_AT: usize = 10_000;

/// Where a message stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Waits for its due time, and can be claimed then.
    Due,
    /// Is being delivered.
    Claimed,
    /// An operator holds it.
    Held,
    /// Waits for a decision.
    InDoubt,
    /// Nothing will happen to it.
    Final,
}

/// Where `message` stands, gates aside. The order of the cases is that of [`Message::state`].
pub(super) fn place(message: &Message) -> Place {
    if message.is_final() {
        Place::Final
    } else if message.claim.is_some() {
        Place::Claimed
    } else if !message.is_pending() {
        Place::InDoubt
    } else if message.hold.is_some() {
        Place::Held
    } else {
        Place::Due
    }
}

/// Whether the octets of `message` are of use to anybody: it is not final, or a recipient may ask what was in it.
pub(super) fn needs_body(message: &Message) -> bool {
    !message.is_final()
        || !message.recipients.iter().all(|r| matches!(r.state, RecipientState::Sent | RecipientState::Cancelled))
}

/// What `message` adds to the counts of its profile; `oldest_at` stays empty.
pub(super) fn counted(message: &Message) -> LaneCount {
    let place = place(message);
    let one = |wanted| u64::from(place == wanted);
    if place == Place::Final {
        return LaneCount::default();
    }
    LaneCount {
        waiting: 1,
        sending: one(Place::Claimed),
        held: one(Place::Held),
        in_doubt: one(Place::InDoubt),
        bytes: message.size_bytes,
        oldest_at: None,
    }
}

/// Whether a record may follow the one that is `stored`: see [`Change`](super::Change).
pub(super) fn follows(
    stored: Option<u64>,
    expected: Option<u64>,
    next: Option<u64>,
    record: Record,
) -> Result<(), StoreError> {
    match (stored, expected) {
        (None, Some(_)) => Err(StoreError::Missing(record)),
        _ if stored != expected => Err(StoreError::Conflict(record)),
        _ if next.is_some_and(|next| Some(next) != expected.unwrap_or(0).checked_add(1)) => {
            Err(StoreError::Conflict(record))
        }
        _ => Ok(()),
    }
}

/// Whether a profile can be given mail.
pub(super) const fn sends(profile: &Profile) -> bool {
    profile.smtp.is_some()
}

/// Whether a grant may leave the state that is `stored`.
pub(super) fn moves_on(
    stored: Option<GrantState>,
    expected: Option<GrantState>,
    id: GrantId,
) -> Result<(), StoreError> {
    match (stored, expected) {
        (None, Some(_)) => Err(StoreError::Missing(Record::Grant(id))),
        _ if stored != expected => Err(StoreError::Conflict(Record::Grant(id))),
        _ => Ok(()),
    }
}

/// Whether a list shows `message`.
pub(super) fn shows(filter: &MessageFilter, message: &Message) -> bool {
    filter.profile.is_none_or(|profile| profile == message.profile)
        && filter.uid.is_none_or(|uid| uid == message.uid)
        && filter.since.is_none_or(|since| since <= message.queued_at)
        && filter.before.is_none_or(|before| message.id < before)
        && !(filter.waiting && message.is_final())
}

/// The event with its sequence number.
pub(super) fn numbered(event: NewEvent, seq: u64) -> StoredEvent {
    StoredEvent {
        seq,
        at: event.at,
        event_type: event.event_type,
        profile: event.profile,
        client: event.client,
        object: event.object,
        data: event.data,
    }
}
