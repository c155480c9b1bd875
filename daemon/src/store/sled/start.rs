//! Opening: who may, with which key, and whether what is found can be trusted.
//!
//! Nothing is written before key, side file and database are known to fit together. The engine opens the file on a thread
//! of its own: damage makes it panic or hang, and both become a refusal to start.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::bodies::Bodies;
use super::draft::{Draft, State, registry};
use super::pages::{Overlay, Pages, Plain as _};
use super::reader::Reader;
use super::stamp::Stamp;
use super::verify::{AT_START, verify};
use super::writer::{Shared, Writer};
use super::{OpenOptions, SledStore, keys};
use crate::domain::TokenSlot;
use crate::store::disk::{self, Layout, Lock, LockError};
use crate::store::mirror::{self, Mirror};
use crate::store::seal::{MasterKey, Sealer};
use crate::store::{Opened, StoreError};

/// How long the engine may take to open.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// Memory of the engine for pages, in octets.
const CACHE: u64 = 8 * 1024 * 1024;
/// Bodies that are looked at before the start goes on. A sweep looks at the others.
const ORPHANS: usize = 2000;
/// Directory of the copy that is opened first.
const REHEARSAL: &str = "rehearsal";
/// What the engine's summary of the database is called before it is whole.
const UNFINISHED: &str = ".generating";
/// The engine's configuration, in the directory of its database.
const CONFIGURATION: &str = "conf";
/// Directory in which the engine makes the configuration of a new store.
const STARTING: &str = "starting";
const CHECK_FORMAT: u8 = 1;

/// The store cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon works on it.
    #[error("another frankd works on {directory}{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The state directory.
        directory: String,
        /// Its process id, if it is known.
        pid: Option<u32>,
    },
    /// The key is another one.
    #[error(
        "the master key is not the one that the store in {directory} was made with; put the right one back, nothing was touched"
    )]
    WrongKey {
        /// The state directory.
        directory: String,
    },
    /// Something is missing, damaged or old.
    #[error(
        "the store in {directory} cannot be used: {}; nothing was overwritten. Put back a copy of the whole directory, or \
         recover",
        findings.join("; ")
    )]
    Unusable {
        /// The state directory.
        directory: String,
        /// What is wrong, one by one.
        findings: Vec<String>,
    },
    /// A file or directory cannot be read or made.
    #[error("the store cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn io_error(action: &str) -> impl FnOnce(io::Error) -> OpenError {
    let action = action.to_owned();
    move |source| OpenError::Io { action, source }
}

/// What is wrong, before the directory is named.
type Findings = Vec<String>;

