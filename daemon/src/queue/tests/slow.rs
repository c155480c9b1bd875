//! A store whose disk takes its time with settlements, or has no room for claims: what must be on disk before something else
//! happens shows then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use frankd_proto::{EventType, MessageId, ProfileId};
use jiff::Timestamp;

use crate::clock::{ClockExt as _, FakeClock};
use crate::domain::{Message, NewEvent, StoredEvent};
use crate::store::{
    Accepted, BodyReader, BodyWriter, Change, IdempotencyKey, Lane, LaneCount, LastSeq, MemoryStore, MessageFilter,
    MessagePage, NewMessage, Opened, Reply, Retention, Snapshot, Store, StoreError, StoreHealth,
};

#[derive(Debug)]
pub(super) struct SlowStore {
    inner: Arc<MemoryStore>,
    clock: FakeClock,
    seconds: AtomicU64,
    full: AtomicBool,
    refused: AtomicU64,
}

impl SlowStore {
    pub(super) fn new(inner: Arc<MemoryStore>, clock: FakeClock) -> Self {
        Self { inner, clock, seconds: AtomicU64::new(0), full: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    /// How long a commit takes that tells of a sent message.
    pub(super) fn settle_in(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    /// Whether claims find no room.
    pub(super) fn refuse_claims(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// How many claims found no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Store for SlowStore {
    fn engine(&self) -> &'static str {
        self.inner.engine()
    }

    fn opened(&self) -> &Opened {
        self.inner.opened()
    }

    fn snapshot(&self) -> Reply<'_, Snapshot> {
        self.inner.snapshot()
    }

    fn commit(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Reply<'_, u64> {
        let settles = events.iter().any(|event| event.event_type == EventType::MessageSent);
        let wait = if settles { self.seconds.load(Ordering::Relaxed) } else { 0 };
        Box::pin(async move {
            if wait > 0 {
                self.clock.sleep(Duration::from_secs(wait)).await;
            }
            self.inner.commit(changes, events).await
        })
    }

    fn accept(&self, new: NewMessage) -> Reply<'_, Accepted> {
        self.inner.accept(new)
    }

    fn lanes(&self) -> Reply<'_, Vec<Lane>> {
        self.inner.lanes()
    }

    fn claim(&self, profile: ProfileId, now: Timestamp, limit: usize) -> Reply<'_, Vec<Message>> {
        if self.full.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Box::pin(std::future::ready(Err(StoreError::Full)));
        }
        self.inner.claim(profile, now, limit)
    }

    fn named(&self, key: IdempotencyKey) -> Reply<'_, Option<Accepted>> {
        self.inner.named(key)
    }

    fn message(&self, id: MessageId) -> Reply<'_, Option<Message>> {
        self.inner.message(id)
    }

    fn messages(&self, filter: MessageFilter) -> Reply<'_, MessagePage> {
        self.inner.messages(filter)
    }

    fn write_body(&self, id: MessageId) -> Box<dyn BodyWriter> {
        self.inner.write_body(id)
    }

    fn read_body(&self, id: MessageId) -> Reply<'_, Option<Box<dyn BodyReader>>> {
        self.inner.read_body(id)
    }

    fn counts(&self) -> Reply<'_, Vec<(ProfileId, LaneCount)>> {
        self.inner.counts()
    }

    fn events(&self, since: u64, limit: usize) -> Reply<'_, (Vec<StoredEvent>, u64)> {
        self.inner.events(since, limit)
    }

    fn last_seq(&self) -> LastSeq {
        self.inner.last_seq()
    }

    fn sweep(&self, retention: Retention) -> Reply<'_, bool> {
        self.inner.sweep(retention)
    }

    fn health(&self) -> StoreHealth {
        self.inner.health()
    }

    fn close(&self) -> Reply<'_, ()> {
        self.inner.close()
    }
}
