//! `message.*`: mail in the queue.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HANDLE_OWN, OPERATE, READ_OWN};
use crate::error::{Kind, SmtpReply};
use crate::ids::MessageId;
use crate::method::Need;
use crate::name::Name;
use crate::vocabulary::{Capability, DoubtOutcome, HoldReason, MessageState, OnDoubt, Priority, RecipientState};

method!(
    /// Queues a message. It is on disk when the answer comes.
    Send = "message.send", SendParams => Receipt, Need::Any(&[Capability::Submit, Capability::Operate])
);
method!(
    /// Shows one message.
    Get = "message.get", ById => MessageView, READ_OWN
);
method!(
    /// Waits until a message is final, held or in doubt, or the time-out.
    Wait = "message.wait", WaitParams => MessageView, READ_OWN
);
method!(
    /// Lists messages, the newest first.
    List = "message.list", ListParams => Messages, READ_OWN
);
method!(
    /// Gives the message as it is sent.
    Raw = "message.raw", ById => RawMessage, HANDLE_OWN
);
method!(
    /// Calls messages off: what was not sent yet is not sent.
    Cancel = "message.cancel", Selection => Changed, HANDLE_OWN
);
method!(
    /// Tries messages now.
    Retry = "message.retry", Selection => Changed, HANDLE_OWN
);
method!(
    /// Holds messages one by one.
    Hold = "message.hold", Selection => Changed, OPERATE
);
method!(
    /// Lets held messages go.
    Release = "message.release", Selection => Changed, OPERATE
);
method!(
    /// Decides what is in doubt.
    Resolve = "message.resolve", ResolveParams => Changed, HANDLE_OWN
);

/// Parameters of `message.send`: either `message` or `raw_b64`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// The profile to send with; chosen by the From address if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// The parts of a message; frankd makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Compose>,
    /// A whole message (RFC 5322), base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_b64: Option<String>,
    /// Who it is from and goes to on the wire (RFC 5321); from the headers if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<EnvelopeInput>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Timestamp>,
    /// Not before this many seconds after acceptance, in place of `send_at`: a call that is repeated with its
    /// idempotency key is then the same call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_in_s: Option<u64>,
    /// Given up this many seconds after that time or acceptance, whatever holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
    /// `normal` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What to do when the delivery is in doubt; as the profile says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_doubt: Option<OnDoubt>,
    /// The same key with the same message gives the first receipt again. At most 128 octets of visible ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The parts of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// From address, with or without a display name; the profile's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// To addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Cc addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<String>,
    /// Bcc addresses: recipients that no header names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<String>,
    /// Reply-To addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<String>,
    /// Subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// HTML; with `text` an alternative of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// More header fields. Those that frankd writes itself are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Files to attach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// A file to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// File name.
    pub name: String,
    /// Media type; `application/octet-stream` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The octets, base64.
    pub content_b64: String,
}

/// An envelope, as given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeInput {
    /// Sender; empty for the null sender; the From address if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Recipients; all of To, Cc and Bcc if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
}

/// Answer of `message.send`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Id of the message in the queue.
    pub id: MessageId,
    /// The profile that sends it.
    pub profile: Name,
    /// Its Message-ID header, with the angle brackets.
    pub message_id: String,
    /// Its state now.
    pub state: MessageState,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// Whether this receipt is that of an earlier call with the same idempotency key.
    pub duplicate: bool,
}

/// Names one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ById {
    /// Its id.
    pub id: MessageId,
}

/// Parameters of `message.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// Which message.
    pub id: MessageId,
    /// Longest wait in seconds, 0 to 120; 60 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
}

/// Parameters of `message.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    /// Only messages of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// Only messages in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// Only messages to this recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only messages queued at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Most messages to return, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the call before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<MessageId>,
}

/// Answer of `message.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// The newest first.
    pub items: Vec<MessageView>,
    /// Give it as `cursor` for the rest; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<MessageId>,
}

/// A message as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// The profile that sends it.
    pub profile: Name,
    /// Its state.
    pub state: MessageState,
    /// Why it is held, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HoldReason>,
    /// Envelope sender; empty for the null sender.
    pub from: String,
    /// Recipients, each with its state.
    pub recipients: Vec<RecipientView>,
    /// Its Message-ID header.
    pub message_id: String,
    /// Its subject, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Size as sent, in octets.
    pub size_bytes: u64,
    /// Which mail it goes before.
    pub priority: Priority,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Timestamp>,
    /// Given up at this time, whatever holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Seconds of its life that attempts on the message's own account have used up.
    pub consumed_age_s: u64,
    /// When it became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// User id of the caller that queued it.
    pub uid: u32,
    /// The last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
}

/// A recipient as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientView {
    /// Address.
    pub address: String,
    /// State.
    pub state: RecipientState,
    /// What the server last said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<SmtpReply>,
    /// When it became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// One attempt to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// `host:port`.
    pub server: String,
    /// What came of it, in one sentence.
    pub outcome: String,
    /// Id of the diagnosis in the error taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
    /// The conversation, without credentials and without the message itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transcript: Vec<String>,
}

/// Answer of `message.raw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawMessage {
    /// The message as it is sent (RFC 5322), base64.
    pub raw_b64: String,
}

/// Which messages: ids, or all that wait of one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// These messages, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<MessageId>,
    /// All waiting messages of this profile, in place of `ids`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Parameters of `message.resolve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveParams {
    /// Which messages, at most 1,000.
    pub ids: Vec<MessageId>,
    /// What became of them.
    pub outcome: DoubtOutcome,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Messages that changed.
    pub changed: Vec<MessageId>,
    /// Messages that did not, and why.
    pub skipped: Vec<Skipped>,
}

/// A message that did not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its id.
    pub id: MessageId,
    /// `object.not_found` if there is no such message, `message.not_cancellable` if its state does not allow it.
    pub kind: Kind,
    /// Why.
    pub reason: String,
}
