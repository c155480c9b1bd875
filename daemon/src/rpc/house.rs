//! What all connections share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::budget::Budget;
use super::denied::Denied;
use super::limits::Users;
use super::peer::{Accounts, Peers};
use super::registrar::Router;
use crate::clock::SharedClock;
use crate::domain::Settings;
use crate::policy::access::Privileged;

/// Hears of refused callers, at most once a minute for each user. It must return at once.
pub type OnDenied = Arc<dyn Fn(Denied) + Send + Sync>;

/// What a server is made of.
pub struct Parts {
    /// The methods.
    pub router: Router,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// The clock.
    pub clock: SharedClock,
    /// The account database.
    pub accounts: Arc<dyn Accounts>,
    /// Who is privileged without a rule.
    pub privileged: Privileged,
    /// Hears of refused callers.
    pub on_denied: OnDenied,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// What all connections share.
pub(super) struct House {
    pub(super) router: Router,
    pub(super) clock: SharedClock,
    pub(super) peers: Peers,
    pub(super) privileged: Privileged,
    pub(super) users: Users,
    pub(super) budget: Budget,
    pub(super) on_denied: OnDenied,
    settings: watch::Receiver<Arc<Settings>>,
    connections: AtomicU64,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

impl House {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { router, settings, clock, accounts, privileged, on_denied } = parts;
        Self {
            router,
            peers: Peers::new(accounts, Arc::clone(&clock), privileged.daemon_uid),
            clock,
            privileged,
            users: Users::default(),
            budget: Budget::default(),
            on_denied,
            settings,
            connections: AtomicU64::new(0),
        }
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// A number that no other connection has.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Returns when the server is to stop, or when nobody is left to say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
