//! The seam to the disk: what frankd keeps, as plain types, and what an engine must promise.
//!
//! # Promises
//!
//! - **Durable.** A call that changes something returns after the change is on disk (group commit), but for [`Store::claim`],
//!   whose loss costs nothing.
//! - **One commit.** A change, its events and their sequence numbers are one commit: all of it or nothing.
//! - **Compare and swap.** Each record has a version (`revision`, `version`, a grant's `state`); a change names the one
//!   that it was made from. So no owner can overwrite what it has not seen.
//! - **References.** A profile's client and a waiting message's profile are there: who takes them away, and who refers to
//!   what is not there, is refused. Only here are all changes seen in one order, so only here can that be promised.
//! - **Claims.** [`Store::claim`] hands a due message to one delivery. Claims of another run of the daemon are void when
//!   the store is opened; [`Opened`] tells which of them had passed the final dot.
//! - **Order.** Within a profile: by priority, then by due time, then by id.
//! - **Bodies.** The body of a message goes with the commit that makes it final if every recipient was sent or cancelled;
//!   otherwise [`Store::sweep`] takes it.
//! - **Wake-up.** [`Store::last_seq`] changes with every commit that has an event, so nobody polls.
//!
//! # Adding a record
//!
//! Add its type to `domain`, a variant to [`Change`], its field to [`Snapshot`], a tree to both engines, and a case to
//! `store::conformance`. Its first stored octet is its format version, from 1.

use std::fmt;

use frankd_proto::{ClientId, GrantId, GrantState, HoldReason, MessageId, ProfileId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::{Client, Gate, Grant, Message, NewEvent, Profile, StoredEvent, TokenSlot};

mod body;
#[cfg(any(test, feature = "fakes"))]
pub mod conformance;
mod disk;
mod last_seq;
#[cfg(any(test, feature = "fakes"))]
pub mod memory;
mod mirror;
#[cfg(test)]
mod power;
mod rules;
pub mod seal;
pub mod sled;

pub use body::{BodyReader, BodyWriter, NewBody, Temporary};
#[cfg(any(test, feature = "fakes"))]
pub use memory::MemoryStore;

pub use last_seq::LastSeq;

/// What a call of the store gives, later.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A call of the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A record is not as the change assumes: read it again.
    #[error("{0} changed meanwhile")]
    Conflict(Record),
    /// A record is not there.
    #[error("{0} is not there")]
    Missing(Record),
    /// Another record has the name: this one.
    #[error("{0} has that name")]
    Taken(Record),
    /// Others need the record as it is: profiles their client, waiting mail its profile.
    #[error("{0} is in use")]
    InUse(Record),
    /// A write or sync failed: the store takes no more changes until it is opened again.
    #[error("the store takes no more changes: {0}")]
    ReadOnly(String),
    /// The disk is too full to take more. Nothing is broken: it works again once there is room.
    #[error("the disk has too little room")]
    Full,
    /// The disk or the engine failed. Nothing was changed by the call.
    #[error("the store failed: {0}")]
    Failed(String),
    /// A record cannot be read.
    #[error("{record} cannot be read: {cause}")]
    Damaged {
        /// Which.
        record: Record,
        /// Why.
        cause: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Names a record in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A client.
    Client(ClientId),
    /// A profile.
    Profile(ProfileId),
    /// The token slot of a profile.
    Slot(ProfileId),
    /// A grant.
    Grant(GrantId),
    /// A gate of a profile.
    Gate(ProfileId, HoldReason),
    /// A message.
    Message(MessageId),
    /// The body of a message.
    Body(MessageId),
    /// An event.
    Event(u64),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client {id}"),
            Self::Profile(id) => write!(f, "profile {id}"),
            Self::Slot(id) => write!(f, "token slot of {id}"),
            Self::Grant(id) => write!(f, "grant {id}"),
            Self::Gate(id, reason) => write!(f, "gate {reason} of {id}"),
            Self::Message(id) => write!(f, "message {id}"),
            Self::Body(id) => write!(f, "body of {id}"),
            Self::Event(seq) => write!(f, "event {seq}"),
        }
    }
}

