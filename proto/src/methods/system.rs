//! `system.*`: the daemon itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::queue::ProfileQueue;
use super::token::TokenInfo;
use super::{ADMINISTER, Empty, OBSERVE};
use crate::method::Need;
use crate::name::Name;
use crate::vocabulary::{HoldReason, ProfileKind};

method!(
    /// Answers at once: the daemon lives.
    Ping = "system.ping", Empty => Pong, Need::Nobody
);
method!(
    /// Tells versions and limits.
    Info = "system.info", Empty => SystemInfo, OBSERVE
);
method!(
    /// Tells in one glance whether mail flows, when it will stop, and what to type.
    Status = "system.status", Empty => SystemStatus, OBSERVE
);
method!(
    /// Reads the configuration again. A wrong one changes nothing.
    Reload = "system.reload", Empty => Reloaded, ADMINISTER
);

/// Answer of `system.ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The daemon's clock.
    pub now: Timestamp,
}

/// Answer of `system.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// Version of the daemon.
    pub version: String,
    /// Version of the contract, see [`crate::API_VERSION`].
    pub api: String,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Store engine: `sled` or `memory`.
    pub store: String,
    /// Limits in force.
    pub limits: Limits,
}

/// Limits in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest request, in octets.
    pub request_bytes: u64,
    /// Largest message, in octets.
    pub message_bytes: u64,
    /// Most calls in a batch.
    pub batch: u32,
    /// Most calls in flight on one connection.
    pub calls_in_flight: u32,
    /// Most connections of one uid.
    pub connections_per_uid: u32,
    /// Most subscriptions of one uid.
    pub subscriptions_per_uid: u32,
    /// Most messages in the queue.
    pub queue_messages: u64,
}

/// How the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All is well.
    Ok,
    /// Something needs attention; mail of some profile may wait.
    Degraded,
    /// Something may be lost unless it is mended.
    Critical,
}

/// Answer of `system.status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemStatus {
    /// The worst of all problems.
    pub state: Health,
    /// Version of the daemon.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When this was true.
    pub as_of: Timestamp,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
    /// Every profile.
    pub profiles: Vec<ProfileStatus>,
    /// Deliveries of the last 24 hours, as far as events are kept.
    pub last_24h: Counters,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Health,
    /// `client:NAME`, `profile:NAME`, `store` or `config`.
    pub object: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The command that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Id of the diagnosis in the error taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
}

/// One line of the status table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileStatus {
    /// Name of the profile.
    pub name: Name,
    /// What it is.
    pub kind: ProfileKind,
    /// The account that it sends as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its token, unless it is a classic profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenInfo>,
    /// Its queue, unless it sends no mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<ProfileQueue>,
    /// Gates that are closed.
    pub held: Vec<HoldReason>,
}

/// How many messages ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Sent, at least to one recipient.
    pub sent: u64,
    /// Refused or expired.
    pub failed: u64,
}

/// Answer of `system.reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys whose value changed.
    pub changed: Vec<String>,
    /// Keys whose change needs a restart to take effect.
    pub needs_restart: Vec<String>,
    /// What is suspicious in the files, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
