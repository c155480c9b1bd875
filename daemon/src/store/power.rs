//! A disk that loses what was not synced, and one whose syncs fail, for tests.
//!
//! A [`Disk`] stands behind a real directory. What it keeps is what a power cut leaves at the least: of a file the octets
//! that were written before a sync of it began that ended well, of a directory the names likewise. Files are told apart by
//! inode and birth, so that a rename takes along what was synced before it. [`Left::Some`] is a disk that has written
//! back more on its own, in no order: any page, any length, any name.
//!
//! The engine syncs its summaries (`snap.*`) itself before they have their names; those are there whole or not at all.
//!
//! Every sync of the store goes through `disk`, which tells this module; a sync that goes past it makes nothing durable
//! here, and a test fails.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tempfile::TempDir;

use crate::entropy::{EntropyExt as _, SeededEntropy};

/// Chooses paths, beneath the directory of the disk.
pub(super) type Which = fn(&str) -> bool;

/// What a disk writes at once.
const PAGE: usize = 4096;

static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());

/// What a power cut leaves of what was not synced.
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Any part of it, chosen by these numbers.
    Some(SeededEntropy),
}

/// The disk behind a directory.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    synced: Tree,
    /// Everything as it was when the power was cut.
    at_cut: Option<Tree>,
    syncs: u32,
    cut_at: Option<u32>,
    /// Syncs of these paths fail.
    failing: Option<Which>,
}

/// Files and directories by what they are, not by name.
#[derive(Clone, Debug, Default)]
struct Tree {
    files: HashMap<Inode, Vec<u8>>,
    directories: HashMap<Inode, BTreeMap<String, Inode>>,
}

/// Number and birth: numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Inode(u64, u128);

/// A sync that is under way.
pub(super) struct Syncing {
    disk: Arc<Disk>,
    inode: Inode,
    content: Content,
}

enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<String, Inode>),
}

impl Disk {
    /// Puts a disk behind a directory. What is there now counts as synced.
    pub(super) fn behind(root: &Path) -> Arc<Self> {
        let root = fs::canonicalize(root).unwrap();
        let disk = Arc::new(Self { root, state: Mutex::default() });
        disk.lock().synced = disk.now();
        let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|disk| disk.strong_count() > 0);
        disks.push(Arc::downgrade(&disk));
        drop(disks);
        disk
    }

    /// Cuts the power in the middle of the `n`-th sync from now.
    pub(super) fn cut_at(&self, n: u32) {
        let mut state = self.lock();
        state.cut_at = Some(state.syncs + n);
    }

    /// Whether the power was cut. What was answered before this says no is on the disk, or it is lost.
    pub(super) fn is_cut(&self) -> bool {
        self.lock().at_cut.is_some()
    }

    /// Syncs of these paths fail from now on; `None` ends that.
    pub(super) fn fail(&self, which: Option<Which>) {
        self.lock().failing = which;
    }

    /// What a power cut leaves: the one that there was, or one now.
    pub(super) fn left(&self, left: &Left) -> TempDir {
        let image = tempfile::tempdir().unwrap();
        let state = self.lock();
        let written = state.at_cut.clone().unwrap_or_else(|| self.now());
        let root = Inode::of(&fs::metadata(&self.root).unwrap());
        let maker = Maker { synced: &state.synced, written: &written, left };
        maker.directory(root, image.path());
        drop(state);
        image
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as it is, synced or not.
    fn now(&self) -> Tree {
        let mut tree = Tree::default();
        tree.read(&self.root);
        tree
    }
}

/// A sync of `file` begins. What is in it by now is durable once [`ended`] is told.
pub(super) fn begins(file: &File) -> io::Result<Option<Syncing>> {
    let handle = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let path = fs::read_link(&handle)?;
    let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(disk) = disks.iter().filter_map(Weak::upgrade).find(|disk| path.starts_with(&disk.root)) else {
        return Ok(None);
    };
    let mut state = disk.lock();
    let beneath = path.strip_prefix(&disk.root).map(Path::to_string_lossy).unwrap_or_default();
    if state.failing.is_some_and(|fails| fails(&beneath)) {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
    }
    state.syncs += 1;
    if state.at_cut.is_none() && state.cut_at.is_some_and(|at| state.syncs >= at) {
        state.at_cut = Some(disk.now());
    }
    drop(state);
    let metadata = file.metadata()?;
    let content =
        if metadata.is_dir() { Content::Directory(names(&handle)) } else { Content::File(fs::read(&handle)?) };
    Ok(Some(Syncing { disk, inode: Inode::of(&metadata), content }))
}