/// See [`SledStore::open`].
pub(super) fn open(options: OpenOptions) -> Result<SledStore, OpenError> {
    let directory = options.directory.display().to_string();
    let unusable = |findings| OpenError::Unusable { directory: directory.clone(), findings };
    let layout = Layout::new(&options.directory);
    disk::create_directory(&layout.root).map_err(io_error("make its directory"))?;
    let lock = take_lock(&layout)?;
    let stamp = check_files(&layout, &options.key)?;
    let (sender, result) = mpsc::channel();
    let deadline = options.deadline;
    let work = move || {
        #[cfg(test)]
        options.hang();
        let opened = catch_unwind(AssertUnwindSafe(|| start(options, layout, stamp, lock)));
        let panicked = |_| Err(Failure::Findings(vec!["the database is damaged: its engine panicked".to_owned()]));
        drop(sender.send(opened.unwrap_or_else(panicked)));
    };
    let thread = thread::Builder::new().name("store-open".to_owned());
    thread.spawn(work).map_err(io_error("start a thread"))?;
    match wait(&result, deadline) {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(Failure::Findings(findings))) => Err(unusable(findings)),
        Ok(Err(Failure::Open(error))) => Err(error),
        Err(RecvTimeoutError::Timeout) => Err(unusable(vec!["its engine hangs: the database is damaged".to_owned()])),
        Err(RecvTimeoutError::Disconnected) => Err(unusable(vec!["its engine gave up".to_owned()])),
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread that hangs on no clock of ours; tests give it no time at all")]
fn wait<T>(result: &mpsc::Receiver<T>, deadline: Duration) -> Result<T, RecvTimeoutError> {
    result.recv_timeout(deadline)
}

pub(super) fn take_lock(layout: &Layout) -> Result<Lock, OpenError> {
    Lock::take(&layout.root).map_err(|error| match error {
        LockError::Held { pid } => OpenError::Locked { directory: layout.root.display().to_string(), pid },
        LockError::Io(source) => io_error("take its lock")(source),
    })
}

/// Looks at key check and side file. `None` if there is no store yet.
fn check_files(layout: &Layout, key: &MasterKey) -> Result<Option<Stamp>, OpenError> {
    let directory = layout.root.display().to_string();
    let unusable =
        |finding: &str| OpenError::Unusable { directory: directory.clone(), findings: vec![finding.to_owned()] };
    if layout.root.join(Layout::RECOVERING).exists() {
        return Err(unusable("a recovery was cut short"));
    }
    let stamp = Stamp::read(&layout.root).map_err(io_error("read its side file"))?;
    match check_key(layout, key)? {
        KeyCheck::Good => {}
        // The key check is the last thing that is made on the first start.
        KeyCheck::Missing if stamp.is_none_or(|stamp| stamp.generation <= 1) => return Ok(None),
        KeyCheck::Missing => return Err(unusable("the file key-check is missing")),
        KeyCheck::Damaged => return Err(unusable("the file key-check is damaged")),
    }
    if !layout.store.join("db").exists() {
        return Err(unusable("the database is missing"));
    }
    stamp.map(Some).ok_or_else(|| unusable("the file generation is missing or damaged"))
}

/// What the file says that tells a wrong key from damage.
pub(super) enum KeyCheck {
    /// The store was made with this key.
    Good,
    /// There is no such file.
    Missing,
    /// It has no sense.
    Damaged,
}

/// Whether the store was made with this key. A wrong one is an error.
pub(super) fn check_key(layout: &Layout, key: &MasterKey) -> Result<KeyCheck, OpenError> {
    let check = disk::read_file(&layout.root.join(Layout::KEY_CHECK)).map_err(io_error("read the key check"))?;
    Ok(match check.map(|check| read_check(&check)) {
        None => KeyCheck::Missing,
        Some(None) => KeyCheck::Damaged,
        Some(Some(made_with)) if made_with == key.check() => KeyCheck::Good,
        Some(Some(_)) => {
            return Err(OpenError::WrongKey { directory: layout.root.display().to_string() });
        }
    })
}

fn read_check(content: &[u8]) -> Option<[u8; 32]> {
    let (body, crc) = content.split_last_chunk::<4>()?;
    let [CHECK_FORMAT, check @ ..] = body else { return None };
    (crc32fast::hash(body) == u32::from_be_bytes(*crc)).then(|| check.try_into().ok())?
}

/// Writes the file that tells a wrong key from damage.
pub(super) fn write_check(root: &Path, key: &MasterKey) -> io::Result<()> {
    let mut content = vec![CHECK_FORMAT];
    content.extend_from_slice(&key.check());
    content.extend_from_slice(&crc32fast::hash(&content).to_be_bytes());
    disk::replace_file(root, Layout::KEY_CHECK, &content, 0o600)
}

/// Why a start failed, before the directory is named.
#[derive(Debug)]
enum Failure {
    Findings(Findings),
    Open(OpenError),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Findings(vec![error.to_string()])
    }
}

/// Opens the database. The file for syncing is open before the first write. A summary that the engine had not written to its
/// end when it was cut short would be taken for the newest one, and for damage: it is deleted, the one before is there.
pub(super) fn open_engine(directory: &Path) -> Result<(sled::Db, File), String> {
    disk::remove_named(directory, |name| name.ends_with(UNFINISHED))
        .map_err(|error| format!("the database does not open: {error}"))?;
    let config = sled::Config::new().path(directory).cache_capacity(CACHE).flush_every_ms(None);
    let database = config.open().map_err(|error| format!("the database does not open: {error}"))?;
    let file = File::open(directory.join("db")).map_err(|error| format!("the database does not open: {error}"))?;
    Ok((database, file))
}

