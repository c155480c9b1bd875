//! One profile's slot: the right to write it, and the snapshot that everybody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use frankd_proto::{EventType, ProfileId, TokenState};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::{House, SlotInfo, record};
use crate::clock::ClockExt as _;
use crate::domain::{Failure, NewEvent, TokenSet, TokenSlot};
use crate::fail_point;
use crate::policy::life::{self, Boot, Left, Life, Trouble};
use crate::store::{Change, StoreError};

/// Time between two tries to write what only memory has.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// One profile's slot.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) profile: ProfileId,
    /// Held by whoever writes the slot; the slot as it is on disk.
    writer: Arc<Mutex<TokenSlot>>,
    /// Held by whoever talks to the server about this slot.
    pub(super) wing: Mutex<()>,
    pub(super) shown: watch::Sender<Shown>,
    gone: AtomicBool,
}

/// The slot as everybody sees it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) slot: Arc<TokenSlot>,
    /// When the token in use ends, on the boot clock.
    pub(super) expires: Boot,
    /// Whether nobody knows when it ends.
    pub(super) doubtful: bool,
    /// Whether the slot is in memory alone.
    pub(super) unsaved: bool,
    pub(super) outlook: Outlook,
}

/// What the keeper tells of a slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outlook {
    pub(super) interactive: bool,
    pub(super) min_remaining: Option<Duration>,
    pub(super) refreshing: bool,
    pub(super) trouble: Option<Trouble>,
    pub(super) fault: Option<Arc<Failure>>,
    pub(super) next: Option<Boot>,
    /// Requests that ended.
    pub(super) ended: u64,
}

impl Shown {
    /// The slot as it was read from disk: its end counts by the wall clock.
    fn loaded(slot: TokenSlot, now: Boot, wall: Timestamp) -> Self {
        let left = slot.tokens.as_ref().map(|tokens| life::left(tokens.obtained_at, whole(tokens), wall));
        let (expires, doubtful) = match left {
            Some(Left::Known(left)) => (now + left, false),
            Some(Left::Unknown) => (now + slot.tokens.as_ref().map_or(Duration::ZERO, whole), true),
            None => (now, false),
        };
        Self { slot: Arc::new(slot), expires, doubtful, unsaved: false, outlook: Outlook::default() }
    }

    /// The life of the token in use, and what is left of it.
    pub(super) fn remaining(&self, now: Boot) -> Option<(Life, Duration)> {
        let tokens = self.slot.tokens.as_ref()?;
        let life = Life::new(whole(tokens), self.outlook.min_remaining);
        Some((life, self.expires.saturating_sub(now)))
    }

    /// Whether the next token comes without a person.
    pub(super) fn is_renewable(&self) -> bool {
        let has_refresh_token = self.slot.tokens.as_ref().is_some_and(|tokens| tokens.refresh_token.is_some());
        !self.outlook.interactive || has_refresh_token
    }

    pub(super) fn state(&self, now: Boot) -> TokenState {
        life::state(self.remaining(now), self.outlook.trouble, self.is_renewable())
    }

    pub(super) fn info(&self, now: Boot, wall: Timestamp) -> SlotInfo {
        let at = |moment: Boot| {
            let wait = SignedDuration::try_from(moment.saturating_sub(now)).unwrap_or(SignedDuration::ZERO);
            wall.checked_add(wait).unwrap_or(Timestamp::MAX)
        };
        SlotInfo {
            state: self.state(now),
            refreshing: self.outlook.refreshing,
            next_refresh_at: self.outlook.next.map(at),
            failure: self.outlook.fault.clone(),
            unsaved: self.unsaved,
            slot: Arc::clone(&self.slot),
        }
    }
}

/// The whole life of an access token.
pub(super) fn whole(tokens: &TokenSet) -> Duration {
    Duration::from_secs(u64::from(tokens.lifetime_s))
}

/// Tokens that came back from a server, with the moment from which their life counts.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) slot: TokenSlot,
    pub(super) expires: Boot,
    /// What is committed with it.
    pub(super) changes: Vec<Change>,
    /// What is told of it.
    pub(super) events: Vec<NewEvent>,
}

