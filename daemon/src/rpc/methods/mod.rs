//! The methods: one function for each, which calls one owner and translates what it says.
//!
//! Who may call is decided before, by the method's row in the contract; what belongs to the caller is decided here, by
//! handing the owner a [`Scope`].

mod access;
mod client;
mod config;
mod event;
mod grant;
mod message;
mod profile;
mod queue;
mod system;
mod test;
mod token;
mod translate;

use std::fmt;
use std::sync::Arc;

use frankd_proto::{Kind, Name, RpcError, Secret};

use super::register::Registrar;
use crate::changes::Changes;
use crate::clock::SharedClock;
use crate::domain::Profile;
use crate::events::Events;
use crate::grants::Grants;
use crate::queue::Queue;
use crate::registry::{Registry, View};
use crate::status::Status;
use crate::tokens::Tokens;
use crate::trials::Trials;

pub use config::ConfigReader;
pub use message::submit_raw;

/// Everything that the methods call.
#[derive(Clone)]
pub struct Owners {
    /// Clients and profiles.
    pub registry: Arc<Registry>,
    /// What happened.
    pub events: Events,
    /// The token slots.
    pub tokens: Tokens,
    /// Authorizations in progress.
    pub grants: Grants,
    /// Mail.
    pub queue: Queue,
    /// Changes that cross owners.
    pub changes: Changes,
    /// The one-glance state.
    pub status: Status,
    /// The test tools.
    pub trials: Trials,
    /// The settings.
    pub config: Arc<dyn ConfigReader>,
    /// Makes the fingerprint of a secret.
    pub fingerprint: Arc<dyn Fn(&Secret) -> String + Send + Sync>,
    /// Time.
    pub clock: SharedClock,
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owners")
    }
}

/// Registers every method of the contract.
pub fn register(registrar: &mut Registrar, owners: &Owners) {
    access::register(registrar);
    client::register(registrar, owners);
    config::register(registrar, owners);
    event::register(registrar, owners);
    grant::register(registrar, owners);
    message::register(registrar, owners);
    profile::register(registrar, owners);
    queue::register(registrar, owners);
    system::register(registrar, owners);
    test::register(registrar, owners);
    token::register(registrar, owners);
}

/// The profile of that name, or the error that says there is none.
fn profile_named<'a>(view: &'a View, name: &Name) -> Result<&'a Profile, RpcError> {
    view.profile_named(name).ok_or_else(|| {
        RpcError::new(Kind::ObjectNotFound, format!("there is no profile {name}"))
            .field("profile")
            .hint("frankctl profile list")
    })
}
