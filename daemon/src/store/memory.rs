//! The store in memory: the fake for tests that run on paused time.
//!
//! It keeps every promise of the seam but durability, does no work of its own, and starts no thread. It can be told to
//! fail, and to be opened again as after a crash.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frankd_proto::{ClientId, GrantId, HoldReason, MessageId, Priority, ProfileId};
use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::watch;

use super::rules::{self, Place};
use super::{
    Accepted, BodyReader, BodyWriter, Change, IdempotencyKey, Lane, LaneCount, LastSeq, MessageFilter, MessagePage,
    NewBody, NewMessage, Opened, Record, Reply, Retention, Snapshot, Store, StoreError, StoreHealth,
};
use crate::domain::{Claim, Client, Gate, Grant, Message, NewEvent, Phase, Profile, StoredEvent, TokenSlot};

/// Most things of each kind that one call of [`Store::sweep`] deletes.
const SWEPT: usize = 500;

/// The store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    opened: Opened,
    shared: Arc<Mutex<Shared>>,
    seq: watch::Sender<u64>,
}

/// What outlives a [`MemoryStore`], as a disk does.
#[derive(Debug, Default)]
struct Shared {
    incarnation: u64,
    closed: bool,
    fail_next: Option<StoreError>,
    read_only: Option<String>,
    full: bool,
    free_bytes: Option<u64>,
    records: Records,
    messages: BTreeMap<MessageId, Message>,
    bodies: BTreeMap<MessageId, Vec<u8>>,
    keys: BTreeMap<(u32, String), Submitted>,
    due: BTreeSet<(ProfileId, Priority, Timestamp, MessageId)>,
    events: BTreeMap<u64, StoredEvent>,
    seq: u64,
}

/// The small records, shared with the copy that each commit begins with.
#[derive(Clone, Debug, Default)]
struct Records {
    clients: BTreeMap<ClientId, Arc<Client>>,
    profiles: BTreeMap<ProfileId, Arc<Profile>>,
    slots: BTreeMap<ProfileId, Arc<TokenSlot>>,
    grants: BTreeMap<GrantId, Arc<Grant>>,
    gates: BTreeMap<(ProfileId, HoldReason), Gate>,
}

impl Records {
    /// Refuses mail for a profile that is not there or sends none.
    fn take_mail(&self, id: ProfileId) -> Result<(), StoreError> {
        match self.profiles.get(&id).filter(|profile| rules::sends(profile)) {
            Some(_) => Ok(()),
            None => Err(StoreError::Missing(Record::Profile(id))),
        }
    }
}

#[derive(Debug)]
struct Submitted {
    digest: [u8; 32],
    message: MessageId,
}

impl MemoryStore {
    /// An empty store, opened for the first time.
    pub fn new() -> Self {
        Self::open(Arc::default())
    }

    /// The same store as another run of the daemon finds it, whether this one ended well or not. This one then answers
    /// [`StoreError::Closed`] to everything.
    pub fn reopen(&self) -> Self {
        Self::open(Arc::clone(&self.shared))
    }

    /// The next call that changes something fails with `error` and changes nothing.
    pub fn fail_next(&self, error: StoreError) {
        self.lock().fail_next = Some(error);
    }

    /// The store takes no more changes, as after a failed sync; `None` ends that.
    pub fn set_read_only(&self, cause: Option<&str>) {
        self.lock().read_only = cause.map(str::to_owned);
    }

