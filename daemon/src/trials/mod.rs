//! The test tools: each does the real thing once, and reports what was sent, what came back, and what to do.

mod email;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use frankd_proto::RpcError;
use futures::future::BoxFuture;

use crate::clock::SharedClock;
use crate::domain::Profile;
use crate::domain::delivery::Login;
use crate::entropy::SharedEntropy;
use crate::smtp::Smtp;

/// Finds what a profile logs in with.
pub trait Logins: fmt::Debug + Send + Sync + 'static {
    /// The token at hand or a new one, the password, or nothing for a relay that wants nothing.
    fn login<'a>(&'a self, profile: &'a Profile) -> BoxFuture<'a, Result<Found, RpcError>>;

    /// A new token, because the mail server refused the one that was found.
    fn after_refusal<'a>(&'a self, profile: &'a Profile) -> BoxFuture<'a, Result<Found, RpcError>>;
}

/// What a profile logs in with.
#[derive(Clone, Debug)]
pub struct Found {
    /// Itself.
    pub login: Login,
    /// Whether it is a token that was fetched just now: then a refusal is not staleness.
    pub fresh: bool,
    /// What a person may know of it: how long it lives, for which account. Never a secret.
    pub detail: String,
}

/// The test tools.
#[derive(Clone, Debug)]
pub struct Trials {
    /// Opens sessions.
    pub smtp: Smtp,
    /// Finds logins.
    pub logins: Arc<dyn Logins>,
    /// Time.
    pub clock: SharedClock,
    /// Makes Message-IDs.
    pub entropy: SharedEntropy,
}
