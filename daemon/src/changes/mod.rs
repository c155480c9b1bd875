//! Changes that cross owners: creating, updating and deleting clients and profiles touches the registry, the token slots
//! and the queue.
//!
//! Each writes an event in its own commit: who made it, and which fields it touched.
//!
//! # Invariants
//!
//! - One change at a time: each is decided on what the one before it left, so a caller that names no revision never meets
//!   a conflict. What others change meanwhile, the store decides: mail against the end of its profile.
//! - A token goes to no server that did not have it before, unless a person grants anew or the client's secret is given.

mod clients;
mod destinations;
mod profiles;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::domain::NewEvent;
use crate::entropy::SharedEntropy;
use crate::registry::{Invalid, Registry};
use crate::store::{Change, Record, Store, StoreError};
use crate::tokens::Tokens;

use frankd_proto::{Name, ProfileId};
use tokio::sync::Mutex;

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
    #[error("it is in use by {by}")]
    InUse {
        /// Who uses it.
        by: String,
        /// The command that ends that.
        way_out: Option<String>,
    },
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
    turn: Arc<Mutex<()>>,
}

impl Changes {
    /// Works on these owners.
    pub fn new(
        store: Arc<dyn Store>,
        registry: Arc<Registry>,
        tokens: Tokens,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        Self { store, registry, tokens, clock, entropy, turn: Arc::default() }
    }

    /// Commits, and says in the words of a caller what the store decides against. `what` and `name` are what is put.
    async fn commit(
        &self,
        changes: Vec<Change>,
        events: Vec<NewEvent>,
        (what, name): (&'static str, &Name),
    ) -> Result<(), ChangeError> {
        match self.registry.commit(changes, events).await {
            Err(StoreError::Taken(_)) => Err(ChangeError::Exists { what, name: name.clone() }),
            Err(StoreError::InUse(Record::Profile(id))) => Err(self.kept_by_mail(id).await?),
            done => Ok(done?),
        }
    }

    async fn kept_by_mail(&self, id: ProfileId) -> Result<ChangeError, StoreError> {
        let counts = self.store.counts().await?;
        let waiting = counts.iter().find(|(of, _)| *of == id).map_or(0, |(_, count)| count.waiting);
        let view = self.registry.view();
        let way_out = view.profile(id).map(|profile| format!("frankctl queue cancel --profile {}", profile.name));
        Ok(ChangeError::InUse {
            by: format!("{waiting} waiting messages: wait until they are sent, or cancel them"),
            way_out,
        })
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
