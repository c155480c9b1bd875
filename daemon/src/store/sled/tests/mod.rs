//! The engine against the suite, and what only an engine with a disk can get wrong.

mod damage;
mod disk;
mod model;
mod power;
mod recover;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::store::conformance::{self, Failure, Subject};

/// A store in a directory of its own.
pub(super) struct OnDisk {
    store: Arc<SledStore>,
    directory: tempfile::TempDir,
}

pub(super) fn options(directory: &Path) -> OpenOptions {
    let key = MasterKey::new([7; 32]);
    OpenOptions::new(directory, key, Arc::new(SystemClock), Arc::new(SystemEntropy::new()))
}

impl OnDisk {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).unwrap()
    }

    async fn with_senders() -> Self {
        let disk = Self::new();
        conformance::sample::senders(&*disk.store).await.unwrap();
        disk
    }

    fn open(directory: tempfile::TempDir) -> Result<Self, OpenError> {
        let store = Arc::new(SledStore::open(options(directory.path()))?);
        Ok(Self { store, directory })
    }
}

impl Subject for OnDisk {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    /// What the kernel has of the files at this moment is what a killed process leaves.
    async fn crash(&mut self) -> Result<(), Failure> {
        let image = tempfile::tempdir()?;
        copy_all(self.directory.path(), image.path());
        self.store.close().await?;
        *self = Self::open(image)?;
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        self.store.close().await?;
        self.store = Arc::new(SledStore::open(options(self.directory.path()))?);
        Ok(())
    }
}

conformance::suite!(OnDisk::new());

pub(super) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else if let Err(error) = fs::copy(entry.path(), &to) {
            // A temporary file of the engine may go meanwhile.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}
