//! The mirror: sealed copies of what is small and irreplaceable, beside the store and independent of its engine.
//!
//! One file for each refresh token (a token slot), one for the registry (clients, profiles, pauses), and an index that says
//! at which generation of the store each was last written. The files of a commit are written and synced before it, and
//! take their places after it: so a commit whose copies cannot be written is not made at all, and a copy that is newer
//! than the store shows that the store went back in time. A copy that is older than the index says is stale: it must never
//! be used to refresh.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use frankd_proto::ProfileId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::disk;
use super::seal::Sealer;
use crate::domain::{Client, Gate, Profile, TokenSlot};

const REGISTRY: &str = "registry";
const INDEX: &str = "index";
const SLOT: &str = "slot-";

/// What is copied of the registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Registry {
    pub(super) clients: Vec<Client>,
    pub(super) profiles: Vec<Profile>,
    /// Gates that an operator closed: lost, they would let mail go.
    pub(super) paused: Vec<Gate>,
}

/// A copy with the generation of the store that it was written in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Copy<T> {
    pub(super) generation: u64,
    pub(super) content: T,
}

/// When each copy was last written, in generations of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// The last of all.
    pub(super) generation: u64,
    /// The registry.
    pub(super) registry: u64,
    /// The token slots that there are.
    pub(super) slots: BTreeMap<ProfileId, u64>,
}

/// What a commit changes in the mirror.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) registry: Option<Registry>,
    pub(super) slots: Vec<TokenSlot>,
    pub(super) dropped: Vec<ProfileId>,
}

/// Files that are written and synced, but not in their places. Dropped, they are deleted.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    renames: Vec<(PathBuf, PathBuf)>,
    removals: Vec<PathBuf>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        for (temporary, _) in &self.renames {
            // What stays behind is deleted at the next start.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A copy cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The file.
    #[error("cannot be read")]
    Io(#[source] io::Error),
    /// The seal or what is in it.
    #[error("is damaged, or of another key")]
    Broken,
}

/// The mirror of one store.
#[derive(Debug)]
pub(super) struct Mirror {
    directory: PathBuf,
    sealer: Sealer,
    index: Index,
    written: u64,
}

impl Mirror {
    /// Opens the mirror in a directory that is there.
    pub(super) fn open(directory: &Path, sealer: Sealer) -> Self {
        let mut mirror = Self { directory: directory.to_owned(), sealer, index: Index::default(), written: 0 };
        mirror.index = mirror.read(INDEX).ok().flatten().unwrap_or_default();
        mirror
    }

    /// When each copy was last written. Empty if that is not known.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The copy of the registry.
    pub(super) fn registry(&self) -> Result<Option<Copy<Registry>>, ReadError> {
        self.read(REGISTRY)
    }

    /// The copy of a token slot.
    pub(super) fn slot(&self, profile: ProfileId) -> Result<Option<Copy<TokenSlot>>, ReadError> {
        self.read(&slot_name(profile))
    }

    /// Profiles that have a file, whatever is in it.
    pub(super) fn profiles(&self) -> io::Result<Vec<ProfileId>> {
        let mut profiles = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let id: Option<ProfileId> = name.to_str().and_then(|name| name.strip_prefix(SLOT)?.parse().ok());
            profiles.extend(id);
        }
        Ok(profiles)
    }

    /// Writes and syncs the copies of a commit that makes `generation`.
    pub(super) fn prepare(&mut self, generation: u64, changes: &Changes) -> io::Result<Prepared> {
        let mut prepared = Prepared::default();
        let mut index = self.index.clone();
        index.generation = generation;
        for slot in &changes.slots {
            let copy = Copy { generation, content: slot };
            self.write(&slot_name(slot.profile), &copy, &mut prepared)?;
            index.slots.insert(slot.profile, generation);
        }
        if let Some(registry) = &changes.registry {
            self.write(REGISTRY, &Copy { generation, content: registry }, &mut prepared)?;
            index.registry = generation;
        }
        for profile in &changes.dropped {
            index.slots.remove(profile);
            prepared.removals.push(self.directory.join(slot_name(*profile)));
        }
        self.write(INDEX, &index, &mut prepared)?;
        self.index = index;
        Ok(prepared)
    }

    /// Puts prepared copies in their places, durably.
    pub(super) fn publish(&self, all: Vec<Prepared>) -> io::Result<()> {
        for mut prepared in all {
            for (temporary, place) in std::mem::take(&mut prepared.renames) {
                fs::rename(temporary, place)?;
            }
            for place in &prepared.removals {
                disk::remove_file(place)?;
            }
        }
        disk::sync_directory(&self.directory)
    }

    fn write<T: Serialize>(&mut self, name: &str, content: &T, prepared: &mut Prepared) -> io::Result<()> {
        let mut plain = Zeroizing::new(Vec::with_capacity(8192));
        serde_json::to_writer(&mut *plain, content)?;
        self.written += 1;
        let temporary = self.directory.join(format!("{}{}", disk::TEMPORARY, self.written));
        prepared.renames.push((temporary.clone(), self.directory.join(name)));
        disk::write_new(&temporary, &self.sealer.seal(seal_name(name).as_bytes(), &plain), 0o600)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ReadError> {
        let Some(sealed) = disk::read_file(&self.directory.join(name)).map_err(ReadError::Io)? else {
            return Ok(None);
        };
        let plain = self.sealer.open(seal_name(name).as_bytes(), &sealed).map_err(|_| ReadError::Broken)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| ReadError::Broken)
    }
}

fn slot_name(profile: ProfileId) -> String {
    format!("{SLOT}{profile}")
}

/// So that a file which is put in another's place does not open.
fn seal_name(name: &str) -> String {
    format!("mirror/{name}")
}