/// One change of a [`Store::commit`]. `expected` is the version that the change was made from; the record given carries
/// the new one: one more, or 1 for a new record. Anything else is a [`StoreError::Conflict`]; a name that another record
/// has is [`StoreError::Taken`].
#[derive(Clone, Debug)]
pub enum Change {
    /// Makes a client (`expected: None`) or changes it. The name must be free.
    PutClient {
        /// The client as it shall be.
        client: Box<Client>,
        /// Its revision before.
        expected: Option<u64>,
    },
    /// Deletes a client. While a profile refers to it, that is [`StoreError::InUse`].
    DeleteClient {
        /// Which.
        id: ClientId,
        /// Its revision before.
        expected: u64,
    },
    /// Makes a profile (`expected: None`) or changes it. The name must be free and the client there; while mail waits for
    /// the profile it goes on sending, else that is [`StoreError::InUse`].
    PutProfile {
        /// The profile as it shall be.
        profile: Box<Profile>,
        /// Its revision before.
        expected: Option<u64>,
    },
    /// Deletes a profile. While mail waits for it, that is [`StoreError::InUse`].
    DeleteProfile {
        /// Which.
        id: ProfileId,
        /// Its revision before.
        expected: u64,
    },
    /// Makes a token slot (`expected: None`) or changes it. Its mirror file is written in the same commit.
    PutSlot {
        /// The slot as it shall be.
        slot: Box<TokenSlot>,
        /// Its version before.
        expected: Option<u64>,
    },
    /// Deletes a token slot and its mirror file.
    DeleteSlot {
        /// Of which profile.
        profile: ProfileId,
        /// Its version before.
        expected: u64,
    },
    /// Makes a grant (`expected: None`) or moves it on from a state: so a grant is taken once.
    PutGrant {
        /// The grant as it shall be.
        grant: Box<Grant>,
        /// Its state before.
        expected: Option<GrantState>,
    },
    /// Closes a gate, or changes the closed one of the same reason.
    PutGate(Gate),
    /// Opens a gate; nothing if it is open.
    RemoveGate {
        /// Of which profile.
        profile: ProfileId,
        /// Which gate.
        reason: HoldReason,
    },
    /// Changes a message: a settlement, a hold, a cancellation. The index of due work follows. A profile that it moves to
    /// must be there and send mail.
    PutMessage {
        /// The message as it shall be.
        message: Box<Message>,
        /// Its version before.
        expected: u64,
    },
}

/// A message to accept.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The message; its version is 1.
    pub message: Message,
    /// Its octets as sent, with CRLF line ends and without dot-stuffing.
    pub body: NewBody,
    /// Names the submission, for retries of the caller.
    pub idempotency: Option<IdempotencyKey>,
    /// Most messages that are not final, over all callers.
    pub max_messages: u64,
    /// Most messages that are not final, of this uid.
    pub max_of_uid: u64,
    /// What is told of it.
    pub event: NewEvent,
}

/// A caller's name for a submission. Its scope is the caller's uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// User id of the caller.
    pub uid: u32,
    /// What the caller calls it.
    pub key: String,
    /// SHA-256 of the parameters that make the message.
    pub digest: [u8; 32],
}

/// What became of a [`NewMessage`].
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It is on disk.
    New,
    /// The same was accepted before under this key.
    Duplicate(Box<Message>),
    /// The key was used for something else.
    KeyConflict,
    /// There is no room: over all callers or for this uid.
    QueueFull {
        /// Whether it is the share of the uid that is used up.
        of_uid: bool,
    },
}

/// Everything but messages and events, each kind in the order of its ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// All clients.
    pub clients: Vec<Client>,
    /// All profiles.
    pub profiles: Vec<Profile>,
    /// All token slots.
    pub slots: Vec<TokenSlot>,
    /// All grants that are kept.
    pub grants: Vec<Grant>,
    /// All closed gates.
    pub gates: Vec<Gate>,
}

/// What was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// This run of the daemon; rises by one with each opening.
    pub incarnation: u64,
    /// Messages that the run before had claimed and that were surely not sent; their claims are void already.
    pub not_sent: u64,
    /// Messages that the run before had claimed and that had passed the final dot: they keep their void claim and their
    /// phase until the queue decides.
    pub in_doubt: Vec<MessageId>,
}

/// A profile with due work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The profile.
    pub profile: ProfileId,
    /// When its first message that is neither claimed nor held is due.
    pub due_at: Timestamp,
}

/// Counts of one profile's messages that are not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCount {
    /// All of them.
    pub waiting: u64,
    /// Being delivered.
    pub sending: u64,
    /// Held by an operator.
    pub held: u64,
    /// In doubt.
    pub in_doubt: u64,
    /// Octets.
    pub bytes: u64,
    /// When the first of them, by id, was queued.
    pub oldest_at: Option<Timestamp>,
}

