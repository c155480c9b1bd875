//! The octets of messages on their way into a store and out of it, piece by piece, so that no message is in memory whole.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Reply, StoreError};

/// The octets of a message to accept.
#[derive(Clone, Debug)]
pub enum NewBody {
    /// In memory.
    Octets(Vec<u8>),
    /// Written by a [`BodyWriter`] of the same store, under the message's id.
    File(Arc<Temporary>),
}

impl From<Vec<u8>> for NewBody {
    fn from(octets: Vec<u8>) -> Self {
        Self::Octets(octets)
    }
}

/// Takes the octets of a message before the message is accepted. What is dropped without being accepted leaves nothing.
pub trait BodyWriter: fmt::Debug + Send {
    /// Takes the next octets.
    fn write(&mut self, octets: Vec<u8>) -> Reply<'_, ()>;

    /// Ends it. The octets are on disk, but for the name that only an acceptance gives them.
    fn finish(self: Box<Self>) -> Reply<'static, NewBody>;
}

/// Gives the octets of a message.
pub trait BodyReader: fmt::Debug + Send {
    /// The next octets, 64 KiB at most; `None` at the end, and not before all were whole.
    fn read(&mut self) -> Reply<'_, Option<Vec<u8>>>;
}

/// Reads a body to its end.
pub(super) async fn whole(mut reader: Box<dyn BodyReader>) -> Result<Vec<u8>, StoreError> {
    let mut octets = Vec::new();
    while let Some(piece) = reader.read().await? {
        octets.extend_from_slice(&piece);
    }
    Ok(octets)
}

/// A file under a temporary name. Dropped, it is deleted, if it still has that name.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays behind is deleted at the next start.
        let _ = fs::remove_file(&self.0);
    }
}
