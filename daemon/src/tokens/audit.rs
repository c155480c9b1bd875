//! Who was handed which token: counted in memory, and on disk within a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frankd_proto::{EventType, ProfileId};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{House, record};
use crate::domain::{Caller, NewEvent};

/// How long hand-outs are gathered.
pub(super) const GATHER: Duration = Duration::from_millis(800);

/// Hand-outs that are not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pending: Mutex<BTreeMap<ProfileId, BTreeMap<u32, HandOuts>>>,
    first: Notify,
}

/// Hand-outs to one uid.
#[derive(Clone, Debug)]
struct HandOuts {
    caller: Caller,
    times: u64,
    last: Timestamp,
}

impl Audit {
    /// Counts one.
    pub(super) fn count(&self, profile: ProfileId, caller: &Caller, at: Timestamp) {
        self.add(profile, HandOuts { caller: caller.clone(), times: 1, last: at });
        self.first.notify_one();
    }

    /// Returns when there is something to write.
    pub(super) async fn waiting(&self) {
        self.first.notified().await;
    }

    fn add(&self, profile: ProfileId, more: HandOuts) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let of_uid = pending.entry(profile).or_default().entry(more.caller.uid);
        let sum = of_uid.or_insert(HandOuts { times: 0, ..more.clone() });
        sum.times += more.times;
        sum.last = sum.last.max(more.last);
        sum.caller = more.caller;
    }

    fn take(&self) -> BTreeMap<ProfileId, BTreeMap<u32, HandOuts>> {
        std::mem::take(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what was gathered. What cannot be written now is kept for the next time.
pub(super) async fn flush(house: &Arc<House>) {
    join_all(house.audit.take().into_iter().map(|(profile, by_uid)| write(house, profile, by_uid))).await;
}

async fn write(house: &House, profile: ProfileId, by_uid: BTreeMap<u32, HandOuts>) {
    let Some(lane) = house.lane(profile) else { return };
    let view = house.parts.registry.view();
    let Some(name) = view.profile(profile).map(|profile| &profile.name) else { return };
    let events = by_uid.values().map(|hand_outs| {
        let caller = &hand_outs.caller;
        NewEvent::new(hand_outs.last, EventType::TokenHandedOut)
            .profile(name)
            .with("times", hand_outs.times)
            .with("uid", caller.uid)
            .with("user", caller.user.clone())
            .with("gid", caller.gid)
            .with("pid", caller.pid)
    });
    let events = events.collect();
    let times = by_uid.values().map(|hand_outs| hand_outs.times).sum();
    let last = by_uid.values().map(|hand_outs| hand_outs.last).max().unwrap_or_default();
    let written = match lane.try_write() {
        Some(mut slot) => {
            let next = record::handed_out(&slot, times, last);
            lane.put(house, &mut slot, next, events).await.is_ok()
        }
        None => lane.is_gone(),
    };
    if !written {
        for hand_outs in by_uid.into_values() {
            house.audit.add(profile, hand_outs);
        }
        house.audit.first.notify_one();
    }
}