/// Lays the engine's configuration of a new store in its place, durably: the engine does not sync it, and does not open with
/// a broken one. It is made elsewhere, since the engine lets go of a database only a while after it is closed.
fn configure_engine(layout: &Layout) -> Result<(), Failure> {
    disk::create_directory(&layout.store).map_err(io_error("make its directory"))?;
    if layout.store.join("db").exists() {
        return Ok(());
    }
    let elsewhere = layout.root.join(STARTING);
    disk::remove_directory(&elsewhere).map_err(io_error("clean its directory"))?;
    disk::create_directory(&elsewhere).map_err(io_error("make its directory"))?;
    let opened = open_engine(&elsewhere).map_err(|finding| Failure::Findings(vec![finding]))?;
    let configuration = fs::read(elsewhere.join(CONFIGURATION)).map_err(io_error("read its configuration"))?;
    drop(opened);
    disk::replace_file(&layout.store, CONFIGURATION, &configuration, 0o600)
        .map_err(io_error("write its configuration"))?;
    disk::remove_directory(&elsewhere).map_err(io_error("clean its directory"))?;
    Ok(())
}

/// The engine cuts or overwrites what it believes to be a torn end. So unless the database is as the last run left it, it
/// is opened and verified in copy first: what is refused is then still there, octet for octet.
fn rehearse(layout: &Layout, stamp: &Stamp, sealer: &Sealer) -> Result<(), Failure> {
    let database = layout.store.join("db");
    let found = Stamp::checksum(&database).map_err(io_error("read the database"))?;
    let Some((length, _)) = found.filter(|found| stamp.ended != Some(*found)) else {
        return Ok(());
    };
    if disk::free_bytes(&layout.root).is_some_and(|free| free < length.saturating_mul(2)) {
        return Ok(());
    }
    let copy = layout.root.join(REHEARSAL);
    disk::remove_directory(&copy).map_err(io_error("clean its directory"))?;
    disk::copy_directory(&layout.store, &copy).map_err(io_error("copy the database"))?;
    let opened = open_engine(&copy).map_err(|finding| Failure::Findings(vec![finding]));
    let verified = opened.and_then(|(tree, _)| {
        let pages = Pages { tree, sealer: sealer.clone() };
        let state = verify(&pages, stamp, AT_START).map_err(Failure::Findings)?;
        compare(&Mirror::open(&layout.mirror, sealer.clone()), &pages, &state)
    });
    disk::remove_directory(&copy).map_err(io_error("clean its directory"))?;
    verified.map(drop)
}

