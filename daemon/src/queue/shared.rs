//! What the handle, the dispatcher, the deliveries and the upkeep share.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frankd_proto::{HoldReason, MessageId, MessageState, Name, ProfileId};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::gates::Gates;
use crate::clock::{Instant, SharedClock};
use crate::domain::{Message, Settings};
use crate::entropy::SharedEntropy;
use crate::registry::Registry;
use crate::smtp::Smtp;
use crate::store::Store;
use crate::tokens::Tokens;

/// Whose messages a caller sees and handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that this user id queued.
    Own(u32),
    /// Everybody's.
    All,
}

impl Scope {
    pub(super) fn covers(self, message: &Message) -> bool {
        self.uid().is_none_or(|uid| uid == message.uid)
    }

    pub(super) fn uid(self) -> Option<u32> {
        match self {
            Self::Own(uid) => Some(uid),
            Self::All => None,
        }
    }
}

/// How far the daemon's stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// It runs.
    No,
    /// Nothing new is begun.
    Draining,
    /// What has not reached the final dot does not pass it any more.
    Now,
}

/// What the queue is kept and sent with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where messages are kept.
    pub store: Arc<dyn Store>,
    /// Clients and profiles.
    pub registry: Arc<Registry>,
    /// Access tokens.
    pub tokens: Tokens,
    /// Mail servers.
    pub smtp: Smtp,
    /// Time.
    pub clock: SharedClock,
    /// Ids, boundaries and jitter.
    pub entropy: SharedEntropy,
    /// Settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    pub(super) tokens: Tokens,
    pub(super) smtp: Smtp,
    pub(super) clock: SharedClock,
    pub(super) entropy: SharedEntropy,
    pub(super) gates: Gates,
    pub(super) stop: watch::Sender<Stop>,
    settings: watch::Receiver<Arc<Settings>>,
    /// Wakes the dispatcher: something may be due, or a connection ended.
    work: Notify,
    /// Wakes the upkeep: a message ends earlier than the first that it knows of.
    pub(super) earlier_end: Notify,
    /// Messages that their callers gave a time to end.
    ends: Mutex<BTreeSet<(Timestamp, MessageId)>>,
    /// Detached tasks.
    aloft: watch::Sender<usize>,
    /// Whether a lane waits for a connection that others have.
    pub(super) crowded: AtomicBool,
}

impl Shared {
    pub(super) fn new(parts: Parts, gates: Gates) -> Self {
        let Parts { store, registry, tokens, smtp, clock, entropy, settings } = parts;
        Self {
            store,
            registry,
            tokens,
            smtp,
            clock,
            entropy,
            gates,
            stop: watch::Sender::new(Stop::No),
            settings,
            work: Notify::new(),
            earlier_end: Notify::new(),
            ends: Mutex::default(),
            aloft: watch::Sender::new(0),
            crowded: AtomicBool::new(false),
        }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    pub(super) fn settings_changed(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.clone()
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Makes the dispatcher look at the lanes.
    pub(super) fn wake(&self) {
        self.work.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.work.notified().await;
    }

    /// Time since the boot, as the rules count it.
    pub(super) fn boot(&self) -> Duration {
        self.clock.now().since(Instant::since_boot(Duration::ZERO))
    }

    /// A message is in the queue.
    pub(super) fn accepted(&self, message: &Message) {
        self.ends_at(message);
        self.wake();
    }

    /// Notes when the caller wants a message given up.
    pub(super) fn ends_at(&self, message: &Message) {
        let Some(at) = message.expires_at else { return };
        let mut ends = self.ends();
        ends.insert((at, message.id));
        if ends.first() == Some(&(at, message.id)) {
            self.earlier_end.notify_one();
        }
    }

    pub(super) fn ends(&self) -> MutexGuard<'_, BTreeSet<(Timestamp, MessageId)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The profile of that name, or the one that is gone and that the name stands for.
    pub(super) fn profile_id(&self, name: &Name) -> Option<ProfileId> {
        let closed = self.gates.closed();
        let mut gone =
            closed.keys().filter(|(id, reason)| *reason == HoldReason::NoProfile && Name::from(*id) == *name);
        let view = self.registry.view();
        view.profile_named(name).map(|profile| profile.id).or_else(|| gone.next().map(|(id, _)| *id))
    }

    /// The profile's name; that of one that is gone is its id.
    pub(super) fn profile_name(&self, id: ProfileId) -> Name {
        self.registry.view().profile(id).map_or_else(|| Name::from(id), |profile| profile.name.clone())
    }

    pub(super) fn state(&self, message: &Message) -> MessageState {
        message.state(self.clock.wall(), self.gates.holds(message.profile).is_some())
    }

    /// Counts a detached task until the guard goes.
    pub(super) fn take_off(self: &Arc<Self>) -> Aloft {
        self.aloft.send_modify(|count| *count += 1);
        Aloft(Arc::clone(self))
    }

    /// Detached tasks.
    pub(super) fn aloft(&self) -> usize {
        *self.aloft.borrow()
    }

    /// Returns when no detached task is left.
    pub(super) async fn landed(&self) {
        let mut aloft = self.aloft.subscribe();
        // The sender lives as long as `self`.
        aloft.wait_for(|count| *count == 0).await.ok();
    }
}

/// One detached task.
#[derive(Debug)]
pub(super) struct Aloft(Arc<Shared>);

impl Drop for Aloft {
    fn drop(&mut self) {
        self.0.aloft.send_modify(|count| *count = count.saturating_sub(1));
        self.0.wake();
    }
}
