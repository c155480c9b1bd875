//! What owners say, as the errors of the contract.

use frankd_proto::{Kind, RpcError};

use crate::changes::ChangeError;
use crate::registry::Invalid;
use crate::store::StoreError;

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Conflict(_) => Kind::ObjectRevisionConflict,
            StoreError::Missing(_) => Kind::ObjectNotFound,
            StoreError::ReadOnly(_) => Kind::StoreReadOnly,
            StoreError::Full => Kind::QueueFull,
            StoreError::Damaged { .. } => Kind::StoreUnavailable,
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
            ChangeError::InUse(users) => Self::new(Kind::ObjectInUse, text).hint(format!("it is used by {users}")),
            ChangeError::ConfirmRequired(_) => Self::new(Kind::ObjectConfirmRequired, text)
                .field("confirm")
                .hint("say confirm (--confirm); the tokens are set aside for 30 days and come back if you change back"),
            ChangeError::Invalid(invalid) => invalid.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}