/// Which messages to list, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only of this profile.
    pub profile: Option<ProfileId>,
    /// Only of this caller.
    pub uid: Option<u32>,
    /// Only those that are not final.
    pub waiting: bool,
    /// Only queued at or after this time.
    pub since: Option<Timestamp>,
    /// Only with an id under this one.
    pub before: Option<MessageId>,
    /// At most this many are returned.
    pub limit: usize,
}

/// A piece of a list of messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessagePage {
    /// Those that match, the newest first.
    pub messages: Vec<Message>,
    /// `before` of the call that goes on; `None` once everything was looked at. A page may be short, even empty, and have
    /// it: a call looks at a bounded number of messages.
    pub next: Option<MessageId>,
}

/// What is kept for how long; a moment for each kind: what ended before it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bodies of messages with a recipient neither sent nor cancelled.
    pub body_before: Timestamp,
    /// Records of final messages.
    pub message_before: Timestamp,
    /// Events.
    pub event_before: Timestamp,
    /// Idempotency keys, by the end of their message.
    pub idempotency_before: Timestamp,
    /// Grants that are over.
    pub grant_before: Timestamp,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why it takes no more changes, if so.
    pub read_only: Option<String>,
    /// Free octets of its file system.
    pub free_bytes: Option<u64>,
}

/// The store. See the module for what an engine promises.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// `sled` or `memory`.
    fn engine(&self) -> &'static str;

    /// What was found when it was opened.
    fn opened(&self) -> &Opened;

    /// Everything but messages and events.
    fn snapshot(&self) -> Reply<'_, Snapshot>;

    /// Makes all changes or none, with their events. Gives the sequence number of the last event.
    fn commit(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Reply<'_, u64>;

    /// Accepts a message, its body and its event in one commit. Without a profile that sends it, that is
    /// [`StoreError::Missing`].
    fn accept(&self, new: NewMessage) -> Reply<'_, Accepted>;

    /// What [`Self::accept`] would answer to a key that is known: [`Accepted::Duplicate`] or [`Accepted::KeyConflict`].
    /// `None` if the key is new.
    fn named(&self, key: IdempotencyKey) -> Reply<'_, Option<Accepted>>;

    /// Every profile with a message that is neither claimed nor held, and when its first one is due.
    fn lanes(&self) -> Reply<'_, Vec<Lane>>;

    /// Claims up to `limit` messages of a profile that are due at `now`, the first first. Not durable by itself: it is on
    /// disk before any later change is.
    fn claim(&self, profile: ProfileId, now: Timestamp, limit: usize) -> Reply<'_, Vec<Message>>;

    /// One message; `None` if there is none.
    fn message(&self, id: MessageId) -> Reply<'_, Option<Message>>;

    /// Messages, the newest first, a page at a time.
    fn messages(&self, filter: MessageFilter) -> Reply<'_, MessagePage>;

    /// Takes the octets of message `id` ahead of its acceptance.
    fn write_body(&self, id: MessageId) -> Box<dyn BodyWriter>;

    /// The octets of a message, piece by piece; `None` once they are no longer kept.
    fn read_body(&self, id: MessageId) -> Reply<'_, Option<Box<dyn BodyReader>>>;

    /// The octets of a message, whole; `None` once they are no longer kept.
    fn body(&self, id: MessageId) -> Reply<'_, Option<Vec<u8>>> {
        async move {
            match self.read_body(id).await? {
                Some(reader) => body::whole(reader).await.map(Some),
                None => Ok(None),
            }
        }
        .boxed()
    }

    /// Counts of messages that are not final, by profile.
    fn counts(&self) -> Reply<'_, Vec<(ProfileId, LaneCount)>>;

    /// Events after `since`, the oldest first, and the sequence number of the oldest event that is kept: of the next one
    /// if none is.
    fn events(&self, since: u64, limit: usize) -> Reply<'_, (Vec<StoredEvent>, u64)>;

    /// The sequence number of the last event.
    fn last_seq(&self) -> LastSeq;

    /// Deletes what is no longer kept, a bounded piece at a time. Gives whether there may be more.
    fn sweep(&self, retention: Retention) -> Reply<'_, bool>;

    /// How it is.
    fn health(&self) -> StoreHealth;

    /// Writes what is pending and ends. Later calls fail with [`StoreError::Closed`].
    fn close(&self) -> Reply<'_, ()>;
}
