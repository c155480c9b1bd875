//! Reads, beside the writer: each sees whole changes, never half a batch of one record.

use std::io;

use frankd_proto::{MessageId, Priority, ProfileId};
use serde::de::DeserializeOwned;

use super::bodies::{Bodies, Reading};
use super::calls::submitted_by;
use super::kept::{Count, Submitted};
use super::keys;
use super::messages::{self, BodyPlace, Kept};
use super::pages::{Pages, Plain as _, failed};
use crate::domain::{Gate, Message, StoredEvent};
use crate::store::{
    Accepted, IdempotencyKey, Lane, LaneCount, MessageFilter, MessagePage, Record, Snapshot, StoreError, rules,
};

/// How often a reader starts again when a writer was faster.
const TRIES: usize = 16;

/// The database, for reading.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) pages: Pages,
    pub(super) bodies: Bodies,
}

impl Reader {
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut gates: Vec<Gate> = self.all(keys::GATE)?;
        gates.sort_by_key(|gate| (gate.profile, gate.reason));
        Ok(Snapshot {
            clients: self.all(keys::CLIENT)?,
            profiles: self.all(keys::PROFILE)?,
            slots: self.all(keys::SLOT)?,
            grants: self.all(keys::GRANT)?,
            gates,
        })
    }

    pub(super) fn lanes(&self) -> Result<Vec<Lane>, StoreError> {
        let mut lanes = Vec::new();
        for profile in self.counted()? {
            let mut due_at = None;
            for priority in [Priority::High, Priority::Normal, Priority::Low] {
                let first = self.pages.keys(&keys::lane(profile, priority)).next().transpose()?;
                let first = first.and_then(|key| keys::due_at(&key));
                due_at = due_at.into_iter().chain(first).min();
            }
            lanes.extend(due_at.map(|due_at| Lane { profile, due_at }));
        }
        Ok(lanes)
    }

    pub(super) fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(self.kept(id)?.map(|kept| kept.message))
    }

    pub(super) fn named(&self, key: &IdempotencyKey) -> Result<Option<Accepted>, StoreError> {
        let by = submitted_by(key);
        let Some(before) = self.pages.record::<Submitted>(&keys::submitted(by.uid, &by.key))? else {
            return Ok(None);
        };
        Ok(Some(match self.message(before.message)? {
            Some(first) if before.digest == key.digest => Accepted::Duplicate(Box::new(first)),
            _ => Accepted::KeyConflict,
        }))
    }

    pub(super) fn messages(&self, filter: &MessageFilter) -> Result<MessagePage, StoreError> {
        let before = filter.before.unwrap_or(MessageId::from_bits(u128::MAX));
        let mut page = MessagePage::default();
        let mut last = None;
        for (looked_at, id) in self.newest(filter, before).enumerate() {
            if page.messages.len() == filter.limit || looked_at == rules::LOOKED_AT {
                page.next = last;
                break;
            }
            let id = id?;
            last = Some(id);
            // Between the two reads it may have gone.
            if let Some(message) = self.message(id)?
                && rules::shows(filter, &message)
            {
                page.messages.push(message);
            }
        }
        Ok(page)
    }

    pub(super) fn body(&self, id: MessageId) -> Result<Option<FoundBody>, StoreError> {
        let mut lost = damaged_body(id, "it is not there");
        for _ in 0..TRIES {
            let Some(place) = self.kept(id)?.and_then(|kept| kept.body) else {
                return Ok(None);
            };
            match place {
                BodyPlace::Record => {
                    if let Some(body) = messages::body(&self.pages, id)? {
                        return Ok(Some(FoundBody::Octets(body)));
                    }
                }
                BodyPlace::File => match self.bodies.open_body(id) {
                    Ok(Ok(reading)) => return Ok(Some(FoundBody::File(reading))),
                    Ok(Err(broken)) => lost = damaged_body(id, &broken.to_string()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => lost = damaged_body(id, &error.to_string()),
                },
            }
            // It may have gone since its message was read: the message is read again.
        }
        Err(lost)
    }

    pub(super) fn counts(&self) -> Result<Vec<(ProfileId, LaneCount)>, StoreError> {
        let mut counts = Vec::new();
        for profile in self.counted()? {
            let Some(count) = self.pages.record::<Count>(&keys::count(profile))? else {
                continue;
            };
            let oldest = self.pages.keys(&keys::open(profile)).next().transpose()?;
            let oldest = oldest.and_then(|key| keys::last_id(&key)).map(MessageId::from_bits);
            let oldest = oldest.map(|id| self.message(id)).transpose()?.flatten();
            let count = LaneCount {
                waiting: count.waiting,
                sending: count.sending,
                held: count.held,
                in_doubt: count.in_doubt,
                bytes: count.bytes,
                oldest_at: oldest.map(|message| message.queued_at),
            };
            counts.push((profile, count));
        }
        Ok(counts)
    }

    /// Events after `since`, up to the one that is known to be on disk.
    pub(super) fn events(&self, since: u64, last: u64, limit: usize) -> Result<(Vec<StoredEvent>, u64), StoreError> {
        let first = |key: &[u8]| key.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq));
        let oldest = self.pages.keys(&[keys::EVENTS]).next().transpose()?;
        let oldest = oldest.map(|key| first(&key)).filter(|seq| *seq <= last).unwrap_or(last.saturating_add(1));
        let mut next = since.saturating_add(1).max(oldest);
        let mut events = Vec::new();
        // The record with the next event begins at or before it.
        let after = keys::events(next.saturating_add(1));
        let begin = self.pages.tree.range(vec![keys::EVENTS]..after).keys().next_back().transpose().map_err(failed)?;
        let begin = begin.map_or_else(|| keys::events(next), |key| key.to_vec());
        for key in self.pages.tree.range(begin..vec![keys::EVENTS + 1]).keys() {
            let key = key.map_err(failed)?;
            // None: a sweep was faster.
            let batch: Vec<StoredEvent> = self.pages.record(&key)?.unwrap_or_default();
            let wanted = next;
            for event in batch.into_iter().skip_while(|event| event.seq < wanted) {
                if events.len() == limit || event.seq > last {
                    return Ok((events, oldest));
                }
                if event.seq != next && !events.is_empty() {
                    let cause = "it is not there, but the ones around it are".to_owned();
                    return Err(StoreError::Damaged { record: Record::Event(next), cause });
                }
                next = event.seq + 1;
                events.push(event);
            }
        }
        Ok((events, oldest))
    }

    /// Ids that a list looks at.
    fn newest(
        &self,
        filter: &MessageFilter,
        before: MessageId,
    ) -> Box<dyn Iterator<Item = Result<MessageId, StoreError>>> {
        match filter.profile {
            // The index of one profile's open messages sorts by id too, and is the shorter way.
            Some(profile) if filter.waiting => {
                let range = keys::open(profile)..keys::open_entry(profile, before);
                let keys = self.pages.tree.range(range).keys().rev();
                Box::new(keys.filter_map(|key| {
                    key.map(|key| keys::last_id(&key).map(MessageId::from_bits)).map_err(failed).transpose()
                }))
            }
            _ => Box::new(messages::newest(&self.pages, before)),
        }
    }

    fn kept(&self, id: MessageId) -> Result<Option<Kept>, StoreError> {
        messages::kept(&self.pages, id)
    }

    /// Profiles with messages that are not final.
    fn counted(&self) -> Result<Vec<ProfileId>, StoreError> {
        let ids = self.pages.keys(&[keys::COUNT]).map(|key| Ok(keys::last_id(&key?).map(ProfileId::from_bits)));
        ids.filter_map(Result::transpose).collect()
    }

    fn all<T: DeserializeOwned>(&self, kind: u8) -> Result<Vec<T>, StoreError> {
        let keys: Vec<_> = self.pages.keys(&[kind]).collect::<Result<_, _>>()?;
        let records = keys.iter().map(|key| self.pages.record(key));
        records.filter_map(Result::transpose).collect()
    }
}

/// The octets of a message, where they were found.
pub(super) enum FoundBody {
    Octets(Vec<u8>),
    File(Reading),
}

pub(super) fn damaged_body(id: MessageId, cause: &str) -> StoreError {
    StoreError::Damaged { record: Record::Body(id), cause: cause.to_owned() }
}