/// The sync ended well.
pub(super) fn ended(syncing: Option<Syncing>) {
    let Some(Syncing { disk, inode, content }) = syncing else { return };
    let mut state = disk.lock();
    if state.at_cut.is_some() {
        return;
    }
    match content {
        Content::File(octets) => drop(state.synced.files.insert(inode, octets)),
        Content::Directory(names) => drop(state.synced.directories.insert(inode, names)),
    }
}

impl Inode {
    fn of(metadata: &fs::Metadata) -> Self {
        let birth = metadata.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        Self(metadata.ino(), birth.unwrap_or_default().as_nanos())
    }
}

/// The names in a directory. What goes meanwhile is not in it.
fn names(directory: &Path) -> BTreeMap<String, Inode> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let named = entries.filter_map(|entry| {
        let metadata = fs::symlink_metadata(entry.path()).ok()?;
        Some((entry.file_name().into_string().ok()?, Inode::of(&metadata)))
    });
    named.collect()
}

impl Tree {
    fn read(&mut self, directory: &Path) {
        let Ok(metadata) = fs::metadata(directory) else { return };
        let named = names(directory);
        for name in named.keys() {
            let path = directory.join(name);
            if path.is_dir() {
                self.read(&path);
            } else if let (Ok(octets), Some(inode)) = (fs::read(&path), named.get(name)) {
                self.files.insert(*inode, octets);
            }
        }
        self.directories.insert(Inode::of(&metadata), named);
    }
}

/// Makes the image of what is left.
struct Maker<'a> {
    synced: &'a Tree,
    written: &'a Tree,
    left: &'a Left,
}

impl Maker<'_> {
    /// Whether one thing that was written and not synced is there.
    fn is_there(&self) -> bool {
        match self.left {
            Left::Nothing => false,
            Left::Some(random) => random.bits().is_multiple_of(2),
        }
    }

    fn directory(&self, inode: Inode, to: &Path) {
        let nothing = BTreeMap::new();
        let synced = self.synced.directories.get(&inode).unwrap_or(&nothing);
        let written = self.written.directories.get(&inode).unwrap_or(synced);
        let all: std::collections::BTreeSet<&String> = synced.keys().chain(written.keys()).collect();
        for name in all {
            let (before, after) = (synced.get(name), written.get(name));
            let named = if before != after && self.is_there() { after } else { before };
            if let Some(inode) = named {
                self.entry(*inode, &to.join(name));
            }
        }
    }

    fn entry(&self, inode: Inode, to: &Path) {
        let is_directory = [self.synced, self.written].iter().any(|tree| tree.directories.contains_key(&inode));
        if is_directory {
            fs::create_dir(to).unwrap();
            self.directory(inode, to);
        } else {
            let name = to.file_name().unwrap_or_default().to_string_lossy();
            let whole = name.starts_with("snap.") && !name.ends_with(".generating");
            let octets = self.written.files.get(&inode).filter(|_| whole).cloned();
            fs::write(to, octets.unwrap_or_else(|| self.file(inode))).unwrap();
        }
    }

    fn file(&self, inode: Inode) -> Vec<u8> {
        let mut octets = self.synced.files.get(&inode).cloned().unwrap_or_default();
        let written = self.written.files.get(&inode).unwrap_or(&octets).clone();
        if written.len() != octets.len() && self.is_there() {
            octets.resize(written.len(), 0);
        }
        for (before, after) in octets.chunks_mut(PAGE).zip(written.chunks(PAGE)) {
            let length = before.len().min(after.len());
            if before[..length] != after[..length] && self.is_there() {
                before[..length].copy_from_slice(&after[..length]);
            }
        }
        octets
    }
}
