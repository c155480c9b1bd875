//! Sealed records in the database: reading them, and collecting changes until they land in one batch.
//!
//! A value is its format version, the number of its further parts, and the first piece of what is sealed. No value is
//! over 4 KiB: the engine puts larger pages into files that it never syncs.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::IVec;
use zeroize::Zeroizing;

use super::kept::{Shown, record};
use super::keys;
use crate::store::StoreError;
use crate::store::seal::Sealer;

const FORMAT: u8 = 1;
const HEAD: usize = 3;
const PIECE: usize = 4096;

/// How often a reader starts again when a writer was faster.
const TRIES: usize = 16;

/// Where records are read.
pub(super) trait Plain {
    /// Reads what is sealed in a record.
    fn plain(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Reads a record.
    fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.plain(key)?.map(|plain| decode(key, &plain)).transpose()
    }
}

/// The database with its records unsealed.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    pub(super) tree: sled::Db,
    pub(super) sealer: Sealer,
}

impl Plain for Pages {
    fn plain(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut head = self.raw(key)?;
        for _ in 0..TRIES {
            let Some(found) = head else { return Ok(None) };
            let plain = unseal(&self.sealer, key, &found, |part| self.raw(part))?;
            if plain.is_some() {
                return Ok(plain);
            }
            // Between two reads a writer may have changed the record. Its head then differs: it begins with a nonce.
            head = self.raw(key)?;
            if head.as_ref() == Some(&found) {
                return Err(damaged(key, "its seal is broken or a part is missing"));
            }
        }
        Err(StoreError::Failed(format!("{} changes all the time", Shown(key))))
    }
}

impl Pages {
    /// Keys that begin with `prefix`.
    pub(super) fn keys(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Result<IVec, StoreError>> + use<> {
        self.tree.scan_prefix(prefix).keys().map(|key| key.map_err(failed))
    }

    fn raw(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.tree.get(key).map_err(failed)
    }
}

/// Opens a value; `None` if its seal is broken or a part is missing.
fn unseal(
    sealer: &Sealer,
    key: &[u8],
    head: &IVec,
    part: impl Fn(&[u8]) -> Result<Option<IVec>, StoreError>,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let Some((parts, piece)) = split_head(head) else {
        return Ok(None);
    };
    if parts == 0 {
        return Ok(sealer.open(key, piece).ok());
    }
    let mut sealed = piece.to_vec();
    for n in 1..=parts {
        match part(&keys::part(key, n))? {
            Some(piece) => sealed.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok(sealer.open(key, &sealed).ok())
}

fn split_head(head: &[u8]) -> Option<(u16, &[u8])> {
    match head {
        [FORMAT, a, b, piece @ ..] => Some((u16::from_be_bytes([*a, *b]), piece)),
        _ => None,
    }
}

/// A record of its JSON.
pub(super) fn decode<T: DeserializeOwned>(key: &[u8], plain: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(plain)
        .map_err(|error| damaged(key, &format!("line {} column {}", error.line(), error.column())))
}

/// A record that cannot be read.
pub(super) fn damaged(key: &[u8], cause: &str) -> StoreError {
    match record(key) {
        Some(record) => StoreError::Damaged { record, cause: cause.to_owned() },
        None => StoreError::Failed(format!("{}: {cause}", Shown(key))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn failed(error: sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// A record as JSON, wiped when it goes: some have secrets.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(2048));
    serde_json::to_writer(&mut *plain, record).map_err(|error| StoreError::Failed(error.to_string()))?;
    Ok(plain)
}

type Writes = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// Changes on their way into the database: those of one call over those of its group over what is there.
#[derive(Debug)]
pub(super) struct Overlay {
    pub(super) pages: Pages,
    draft: Writes,
    group: Writes,
}

/// Records as they are after all changes.
impl Plain for Overlay {
    fn plain(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some(head) = self.raw(key)? else { return Ok(None) };
        let plain = unseal(&self.pages.sealer, key, &head, |part| self.raw(part))?;
        plain.map(Some).ok_or_else(|| damaged(key, "its seal is broken or a part is missing"))
    }
}

impl Overlay {
    pub(super) fn new(pages: Pages) -> Self {
        Self { pages, draft: Writes::new(), group: Writes::new() }
    }

    /// Whether a record is there.
    pub(super) fn has(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.raw(key).map(|value| value.is_some())
    }

    /// Writes a record.
    pub(super) fn set(&mut self, key: Vec<u8>, plain: &[u8]) -> Result<(), StoreError> {
        let sealed = self.pages.sealer.seal(&key, plain);
        self.set_sealed(key, &sealed)
    }

    /// Writes a record that is sealed already.
    #[expect(clippy::needless_pass_by_value, reason = "a key is made for its one call, as in `set`")]
    pub(super) fn set_sealed(&mut self, key: Vec<u8>, sealed: &[u8]) -> Result<(), StoreError> {
        let old_parts = self.parts(&key)?;
        let parts = self.insert(key.clone(), sealed);
        self.remove_parts(&key, parts, old_parts);
        Ok(())
    }

    /// Writes a record that is not there yet. Gives the number of its parts after the first.
    pub(super) fn insert(&mut self, key: Vec<u8>, sealed: &[u8]) -> u16 {
        let (first, rest) = sealed.split_at(sealed.len().min(PIECE - HEAD));
        let mut parts = 0;
        for piece in rest.chunks(PIECE) {
            parts += 1;
            self.draft.insert(keys::part(&key, parts), Some(piece.to_vec()));
        }
        let [a, b] = parts.to_be_bytes();
        self.draft.insert(key, Some([&[FORMAT, a, b], first].concat()));
        parts
    }

    /// Deletes a record.
    pub(super) fn unset(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        let old_parts = self.parts(&key)?;
        self.remove_parts(&key, 0, old_parts);
        self.draft.insert(key, None);
        Ok(())
    }

    /// Makes an index entry.
    pub(super) fn mark(&mut self, key: Vec<u8>) {
        self.draft.insert(key, Some(Vec::new()));
    }

    /// Deletes an index entry.
    pub(super) fn unmark(&mut self, key: Vec<u8>) {
        self.draft.insert(key, None);
    }

    /// The call is good: its changes belong to the group.
    pub(super) fn keep(&mut self) {
        self.group.extend(self.draft.drain());
    }

    /// The call is not good: its changes are forgotten.
    pub(super) fn discard(&mut self) {
        self.draft.clear();
    }

    /// How many changes wait to land.
    pub(super) fn waiting(&self) -> usize {
        self.group.len()
    }

    /// Puts the changes of the group into the database in one batch: after a crash all of them are there or none.
    pub(super) fn land(&mut self) -> Result<(), sled::Error> {
        let mut batch = sled::Batch::default();
        for (key, value) in std::mem::take(&mut self.group) {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.pages.tree.apply_batch(batch)
    }

    fn parts(&self, key: &[u8]) -> Result<u16, StoreError> {
        let head = self.raw(key)?;
        Ok(head.and_then(|head| split_head(&head).map(|(parts, _)| parts)).unwrap_or(0))
    }

    fn remove_parts(&mut self, key: &[u8], keep: u16, old: u16) {
        for n in (1..=old).skip(usize::from(keep)) {
            self.draft.insert(keys::part(key, n), None);
        }
    }

    fn raw(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.draft.get(key).or_else(|| self.group.get(key)) {
            Some(value) => Ok(value.as_deref().map(IVec::from)),
            None => self.pages.raw(key),
        }
    }
}
