//! One call's changes before they are known to be good, and the sums and counts that go with them.
//!
//! A [`Draft`] reads through the [`Overlay`], so it sees what the calls before it in the same group have changed. Dropped,
//! it leaves nothing; finished, it becomes part of the [`State`].

use std::collections::{BTreeMap, BTreeSet};

use frankd_proto::{HoldReason, MessageId, ProfileId};

use super::kept::{Count, Entry, Meta, Roster, Shown, SubmittedBy, Sum, mark_of_message};
use super::keys;
use super::messages::{self, BodyPlace, Kept};
use super::pages::{Overlay, Plain as _, encode};
use crate::domain::{Gate, Message, NewEvent, StoredEvent, TokenSlot};
use crate::store::mirror;
use crate::store::{LaneCount, Record, StoreError, rules};

/// What the writer knows of the database without reading it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) meta: Meta,
    pub(super) roster: Roster,
    pub(super) counts: BTreeMap<ProfileId, Count>,
    pub(super) users: BTreeMap<u32, u64>,
    /// Messages that are not final.
    pub(super) waiting: u64,
    events: Vec<StoredEvent>,
    changed_counts: BTreeSet<ProfileId>,
    changed_users: BTreeSet<u32>,
}

impl State {
    /// Writes events, counts and generation, the last of each batch.
    pub(super) fn write(&mut self, overlay: &mut Overlay) -> Result<(), StoreError> {
        let events = std::mem::take(&mut self.events);
        if let Some(first) = events.first() {
            self.meta.event_records += 1;
            overlay.set(&keys::events(first.seq), &encode(&events)?)?;
        }
        for profile in std::mem::take(&mut self.changed_counts) {
            match self.counts.get(&profile) {
                Some(count) => overlay.set(&keys::count(profile), &encode(count)?)?,
                None => overlay.unset(keys::count(profile))?,
            }
        }
        for uid in std::mem::take(&mut self.changed_users) {
            match self.users.get(&uid) {
                Some(count) => overlay.set(&keys::user(uid), &encode(count)?)?,
                None => overlay.unset(keys::user(uid))?,
            }
        }
        self.meta.counts = self.sum_of_counts()?;
        self.meta.generation += 1;
        overlay.set(keys::META, &encode(&self.meta)?)?;
        overlay.keep();
        Ok(())
    }

    /// Whether events wait to be written.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The sum that [`Meta::counts`] must have.
    pub(super) fn sum_of_counts(&self) -> Result<Sum, StoreError> {
        let mut sum = Sum::default();
        for entry in &self.counts {
            sum.add(&encode(&entry)?);
        }
        for entry in &self.users {
            sum.add(&encode(&entry)?);
        }
        Ok(sum)
    }

    fn count(&mut self, message: &Message, more: bool) {
        let one = rules::counted(message);
        if one == LaneCount::default() {
            return;
        }
        let count = self.counts.entry(message.profile).or_default();
        let user = self.users.entry(message.uid).or_default();
        if more {
            count.add(&one);
            *user += 1;
            self.waiting += 1;
        } else {
            count.remove(&one);
            *user = user.saturating_sub(1);
            self.waiting = self.waiting.saturating_sub(1);
        }
        if count.waiting == 0 {
            self.counts.remove(&message.profile);
        }
        if *user == 0 {
            self.users.remove(&message.uid);
        }
        self.changed_counts.insert(message.profile);
        self.changed_users.insert(message.uid);
    }
}

/// What a finished call asks for besides the database.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Token slots that were written.
    pub(super) slots: Vec<TokenSlot>,
    /// Profiles whose token slot was deleted.
    pub(super) dropped: Vec<ProfileId>,
    /// Whether a client, a profile or a pause changed.
    pub(super) registry: bool,
    /// Body files that no message needs any more.
    pub(super) unlink: Vec<MessageId>,
}

impl Effects {
    /// Whether the mirror must be written.
    pub(super) fn mirrored(&self) -> bool {
        self.registry || !self.slots.is_empty() || !self.dropped.is_empty()
    }
}

/// One call's changes.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) overlay: &'a mut Overlay,
    pub(super) state: &'a State,
    pub(super) meta: Meta,
    pub(super) effects: Effects,
    roster: Option<Roster>,
    events: Vec<StoredEvent>,
    counted: Vec<(Message, bool)>,
}

