//! Files that must survive a power cut, and where they lie.
//!
//! A file is replaced by writing another one, syncing it, renaming it and syncing the directory: a reader finds the old
//! content or the new one, whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// What a temporary file's name begins with.
pub(super) const TEMPORARY: &str = ".new-";

/// Where everything lies beneath the state directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The state directory.
    pub(super) root: PathBuf,
    /// The database.
    pub(super) store: PathBuf,
    /// Bodies of messages over 4 KiB.
    pub(super) bodies: PathBuf,
    /// The sealed copies of registry and tokens.
    pub(super) mirror: PathBuf,
}

impl Layout {
    /// The file that tells a wrong key from damage.
    pub(super) const KEY_CHECK: &str = "key-check";
    /// The file with the lower bound of the generation.
    pub(super) const STAMP: &str = "generation";
    /// The directory in which a new store is built from a damaged one.
    pub(super) const RECOVERING: &str = "recovering";
    /// The file whose lock says that a daemon runs.
    pub(super) const LOCK: &str = "lock";

    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            store: root.join("store"),
            bodies: root.join("bodies"),
            mirror: root.join("mirror"),
        }
    }

    /// Whether there is anything of a store.
    pub(super) fn holds_a_store(&self) -> bool {
        let files = [Self::KEY_CHECK, Self::STAMP].map(|name| self.root.join(name));
        self.store.exists() || self.mirror.exists() || files.iter().any(|file| file.exists())
    }
}

/// Makes a directory that only its owner can enter, and what is above it.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes what was written into a file durable. Every sync of the store comes by here, where tests watch it.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    let syncing = super::power::begins(file)?;
    file.sync_data()?;
    #[cfg(test)]
    super::power::ended(syncing);
    Ok(())
}

/// Makes renames and deletions in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = File::open(path)?;
    #[cfg(test)]
    let syncing = super::power::begins(&directory)?;
    directory.sync_all()?;
    #[cfg(test)]
    super::power::ended(syncing);
    Ok(())
}

/// Makes the files in a directory durable, and their names.
pub(super) fn sync_files(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            sync_data(&File::open(entry.path())?)?;
        }
    }
    sync_directory(path)
}

/// Writes a new file and syncs it. A file of that name is an error.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    sync_data(&file)
}

/// Makes `content` the content of a file, durably.
pub(super) fn replace_file(directory: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = directory.join(format!("{TEMPORARY}{name}"));
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    write_new(&temporary, content, mode)?;
    fs::rename(&temporary, directory.join(name))?;
    sync_directory(directory)
}

/// The content of a file; `None` if there is none.
pub(super) fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a file if it is there.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Deletes a directory with all that is in it, if it is there.
pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Deletes what an interrupted write left behind.
pub(super) fn remove_temporaries(directory: &Path) -> io::Result<()> {
    remove_named(directory, |name| name.starts_with(TEMPORARY))
}

/// Deletes the files in a directory whose names are `unwanted`.
pub(super) fn remove_named(directory: &Path, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if unwanted(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies a directory with all that is in it.
pub(super) fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    create_directory(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Free octets of the file system of `path`, for a process without privileges.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(path).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// The state directory belongs to this process as long as this is kept.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

/// The state directory cannot be locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it.
    Held {
        /// Which, if it said so.
        pid: Option<u32>,
    },
    /// Something else.
    Io(io::Error),
}

impl Lock {
    /// Locks the state directory and says in the lock's file who did.
    pub(super) fn take(root: &Path) -> Result<Self, LockError> {
        let path = root.join(Layout::LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(LockError::Io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { pid });
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        file.set_len(0).map_err(LockError::Io)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(LockError::Io)?;
        Ok(Self(file))
    }
}
