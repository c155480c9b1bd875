//! What owners say, as the errors of the contract.

use std::time::Duration;

use frankd_proto::{Kind, Name, RpcError};

use crate::changes::ChangeError;
use crate::domain::Failure;
use crate::grants::GrantError;
use crate::queue::{QueueError, SubmitError};
use crate::registry::Invalid;
use crate::store::StoreError;
use crate::tokens::Unavailable;

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Conflict(_) => Kind::ObjectRevisionConflict,
            StoreError::Missing(_) => Kind::ObjectNotFound,
            StoreError::Taken(_) => Kind::ObjectExists,
            StoreError::InUse(_) => Kind::ObjectInUse,
            StoreError::ReadOnly(_) => Kind::StoreReadOnly,
            StoreError::Full => Kind::QueueFull,
            StoreError::Failed(_) | StoreError::Damaged { .. } => Kind::StoreUnavailable,
            StoreError::Closed => Kind::DaemonShuttingDown,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Invalid> for RpcError {
    fn from(invalid: Invalid) -> Self {
        let error = Self::new(invalid.kind, invalid.message).field(invalid.field);
        match invalid.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<ChangeError> for RpcError {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::NotFound { what, .. } => {
                Self::new(Kind::ObjectNotFound, text).field("name").hint(format!("frankctl {what} list"))
            }
            ChangeError::Exists { what, name } => {
                Self::new(Kind::ObjectExists, text).field("name").hint(format!("frankctl {what} show {name}"))
            }
            ChangeError::Revision { .. } => Self::new(Kind::ObjectRevisionConflict, text).field("if_revision"),
            ChangeError::ManagedElsewhere(_) => Self::new(Kind::ObjectManagedElsewhere, text),
            ChangeError::InUse { way_out, .. } => {
                let error = Self::new(Kind::ObjectInUse, text);
                match way_out {
                    Some(command) => error.hint(command),
                    None => error,
                }
            }
            ChangeError::ConfirmRequired(_) => Self::new(Kind::ObjectConfirmRequired, text)
                .field("confirm")
                .hint("say --confirm; the tokens are set aside for 30 days and come back if you change back"),
            ChangeError::Invalid(invalid) => invalid.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        if let SubmitError::Broken(error) = error {
            return *error;
        }
        let mut translated = Self::new(error.kind(), with_cause(&error));
        if let Some(hint) = error.hint() {
            translated = translated.hint(hint);
        }
        if let SubmitError::RateLimited { wait } = error {
            translated = translated.retry_after_s(seconds_up(wait));
        }
        match error.field() {
            Some(field) => translated.field(field),
            None => translated,
        }
    }
}

impl From<QueueError> for RpcError {
    fn from(error: QueueError) -> Self {
        let translated = Self::new(error.kind(), with_cause(&error));
        match error.field() {
            Some(field) => translated.field(field),
            None => translated,
        }
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl From<GrantError> for RpcError {
    fn from(error: GrantError) -> Self {
        let text = with_cause(&error);
        match error {
            GrantError::NotFound => Self::new(Kind::ObjectNotFound, text).field("id").hint("frankctl grant list"),
            GrantError::NoProfile => Self::new(Kind::ObjectNotFound, text).field("profile"),
            GrantError::Unsupported(_) => Self::new(Kind::GrantUnsupported, text).field("profile"),
            GrantError::PortNeeded => Self::new(Kind::InvalidParams, text).field("port"),
            GrantError::Redirect(_) => Self::new(Kind::InvalidParams, text).field("redirect_url"),
            GrantError::StateMismatch | GrantError::WrongIssuer(_) | GrantError::Over(_) => {
                Self::new(Kind::GrantStateMismatch, text).field("redirect_url")
            }
            GrantError::Expired => Self::new(Kind::GrantExpired, text),
            GrantError::NotCompleted(grant) => match grant.error {
                Some(error) => Self { message: error.message, data: error.data },
                None => Self::new(Kind::GrantDeniedByUser, text),
            },
            GrantError::Exchanging(_) => Self::new(Kind::GrantPending, text),
            GrantError::Store(error) => error.into(),
            GrantError::Stopping => Self::new(Kind::DaemonShuttingDown, text),
        }
    }
}

/// Why there is no token, for the profile of that name.
pub(crate) fn no_token(profile: &Name, error: Unavailable) -> RpcError {
    let text = format!("no token of {profile}: {error}");
    let of = |failure: &Failure| RpcError { message: text.clone(), data: failure.data.clone() };
    match error {
        Unavailable::NoProfile => RpcError::new(Kind::ObjectNotFound, text).field("profile"),
        Unavailable::NoTokens => RpcError::new(Kind::ObjectInvalid, text).field("profile"),
        Unavailable::Refreshing { retry_after } => {
            RpcError::new(Kind::TokenRefreshing, text).retry_after_s(seconds(retry_after))
        }
        Unavailable::NeedsGrant { failure } => {
            let mut translated = RpcError::new(Kind::GrantRequired, text).hint(format!("frankctl grant {profile}"));
            if let Some(failure) = failure {
                translated.message = format!("{}: {}", translated.message, failure.message);
                translated.data.diagnosis.clone_from(&failure.data.diagnosis);
                translated.data.provider.clone_from(&failure.data.provider);
            }
            translated
        }
        Unavailable::Misconfigured { failure } => of(&failure),
        Unavailable::Failing { failure, retry_after } => of(&failure).retry_after_s(seconds(retry_after)),
        Unavailable::ValidityUnreachable { .. } => {
            RpcError::new(Kind::TokenValidityUnreachable, text).field("min_valid_s")
        }
        Unavailable::RefusedRecently { retry_after } | Unavailable::Held { retry_after } => {
            RpcError::new(Kind::OauthProviderUnavailable, text).retry_after_s(seconds(retry_after))
        }
        Unavailable::Unwritten(_) => RpcError::new(Kind::StoreReadOnly, text),
        Unavailable::Stopping => RpcError::new(Kind::DaemonShuttingDown, text),
    }
}

/// Whole seconds, so many that the wait is over then.
fn seconds_up(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Whole seconds, at least one.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}
