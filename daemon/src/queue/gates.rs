//! The gates: which profiles' mail waits, and why.
//!
//! One owner, like the registry: every change goes through here one at a time, is on disk first, and then in the snapshot
//! that everybody reads. Closing a gate that is closed changes nothing and tells nobody, so a hold is told once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use frankd_proto::{EventType, HoldReason, Name, ProfileId};
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use crate::domain::{Gate, NewEvent};
use crate::store::{Change, Store, StoreError};

/// All closed gates at one moment, the reason that is shown first of each profile first.
pub(super) type Closed = BTreeMap<(ProfileId, HoldReason), Gate>;

/// Owns the gates.
#[derive(Debug)]
pub(super) struct Gates {
    store: Arc<dyn Store>,
    closed: RwLock<Arc<Closed>>,
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Gates {
    /// Begins with what the store has.
    pub(super) fn new(store: Arc<dyn Store>, gates: Vec<Gate>) -> Self {
        let closed = gates.into_iter().map(|gate| ((gate.profile, gate.reason), gate)).collect();
        Self { store, closed: RwLock::new(Arc::new(closed)), writing: Mutex::new(()), changed: watch::Sender::new(0) }
    }

    /// All closed gates.
    pub(super) fn closed(&self) -> Arc<Closed> {
        Arc::clone(&self.closed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those of one profile, the reason that is shown first.
    pub(super) fn of(&self, profile: ProfileId) -> Vec<Gate> {
        self.closed().values().filter(|gate| gate.profile == profile).cloned().collect()
    }

    /// The gate of one reason.
    pub(super) fn gate(&self, profile: ProfileId, reason: HoldReason) -> Option<Gate> {
        self.closed().get(&(profile, reason)).cloned()
    }

    /// Why the mail of a profile waits, if it does.
    pub(super) fn holds(&self, profile: ProfileId) -> Option<HoldReason> {
        self.of(profile).first().map(|gate| gate.reason)
    }

    /// Changes with every gate that closes or opens.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Commits `changes` and `events`, and closes a gate with them if it is open: then the profile is told to be held.
    pub(super) async fn close(
        &self,
        gate: Gate,
        name: &Name,
        mut changes: Vec<Change>,
        mut events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        if self.gate(gate.profile, gate.reason).is_some() {
            return if changes.is_empty() { Ok(()) } else { self.store.commit(changes, events).await.map(drop) };
        }
        changes.push(Change::PutGate(gate.clone()));
        events.push(told(&gate, name));
        self.store.commit(changes, events).await?;
        self.publish(|closed| drop(closed.insert((gate.profile, gate.reason), gate)));
        Ok(())
    }

    /// Replaces a closed gate by what `change` makes of it: it was tried in vain. Tells nobody.
    pub(super) async fn put(
        &self,
        profile: ProfileId,
        reason: HoldReason,
        change: impl FnOnce(&mut Gate) + Send,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        let Some(mut gate) = self.gate(profile, reason) else { return Ok(()) };
        change(&mut gate);
        self.store.commit(vec![Change::PutGate(gate.clone())], Vec::new()).await?;
        self.publish(|closed| drop(closed.insert((profile, reason), gate)));
        Ok(())
    }

    /// Opens a gate; nothing if it is open.
    pub(super) async fn open(
        &self,
        profile: ProfileId,
        reason: HoldReason,
        name: Option<&Name>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        if self.gate(profile, reason).is_none() {
            return Ok(false);
        }
        let event_type =
            if reason == HoldReason::Paused { EventType::ProfileResumed } else { EventType::ProfileReleased };
        let event = NewEvent::new(now, event_type).with("reason", reason.as_str());
        let event = name.map_or(event.clone(), |name| event.profile(name));
        self.store.commit(vec![Change::RemoveGate { profile, reason }], vec![event]).await?;
        self.publish(|closed| drop(closed.remove(&(profile, reason))));
        Ok(true)
    }

    fn publish(&self, change: impl FnOnce(&mut Closed)) {
        let mut closed = Closed::clone(&self.closed());
        change(&mut closed);
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(closed);
        self.changed.send_modify(|count| *count += 1);
    }
}

fn told(gate: &Gate, name: &Name) -> NewEvent {
    let event_type = if gate.reason == HoldReason::Paused { EventType::ProfilePaused } else { EventType::ProfileHeld };
    let mut event = NewEvent::new(gate.since, event_type).profile(name).with("reason", gate.reason.as_str());
    if let Some(detail) = &gate.detail {
        event = event.with("detail", detail.as_str());
    }
    if let Some(diagnosis) = &gate.diagnosis {
        event = event.with("diagnosis", diagnosis.as_str());
    }
    if let Some(until) = gate.until {
        event = event.with("until", until.to_string());
    }
    event
}