    /// The disk is full: [`Store::accept`] answers [`StoreError::Full`].
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// What [`Store::health`] says of the free octets.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.lock().free_bytes = free;
    }

    /// Takes a profile away without a look at its mail, as an earlier version could.
    pub fn lose_profile(&self, id: ProfileId) {
        self.lock().records.profiles.remove(&id);
    }

    fn open(shared: Arc<Mutex<Shared>>) -> Self {
        let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
        inner.incarnation += 1;
        inner.closed = false;
        inner.read_only = None;
        inner.fail_next = None;
        let mut opened = Opened { incarnation: inner.incarnation, ..Opened::default() };
        let claimed: Vec<Message> =
            inner.messages.values().filter(|m| rules::place(m) == Place::Claimed).cloned().collect();
        for mut message in claimed {
            if message.phase == Phase::AfterDot {
                opened.in_doubt.push(message.id);
            } else {
                opened.not_sent += 1;
                message.claim = None;
                message.version += 1;
                inner.put_message(message);
            }
        }
        let seq = watch::Sender::new(inner.seq);
        drop(inner);
        Self { opened, shared, seq }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `call` on the store, unless it is closed or belongs to a later run by now.
    fn read<T: Send + 'static>(&self, call: impl FnOnce(&mut Shared) -> T) -> Reply<'static, T> {
        let mut shared = self.lock();
        let result = if shared.closed || shared.incarnation != self.opened.incarnation {
            Err(StoreError::Closed)
        } else {
            Ok(call(&mut shared))
        };
        futures::future::ready(result).boxed()
    }

    fn write<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Reply<'static, T> {
        let reply = self.read(|shared| {
            if let Some(cause) = &shared.read_only {
                return Err(StoreError::ReadOnly(cause.clone()));
            }
            match shared.fail_next.take() {
                Some(error) => Err(error),
                None => call(shared),
            }
        });
        let last = self.lock().seq;
        self.seq.send_if_modified(|seq| std::mem::replace(seq, last) != last);
        reply.map(|reply| reply.and_then(|inner| inner)).boxed()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Size of the pieces in which a body is read, in octets.
const PIECE: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Incoming(Vec<u8>);

impl BodyWriter for Incoming {
    fn write(&mut self, octets: Vec<u8>) -> Reply<'_, ()> {
        self.0.extend_from_slice(&octets);
        std::future::ready(Ok(())).boxed()
    }

    fn finish(self: Box<Self>) -> Reply<'static, NewBody> {
        std::future::ready(Ok(self.0.into())).boxed()
    }
}

#[derive(Debug)]
struct Outgoing(VecDeque<Vec<u8>>);

impl BodyReader for Outgoing {
    fn read(&mut self) -> Reply<'_, Option<Vec<u8>>> {
        std::future::ready(Ok(self.0.pop_front())).boxed()
    }
}

