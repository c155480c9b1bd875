//! The side file: a lower bound of the generation, so that a store that went back in time is noticed.
//!
//! Written and synced once a second while commits happen, and at stop. It is not secret, and guards against accidents:
//! it has a checksum, no seal.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::store::disk::{self, Layout};

/// A database up to this size, in octets, is opened in copy first unless it is as the last run left it.
pub(super) const REHEARSED: u64 = 1024 * 1024 * 1024;

const FORMAT: u8 = 1;
const LENGTH: usize = 1 + 6 * 8 + 4;

/// What the store had reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Generation of the store.
    pub(super) generation: u64,
    /// Generation of the last copy in the mirror.
    pub(super) mirror: u64,
    /// Number of the last event.
    pub(super) seq: u64,
    /// The run of the daemon.
    pub(super) incarnation: u64,
    /// Length and checksum of the database, if the run ended in good order.
    pub(super) ended: Option<(u64, u64)>,
}

impl Stamp {
    /// Reads the side file; `None` if there is none, or if it is damaged.
    pub(super) fn read(root: &Path) -> io::Result<Option<Self>> {
        let content = disk::read_file(&root.join(Layout::STAMP))?;
        Ok(content.and_then(|content| Self::parse(&content)))
    }

    /// Writes the side file, durably.
    pub(super) fn write(&self, root: &Path) -> io::Result<()> {
        let mut content = vec![FORMAT];
        let (length, checksum) = self.ended.unwrap_or_default();
        for number in [self.generation, self.mirror, self.seq, self.incarnation, length, checksum] {
            content.extend_from_slice(&number.to_be_bytes());
        }
        content.extend_from_slice(&crc32fast::hash(&content).to_be_bytes());
        disk::replace_file(root, Layout::STAMP, &content, 0o600)
    }

    /// Length and checksum of a database that nobody has open; `None` if it is too large to be read for this.
    pub(super) fn checksum(database: &Path) -> io::Result<Option<(u64, u64)>> {
        let mut file = File::open(database)?;
        if file.metadata()?.len() > REHEARSED {
            return Ok(None);
        }
        let (mut hasher, mut length, mut piece) = (crc32fast::Hasher::new(), 0, vec![0; 256 * 1024]);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok(Some((length, u64::from(hasher.finalize()))));
            }
            hasher.update(&piece[..read]);
            length += read as u64;
        }
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let content: &[u8; LENGTH] = content.try_into().ok()?;
        let (body, crc) = content.split_last_chunk::<4>()?;
        if body[0] != FORMAT || crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut numbers = body[1..].chunks_exact(8).map(|octets| octets.try_into().map(u64::from_be_bytes));
        let mut next = || numbers.next()?.ok();
        Some(Self {
            generation: next()?,
            mirror: next()?,
            seq: next()?,
            incarnation: next()?,
            ended: Some((next()?, next()?)).filter(|(length, _)| *length > 0),
        })
    }
}
