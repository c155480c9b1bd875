//! The side file: a lower bound of the generation, so that a store that went back in time is noticed.
//!
//! Written and synced once a second while commits happen, and at stop. It is not secret, and guards against accidents:
//! it has a checksum, no seal.

use std::io;
use std::path::Path;

use crate::store::disk::{self, Layout};

const FORMAT: u8 = 1;
const LENGTH: usize = 1 + 4 * 8 + 4;

/// What the store had reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Stamp {
    /// Generation of the store.
    pub(in crate::store) generation: u64,
    /// Generation of the last copy in the mirror.
    pub(in crate::store) mirror: u64,
    /// Number of the last event.
    pub(in crate::store) seq: u64,
    /// The run of the daemon.
    pub(in crate::store) incarnation: u64,
}

impl Stamp {
    /// Reads the side file; `None` if there is none, or if it is damaged.
    pub(in crate::store) fn read(root: &Path) -> io::Result<Option<Self>> {
        let content = disk::read_file(&root.join(Layout::STAMP))?;
        Ok(content.and_then(|content| Self::parse(&content)))
    }

    /// Writes the side file, durably.
    pub(in crate::store) fn write(&self, root: &Path) -> io::Result<()> {
        let mut content = vec![FORMAT];
        for number in [self.generation, self.mirror, self.seq, self.incarnation] {
            content.extend_from_slice(&number.to_be_bytes());
        }
        content.extend_from_slice(&crc32fast::hash(&content).to_be_bytes());
        disk::replace_file(root, Layout::STAMP, &content, 0o600)
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let content: &[u8; LENGTH] = content.try_into().ok()?;
        let (body, crc) = content.split_last_chunk::<4>()?;
        if body[0] != FORMAT || crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut numbers = body[1..].chunks_exact(8).map(|octets| octets.try_into().map(u64::from_be_bytes));
        let mut next = || numbers.next()?.ok();
        Some(Self { generation: next()?, mirror: next()?, seq: next()?, incarnation: next()? })
    }
}
