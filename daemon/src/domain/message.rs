//! A queued message, without its body.

use frankd_proto::error::SmtpReply;
use frankd_proto::methods::message::Attempt;
use frankd_proto::{MessageId, MessageState, OnDoubt, Priority, ProfileId, RecipientState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A message as it is kept. Its octets are kept beside it by the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Rises by one with each write; compared and swapped by the store.
    pub version: u64,
    /// The profile that sends it.
    pub profile: ProfileId,
    /// User id of the caller that queued it.
    pub uid: u32,
    /// Envelope sender; empty for the null sender (RFC 5321 §4.5.5).
    pub from: String,
    /// Recipients, each with its state.
    pub recipients: Vec<Recipient>,
    /// Its Message-ID header, with the angle brackets.
    pub message_id: String,
    /// Its subject, decoded and cut to 200 characters.
    pub subject: Option<String>,
    /// Size as sent, in octets, before dot-stuffing.
    pub size_bytes: u64,
    /// Whether the body has octets over 127 (RFC 6152).
    pub eight_bit: bool,
    /// Whether a header or address needs RFC 6531.
    pub smtputf8: bool,
    /// Which mail it goes before.
    pub priority: Priority,
    /// What to do when its delivery is in doubt.
    pub on_doubt: OnDoubt,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// Not before this time.
    pub send_at: Option<Timestamp>,
    /// Given up at this time, whatever holds it: the caller said so.
    pub expires_at: Option<Timestamp>,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// How many attempts were made.
    pub attempts: u32,
    /// Seconds of its life that waits after a fault of the message or a recipient have used up.
    pub consumed_age_s: u64,
    /// How far a delivery is, while one is claimed.
    pub phase: Phase,
    /// Who delivers it now.
    pub claim: Option<Claim>,
    /// When an operator held it, and why.
    pub hold: Option<OperatorHold>,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
    /// The last attempt.
    pub last_attempt: Option<Attempt>,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Address.
    pub address: String,
    /// State.
    pub state: RecipientState,
    /// What the server last said of it.
    pub reply: Option<SmtpReply>,
    /// When it became final.
    pub ended_at: Option<Timestamp>,
}

/// How far the delivery of a claimed message is, as far as the disk knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not claimed, or not as far as the final dot: surely not sent.
    BeforeDot,
    /// The final dot may have gone out: in doubt until settled.
    AfterDot,
}

/// Who delivers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The run of the daemon that claimed it; claims of another run are void.
    pub incarnation: u64,
    /// Since when.
    pub at: Timestamp,
}

/// An operator's hold on one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorHold {
    /// Since when.
    pub since: Timestamp,
    /// Why, for people.
    pub reason: Option<String>,
}

impl Message {
    /// Whether a recipient still waits for delivery.
    pub fn is_pending(&self) -> bool {
        self.recipients.iter().any(|r| r.state == RecipientState::Pending)
    }

    /// Whether nothing will happen to the message any more.
    pub fn is_final(&self) -> bool {
        self.recipients.iter().all(|r| !matches!(r.state, RecipientState::Pending | RecipientState::InDoubt))
    }

    /// The state as it is without gates; `gated` says whether a gate of its profile is closed.
    pub fn state(&self, now: Timestamp, gated: bool) -> MessageState {
        let any = |state| self.recipients.iter().any(|r| r.state == state);
        if self.is_final() {
            return match (any(RecipientState::Sent), self.recipients.iter().all(|r| r.state == RecipientState::Sent)) {
                (_, true) => MessageState::Sent,
                (true, false) => MessageState::Partial,
                _ if any(RecipientState::Failed) => MessageState::Failed,
                _ if any(RecipientState::Expired) => MessageState::Expired,
                _ => MessageState::Cancelled,
            };
        }
        if self.claim.is_some() {
            MessageState::Sending
        } else if !self.is_pending() {
            MessageState::InDoubt
        } else if self.hold.is_some() || gated {
            MessageState::Held
        } else if self.attempts == 0 && self.send_at.is_some_and(|at| at > now) {
            MessageState::Scheduled
        } else if self.attempts > 0 && self.due_at > now {
            MessageState::Deferred
        } else {
            MessageState::Queued
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(states: &[RecipientState]) -> Message {
        let at = Timestamp::UNIX_EPOCH;
        Message {
            id: MessageId::from_bits(1),
            version: 1,
            profile: ProfileId::from_bits(1),
            uid: 0,
            from: String::new(),
            recipients: states
                .iter()
                .map(|state| Recipient {
                    address: "a@b.example".to_owned(),
                    state: *state,
                    reply: None,
                    ended_at: None,
                })
                .collect(),
            message_id: "<1@b.example>".to_owned(),
            subject: None,
            size_bytes: 1,
            eight_bit: false,
            smtputf8: false,
            priority: Priority::Normal,
            on_doubt: OnDoubt::Retry,
            queued_at: at,
            send_at: None,
            expires_at: None,
            due_at: at,
            attempts: 0,
            consumed_age_s: 0,
            phase: Phase::BeforeDot,
            claim: None,
            hold: None,
            ended_at: None,
            last_attempt: None,
        }
    }

    #[test]
    fn the_state_of_a_message_follows_from_its_recipients() {
        use RecipientState::{Cancelled, Expired, Failed, InDoubt, Pending, Sent};
        for (recipients, state) in [
            (&[Sent, Sent][..], MessageState::Sent),
            (&[Sent, Failed], MessageState::Partial),
            (&[Failed, Expired], MessageState::Failed),
            (&[Expired, Cancelled], MessageState::Expired),
            (&[Cancelled], MessageState::Cancelled),
            (&[Sent, InDoubt], MessageState::InDoubt),
            (&[Sent, Pending], MessageState::Queued),
        ] {
            assert_eq!(message(recipients).state(Timestamp::UNIX_EPOCH, false), state, "{recipients:?}");
        }
        assert_eq!(message(&[Pending]).state(Timestamp::UNIX_EPOCH, true), MessageState::Held);
    }
}
