//! Reads, beside the writer: each sees whole changes, never half a batch of one record.

use std::io;

use frankd_proto::{MessageId, Priority, ProfileId};
use serde::de::DeserializeOwned;

use super::bodies::Bodies;
use super::kept::{BodyPlace, Count, Kept};
use super::keys;
use super::pages::Pages;
use crate::domain::{Message, StoredEvent};
use crate::store::{Lane, LaneCount, MessageFilter, MessagePage, Record, Snapshot, StoreError, rules};

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
        Ok(Snapshot {
            clients: self.all(keys::CLIENT)?,
            profiles: self.all(keys::PROFILE)?,
            slots: self.all(keys::SLOT)?,
            grants: self.all(keys::GRANT)?,
            gates: self.all(keys::GATE)?,
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

    pub(super) fn messages(&self, filter: &MessageFilter) -> Result<MessagePage, StoreError> {
        // The index of one profile's open messages sorts by id too, and is the shorter way.
        let prefix = match filter.profile {
            Some(profile) if filter.waiting => keys::open(profile),
            _ => vec![keys::MESSAGE],
        };
        let before = filter.before.unwrap_or(MessageId::from_bits(u128::MAX));
        let end = [&prefix[..], &before.bits().to_be_bytes()].concat();
        let mut page = MessagePage::default();
        let mut last = None;
        let range = self.pages.tree.range(prefix..end).keys().rev();
        for (looked_at, key) in range.enumerate() {
            if page.messages.len() == filter.limit || looked_at == rules::LOOKED_AT {
                page.next = last;
                break;
            }
            let key = key.map_err(super::pages::failed)?;
            let Some(id) = keys::last_id(&key).map(MessageId::from_bits) else {
                continue;
            };
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

    pub(super) fn body(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        let damaged = |cause: &str| StoreError::Damaged { record: Record::Body(id), cause: cause.to_owned() };
        let mut lost = damaged("it is not there");
        for _ in 0..TRIES {
            let Some(place) = self.kept(id)?.and_then(|kept| kept.body) else {
                return Ok(None);
            };
            match place {
                BodyPlace::Record => {
                    if let Some(body) = self.pages.plain(&keys::body(id))? {
                        return Ok(Some(body.to_vec()));
                    }
                }
                BodyPlace::File => match self.bodies.read(id) {
                    Ok(Some(body)) => return Ok(Some(body)),
                    Ok(None) => lost = damaged("its seal is broken"),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => lost = damaged(&error.to_string()),
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

    /// Events from `since` on, up to the one that is known to be on disk.
    pub(super) fn events(&self, since: u64, last: u64, limit: usize) -> Result<(Vec<StoredEvent>, u64), StoreError> {
        let oldest = self.pages.keys(&[keys::EVENT]).next().transpose()?;
        let oldest = oldest.and_then(|key| key.last_chunk().map(|seq| u64::from_be_bytes(*seq)));
        let oldest = oldest.filter(|seq| *seq <= last).unwrap_or(last.saturating_add(1));
        let mut events = Vec::new();
        for seq in since.saturating_add(1).max(oldest)..=last {
            if events.len() == limit {
                break;
            }
            match self.pages.record(&keys::event(seq))? {
                Some(event) => events.push(event),
                // A sweep was faster.
                None if events.is_empty() => {}
                None => {
                    let cause = "it is not there, but the ones around it are".to_owned();
                    return Err(StoreError::Damaged { record: Record::Event(seq), cause });
                }
            }
        }
        Ok((events, oldest))
    }

    fn kept(&self, id: MessageId) -> Result<Option<Kept>, StoreError> {
        self.pages.record(&keys::message(id))
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
