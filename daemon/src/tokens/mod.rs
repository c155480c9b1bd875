//! Access tokens, kept fresh: a handle for everybody, and one task that refreshes.
//!
//! # How
//!
//! - A **lane** for each profile holds its slot. Who writes a slot holds the lane; who reads takes a snapshot from a
//!   `watch`, whose lock is held for the clone alone. So [`Tokens::get`] with a good token asks nobody.
//! - The **keeper** is the task: it owns the schedule of every slot and the flow to every server, and decides.
//! - A **flight** is a detached task for one request: intent on disk, request, answer on disk, snapshot, waiters. Nobody
//!   who waits for it can cancel it.
//!
//! # Invariants
//!
//! - Nobody sees a token that is not on disk, but for one case: the disk fails after the answer came. Then the token is
//!   served from memory, nothing rotates, and the write is tried every second.
//! - An expired token is never served, whatever fails; the boot clock decides, not the wall clock.
//! - One flight at a time for each slot.

mod audit;
#[cfg(test)]
pub(crate) mod bench;
mod call;
mod flight;
mod forecast;
mod handle;
mod keeper;
mod landing;
mod lane;
mod offer;
mod record;
mod revoke;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use frankd_proto::methods::token::RemoteRevocation;
use frankd_proto::{ProfileId, Secret, TokenState};
use jiff::Timestamp;
use tokio::sync::watch;

pub use call::{CallError, Prepared, prepare};
pub use handle::{Adoption, Frozen, Tokens};

use crate::clock::{Instant, SharedClock};
use crate::domain::{Failure, TokenSlot};
use crate::entropy::SharedEntropy;
use crate::oauth::AuthorizationServer;
use crate::policy::life::Boot;
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use lane::Lane;

/// What tokens are kept with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where slots are kept.
    pub store: Arc<dyn Store>,
    /// Who issues tokens.
    pub server: Arc<dyn AuthorizationServer>,
    /// Clients and profiles.
    pub registry: Arc<Registry>,
    /// Time.
    pub clock: SharedClock,
    /// Jitter.
    pub entropy: SharedEntropy,
}

impl Parts {
    /// Now, as the rules count it.
    fn now(&self) -> Boot {
        self.clock.now().since(Instant::since_boot(Duration::ZERO))
    }
}

/// An access token that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub access_token: Secret,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How long it still lives.
    pub remaining: Duration,
    /// Scopes as granted.
    pub scopes: Vec<String>,
    /// The account that signed in, if the server told it.
    pub account: Option<String>,
    /// Generation of the slot that it is of.
    pub generation: u64,
    /// When it was asked for.
    pub obtained_at: Timestamp,
    /// Why there may be no next one in time.
    pub warnings: Vec<String>,
}

/// There is no token that may be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unavailable {
    /// No such profile.
    #[error("there is no such profile")]
    NoProfile,
    /// A profile without tokens.
    #[error("the profile uses no tokens")]
    NoTokens,
    /// A new one is on its way.
    #[error("a new token is being fetched")]
    Refreshing {
        /// When to ask again.
        retry_after: Duration,
    },
    /// A person must grant.
    #[error("a person must grant access")]
    NeedsGrant {
        /// Why, unless nobody ever granted.
        failure: Option<Arc<Failure>>,
    },
    /// An operator must correct something.
    #[error("{}", failure.message)]
    Misconfigured {
        /// What.
        failure: Arc<Failure>,
    },
    /// Refreshing fails; it is tried again by itself.
    #[error("{}", failure.message)]
    Failing {
        /// Why.
        failure: Arc<Failure>,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// No token lives as long as asked for.
    #[error("the longest that a token lives here is {} s", longest.as_secs())]
    ValidityUnreachable {
        /// What can be had.
        longest: Duration,
    },
    /// The mail server refused the token, and so it did less than five minutes ago.
    #[error("the token was refreshed less than five minutes ago for the same reason")]
    RefusedRecently {
        /// When it may be refreshed for that reason again.
        retry_after: Duration,
    },
    /// The authorization server asked for a pause, or was asked too often.
    #[error("too many tokens were asked for")]
    Held {
        /// How long that lasts.
        retry_after: Duration,
    },
    /// The disk takes no change.
    #[error("write the token slot: {0}")]
    Unwritten(String),
    /// The daemon is going down.
    #[error("the daemon is stopping")]
    Stopping,
}

/// What became of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// At the server.
    pub remote: RemoteRevocation,
    /// Why not, if it failed there.
    pub detail: Option<String>,
}

/// Why a token is refreshed before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// An operator wants it.
    Operator,
    /// The mail server refused the token of this generation.
    RefusedBySmtp {
        /// Generation of the refused token.
        generation: u64,
    },
}

/// A grant's tokens were not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdoptError {
    /// The profile is gone or has no tokens.
    #[error("there is no such profile")]
    NoProfile,
    /// The client or profile changed since the grant began.
    #[error("the client or profile changed meanwhile")]
    IdentityChanged,
    /// The write failed, and will always.
    #[error("write the token")]
    Store(#[source] StoreError),
}

/// A slot as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotInfo {
    /// How it is.
    pub state: TokenState,
    /// Whether a request is on its way.
    pub refreshing: bool,
    /// When the next request comes by itself.
    pub next_refresh_at: Option<Timestamp>,
    /// Why refreshing fails, while it does: the slot's own reason, or that the server cannot be reached.
    pub failure: Option<Arc<Failure>>,
    /// Whether the disk failed and the newest token is in memory alone.
    pub unsaved: bool,
    /// The slot as kept.
    pub slot: Arc<TokenSlot>,
}

/// What the handle, the keeper and the flights share.
#[derive(Debug)]
struct House {
    parts: Parts,
    lanes: RwLock<BTreeMap<ProfileId, Arc<Lane>>>,
    changed: watch::Sender<u64>,
    /// Detached tasks that must end before the daemon does.
    aloft: watch::Sender<usize>,
    audit: audit::Audit,
    stopping: std::sync::atomic::AtomicBool,
}

impl House {
    fn lane(&self, profile: ProfileId) -> Option<Arc<Lane>> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&profile).cloned()
    }

    /// Makes a lane known.
    fn settle_in(&self, lane: Arc<Lane>) {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner).insert(lane.profile, lane);
    }

    /// Forgets a lane.
    fn move_out(&self, profile: ProfileId) {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner).remove(&profile);
    }

    /// Tells everybody who follows the slots.
    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Counts a detached task until the guard goes.
    fn take_off(self: &Arc<Self>) -> Aloft {
        self.aloft.send_modify(|count| *count += 1);
        Aloft(Arc::clone(self))
    }
}

/// One detached task.
#[derive(Debug)]
struct Aloft(Arc<House>);

impl Drop for Aloft {
    fn drop(&mut self) {
        self.0.aloft.send_modify(|count| *count = count.saturating_sub(1));
    }
}
