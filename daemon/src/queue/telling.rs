//! What is told of a message when an attempt ends, and the sentence that its record keeps.

use frankd_proto::error::SmtpReply;
use frankd_proto::{EventType, Name, RecipientState};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::domain::{Message, NewEvent, Recipient};
use crate::policy::retry::Outcome;

/// The events of an attempt: one for each thing that happened to recipients, in the order of certainty.
pub(super) fn events(
    before: &Message,
    after: &Message,
    outcomes: &[Outcome],
    told: &Told<'_>,
    now: Timestamp,
) -> Vec<NewEvent> {
    let new = |event_type| NewEvent::new(now, event_type).profile(told.profile).object(after.id);
    let mut events = Vec::new();
    for (state, event_type) in [
        (RecipientState::Sent, EventType::MessageSent),
        (RecipientState::Failed, EventType::MessageFailed),
        (RecipientState::Expired, EventType::MessageExpired),
    ] {
        let changed = changed(before, after, state);
        if changed.is_empty() {
            continue;
        }
        let mut event = new(event_type).with("recipients", changed).with("attempts", after.attempts);
        if state == RecipientState::Sent {
            event = event.with("message_id", after.message_id.as_str());
        } else {
            event = described(event, told);
        }
        events.push(event);
    }
    let doubtful = in_doubt(before, outcomes);
    if !doubtful.is_empty() {
        let event = new(EventType::MessageInDoubt).with("recipients", doubtful);
        let event = event.with("on_doubt", after.on_doubt.as_str()).with("message_id", after.message_id.as_str());
        events.push(described(event, told));
    } else if after.is_pending() && !told.gated {
        let event = new(EventType::MessageDeferred).with("due_at", after.due_at.to_string());
        events.push(described(event.with("attempts", after.attempts), told));
    }
    events
}

/// What is known besides the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) profile: &'a Name,
    /// What came of the attempt.
    pub(super) outcome: &'a str,
    pub(super) diagnosis: Option<&'a str>,
    /// Whether a gate closed with it: then the profile's event tells of the wait.
    pub(super) gated: bool,
}

fn described(event: NewEvent, told: &Told<'_>) -> NewEvent {
    let event = event.with("detail", told.outcome);
    match told.diagnosis {
        Some(id) => event.with("diagnosis", id),
        None => event,
    }
}

/// Recipients that came to `state`, each with the server's word.
fn changed(before: &Message, after: &Message, state: RecipientState) -> Vec<Value> {
    let pairs = before.recipients.iter().zip(&after.recipients);
    pairs.filter(|(old, new)| old.state != new.state && new.state == state).map(|(_, new)| recipient(new)).collect()
}

fn in_doubt(before: &Message, outcomes: &[Outcome]) -> Vec<Value> {
    let pending = before.recipients.iter().filter(|r| r.state == RecipientState::Pending);
    pending.zip(outcomes).filter(|(_, outcome)| **outcome == Outcome::InDoubt).map(|(r, _)| recipient(r)).collect()
}

fn recipient(recipient: &Recipient) -> Value {
    let mut map = Map::new();
    map.insert("address".to_owned(), recipient.address.as_str().into());
    if let Some(reply) = &recipient.reply {
        map.insert("reply".to_owned(), words(reply).into());
    }
    map.into()
}

/// A reply on one line.
pub(super) fn words(reply: &SmtpReply) -> String {
    match &reply.enhanced {
        Some(enhanced) => format!("{} {enhanced} {}", reply.code, reply.text),
        None => format!("{} {}", reply.code, reply.text),
    }
}

/// What came of an attempt, in one sentence.
pub(super) fn outcome(outcomes: &[Outcome], fault: Option<&str>) -> String {
    let sent = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Sent(_))).count();
    let doubtful = outcomes.contains(&Outcome::InDoubt);
    let refused = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Refused(_, judgement) => Some(judgement.message.as_str()),
        _ => None,
    });
    let taken = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Sent(reply) => Some(words(reply)),
        _ => None,
    });
    match (taken, fault.or(refused)) {
        (Some(reply), None) => format!("sent: {reply}"),
        (Some(_), Some(why)) => format!("sent to {sent} of {} recipients: {why}", outcomes.len()),
        (None, Some(why)) if doubtful && !why.contains("may or may not") => {
            format!("the server may or may not have taken the message: {why}")
        }
        (None, Some(why)) => why.to_owned(),
        (None, None) => "not sent".to_owned(),
    }
}
