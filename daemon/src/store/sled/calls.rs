//! The calls that change something, each on a [`Draft`].

use frankd_proto::{ClientId, HoldReason, MessageId, Priority, ProfileId};
use jiff::Timestamp;

use super::draft::Draft;
use super::kept::{Submitted, SubmittedBy};
use super::keys;
use super::messages::Kept;
use super::pages::{Plain as _, encode};
use crate::domain::{Claim, Client, Grant, Message, NewEvent, Phase, Profile, StoredEvent, TokenSlot};
use crate::store::{Accepted, Change, IdempotencyKey, Record, Retention, StoreError, rules};

/// Most things of each kind that one sweep deletes.
const SWEPT: usize = 500;

/// A message to accept, sealed by its sender's thread.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kept: Kept,
    /// The record of its acceptance.
    pub(super) sealed: Vec<u8>,
    pub(super) digest: [u8; 32],
    pub(super) max_messages: u64,
    pub(super) max_of_uid: u64,
    pub(super) event: NewEvent,
}

/// SHA-256 of an idempotency key, with the uid that it belongs to.
pub(super) fn submitted_by(key: &IdempotencyKey) -> SubmittedBy {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.key.as_bytes());
    SubmittedBy { uid: key.uid, key: digest.as_ref().to_vec() }
}

