//! Changes that cross owners: creating, updating and deleting clients and profiles touches the registry, the token slots
//! and the queue.
//!
//! Each writes an event in its own commit: who made it, and which fields it touched.

mod clients;
mod profiles;
mod told;

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::registry::{Invalid, Registry};
use crate::store::{Store, StoreError};
use crate::tokens::Tokens;

use frankd_proto::Name;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such client or profile.
    #[error("there is no {what} {name}")]
    NotFound {
        /// `client` or `profile`.
        what: &'static str,
        /// The name given.
        name: Name,
    },
    /// The name is taken.
    #[error("there is a {what} {name} already")]
    Exists {
        /// `client` or `profile`.
        what: &'static str,
        /// The name given.
        name: Name,
    },
    /// `if_revision` is not the revision there is.
    #[error("the revision is {current} and not {expected}")]
    Revision {
        /// The revision there is.
        current: u64,
        /// The one that was given.
        expected: u64,
    },
    /// Another owner manages it.
    #[error("{0} manages it")]
    ManagedElsewhere(String),
    /// It is in use.
    #[error("it is in use by {0}")]
    InUse(String),
    /// Live tokens would go out of use.
    #[error("it would put the tokens of {} out of use", names(.0))]
    ConfirmRequired(Vec<Name>),
    /// A value is not acceptable.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn names(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// Makes changes that cross owners.
#[derive(Clone, Debug)]
pub struct Changes {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    tokens: Tokens,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Changes {
    /// Works on these owners.
    pub const fn new(
        store: Arc<dyn Store>,
        registry: Arc<Registry>,
        tokens: Tokens,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        Self { store, registry, tokens, clock, entropy }
    }
}

/// What the API manages, the API changes.
fn owned_by_api(managed_by: &str) -> Result<(), ChangeError> {
    if managed_by == "api" { Ok(()) } else { Err(ChangeError::ManagedElsewhere(managed_by.to_owned())) }
}

fn same_revision(current: u64, expected: Option<u64>) -> Result<(), ChangeError> {
    match expected {
        Some(expected) if expected != current => Err(ChangeError::Revision { current, expected }),
        _ => Ok(()),
    }
}