impl Lane {
    pub(super) fn new(slot: TokenSlot, now: Boot, wall: Timestamp) -> Self {
        Self {
            profile: slot.profile,
            writer: Arc::new(Mutex::new(slot.clone())),
            wing: Mutex::new(()),
            shown: watch::Sender::new(Shown::loaded(slot, now, wall)),
            gone: AtomicBool::new(false),
        }
    }

    /// The snapshot.
    pub(super) fn shown(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// The right to write, once it is free. `None` if the profile is gone.
    pub(super) async fn write(&self) -> Option<OwnedMutexGuard<TokenSlot>> {
        let slot = Arc::clone(&self.writer).lock_owned().await;
        (!self.gone.load(Ordering::SeqCst)).then_some(slot)
    }

    /// The right to write, if it is free now.
    pub(super) fn try_write(&self) -> Option<OwnedMutexGuard<TokenSlot>> {
        let slot = Arc::clone(&self.writer).try_lock_owned().ok()?;
        (!self.gone.load(Ordering::SeqCst)).then_some(slot)
    }

    /// The profile is gone: nothing is written any more.
    pub(super) fn end(&self) {
        self.gone.store(true, Ordering::SeqCst);
        self.shown.send_modify(|_| {});
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Writes a change that loses nothing if it fails, and shows it.
    pub(super) async fn put(
        &self,
        house: &House,
        slot: &mut TokenSlot,
        next: TokenSlot,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        house.parts.store.commit(vec![change(slot, &next)], events).await?;
        *slot = next.clone();
        let (now, wall) = (house.parts.now(), house.parts.clock.wall());
        self.shown.send_modify(|shown| {
            // Only a token that comes back into use needs its end worked out.
            let token = |slot: &TokenSlot| slot.tokens.as_ref().map(|tokens| tokens.access_token.clone());
            if token(&shown.slot) != token(&next) {
                let loaded = Shown::loaded(next.clone(), now, wall);
                (shown.expires, shown.doubtful) = (loaded.expires, loaded.doubtful);
            }
            shown.slot = Arc::new(next);
        });
        house.tell();
        Ok(())
    }

    /// Writes what came back from a server, and shows it. If the disk fails, it is shown all the same and written as soon
    /// as that is possible: until then this does not return, and nobody else can write the slot.
    pub(super) async fn keep(&self, house: &House, slot: &mut TokenSlot, fresh: Fresh) -> Result<(), StoreError> {
        let Fresh { slot: next, expires, mut changes, events } = fresh;
        changes.push(change(slot, &next));
        let mut unsaved = false;
        loop {
            match house.parts.store.commit(changes.clone(), events.clone()).await {
                Ok(_) => break,
                Err(error @ (StoreError::Conflict(_) | StoreError::Missing(_))) => {
                    self.shown.send_modify(|shown| shown.unsaved = false);
                    return Err(error);
                }
                Err(error) if unsaved => tracing::debug!(profile = %self.profile, %error, "still not written"),
                Err(error) => {
                    unsaved = true;
                    tracing::error!(profile = %self.profile, %error, "a new token cannot be written and is in memory alone");
                    self.show(house, &next, expires, true);
                }
            }
            house.parts.clock.sleep(WRITE_AGAIN).await;
        }
        fail_point::hit("token.after_commit").ok();
        *slot = next.clone();
        self.show(house, &next, expires, false);
        Ok(())
    }

    fn show(&self, house: &House, next: &TokenSlot, expires: Boot, unsaved: bool) {
        self.shown.send_modify(|shown| {
            shown.slot = Arc::new(next.clone());
            shown.expires = expires;
            shown.doubtful = false;
            shown.unsaved = unsaved;
            shown.outlook.trouble = None;
            shown.outlook.fault = None;
        });
        house.tell();
    }
}

fn change(slot: &TokenSlot, next: &TokenSlot) -> Change {
    Change::PutSlot { slot: Box::new(next.clone()), expected: record::expected(slot) }
}

/// The event of a new token.
pub(super) fn refreshed(slot: &TokenSlot, event: NewEvent) -> NewEvent {
    debug_assert_eq!(event.event_type, EventType::TokenRefreshed);
    let event = event.with("generation", slot.generation);
    match &slot.tokens {
        Some(tokens) => event.with("expires_at", tokens.expires_at().to_string()),
        None => event,
    }
}