impl Draft<'_> {
    /// See [`Store::commit`](crate::store::Store::commit).
    pub(super) fn change(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::PutClient { client, expected } => self.put_client(&client, expected),
            Change::DeleteClient { id, expected } => {
                self.effects.registry = true;
                self.delete::<Client>(&keys::client(id), expected, Record::Client(id), |c| c.revision)?;
                self.unused(id)
            }
            Change::PutProfile { profile, expected } => self.put_profile(&profile, expected),
            Change::DeleteProfile { id, expected } => {
                self.effects.registry = true;
                self.delete::<Profile>(&keys::profile(id), expected, Record::Profile(id), |p| p.revision)?;
                self.free_of_mail(id)
            }
            Change::PutSlot { slot, expected } => self.put_slot(*slot, expected),
            Change::DeleteSlot { profile, expected } => {
                self.delete::<TokenSlot>(&keys::slot(profile), expected, Record::Slot(profile), |s| s.version)?;
                self.effects.slots.retain(|slot| slot.profile != profile);
                self.effects.dropped.push(profile);
                Ok(())
            }
            Change::PutGrant { grant, expected } => {
                let key = keys::grant(grant.id);
                let stored = self.overlay.record::<Grant>(&key)?.map(|g| g.state);
                rules::moves_on(stored, expected, grant.id)?;
                self.enter(key, &encode(&grant)?, 0, None)
            }
            Change::PutGate(gate) => {
                self.effects.registry |= gate.reason == HoldReason::Paused;
                self.enter(keys::gate(gate.profile, gate.reason), &encode(&gate)?, 0, None)
            }
            Change::RemoveGate { profile, reason } => {
                self.effects.registry |= reason == HoldReason::Paused;
                self.strike(&keys::gate(profile, reason))
            }
            Change::PutMessage { message, expected } => self.put_message(*message, expected),
        }
    }

    /// See [`Store::accept`](crate::store::Store::accept).
    pub(super) fn accept(&mut self, new: Incoming) -> Result<Accepted, StoreError> {
        let Incoming { kept, sealed, digest, .. } = new;
        let id = kept.message.id;
        if let Some(by) = &kept.submitted
            && let Some(before) = self.overlay.record::<Submitted>(&keys::submitted(by.uid, &by.key))?
        {
            let first = self.kept(before.message)?;
            return Ok(match first {
                Some(first) if before.digest == digest => Accepted::Duplicate(Box::new(first.message)),
                _ => Accepted::KeyConflict,
            });
        }
        let there = self.overlay.has(&keys::accepted(id))? || self.overlay.has(&keys::message(id))?;
        let stored = there.then_some(0);
        rules::follows(stored, None, Some(kept.message.version), Record::Message(id))?;
        self.take_mail(kept.message.profile)?;
        if self.state.waiting >= new.max_messages {
            return Ok(Accepted::QueueFull { of_uid: false });
        }
        let of_uid = self.state.users.get(&kept.message.uid).copied().unwrap_or(0);
        if of_uid >= new.max_of_uid {
            return Ok(Accepted::QueueFull { of_uid: true });
        }
        if let Some(by) = &kept.submitted {
            let submitted = Submitted { digest: digest.to_vec(), message: id };
            self.overlay.set(&keys::submitted(by.uid, &by.key), &encode(&submitted)?)?;
        }
        self.insert_kept(&kept, &sealed);
        self.append(vec![new.event]);
        Ok(Accepted::New)
    }

    /// See [`Store::claim`](crate::store::Store::claim). Everything before it must have landed: it looks at the database.
    pub(super) fn claim(
        &mut self,
        profile: ProfileId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let mut due = Vec::new();
        for priority in [Priority::High, Priority::Normal, Priority::Low] {
            let (from, to) = (keys::lane(profile, priority), keys::lane_after(profile, priority, now));
            let lane = self.overlay.pages.tree.range(from..to).keys().take(limit - due.len());
            for key in lane {
                due.push(key.map_err(super::pages::failed)?);
            }
        }
        let claim = Claim { incarnation: self.meta.incarnation, at: now };
        let mut claimed = Vec::with_capacity(due.len());
        for key in due {
            let old = self.indexed(&key)?;
            let mut new = old.clone();
            new.message.version += 1;
            new.message.claim = Some(claim);
            new.message.phase = Phase::BeforeDot;
            claimed.push(new.message.clone());
            self.put_kept(&old, new)?;
        }
        Ok(claimed)
    }

    /// Voids what another run had claimed. Gives how many were surely not sent, and those in doubt.
    pub(super) fn void_claims(&mut self) -> Result<(u64, Vec<MessageId>), StoreError> {
        let (mut not_sent, mut in_doubt) = (0, Vec::new());
        let claimed: Vec<_> = self.overlay.pages.keys(&[keys::CLAIMED]).collect::<Result<_, _>>()?;
        for key in claimed {
            let old = self.indexed(&key)?;
            if old.message.phase == Phase::AfterDot {
                in_doubt.push(old.message.id);
                continue;
            }
            not_sent += 1;
            let mut new = old.clone();
            new.message.version += 1;
            new.message.claim = None;
            self.put_kept(&old, new)?;
        }
        Ok((not_sent, in_doubt))
    }

    /// See [`Store::sweep`](crate::store::Store::sweep). Everything before it must have landed: it looks at the database.
    pub(super) fn sweep(&mut self, keep: &Retention) -> Result<bool, StoreError> {
        let mut more = false;
        let (bodies, rest) = self.ended_before(keys::WITH_BODY, keep.body_before)?;
        more |= rest;
        for key in bodies {
            let old = self.indexed(&key)?;
            let mut new = old.clone();
            self.drop_body(&mut new)?;
            self.put_kept(&old, new)?;
        }
        let (named, rest) = self.ended_before(keys::NAMED, keep.idempotency_before)?;
        more |= rest;
        for key in named {
            let old = self.indexed(&key)?;
            let mut new = old.clone();
            if let Some(by) = new.submitted.take() {
                self.forget(&by)?;
            }
            self.put_kept(&old, new)?;
        }
        self.sweep_grants(keep.grant_before)?;
        more |= self.sweep_events(keep.event_before)?;
        Ok(more)
    }

    /// Deletes final messages, a piece of the way from the oldest to the first that is too young. Gives how far it came,
    /// unless that was the end. Everything before it must have landed.
    pub(super) fn sweep_messages(
        &mut self,
        keep: &Retention,
        from: Option<MessageId>,
    ) -> Result<Option<MessageId>, StoreError> {
        let too_young = u64::try_from(keep.message_before.as_millisecond()).unwrap_or(0);
        let start = from.map_or_else(|| vec![keys::MESSAGE], |id| [&keys::message(id)[..], &[0]].concat());
        let ids = self.overlay.pages.tree.range(start..vec![keys::MESSAGE + 1]).keys().take(SWEPT);
        let ids: Vec<_> = ids.collect::<Result<_, _>>().map_err(super::pages::failed)?;
        let whole = ids.len() < SWEPT;
        let mut last = None;
        for key in ids {
            let Some(id) = keys::last_id(&key).map(MessageId::from_bits) else {
                continue;
            };
            // It cannot have ended before it was made.
            if id.unix_ms() >= too_young {
                return Ok(None);
            }
            last = Some(id);
            let kept = self.indexed(&key)?;
            let ended = kept.message.is_final().then(|| kept.message.ended_at.unwrap_or(kept.message.queued_at));
            if kept.submitted.is_none() && ended.is_some_and(|at| at < keep.message_before) {
                self.remove_kept(kept)?;
            }
        }
        Ok(last.filter(|_| !whole))
    }

    /// The first entries of an index by end, and whether there are more.
    fn ended_before(&self, kind: u8, moment: Timestamp) -> Result<(Vec<sled::IVec>, bool), StoreError> {
        let range = vec![kind]..keys::ended(kind, moment);
        let keys = self.overlay.pages.tree.range(range).keys().take(SWEPT);
        let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(super::pages::failed)?;
        let more = keys.len() == SWEPT;
        Ok((keys, more))
    }

    fn sweep_grants(&mut self, before: Timestamp) -> Result<(), StoreError> {
        let grants: Vec<Vec<u8>> = self.roster().of_kind(keys::GRANT).cloned().collect();
        for key in grants {
            let grant = self.overlay.record::<Grant>(&key)?;
            if grant.and_then(|grant| grant.ended_at).is_some_and(|at| at < before) {
                self.strike(&key)?;
            }
        }
        Ok(())
    }

    /// Events go with all of their batch.
    fn sweep_events(&mut self, before: Timestamp) -> Result<bool, StoreError> {
        let mut swept = 0;
        let records = self.overlay.pages.keys(&[keys::EVENTS]);
        for key in records {
            let key = key?;
            let events: Vec<StoredEvent> = self.overlay.record(&key)?.unwrap_or_default();
            if events.iter().any(|event| event.at >= before) {
                return Ok(false);
            }
            self.overlay.unset(key.to_vec())?;
            self.meta.events -= events.len() as u64;
            self.meta.event_records -= 1;
            swept += events.len();
            if swept >= SWEPT {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put_client(&mut self, client: &Client, expected: Option<u64>) -> Result<(), StoreError> {
        let key = keys::client(client.id);
        let stored = self.overlay.record::<Client>(&key)?.map(|c| c.revision);
        rules::follows(stored, expected, Some(client.revision), Record::Client(client.id))?;
        self.free_name(keys::CLIENT, client.name.as_str(), &key)?;
        self.effects.registry = true;
        self.enter(key, &encode(client)?, client.revision, Some(client.name.to_string()))
    }

    fn put_profile(&mut self, profile: &Profile, expected: Option<u64>) -> Result<(), StoreError> {
        let key = keys::profile(profile.id);
        let stored = self.overlay.record::<Profile>(&key)?;
        let revision = stored.as_ref().map(|p| p.revision);
        rules::follows(revision, expected, Some(profile.revision), Record::Profile(profile.id))?;
        self.free_name(keys::PROFILE, profile.name.as_str(), &key)?;
        if let Some(client) = profile.client.filter(|client| !self.roster().0.contains_key(&keys::client(*client))) {
            return Err(StoreError::Missing(Record::Client(client)));
        }
        self.effects.registry = true;
        self.enter(key.clone(), &encode(profile)?, profile.revision, Some(profile.name.to_string()))?;
        if rules::sends(profile) {
            return Ok(());
        }
        self.sends_none(&key);
        if stored.as_ref().is_some_and(rules::sends) { self.free_of_mail(profile.id) } else { Ok(()) }
    }

    /// Refuses if a profile refers to the client.
    fn unused(&self, id: ClientId) -> Result<(), StoreError> {
        for key in self.roster().of_kind(keys::PROFILE) {
            if self.overlay.record::<Profile>(key)?.is_some_and(|profile| profile.client == Some(id)) {
                return Err(StoreError::InUse(Record::Client(id)));
            }
        }
        Ok(())
    }

    fn put_slot(&mut self, slot: TokenSlot, expected: Option<u64>) -> Result<(), StoreError> {
        let key = keys::slot(slot.profile);
        let stored = self.overlay.record::<TokenSlot>(&key)?.map(|s| s.version);
        rules::follows(stored, expected, Some(slot.version), Record::Slot(slot.profile))?;
        self.enter(key, &encode(&slot)?, slot.version, None)?;
        self.effects.dropped.retain(|profile| *profile != slot.profile);
        self.effects.slots.retain(|other| other.profile != slot.profile);
        self.effects.slots.push(slot);
        Ok(())
    }

    fn put_message(&mut self, message: Message, expected: u64) -> Result<(), StoreError> {
        let old = self.kept(message.id)?;
        let stored = old.as_ref().map(|kept| kept.message.version);
        rules::follows(stored, Some(expected), Some(message.version), Record::Message(message.id))?;
        if old.as_ref().is_some_and(|kept| kept.message.profile != message.profile) {
            self.take_mail(message.profile)?;
        }
        let new = Kept {
            body: old.as_ref().and_then(|kept| kept.body),
            submitted: old.as_ref().and_then(|kept| kept.submitted.clone()),
            message,
        };
        old.map_or(Ok(()), |old| self.put_kept(&old, new))
    }

    /// Refuses a name that another record has.
    fn free_name(&self, kind: u8, name: &str, key: &[u8]) -> Result<(), StoreError> {
        match self.roster().named(kind, name, key).and_then(super::kept::record) {
            Some(other) => Err(StoreError::Taken(other)),
            None => Ok(()),
        }
    }

    fn delete<T: serde::de::DeserializeOwned>(
        &mut self,
        key: &[u8],
        expected: u64,
        record: Record,
        version: impl Fn(&T) -> u64,
    ) -> Result<(), StoreError> {
        let stored = self.overlay.record::<T>(key)?.map(|stored| version(&stored));
        rules::follows(stored, Some(expected), None, record)?;
        self.strike(key)
    }
}