impl Store for MemoryStore {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn snapshot(&self) -> Reply<'_, Snapshot> {
        self.read(|shared| Snapshot {
            clients: values(&shared.records.clients),
            profiles: values(&shared.records.profiles),
            slots: values(&shared.records.slots),
            grants: values(&shared.records.grants),
            gates: shared.records.gates.values().cloned().collect(),
        })
    }

    fn commit(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Reply<'_, u64> {
        self.write(move |shared| {
            let mut draft =
                Draft { stored: &shared.messages, records: shared.records.clone(), messages: BTreeMap::new() };
            for change in changes {
                draft.apply(change)?;
            }
            let Draft { records, messages, .. } = draft;
            shared.records = records;
            for message in messages.into_values() {
                shared.put_message(message);
            }
            Ok(shared.append(events))
        })
    }

    fn accept(&self, new: NewMessage) -> Reply<'_, Accepted> {
        self.write(move |shared| shared.accept(new))
    }

    fn named(&self, key: IdempotencyKey) -> Reply<'_, Option<Accepted>> {
        self.read(move |shared| shared.named(&(key.uid, key.key), &key.digest))
    }

    fn lanes(&self) -> Reply<'_, Vec<Lane>> {
        self.read(|shared| {
            let mut lanes = BTreeMap::new();
            for (profile, _, due_at, _) in &shared.due {
                let first = lanes.entry(*profile).or_insert(*due_at);
                *first = (*first).min(*due_at);
            }
            let lane = |(profile, due_at)| Lane { profile, due_at };
            lanes.into_iter().map(lane).collect()
        })
    }

    fn claim(&self, profile: ProfileId, now: Timestamp, limit: usize) -> Reply<'_, Vec<Message>> {
        let incarnation = self.opened.incarnation;
        self.write(move |shared| {
            let first = (profile, Priority::High, Timestamp::MIN, MessageId::from_bits(0));
            let due = shared.due.range(first..);
            let ids: Vec<MessageId> = due
                .take_while(|(of, ..)| *of == profile)
                .filter(|(_, _, due_at, _)| *due_at <= now)
                .take(limit)
                .map(|(.., id)| *id)
                .collect();
            let mut claimed = Vec::new();
            for id in ids {
                if let Some(mut message) = shared.messages.get(&id).cloned() {
                    message.claim = Some(Claim { incarnation, at: now });
                    message.phase = Phase::BeforeDot;
                    message.version += 1;
                    shared.put_message(message.clone());
                    claimed.push(message);
                }
            }
            Ok(claimed)
        })
    }

    fn message(&self, id: MessageId) -> Reply<'_, Option<Message>> {
        self.read(|shared| shared.messages.get(&id).cloned())
    }

    fn messages(&self, filter: MessageFilter) -> Reply<'_, MessagePage> {
        self.read(|shared| {
            let mut page = MessagePage::default();
            let before = filter.before.unwrap_or(MessageId::from_bits(u128::MAX));
            let mut last = None;
            for (looked_at, (id, message)) in shared.messages.range(..before).rev().enumerate() {
                if page.messages.len() == filter.limit || looked_at == rules::LOOKED_AT {
                    page.next = last;
                    break;
                }
                last = Some(*id);
                if rules::shows(&filter, message) {
                    page.messages.push(message.clone());
                }
            }
            page
        })
    }

    fn write_body(&self, _id: MessageId) -> Box<dyn BodyWriter> {
        Box::new(Incoming::default())
    }

    fn read_body(&self, id: MessageId) -> Reply<'_, Option<Box<dyn BodyReader>>> {
        self.read(|shared| {
            let octets = shared.bodies.get(&id)?;
            let pieces = octets.chunks(PIECE).map(<[u8]>::to_vec).collect();
            Some(Box::new(Outgoing(pieces)) as Box<dyn BodyReader>)
        })
    }

    fn counts(&self) -> Reply<'_, Vec<(ProfileId, LaneCount)>> {
        self.read(|shared| {
            let mut counts: BTreeMap<ProfileId, LaneCount> = BTreeMap::new();
            for message in shared.messages.values().filter(|m| !m.is_final()) {
                let one = rules::counted(message);
                let count = counts.entry(message.profile).or_default();
                count.waiting += one.waiting;
                count.sending += one.sending;
                count.held += one.held;
                count.in_doubt += one.in_doubt;
                count.bytes += one.bytes;
                count.oldest_at = count.oldest_at.or(Some(message.queued_at));
            }
            counts.into_iter().collect()
        })
    }

    fn events(&self, since: u64, limit: usize) -> Reply<'_, (Vec<StoredEvent>, u64)> {
        self.read(|shared| {
            let oldest = shared.events.keys().next().copied().unwrap_or(shared.seq + 1);
            let after = shared.events.range(since.saturating_add(1)..);
            (after.take(limit).map(|(_, event)| event.clone()).collect(), oldest)
        })
    }

    fn last_seq(&self) -> LastSeq {
        LastSeq::of(&self.seq)
    }

    fn sweep(&self, retention: Retention) -> Reply<'_, bool> {
        self.write(move |shared| Ok(shared.sweep(&retention)))
    }

    fn health(&self) -> StoreHealth {
        let shared = self.lock();
        StoreHealth { read_only: shared.read_only.clone(), free_bytes: shared.free_bytes }
    }

    fn close(&self) -> Reply<'_, ()> {
        self.read(|shared| shared.closed = true)
    }
}

impl Shared {
    fn put_message(&mut self, message: Message) {
        let due = |m: &Message| (m.profile, m.priority, m.due_at, m.id);
        if let Some(old) = self.messages.get(&message.id) {
            self.due.remove(&due(old));
        }
        if rules::place(&message) == Place::Due {
            self.due.insert(due(&message));
        }
        if !rules::needs_body(&message) {
            self.bodies.remove(&message.id);
        }
        self.messages.insert(message.id, message);
    }

    fn append(&mut self, events: Vec<NewEvent>) -> u64 {
        for event in events {
            self.seq += 1;
            self.events.insert(self.seq, rules::numbered(event, self.seq));
        }
        self.seq
    }

    fn named(&self, key: &(u32, String), digest: &[u8; 32]) -> Option<Accepted> {
        let submitted = self.keys.get(key)?;
        Some(match self.messages.get(&submitted.message) {
            Some(message) if submitted.digest == *digest => Accepted::Duplicate(Box::new(message.clone())),
            _ => Accepted::KeyConflict,
        })
    }

