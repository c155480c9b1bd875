//! The methods: one function for each, which calls one owner and translates what it says.
//!
//! Who may call is decided before, by the method's row in the contract; what belongs to the caller is decided here, by
//! handing the owner a scope.

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
use std::time::Duration;

use frankd_proto::{Kind, Method, Name, RpcError, Secret};

use super::context::CallContext;
use super::registrar::{Registrar, RegistrationError};
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
pub(crate) use translate::no_token;

/// Everything that the methods call.
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
pub fn register(registrar: &mut Registrar, owners: &Arc<Owners>) -> Result<(), RegistrationError> {
    let mut methods = Table { registrar, owners: Arc::clone(owners) };
    access::register(&mut methods)?;
    client::register(&mut methods)?;
    config::register(&mut methods)?;
    event::register(&mut methods)?;
    grant::register(&mut methods)?;
    message::register(&mut methods)?;
    profile::register(&mut methods)?;
    queue::register(&mut methods)?;
    system::register(&mut methods)?;
    test::register(&mut methods)?;
    token::register(&mut methods)
}

/// Registers methods that all get the owners.
struct Table<'a> {
    registrar: &'a mut Registrar,
    owners: Arc<Owners>,
}

impl Table<'_> {
    fn on<M, F, Fut>(&mut self, function: F) -> Result<(), RegistrationError>
    where
        M: Method,
        F: Fn(Arc<Owners>, CallContext, M::Params) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M::Output, RpcError>> + Send + 'static,
    {
        let owners = Arc::clone(&self.owners);
        self.registrar.method::<M, _, _>(move |call, params| function(Arc::clone(&owners), call, params)).map(drop)
    }
}

/// A number within its bounds, or the error that names them.
fn within<N: Copy + PartialOrd + fmt::Display>(field: &str, value: N, least: N, most: N) -> Result<N, RpcError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let message = format!("parameter `{field}` must be from {least} to {most}");
    Err(RpcError::new(Kind::InvalidParams, message).field(field))
}

/// A wait of up to `longest` seconds.
fn seconds(field: &str, value: u32, longest: u32) -> Result<Duration, RpcError> {
    within(field, value, 0, longest).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

/// The profile of that name, or the error that says there is none.
fn profile_named<'a>(view: &'a View, name: &Name) -> Result<&'a Profile, RpcError> {
    view.profile_named(name).ok_or_else(|| {
        RpcError::new(Kind::ObjectNotFound, format!("there is no profile {name}"))
            .field("profile")
            .hint("frankctl profile list")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_its_bounds_is_refused_by_field_and_not_bent() {
        assert_eq!(within("limit", 1000, 1, 1000).unwrap(), 1000);
        assert_eq!(seconds("wait_s", 0, 120).unwrap(), Duration::ZERO);
        for refused in [within("limit", 0, 1, 1000).map(drop), seconds("limit", 121, 120).map(drop)] {
            let error = refused.unwrap_err();
            assert_eq!((error.kind(), error.data.field.as_deref()), (Kind::InvalidParams, Some("limit")));
        }
    }
}
