//! Bodies of messages over 4 KiB: sealed files of their own, which the engine never sees.
//!
//! A body is written and synced under a temporary name, takes its name before its message is committed, and is deleted
//! after the commit that no longer needs it. A file without a message is an orphan of a crash, and is swept.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use frankd_proto::MessageId;

use super::keys;
use crate::store::disk;
use crate::store::seal::Sealer;

/// The largest body that is a record.
pub(super) const LARGEST_RECORD: usize = 4096;

const INCOMING: &str = "incoming";

/// The directory of bodies.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    directory: PathBuf,
    sealer: Sealer,
    written: Arc<AtomicU64>,
}

/// A body that is on the disk under a temporary name. Dropped, it is deleted.
#[derive(Debug)]
pub(super) struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        // What stays behind is deleted at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl Bodies {
    /// Opens the directory, makes it if it is not there, and deletes what an interrupted write left behind.
    pub(super) fn open(directory: &Path, sealer: Sealer) -> io::Result<Self> {
        disk::create_directory(directory)?;
        let incoming = directory.join(INCOMING);
        disk::create_directory(&incoming)?;
        for entry in fs::read_dir(incoming)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self { directory: directory.to_owned(), sealer, written: Arc::default() })
    }

    /// Seals, writes and syncs a body.
    pub(super) fn write(&self, id: MessageId, body: &[u8]) -> io::Result<Written> {
        let serial = self.written.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(INCOMING).join(serial.to_string());
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = Written(path);
        let mut out = BufWriter::with_capacity(128 * 1024, file);
        self.sealer.seal_body(&keys::body(id), body, &mut out)?;
        out.flush()?;
        disk::sync_data(out.get_ref())?;
        Ok(written)
    }

    /// Gives a body its name; durable after [`Bodies::sync`].
    pub(super) fn place(&self, written: &Written, id: MessageId) -> io::Result<()> {
        fs::rename(&written.0, self.path(id))
    }

    /// Makes names and deletions durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        disk::sync_directory(&self.directory)
    }

    /// Reads a body; `None` if the seal is broken.
    pub(super) fn read(&self, id: MessageId) -> io::Result<Option<Vec<u8>>> {
        let mut file = File::open(self.path(id))?;
        let length = file.metadata()?.len();
        self.sealer.open_body(&keys::body(id), length, &mut file)
    }

    /// Deletes a body if it is there.
    pub(super) fn remove(&self, id: MessageId) -> io::Result<()> {
        disk::remove_file(&self.path(id))
    }

    /// All bodies, one after the other.
    pub(super) fn all(&self) -> io::Result<impl Iterator<Item = MessageId> + Send + use<>> {
        let entries = fs::read_dir(&self.directory)?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
    }

    fn path(&self, id: MessageId) -> PathBuf {
        self.directory.join(id.to_string())
    }
}
