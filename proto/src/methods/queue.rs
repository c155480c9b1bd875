//! `queue.summary`: how much mail waits where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Empty, OBSERVE};
use crate::name::Name;
use crate::vocabulary::HoldReason;

method!(
    /// Counts messages by profile and state.
    Summary = "queue.summary", Empty => QueueSummary, OBSERVE
);

/// Answer of `queue.summary`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSummary {
    /// Every profile that sends mail, by name.
    pub profiles: Vec<ProfileQueue>,
    /// Messages that wait, over all profiles.
    pub waiting: u64,
    /// Their octets.
    pub bytes: u64,
}

/// The queue of one profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileQueue {
    /// The profile.
    pub profile: Name,
    /// Messages that are not final.
    pub waiting: u64,
    /// Of these: due now.
    pub due: u64,
    /// Of these: being delivered.
    pub sending: u64,
    /// Of these: held by an operator, one by one.
    pub held: u64,
    /// Of these: wait for `message.resolve`.
    pub in_doubt: u64,
    /// Octets of the waiting.
    pub bytes: u64,
    /// When the oldest waiting message was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<Timestamp>,
    /// Gates that hold all of them.
    pub gates: Vec<HoldReason>,
}
