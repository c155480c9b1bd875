//! Why the queue does not do what it is asked for.

use std::time::Duration;

use frankd_proto::{Kind, MessageId, Name, RpcError};

use crate::store::StoreError;

/// A message is not taken. Nothing of it was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// An address is none.
    #[error("{field}: {reason}")]
    BadAddress {
        /// The parameter at fault.
        field: String,
        /// Why.
        reason: String,
    },
    /// A part of the message is not acceptable.
    #[error("{field}: {reason}")]
    Invalid {
        /// The parameter at fault.
        field: String,
        /// Why.
        reason: String,
    },
    /// A parameter contradicts another, or is out of its range.
    #[error("{field}: {reason}")]
    Parameter {
        /// The parameter at fault.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The message is too large.
    #[error("the message has {size} octets, the limit is {limit}")]
    TooLarge {
        /// The message, in octets.
        size: u64,
        /// The limit, in octets.
        limit: u64,
    },
    /// There is no such profile.
    #[error("there is no profile {0}")]
    NoSuchProfile(Name),
    /// The profile sends no mail.
    #[error("profile {0} gives tokens only, it sends no mail")]
    NotASender(Name),
    /// No profile fits.
    #[error("no profile sends for {from}: {choices}")]
    NoProfile {
        /// The From address, or what says that there is none.
        from: String,
        /// The profiles that the caller may use, each with its From addresses.
        choices: String,
    },
    /// The caller may not send with this profile.
    #[error("you may not send with profile {0}")]
    ProfileNotAllowed(Name),
    /// The caller may not send from this address.
    #[error("you may not send from {address}")]
    SenderNotAllowed {
        /// The parameter at fault.
        field: String,
        /// The address.
        address: String,
    },
    /// The idempotency key stands for another message.
    #[error("this idempotency key was used for another message")]
    IdempotencyConflict,
    /// The caller queued as many messages in the last hour as it may.
    #[error("this user queued as many messages in an hour as its rule allows")]
    RateLimited {
        /// When one fits again.
        wait: Duration,
    },
    /// There is no room for more.
    #[error("{}", if *.of_uid { format!("your share of the queue is used up: {limit} messages") } else { format!("the queue is full: {limit} messages") })]
    Full {
        /// Whether it is the caller's share.
        of_uid: bool,
        /// The limit.
        limit: u64,
    },
    /// The disk is too full.
    #[error("the disk has {free} octets left, mail is taken with {least} or more")]
    DiskFull {
        /// Free octets.
        free: u64,
        /// The limit.
        least: u64,
    },
    /// The octets of the message did not come whole.
    #[error("{}", .0.message)]
    Broken(Box<RpcError>),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The store failed.
    #[error("the message could not be kept")]
    Store(#[from] StoreError),
}

impl SubmitError {
    pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// The kind that a caller sees.
    pub fn kind(&self) -> Kind {
        match self {
            Self::BadAddress { .. } => Kind::MessageBadAddress,
            Self::Invalid { .. } => Kind::MessageInvalid,
            Self::Parameter { .. } => Kind::InvalidParams,
            Self::TooLarge { .. } => Kind::MessageTooLarge,
            Self::NoSuchProfile(_) => Kind::ObjectNotFound,
            Self::NotASender(_) => Kind::ObjectInvalid,
            Self::NoProfile { .. } => Kind::MessageNoProfileForSender,
            Self::ProfileNotAllowed(_) | Self::SenderNotAllowed { .. } => Kind::AccessSenderNotAllowed,
            Self::IdempotencyConflict => Kind::MessageIdempotencyConflict,
            Self::RateLimited { .. } => Kind::AccessRateLimited,
            Self::Full { .. } | Self::DiskFull { .. } => Kind::QueueFull,
            Self::Broken(error) => error.kind(),
            Self::Stopping => Kind::DaemonShuttingDown,
            Self::Store(error) => store_kind(error),
        }
    }

    /// What the caller or an administrator can do, where that is one thing.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::RateLimited { .. } => "wait, or have `rate_per_hour` of the [[access]] rule raised".to_owned(),
            Self::ProfileNotAllowed(name) => {
                format!(
                    "have `{name}` added to `profiles` of the [[access]] rule that grants `submit`; `frankctl access whoami` shows what is allowed"
                )
            }
            Self::SenderNotAllowed { address, .. } => {
                format!(
                    "have `{address}` added to `from` of the [[access]] rule that grants `submit`; `frankctl access whoami` shows what is allowed"
                )
            }
            _ => return None,
        })
    }

    /// The parameter at fault.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::BadAddress { field, .. } | Self::Invalid { field, .. } | Self::SenderNotAllowed { field, .. } => {
                Some(field)
            }
            Self::Parameter { field, .. } => Some(field),
            Self::NoSuchProfile(_) | Self::NotASender(_) | Self::ProfileNotAllowed(_) => Some("profile"),
            Self::IdempotencyConflict => Some("idempotency_key"),
            _ => None,
        }
    }
}

/// A call about messages or profiles in the queue is not possible.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no such message, or it is not the caller's.
    #[error("there is no message {0}")]
    NoSuchMessage(MessageId),
    /// Its octets are no longer kept.
    #[error("the text of {0} is no longer kept: it goes once the message is sent or cancelled")]
    NoBody(MessageId),
    /// There is no such profile.
    #[error("there is no profile {0}")]
    NoSuchProfile(Name),
    /// A parameter is missing or out of its range.
    #[error("{field}: {reason}")]
    Parameter {
        /// The parameter at fault.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl QueueError {
    /// The kind that a caller sees.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuchMessage(_) | Self::NoBody(_) | Self::NoSuchProfile(_) => Kind::ObjectNotFound,
            Self::Parameter { .. } => Kind::InvalidParams,
            Self::Store(error) => store_kind(error),
        }
    }

    /// The parameter at fault.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NoSuchProfile(_) => Some("profile"),
            Self::Parameter { field, .. } => Some(field),
            _ => None,
        }
    }
}

fn store_kind(error: &StoreError) -> Kind {
    match error {
        StoreError::ReadOnly(_) => Kind::StoreReadOnly,
        StoreError::Full => Kind::QueueFull,
        StoreError::Closed => Kind::DaemonShuttingDown,
        StoreError::Conflict(_)
        | StoreError::Missing(_)
        | StoreError::Taken(_)
        | StoreError::InUse(_)
        | StoreError::Damaged { .. }
        | StoreError::Failed(_) => Kind::StoreUnavailable,
    }
}
