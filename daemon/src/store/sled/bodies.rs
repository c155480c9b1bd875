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
use crate::store::body::Temporary;
use crate::store::disk;
use crate::store::seal::{BodyOpener, BodySealer, BrokenSeal, Sealer};

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

/// A body on its way to the disk, under a temporary name.
#[derive(Debug)]
pub(super) struct Writing {
    out: BodySealer<BufWriter<File>>,
    file: Temporary,
}

/// A body that is read.
pub(super) type Reading = BodyOpener<File>;

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

    /// Begins to write a body.
    pub(super) fn begin(&self, id: MessageId) -> io::Result<Writing> {
        let serial = self.written.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(INCOMING).join(serial.to_string());
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Temporary::new(path);
        let out = self.sealer.seal_body(keys::body(id), BufWriter::with_capacity(128 * 1024, file))?;
        Ok(Writing { out, file: temporary })
    }

    /// Gives a body its name; durable after [`Bodies::sync`].
    pub(super) fn place(&self, written: &Temporary, id: MessageId) -> io::Result<()> {
        fs::rename(written.path(), self.path(id))
    }

    /// Makes names and deletions durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        disk::sync_directory(&self.directory)
    }

    /// Opens a body.
    pub(super) fn open_body(&self, id: MessageId) -> io::Result<Result<Reading, BrokenSeal>> {
        let file = File::open(self.path(id))?;
        let length = file.metadata()?.len();
        self.sealer.open_body(keys::body(id), length, file)
    }

    /// Whether a body is there and no octet of it is wrong.
    pub(super) fn is_whole(&self, id: MessageId) -> bool {
        let Ok(Ok(mut reading)) = self.open_body(id) else { return false };
        loop {
            match reading.read() {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return true,
                Ok(Err(_)) | Err(_) => return false,
            }
        }
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

impl Writing {
    /// Takes the next octets.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.out.write(octets)
    }

    /// Ends the body and syncs it.
    pub(super) fn finish(self) -> io::Result<Temporary> {
        let mut out = self.out.finish()?;
        out.flush()?;
        disk::sync_data(out.get_ref())?;
        Ok(self.file)
    }
}