    fn accept(&mut self, new: NewMessage) -> Result<Accepted, StoreError> {
        let id = new.message.id;
        let key = new.idempotency.map(|key| ((key.uid, key.key), key.digest));
        if let Some((key, digest)) = &key
            && let Some(before) = self.named(key, digest)
        {
            return Ok(before);
        }
        rules::follows(
            self.messages.get(&id).map(|m| m.version),
            None,
            Some(new.message.version),
            Record::Message(id),
        )?;
        self.records.take_mail(new.message.profile)?;
        let waiting = |uid: Option<u32>| {
            let open = self.messages.values().filter(|m| !m.is_final());
            open.filter(|m| uid.is_none_or(|uid| uid == m.uid)).count() as u64
        };
        if waiting(None) >= new.max_messages {
            return Ok(Accepted::QueueFull { of_uid: false });
        }
        if waiting(Some(new.message.uid)) >= new.max_of_uid {
            return Ok(Accepted::QueueFull { of_uid: true });
        }
        if self.full {
            return Err(StoreError::Full);
        }
        if let Some((key, digest)) = key {
            self.keys.insert(key, Submitted { digest, message: id });
        }
        if let NewBody::Octets(octets) = new.body {
            self.bodies.insert(id, octets);
        }
        self.put_message(new.message);
        self.append(vec![new.event]);
        Ok(Accepted::New)
    }

    fn sweep(&mut self, keep: &Retention) -> bool {
        let mut more = false;
        let mut first = |mut gone: Vec<MessageId>| {
            more |= gone.len() > SWEPT;
            gone.truncate(SWEPT);
            gone
        };
        let messages = &self.messages;
        let ended_before =
            |id: &MessageId, moment| messages.get(id).is_some_and(|m| ended(m).is_some_and(|at| at < moment));

        let bodies = self.bodies.keys().filter(|id| ended_before(id, keep.body_before));
        let bodies = first(bodies.copied().collect());
        let keys = self.keys.values().map(|submitted| submitted.message);
        let keys = first(keys.filter(|id| ended_before(id, keep.idempotency_before)).collect());
        let named: BTreeSet<MessageId> =
            self.keys.values().map(|s| s.message).filter(|id| !keys.contains(id)).collect();
        let records = messages.keys().filter(|id| ended_before(id, keep.message_before) && !named.contains(id));
        let records = first(records.copied().collect());

        self.bodies.retain(|id, _| !bodies.contains(id) && !records.contains(id));
        self.keys.retain(|_, submitted| !keys.contains(&submitted.message));
        self.messages.retain(|id, _| !records.contains(id));
        let grants = &mut self.records.grants;
        grants.retain(|_, grant| grant.ended_at.is_none_or(|at| at >= keep.grant_before));
        let old = self.events.values().take_while(|event| event.at < keep.event_before);
        let old: Vec<u64> = old.take(SWEPT + 1).map(|event| event.seq).collect();
        more |= old.len() > SWEPT;
        for seq in old.iter().take(SWEPT) {
            self.events.remove(seq);
        }
        more
    }
}

fn values<K, T: Clone>(records: &BTreeMap<K, Arc<T>>) -> Vec<T> {
    records.values().map(|record| T::clone(record)).collect()
}

/// When a final message ended.
fn ended(message: &Message) -> Option<Timestamp> {
    message.is_final().then(|| message.ended_at.unwrap_or(message.queued_at))
}

/// What a commit makes of the store, until all of it is known to be good.
struct Draft<'a> {
    stored: &'a BTreeMap<MessageId, Message>,
    records: Records,
    messages: BTreeMap<MessageId, Message>,
}