fn start(options: OpenOptions, layout: Layout, stamp: Option<Stamp>, lock: Lock) -> Result<SledStore, Failure> {
    let sealer = Sealer::new(&options.key, Arc::clone(&options.entropy));
    match &stamp {
        Some(stamp) => rehearse(&layout, stamp, &sealer)?,
        None => configure_engine(&layout)?,
    }
    let (tree, file) = open_engine(&layout.store).map_err(|finding| Failure::Findings(vec![finding]))?;
    let pages = Pages { tree, sealer: sealer.clone() };
    let found = stamp.unwrap_or_default();
    let state = match stamp {
        Some(stamp) => verify(&pages, &stamp, AT_START).map_err(Failure::Findings)?,
        None => unused(&pages)?,
    };
    let mirror = Mirror::open(&layout.mirror, sealer.clone());
    let repairs = compare(&mirror, &pages, &state)?;
    disk::create_directory(&layout.mirror).map_err(io_error("make its mirror"))?;
    disk::remove_temporaries(&layout.mirror).map_err(io_error("clean its mirror"))?;
    let bodies = Bodies::open(&layout.bodies, sealer.clone()).map_err(io_error("open the bodies"))?;
    let shared = Arc::new(Shared { read_only: Mutex::new(None), seq: watch::Sender::new(state.meta.seq) });
    let mut writer = Writer {
        overlay: Overlay::new(pages.clone()),
        state,
        mirror,
        bodies: bodies.clone(),
        file,
        shared: Arc::clone(&shared),
        stamped: (found, options.clock.now()),
        clock: options.clock,
        unlinked: Vec::new(),
        orphans: None,
        swept_to: None,
        placed_bodies: false,
        layout,
        lock,
    };
    let opened = writer.begin(repairs)?;
    if stamp.is_none() {
        write_check(&writer.layout.root, &options.key).map_err(io_error("write the key check"))?;
    }
    let directory = writer.layout.root.clone();
    let (calls, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("store-writer".to_owned());
    thread.spawn(move || writer.run(&receiver)).map_err(io_error("start a thread"))?;
    Ok(SledStore {
        opened,
        directory,
        calls,
        shared,
        bodies: bodies.clone(),
        sealer,
        reader: Arc::new(RwLock::new(Some(Reader { pages, bodies }))),
    })
}

/// A first start that was cut short may have left an empty database, nothing else.
fn unused(pages: &Pages) -> Result<State, Failure> {
    let meta: Option<super::kept::Meta> = pages.record(keys::META)?;
    let used = match meta {
        Some(meta) => meta.seq > 0 || meta.roster != 0 || meta.messages.count > 0,
        None => !pages.tree.is_empty(),
    };
    if used {
        let finding = "the files key-check and generation are missing beside a database that was used";
        return Err(Failure::Findings(vec![finding.to_owned()]));
    }
    let mut state = State::default();
    state.meta = meta.unwrap_or_default();
    Ok(state)
}

/// Compares the mirror with the store. Gives the copies that are missing or old; a newer one shows that the store is old.
fn compare(mirror: &Mirror, pages: &Pages, state: &State) -> Result<Option<mirror::Changes>, Failure> {
    let now = state.meta.generation;
    let mut findings = Findings::new();
    let mut older = |what: &str, generation: u64| {
        if generation > now {
            findings
                .push(format!("the store went back in time: {what} is of generation {generation}, the store of {now}"));
        }
    };
    older("the mirror", mirror.index().generation);
    let mut changes = mirror::Changes::default();
    for (profile, _) in state.roster.slots() {
        let slot: Option<TokenSlot> = pages.record(&keys::slot(profile))?;
        let copy = mirror.slot(profile).ok().flatten();
        if let Some(copy) = &copy {
            older(&format!("the copy of the token slot of {profile}"), copy.generation);
        }
        let indexed = mirror.index().slots.get(&profile).copied();
        let good = copy.is_some_and(|copy| Some(&copy.content) == slot.as_ref() && Some(copy.generation) == indexed);
        changes.slots.extend(slot.filter(|_| !good));
    }
    let registry = registry(&Overlay::new(pages.clone()), &state.roster)?;
    let copy = mirror.registry().ok().flatten();
    if let Some(copy) = &copy {
        older("the copy of the registry", copy.generation);
    }
    if !copy.is_some_and(|copy| copy.content == registry && copy.generation == mirror.index().registry) {
        changes.registry = Some(registry);
    }
    if !findings.is_empty() {
        return Err(Failure::Findings(findings));
    }
    let files = mirror.profiles().unwrap_or_default();
    let there = |profile| state.roster.0.contains_key(&keys::slot(profile));
    changes.dropped.extend(files.into_iter().filter(|profile| !there(*profile)));
    let whole = changes.slots.is_empty() && changes.registry.is_none() && changes.dropped.is_empty();
    Ok((!whole).then_some(changes))
}

impl Writer {
    /// Begins a run: voids the claims of the one before, mends the mirror, ends what a crash cut short.
    fn begin(&mut self, repairs: Option<mirror::Changes>) -> Result<Opened, Failure> {
        let mut draft = Draft::new(&mut self.overlay, &self.state);
        draft.meta.incarnation += 1;
        let incarnation = draft.meta.incarnation;
        let (not_sent, in_doubt) = draft.void_claims()?;
        let (finished, _) = draft.finish()?;
        self.state.apply(finished, &mut self.overlay);
        let unlink: Vec<_> = self.overlay.pages.keys(&[keys::UNLINK]).collect::<Result<_, _>>()?;
        let unlink = unlink.iter().filter_map(|key| keys::last_id(key)).map(frankd_proto::MessageId::from_bits);
        self.unlink(&unlink.collect::<Vec<_>>());
        self.begin_writing()?;
        if let Some(changes) = repairs {
            let generation = self.state.meta.generation;
            let prepared = self.mirror.prepare(generation, &changes).map_err(io_error("write its mirror"))?;
            self.publish(vec![prepared])?;
        }
        self.orphans = Some(Box::new(self.bodies.all().map_err(io_error("read the bodies"))?));
        self.sweep_orphans(ORPHANS)?;
        Ok(Opened { incarnation, not_sent, in_doubt })
    }

    fn begin_writing(&mut self) -> Result<(), Failure> {
        self.land_at_once()?;
        self.sync()?;
        // The engine syncs what it writes into its database, but not its own configuration beside it.
        disk::sync_files(&self.layout.store).map_err(io_error("sync its directory"))?;
        disk::sync_directory(&self.layout.root).map_err(io_error("sync its directory"))?;
        self.stamp();
        Ok(())
    }
}
