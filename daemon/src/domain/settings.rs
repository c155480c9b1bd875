//! The daemon's settings, parsed. `app` loads them and swaps them on reload.

use std::time::Duration;

use frankd_proto::{Capability, Name};

/// Everything that the configuration can say, with the values in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Limits of the socket.
    pub limits: LimitSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// Retry of deferred mail.
    pub retry: RetrySettings,
    /// How long things are kept.
    pub retention: RetentionSettings,
    /// Who may do what, in order; a caller gets the union of all rules that match.
    pub access: Vec<AccessRule>,
}

/// Limits of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Largest request, in octets.
    pub request_bytes: u64,
    /// Largest message, in octets.
    pub message_bytes: u64,
    /// All requests over 1 MiB together, in octets; one uid has at most half of it.
    pub large_requests_bytes: u64,
    /// Most calls in a batch.
    pub batch: u32,
    /// Most calls in flight on one connection.
    pub calls_in_flight: u32,
    /// Most connections of one uid.
    pub connections_per_uid: u32,
    /// Most subscriptions of one uid.
    pub subscriptions_per_uid: u32,
    /// Time in which a request must be complete, before its size is looked at.
    pub request_timeout: Duration,
    /// Octets that add one second to it.
    pub request_bytes_per_second: u64,
}

/// The queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most messages that are not final.
    pub messages: u64,
    /// Share of it that one uid without `operate` may use, in percent.
    pub uid_percent: u32,
    /// Mail is refused under this much free disk, in octets.
    pub min_free_bytes: u64,
    /// Consumed age at which a message is given up.
    pub expires_after: Duration,
    /// Time after which a gate that stays closed expires its messages.
    pub longest_gate: Duration,
    /// Time that a stop lets deliveries finish.
    pub drain: Duration,
}

/// Retry of deferred mail.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// Jitter to either side, as a share of the wait.
    pub jitter: f64,
}

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Body of a message with a recipient that was neither sent nor cancelled, after it is final.
    pub body: Duration,
    /// Record of a final message.
    pub message: Duration,
    /// Events.
    pub event: Duration,
    /// Idempotency keys, after the message is final.
    pub idempotency: Duration,
    /// Grants that are over.
    pub grant: Duration,
}

/// Who a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everybody.
    Anyone,
    /// A user by name, looked up when the settings are loaded.
    Uid(u32),
    /// A group by name or id.
    Gid(u32),
}

/// One `[[access]]` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Whom it is for.
    pub subject: Subject,
    /// What they may do.
    pub capabilities: Vec<Capability>,
    /// Only with these profiles; absent means all.
    pub profiles: Option<Vec<Name>>,
    /// Only with these From addresses; absent means all.
    pub from: Option<Vec<String>>,
    /// Most messages in an hour.
    pub rate_per_hour: Option<u32>,
}

const MIB: u64 = 1024 * 1024;
const DAY: u64 = 24 * 3600;

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: LimitSettings {
                request_bytes: 48 * MIB,
                message_bytes: 35 * MIB,
                large_requests_bytes: 96 * MIB,
                batch: 100,
                calls_in_flight: 64,
                connections_per_uid: 256,
                subscriptions_per_uid: 64,
                request_timeout: Duration::from_secs(30),
                request_bytes_per_second: 256 * 1024,
            },
            queue: QueueSettings {
                messages: 1_000_000,
                uid_percent: 10,
                min_free_bytes: 512 * MIB,
                expires_after: Duration::from_secs(5 * DAY),
                longest_gate: Duration::from_secs(14 * DAY),
                drain: Duration::from_secs(60),
            },
            retry: RetrySettings { first: Duration::from_secs(60), longest: Duration::from_secs(3600), jitter: 0.25 },
            retention: RetentionSettings {
                body: Duration::from_secs(7 * DAY),
                message: Duration::from_secs(7 * DAY),
                event: Duration::from_secs(30 * DAY),
                idempotency: Duration::from_secs(72 * 3600),
                grant: Duration::from_secs(7 * DAY),
            },
            access: Vec::new(),
        }
    }
}