impl Draft<'_> {
    fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        let records = &mut self.records;
        match change {
            Change::PutClient { client, expected } => {
                let stored = records.clients.get(&client.id).map(|c| c.revision);
                rules::follows(stored, expected, Some(client.revision), Record::Client(client.id))?;
                if let Some(other) = records.clients.values().find(|c| c.name == client.name && c.id != client.id) {
                    return Err(StoreError::Taken(Record::Client(other.id)));
                }
                records.clients.insert(client.id, client.into());
            }
            Change::DeleteClient { id, expected } => {
                let stored = records.clients.get(&id).map(|c| c.revision);
                rules::follows(stored, Some(expected), None, Record::Client(id))?;
                if records.profiles.values().any(|profile| profile.client == Some(id)) {
                    return Err(StoreError::InUse(Record::Client(id)));
                }
                records.clients.remove(&id);
            }
            Change::PutProfile { profile, expected } => return self.put_profile(*profile, expected),
            Change::DeleteProfile { id, expected } => {
                let stored = records.profiles.get(&id).map(|p| p.revision);
                rules::follows(stored, Some(expected), None, Record::Profile(id))?;
                records.profiles.remove(&id);
                return self.free_of_mail(id);
            }
            Change::PutSlot { slot, expected } => {
                let stored = records.slots.get(&slot.profile).map(|s| s.version);
                rules::follows(stored, expected, Some(slot.version), Record::Slot(slot.profile))?;
                records.slots.insert(slot.profile, slot.into());
            }
            Change::DeleteSlot { profile, expected } => {
                let stored = records.slots.get(&profile).map(|s| s.version);
                rules::follows(stored, Some(expected), None, Record::Slot(profile))?;
                records.slots.remove(&profile);
            }
            Change::PutGrant { grant, expected } => {
                let stored = records.grants.get(&grant.id).map(|g| g.state);
                rules::moves_on(stored, expected, grant.id)?;
                records.grants.insert(grant.id, grant.into());
            }
            Change::PutGate(gate) => {
                records.gates.insert((gate.profile, gate.reason), gate);
            }
            Change::RemoveGate { profile, reason } => {
                records.gates.remove(&(profile, reason));
            }
            Change::PutMessage { message, expected } => {
                let stored = self.messages.get(&message.id).or_else(|| self.stored.get(&message.id));
                let (version, profile) = (stored.map(|m| m.version), stored.map(|m| m.profile));
                rules::follows(version, Some(expected), Some(message.version), Record::Message(message.id))?;
                if profile != Some(message.profile) {
                    records.take_mail(message.profile)?;
                }
                self.messages.insert(message.id, *message);
            }
        }
        Ok(())
    }

    fn put_profile(&mut self, profile: Profile, expected: Option<u64>) -> Result<(), StoreError> {
        let records = &mut self.records;
        let stored = records.profiles.get(&profile.id);
        rules::follows(stored.map(|p| p.revision), expected, Some(profile.revision), Record::Profile(profile.id))?;
        if let Some(other) = records.profiles.values().find(|p| p.name == profile.name && p.id != profile.id) {
            return Err(StoreError::Taken(Record::Profile(other.id)));
        }
        if let Some(client) = profile.client.filter(|client| !records.clients.contains_key(client)) {
            return Err(StoreError::Missing(Record::Client(client)));
        }
        let stops = stored.is_some_and(|stored| rules::sends(stored)) && !rules::sends(&profile);
        let id = profile.id;
        records.profiles.insert(id, Arc::new(profile));
        if stops { self.free_of_mail(id) } else { Ok(()) }
    }

    /// Refuses if mail waits for the profile.
    fn free_of_mail(&self, id: ProfileId) -> Result<(), StoreError> {
        let unchanged = self.stored.values().filter(|message| !self.messages.contains_key(&message.id));
        let waits = |message: &Message| message.profile == id && !message.is_final();
        if self.messages.values().chain(unchanged).any(waits) {
            return Err(StoreError::InUse(Record::Profile(id)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{self, Failure, Subject, sample};

    struct InMemory(Arc<MemoryStore>);

    impl Subject for InMemory {
        fn store(&self) -> Arc<dyn Store> {
            Arc::clone(&self.0) as Arc<dyn Store>
        }

        async fn crash(&mut self) -> Result<(), Failure> {
            self.0 = Arc::new(self.0.reopen());
            Ok(())
        }

        async fn restart(&mut self) -> Result<(), Failure> {
            self.0.close().await?;
            self.crash().await
        }
    }

    conformance::suite!(InMemory(Arc::new(MemoryStore::new())));

    #[tokio::test]
    async fn it_fails_as_told_and_recovers() {
        let store = MemoryStore::new();
        sample::senders(&store).await.unwrap();
        let new = sample::new_message(sample::message(1, 1));
        store.fail_next(StoreError::ReadOnly("sync failed".to_owned()));
        assert!(matches!(store.accept(new.clone()).await, Err(StoreError::ReadOnly(_))));
        store.set_full(true);
        assert!(matches!(store.accept(new.clone()).await, Err(StoreError::Full)));
        store.set_full(false);
        store.set_read_only(Some("sync failed"));
        assert!(matches!(store.accept(new.clone()).await, Err(StoreError::ReadOnly(_))));
        assert_eq!(store.health().read_only.as_deref(), Some("sync failed"));
        assert_eq!(store.message(new.message.id).await.unwrap(), None);
        let store = store.reopen();
        assert_eq!(store.accept(new).await.unwrap(), Accepted::New);
    }

    #[tokio::test]
    async fn a_run_that_is_over_changes_nothing() {
        let first = MemoryStore::new();
        let second = first.reopen();
        let late = first.accept(sample::new_message(sample::message(1, 1))).await;
        assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
        assert_eq!(second.opened().incarnation, 2);
    }
}
