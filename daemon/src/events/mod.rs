//! What happened, read from the store and followed as it happens.
//!
//! Events are written by whoever changes something, in the same commit. Here they are only read: everybody who waits does
//! so on [`Store::last_seq`], so nothing polls and nothing is missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::methods::event::{Event, Events as Listed};
use frankd_proto::{EventType, Name};
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::clock::{ClockExt as _, SharedClock};
use crate::domain::StoredEvent;
use crate::store::{LastSeq, Store, StoreError};

/// Events read from the store at a time.
const PAGE: usize = 256;

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these types; all if absent.
    pub types: Option<Vec<EventType>>,
    /// Only of this profile; all if absent.
    pub profile: Option<Name>,
    /// Only at or after this time; of all times if absent.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn wants(&self, event: &StoredEvent) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&event.event_type))
            && self.profile.as_ref().is_none_or(|name| event.profile.as_ref() == Some(name))
            && self.since.is_none_or(|since| event.at >= since)
    }
}

/// Reads events.
#[derive(Clone, Debug)]
pub struct Events {
    store: Arc<dyn Store>,
    clock: SharedClock,
}

impl Events {
    /// Reads from `store`.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// The sequence number of the last event.
    pub fn last_seq(&self) -> u64 {
        self.store.last_seq().now()
    }

    /// Up to `limit` events after `since`; waits up to `wait` for the first one.
    pub async fn list(&self, filter: Filter, since: u64, limit: usize, wait: Duration) -> Result<Listed, StoreError> {
        let (_, oldest) = self.store.events(since, 1).await?;
        let lost = since > 0 && since + 1 < oldest;
        let mut follower = self.follow(filter, Some(since));
        let mut events = Vec::new();
        if let Ok(first) = self.clock.deadline(wait, follower.next()).await {
            events.push(first?);
        }
        while events.len() < limit {
            match follower.ready().await? {
                Some(event) => events.push(event),
                None => break,
            }
        }
        Ok(Listed { next_seq: follower.seen(), events, lost })
    }

    /// The last `count` events after `since`, the oldest first. Reads backwards, as far as it must.
    pub async fn latest(&self, filter: &Filter, since: u64, count: usize) -> Result<Listed, StoreError> {
        let last = self.last_seq();
        let (_, oldest) = self.store.events(since, 1).await?;
        let floor = since.max(oldest.saturating_sub(1));
        let mut found = VecDeque::new();
        let mut end = last;
        while found.len() < count && end > floor {
            let begin = end.saturating_sub(PAGE as u64).max(floor);
            let (page, _) = self.store.events(begin, PAGE).await?;
            let wanted = page.into_iter().rev().filter(|event| event.seq <= end && filter.wants(event));
            for event in wanted.take(count - found.len()) {
                found.push_front(shown(event));
            }
            end = begin;
        }
        Ok(Listed { events: found.into(), next_seq: last, lost: since > 0 && since + 1 < oldest })
    }

    /// Events after `since`, or from now on, as they happen.
    pub fn follow(&self, filter: Filter, since: Option<u64>) -> Follower {
        let last_seq = self.store.last_seq();
        let read = since.unwrap_or_else(|| last_seq.now());
        Follower { store: Arc::clone(&self.store), last_seq, filter, read, seen: read, page: VecDeque::new() }
    }
}

/// A reader of events that are there and of those to come.
#[derive(Debug)]
pub struct Follower {
    store: Arc<dyn Store>,
    last_seq: LastSeq,
    filter: Filter,
    read: u64,
    seen: u64,
    page: VecDeque<StoredEvent>,
}

impl Follower {
    /// The next event, once it happens. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            if let Some(event) = self.ready().await? {
                return Ok(event);
            }
            if !self.last_seq.changed().await {
                return Err(StoreError::Closed);
            }
        }
    }

    /// The next event that is there already.
    pub async fn ready(&mut self) -> Result<Option<Event>, StoreError> {
        loop {
            while let Some(event) = self.page.pop_front() {
                self.seen = event.seq;
                if self.filter.wants(&event) {
                    return Ok(Some(shown(event)));
                }
            }
            if self.last_seq.see() <= self.read {
                return Ok(None);
            }
            let (page, _) = self.store.events(self.read, PAGE).await?;
            match page.last() {
                Some(last) => self.read = last.seq,
                None => return Ok(None),
            }
            self.page = page.into();
        }
    }

    /// The events one by one; it ends when the store does.
    pub fn stream(self) -> BoxStream<'static, Event> {
        Box::pin(futures::stream::unfold(self, |mut follower| async move {
            let event = follower.next().await.ok()?;
            Some((event, follower))
        }))
    }

    /// The sequence number of the last event that was looked at.
    pub const fn seen(&self) -> u64 {
        self.seen
    }
}

fn shown(event: StoredEvent) -> Event {
    let StoredEvent { seq, at, event_type, profile, client, object, data } = event;
    Event { seq, at, event_type, profile, client, object, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, FakeClock};
    use crate::domain::NewEvent;
    use crate::store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn the_latest_events_come_in_order_whatever_is_between_them() {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(FakeClock::new());
        let begin = clock.wall();
        let at = |seconds| begin + jiff::SignedDuration::from_secs(seconds);
        // A thousand events over several pages; every hundredth is a sent message.
        for n in 1..=1000 {
            let kind = if n % 100 == 0 { EventType::MessageSent } else { EventType::MessageQueued };
            store.commit(Vec::new(), vec![NewEvent::new(at(n), kind)]).await.unwrap();
        }
        let events = Events::new(store, clock);
        let seqs = |listed: &Listed| listed.events.iter().map(|event| event.seq).collect::<Vec<_>>();
        let all = Filter::default();
        let listed = events.latest(&all, 0, 3).await.unwrap();
        assert_eq!((seqs(&listed), listed.next_seq, listed.lost), (vec![998, 999, 1000], 1000, false));
        let sent = Filter { types: Some(vec![EventType::MessageSent]), ..Filter::default() };
        assert_eq!(seqs(&events.latest(&sent, 0, 3).await.unwrap()), [800, 900, 1000]);
        assert_eq!(seqs(&events.latest(&sent, 0, 50).await.unwrap()).len(), 10, "all there are");
        assert_eq!(seqs(&events.latest(&sent, 850, 50).await.unwrap()), [900, 1000]);
        let late = Filter { since: Some(at(999)), ..Filter::default() };
        assert_eq!(seqs(&events.latest(&late, 0, 50).await.unwrap()), [999, 1000]);
        assert_eq!(seqs(&events.list(late, 0, 1, Duration::ZERO).await.unwrap()), [999], "the first since then");
        assert!(events.latest(&all, 1000, 5).await.unwrap().events.is_empty());
    }
}
