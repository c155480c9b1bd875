//! Authorizations in progress: from the URL that a person opens to the token that is adopted.
//!
//! One task, the broker, owns all grants; readers take its snapshot. The exchange of a code is a task of its own, which
//! nobody who waits for it can cancel.
//!
//! # Invariants
//!
//! - A code is sent at most once: the grant moves from `pending` to `exchanging` on disk first, and one that is found
//!   `exchanging` at a start has failed.
//! - A redirect that does not surely belong to a pending grant changes nothing.
//! - A grant in progress never disturbs the token in use. The new token and the end of the grant are one commit.
//! - `state` is known here by its digest alone; the PKCE verifier is sealed in the grant's record, and gone once used.

mod broker;
mod ending;
mod exchange;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{GrantId, GrantState, GrantVia, ProfileId, Secret};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{ClockExt as _, SharedClock};
use crate::domain::Grant;
use crate::entropy::SharedEntropy;
use crate::oauth::AuthorizationServer;
use crate::oauth::redirect::RedirectError;
use crate::policy::grant::{self as rule, WrongIssuer};
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use crate::tokens::Tokens;
use broker::{Ask, Broker};

/// Questions that may wait for the broker.
const ASKS: usize = 64;

/// Longest wait for an exchange to end. It goes on after that.
const EXCHANGE: Duration = Duration::from_secs(90);

/// What grants are made with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where grants are kept.
    pub store: Arc<dyn Store>,
    /// Who exchanges codes.
    pub server: Arc<dyn AuthorizationServer>,
    /// Clients and profiles.
    pub registry: Arc<Registry>,
    /// Who takes the tokens.
    pub tokens: Tokens,
    /// Time.
    pub clock: SharedClock,
    /// `state`, verifiers and ids.
    pub entropy: SharedEntropy,
}

/// A grant that has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    /// The grant.
    pub grant: Grant,
    /// The URL that the person opens. It carries the one-use `state`.
    pub authorization_url: Secret,
    /// Where the browser ends up.
    pub redirect_uri: String,
}

/// Something cannot be done with a grant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GrantError {
    /// No such grant.
    #[error("there is no such grant")]
    NotFound,
    /// No such profile.
    #[error("there is no such profile")]
    NoProfile,
    /// The profile or its client has no use for a grant.
    #[error("{0}")]
    Unsupported(String),
    /// `client_loopback` without a port.
    #[error("the port of the caller's listener is needed with client_loopback")]
    PortNeeded,
    /// The text is no redirect.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    /// The redirect's `state` is of no grant, or of another one.
    #[error("the redirect does not belong to this grant")]
    StateMismatch,
    /// The redirect's `iss` is another one than the client's. The grant goes on.
    #[error(transparent)]
    WrongIssuer(#[from] WrongIssuer),
    /// The grant is past that: its redirect was used, it was cancelled, or it is over.
    #[error("the grant is {0} already")]
    Over(GrantState),
    /// The grant's time is over.
    #[error("the grant's time is over")]
    Expired,
    /// The grant ended without a token; its `error` says why.
    #[error("{}", .0.error.as_ref().map_or("the grant ended without a token", |error| error.message.as_str()))]
    NotCompleted(Box<Grant>),
    /// The exchange goes on.
    #[error("the code is still being exchanged")]
    Exchanging(Box<Grant>),
    /// The store takes no change.
    #[error("write the grant")]
    Store(#[from] StoreError),
    /// The daemon is going down.
    #[error("the daemon is stopping")]
    Stopping,
}

/// All grants, as readers see them.
type Snapshot = Arc<BTreeMap<GrantId, Arc<Grant>>>;

/// Authorizations in progress. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Grants {
    broker: mpsc::Sender<Ask>,
    shown: watch::Receiver<Snapshot>,
    aloft: watch::Receiver<usize>,
    clock: SharedClock,
}

impl Grants {
    /// The handle, and the broker's task, which the caller spawns.
    pub fn start(parts: Parts, grants: Vec<Grant>) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, asks) = mpsc::channel(ASKS);
        let clock = Arc::clone(&parts.clock);
        let broker = Broker::new(parts, asks, sender.clone(), grants);
        let (shown, aloft) = broker.follow();
        (Self { broker: sender, shown, aloft, clock }, broker.run())
    }

    /// Begins a grant. `uid` is the caller's.
    pub async fn begin(
        &self,
        profile: ProfileId,
        via: GrantVia,
        port: Option<u16>,
        uid: u32,
    ) -> Result<Begun, GrantError> {
        self.ask(|done| Ask::Begin { profile, via, port, uid, done }).await?
    }

    /// Ends the grant that a redirect belongs to, which must be `id` if that is given. Returns when the token is in use.
    pub async fn complete(&self, id: Option<GrantId>, redirect: Secret) -> Result<Grant, GrantError> {
        let id = self.ask(|done| Ask::Complete { id, redirect, done }).await??;
        let grant = self.wait(id, EXCHANGE).await?;
        match grant.state {
            GrantState::Completed => Ok(grant),
            GrantState::Exchanging => Err(GrantError::Exchanging(Box::new(grant))),
            _ => Err(GrantError::NotCompleted(Box::new(grant))),
        }
    }

    /// The grant when it is over, or as it is after `timeout`.
    pub async fn wait(&self, id: GrantId, timeout: Duration) -> Result<Grant, GrantError> {
        let mut shown = self.shown.clone();
        let over = shown.wait_for(|grants| grants.get(&id).is_none_or(|grant| rule::is_over(grant.state)));
        self.clock.deadline(timeout, over).await.ok();
        self.grant(id)
    }

    /// One grant.
    pub fn grant(&self, id: GrantId) -> Result<Grant, GrantError> {
        self.shown.borrow().get(&id).map(|grant| Grant::clone(grant)).ok_or(GrantError::NotFound)
    }

    /// Grants, the newest first.
    pub fn list(&self, profile: Option<ProfileId>) -> Vec<Grant> {
        let shown = self.shown.borrow();
        let wanted = shown.values().rev().filter(|grant| profile.is_none_or(|profile| grant.profile == profile));
        wanted.map(|grant| Grant::clone(grant)).collect()
    }

    /// Calls a pending grant off.
    pub async fn cancel(&self, id: GrantId) -> Result<Grant, GrantError> {
        self.ask(|done| Ask::Cancel { id, done }).await?
    }

    /// Begins nothing new, waits up to `limit` for codes that are being exchanged, and ends the broker.
    pub async fn stop(&self, limit: Duration) {
        self.broker.send(Ask::Stop).await.ok();
        let mut aloft = self.aloft.clone();
        let landed = async { aloft.wait_for(|count| *count == 0).await.map(drop) };
        self.clock.deadline(limit, landed).await.ok();
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, GrantError> {
        let (done, answer) = oneshot::channel();
        self.broker.send(ask(done)).await.map_err(|_| GrantError::Stopping)?;
        answer.await.map_err(|_| GrantError::Stopping)
    }
}