/// A [`Draft`] that is good.
#[derive(Debug)]
pub(super) struct Finished {
    meta: Meta,
    roster: Option<Roster>,
    events: Vec<StoredEvent>,
    counted: Vec<(Message, bool)>,
}

impl Finished {
    /// All small records as they are after the call.
    pub(super) fn roster<'a>(&'a self, state: &'a State) -> &'a Roster {
        self.roster.as_ref().unwrap_or(&state.roster)
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(overlay: &'a mut Overlay, state: &'a State) -> Self {
        overlay.discard();
        Self {
            overlay,
            meta: state.meta,
            state,
            effects: Effects::default(),
            roster: None,
            events: Vec::new(),
            counted: Vec::new(),
        }
    }

    /// All small records as they are after this call.
    pub(super) fn roster(&self) -> &Roster {
        self.roster.as_ref().unwrap_or(&self.state.roster)
    }

    fn roster_mut(&mut self) -> &mut Roster {
        self.roster.get_or_insert_with(|| self.state.roster.clone())
    }

    /// Writes a small record and enters it into the roster.
    pub(super) fn enter(
        &mut self,
        key: Vec<u8>,
        plain: &[u8],
        version: u64,
        name: Option<String>,
    ) -> Result<(), StoreError> {
        let mark = crc32fast::hash(plain);
        self.overlay.set(&key, plain)?;
        self.roster_mut().0.insert(key, Entry { mark, version, name, no_mail: false });
        Ok(())
    }

    /// Notes that the profile of this key sends no mail.
    pub(super) fn sends_none(&mut self, key: &[u8]) {
        if let Some(entry) = self.roster_mut().0.get_mut(key) {
            entry.no_mail = true;
        }
    }

    /// Refuses mail for a profile that is not there or sends none.
    pub(super) fn take_mail(&self, id: ProfileId) -> Result<(), StoreError> {
        match self.roster().0.get(&keys::profile(id)).filter(|entry| !entry.no_mail) {
            Some(_) => Ok(()),
            None => Err(StoreError::Missing(Record::Profile(id))),
        }
    }

    /// Refuses if mail waits for the profile, the changes of this call included.
    pub(super) fn free_of_mail(&self, id: ProfileId) -> Result<(), StoreError> {
        let before = self.state.counts.get(&id).map_or(0, |count| count.waiting);
        let own = |wanted| {
            let of = self.counted.iter().filter(|(message, more)| message.profile == id && *more == wanted);
            of.map(|(message, _)| rules::counted(message).waiting).sum::<u64>()
        };
        if before + own(true) > own(false) {
            return Err(StoreError::InUse(Record::Profile(id)));
        }
        Ok(())
    }

    /// Deletes a small record and strikes it off the roster.
    pub(super) fn strike(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.overlay.unset(key.to_vec())?;
        self.roster_mut().0.remove(key);
        Ok(())
    }

    /// Reads a message with what belongs to it.
    pub(super) fn kept(&self, id: MessageId) -> Result<Option<Kept>, StoreError> {
        messages::kept(self.overlay, id)
    }

    /// A message that an index names; one that is not there is damage.
    pub(super) fn indexed(&self, entry: &[u8]) -> Result<Kept, StoreError> {
        let id = keys::last_id(entry).map(MessageId::from_bits);
        let id = id.ok_or_else(|| StoreError::Failed(format!("{} has no id", Shown(entry))))?;
        self.kept(id)?.ok_or(StoreError::Damaged {
            record: Record::Message(id),
            cause: "it is not there, but an index has it".to_owned(),
        })
    }

    /// Writes a message that is there.
    pub(super) fn put_kept(&mut self, old: &Kept, mut new: Kept) -> Result<(), StoreError> {
        if new.body.is_some() && !rules::needs_body(&new.message) {
            self.drop_body(&mut new)?;
        }
        if old.message.version == 1 && old.body != Some(BodyPlace::Record) {
            // The record of its acceptance has nothing more to keep.
            self.overlay.unset(keys::accepted(new.message.id))?;
        }
        self.overlay.set(&keys::message(new.message.id), &encode(&new)?)?;
        self.reindex(Some(old), Some(&new));
        Ok(())
    }

    /// Writes a message that is not there, as it was sealed by its sender's thread.
    pub(super) fn insert_kept(&mut self, kept: &Kept, sealed: &[u8]) {
        self.overlay.insert(&keys::accepted(kept.message.id), sealed);
        self.reindex(None, Some(kept));
    }

    /// Deletes a message with its body.
    pub(super) fn remove_kept(&mut self, mut kept: Kept) -> Result<(), StoreError> {
        let old = kept.clone();
        self.drop_body(&mut kept)?;
        self.overlay.unset(keys::message(kept.message.id))?;
        self.overlay.unset(keys::accepted(kept.message.id))?;
        self.reindex(Some(&old), None);
        Ok(())
    }

    /// Deletes the body of a message.
    pub(super) fn drop_body(&mut self, kept: &mut Kept) -> Result<(), StoreError> {
        let id = kept.message.id;
        match kept.body.take() {
            Some(BodyPlace::Record) => self.overlay.unset(keys::accepted(id))?,
            Some(BodyPlace::File) => {
                self.overlay.mark(keys::unlink(id));
                self.effects.unlink.push(id);
            }
            None => {}
        }
        Ok(())
    }

    /// Deletes an idempotency key.
    pub(super) fn forget(&mut self, submitted: &SubmittedBy) -> Result<(), StoreError> {
        self.overlay.unset(keys::submitted(submitted.uid, &submitted.key))
    }

    /// Appends events.
    pub(super) fn append(&mut self, events: Vec<NewEvent>) -> u64 {
        for event in events {
            self.meta.seq += 1;
            self.meta.events += 1;
            self.events.push(rules::numbered(event, self.meta.seq));
        }
        self.meta.seq
    }

    /// The call is good. The caller gives what comes of it to [`State::apply`].
    pub(super) fn finish(mut self) -> Result<(Finished, Effects), StoreError> {
        if let Some(roster) = &self.roster {
            let plain = encode(roster)?;
            self.meta.roster = crc32fast::hash(&plain);
            self.overlay.set(keys::ROSTER, &plain)?;
        }
        let finished = Finished { meta: self.meta, roster: self.roster, events: self.events, counted: self.counted };
        Ok((finished, self.effects))
    }

    fn reindex(&mut self, old: Option<&Kept>, new: Option<&Kept>) {
        let before = old.map(messages::indexes).unwrap_or_default();
        let after = new.map(messages::indexes).unwrap_or_default();
        for key in before.iter().filter(|key| !after.contains(key)) {
            self.meta.indexes.remove(key);
            self.overlay.unmark(key.clone());
        }
        for key in after.into_iter().filter(|key| !before.contains(key)) {
            self.meta.indexes.add(&key);
            self.overlay.mark(key);
        }
        if let Some(old) = old {
            self.meta.messages.remove(&mark_of_message(&old.message));
            self.counted.push((old.message.clone(), false));
        }
        if let Some(new) = new {
            self.meta.messages.add(&mark_of_message(&new.message));
            self.counted.push((new.message.clone(), true));
        }
    }
}

impl State {
    /// Takes over what a call has changed.
    pub(super) fn apply(&mut self, finished: Finished, overlay: &mut Overlay) {
        overlay.keep();
        self.meta = finished.meta;
        self.events.extend(finished.events);
        if let Some(roster) = finished.roster {
            self.roster = roster;
        }
        for (message, more) in &finished.counted {
            self.count(message, *more);
        }
    }
}

/// What the mirror has of the registry, as the store has it now.
pub(super) fn registry(overlay: &Overlay, roster: &Roster) -> Result<mirror::Registry, StoreError> {
    let mut registry = mirror::Registry::default();
    for key in roster.of_kind(keys::CLIENT) {
        registry.clients.extend(overlay.record(key)?);
    }
    for key in roster.of_kind(keys::PROFILE) {
        registry.profiles.extend(overlay.record(key)?);
    }
    for key in roster.of_kind(keys::GATE) {
        let gate: Option<Gate> = overlay.record(key)?;
        registry.paused.extend(gate.filter(|gate| gate.reason == HoldReason::Paused));
    }
    Ok(registry)
}
