//! `frankd --recover`: a new store from what the mirror and the damaged one still have, without a new consent.
//!
//! - Nothing is deleted: the damaged store, its bodies and its mirror go to `damaged-N/` beside the new one.
//! - A token comes from the store if that is proven to have its last version, else from its copy in the mirror; a copy
//!   that is older than the mirror's index is stale and is not used.
//! - Messages that were not final come back held: some may have been sent since. An operator releases or cancels them.
//! - The new store is built in `recovering/` and takes its place piece by piece; cut short, the next recovery goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use frankd_proto::{HoldReason, MessageId, Name, ProfileId};
use jiff::Timestamp;

use super::bodies::Bodies;
use super::draft::{Draft, State};
use super::messages::{self, BodyPlace};
use super::pages::{Overlay, Pages, encode};
use super::salvage::Salvage;
use super::stamp::Stamp;
use super::start::{self, open_engine};
use super::{OpenError, OpenOptions, keys};
use crate::domain::message::OperatorHold;
use crate::domain::{Gate, Phase, TokenSlot};
use crate::store::disk::{self, Layout};
use crate::store::mirror::{self, Mirror, Registry};
use crate::store::seal::Sealer;
use crate::store::{StoreError, rules};

const SCRATCH: &str = "recovering-scratch";
/// Numbers of events that may have been given out after the side file was written, and more.
const EVENTS_SKIPPED: u64 = 1_000_000;
/// How long the engine may take. A queue of a million messages takes minutes.
const DEADLINE: Duration = Duration::from_secs(600);
/// Changes that land at once.
const BATCH: usize = 4096;
/// What takes the place of the old store. The key check is the last: until it has moved the next recovery goes on.
const PIECES: [&str; 5] = ["store", "bodies", "mirror", Layout::STAMP, Layout::KEY_CHECK];
/// Why a recovered message is held.
const HELD: &str = "recovered from a damaged store: it may have been sent already";

/// What a recovery has brought back, and what is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// What was wrong.
    pub findings: Vec<String>,
    /// Clients that are back.
    pub clients: Vec<Name>,
    /// Profiles that are back.
    pub profiles: Vec<Name>,
    /// Profiles whose tokens are back.
    pub tokens: Vec<ProfileId>,
    /// Messages that are back, each held until an operator releases it.
    pub messages: u64,
    /// What is gone or must be done again, in words.
    pub gone: Vec<String>,
    /// Where the damaged store is now.
    pub aside: PathBuf,
}

/// A recovery is not possible, or not needed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The lock or the key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store is whole.
    #[error("the store in {0} is whole: there is nothing to recover")]
    NotNeeded(String),
    /// Neither the mirror nor the store can be read with this key.
    #[error("neither the mirror nor the store in {0} can be read: put back a copy, or the right master key")]
    Nothing(String),
    /// A file cannot be read, written or moved.
    #[error("the recovery cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The new store cannot be written.
    #[error("the recovery cannot write the new store")]
    Store(#[from] StoreError),
}

fn io_error(action: &'static str) -> impl Fn(io::Error) -> RecoverError {
    move |source| RecoverError::Io { action, source }
}

/// Rebuilds the store beneath the state directory. No daemon may run; blocks, at worst for 20 minutes.
pub fn recover(options: &OpenOptions) -> Result<Recovered, RecoverError> {
    let layout = Layout::new(&options.directory);
    let _lock = start::take_lock(&layout)?;
    if let Some(aside) = finish_swap(&layout)? {
        return Ok(Recovered {
            findings: vec!["an earlier recovery was cut short".to_owned()],
            aside,
            ..Recovered::default()
        });
    }
    start::check_key(&layout, &options.key)?;
    // The engine may panic or hang over the damaged database. Then the mirror must do.
    let mut built = attempt(options, true);
    if built.is_none() {
        built = attempt(options, false);
    }
    let mut recovered = built.unwrap_or_else(|| Err(RecoverError::Nothing(layout.root.display().to_string())))?;
    recovered.aside = finish_swap(&layout)?.unwrap_or_default();
    Ok(recovered)
}

/// Builds the new store on a thread of its own. `None` if that panicked or hangs.
fn attempt(options: &OpenOptions, read_store: bool) -> Option<Result<Recovered, RecoverError>> {
    let (sender, result) = mpsc::channel();
    let options = options.clone();
    let work = move || {
        if let Ok(built) = catch_unwind(AssertUnwindSafe(|| rebuild(&options, read_store))) {
            drop(sender.send(built));
        }
    };
    thread::Builder::new().name("store-recover".to_owned()).spawn(work).ok()?;
    wait(&result).ok()
}

#[expect(clippy::disallowed_methods, reason = "the engine may hang, and no test waits for that")]
fn wait<T>(result: &mpsc::Receiver<T>) -> Result<T, mpsc::RecvTimeoutError> {
    result.recv_timeout(DEADLINE)
}

fn rebuild(options: &OpenOptions, read_store: bool) -> Result<Recovered, RecoverError> {
    let layout = Layout::new(&options.directory);
    let sealer = Sealer::new(&options.key, options.entropy.clone());
    let stamp = Stamp::read(&layout.root).map_err(io_error("read the side file"))?;
    let mirror = Mirror::open(&layout.mirror, sealer.clone());
    let found = read_damaged(&layout, &sealer, stamp, &mirror, read_store)?;
    if found.findings.is_empty() && stamp.is_some() && layout.root.join(Layout::KEY_CHECK).exists() {
        return Err(RecoverError::NotNeeded(layout.root.display().to_string()));
    }
    let mut recovered = Recovered { findings: found.findings.clone(), ..Recovered::default() };
    let sources = Sources { mirror, found, stamp };
    let registry = sources.registry(&mut recovered);
    let registry = registry.ok_or_else(|| RecoverError::Nothing(layout.root.display().to_string()))?;
    let slots = sources.slots(&mut recovered);
    let content = Content { registry, slots };
    build(options, &layout, &sources, &content, &mut recovered)?;
    if let Some(proven) = &sources.found.proven {
        let lost = proven.waiting.saturating_sub(recovered.messages);
        if lost > 0 {
            recovered.gone.push(format!("{lost} of {} messages that waited", proven.waiting));
        }
    } else {
        recovered.gone.push("messages that waited, but for those that are back".to_owned());
    }
    recovered.gone.push("events, ended messages, idempotency keys, and grants in progress".to_owned());
    recovered.clients = content.registry.clients.iter().map(|client| client.name.clone()).collect();
    recovered.profiles = content.registry.profiles.iter().map(|profile| profile.name.clone()).collect();
    recovered.tokens = content.slots.iter().map(|slot| slot.profile).collect();
    disk::remove_directory(&layout.root.join(SCRATCH)).map_err(io_error("clean its directory"))?;
    Ok(recovered)
}

/// Reads the damaged database, from a copy.
fn read_damaged(
    layout: &Layout,
    sealer: &Sealer,
    stamp: Option<Stamp>,
    mirror: &Mirror,
    read_store: bool,
) -> Result<Salvage, RecoverError> {
    if !layout.store.join("db").exists() {
        return Ok(Salvage::nothing("the database is missing"));
    }
    if !read_store {
        return Ok(Salvage::nothing("the database is damaged: its engine panics or hangs"));
    }
    let scratch = layout.root.join(SCRATCH);
    disk::remove_directory(&scratch).map_err(io_error("clean its directory"))?;
    disk::copy_directory(&layout.store, &scratch).map_err(io_error("copy the database"))?;
    let bodies = Bodies::open(&layout.bodies, sealer.clone()).map_err(io_error("read the bodies"))?;
    let reached = stamp.map_or(0, |stamp| stamp.generation).max(mirror.newest());
    Ok(Salvage::open(&scratch, sealer.clone(), bodies, stamp, reached))
}

/// Where records can come from.
struct Sources {
    mirror: Mirror,
    found: Salvage,
    stamp: Option<Stamp>,
}

/// The small records of the new store.
struct Content {
    registry: Registry,
    slots: Vec<TokenSlot>,
}

impl Sources {
    /// Clients, profiles and pauses: of the store if it is proven to be current, what of that cannot be read from the
    /// mirror. `None` if nothing can be read at all.
    fn registry(&self, recovered: &mut Recovered) -> Option<Registry> {
        let copy = self.mirror.registry().ok().flatten();
        let Some(proven) = &self.found.proven else {
            let copy = copy?;
            if copy.generation < self.mirror.index().registry || self.mirror_is_old() {
                recovered.gone.push("the last changes of clients and profiles: their copy is old".to_owned());
            }
            return Some(copy.content);
        };
        let copy = copy.map(|copy| copy.content).unwrap_or_default();
        let mut gone = |key: &[u8]| recovered.gone.push(proven.describe(key));
        let mut registry = Registry::default();
        for key in proven.of_kind(keys::CLIENT) {
            let copied = || copy.clients.iter().find(|client| keys::client(client.id) == *key).cloned();
            match proven.record(key).or_else(copied) {
                Some(client) => registry.clients.push(client),
                None => gone(key),
            }
        }
        for key in proven.of_kind(keys::PROFILE) {
            let copied = || copy.profiles.iter().find(|profile| keys::profile(profile.id) == *key).cloned();
            match proven.record(key).or_else(copied) {
                Some(profile) => registry.profiles.push(profile),
                None => gone(key),
            }
        }
        for key in proven.of_kind(keys::GATE) {
            let copied = || copy.paused.iter().find(|gate| keys::gate(gate.profile, gate.reason) == *key).cloned();
            let gate = proven.record::<Gate>(key).or_else(copied);
            registry.paused.extend(gate.filter(|gate| gate.reason == HoldReason::Paused));
        }
        Some(registry)
    }

    /// Whether the whole mirror was put back from an older copy.
    fn mirror_is_old(&self) -> bool {
        self.stamp.is_some_and(|stamp| self.mirror.index().generation < stamp.mirror)
    }

    /// Tokens in their last version.
    fn slots(&self, recovered: &mut Recovered) -> Vec<TokenSlot> {
        let mut slots = Vec::new();
        for profile in self.profiles_with_tokens() {
            match self.slot(profile) {
                Some(slot) => slots.push(slot),
                None => recovered.gone.push(format!(
                    "the tokens of {profile}: their copy is missing, damaged or old, and an old one must not be used; grant again"
                )),
            }
        }
        slots
    }

    fn profiles_with_tokens(&self) -> BTreeSet<ProfileId> {
        if let Some(proven) = &self.found.proven {
            return proven.of_kind(keys::SLOT).filter_map(|key| keys::last_id(key)).map(ProfileId::from_bits).collect();
        }
        let index = self.mirror.index();
        // A file that the index does not have is of a deleted slot, or of one that was just made.
        let made = |profile: &ProfileId| {
            let copy = self.mirror.slot(*profile).ok().flatten();
            copy.is_some_and(|copy| copy.generation > index.generation)
        };
        let new = self.mirror.profiles().unwrap_or_default().into_iter().filter(made);
        index.slots.keys().copied().chain(new).collect()
    }

    fn slot(&self, profile: ProfileId) -> Option<TokenSlot> {
        let proven = self.found.proven.as_ref().and_then(|proven| proven.record(&keys::slot(profile)));
        if proven.is_some() {
            return proven;
        }
        let copy = self.mirror.slot(profile).ok().flatten()?;
        let written = self.mirror.index().slots.get(&profile).copied().unwrap_or(0);
        (copy.generation >= written && !self.mirror_is_old()).then_some(copy.content)
    }
}

/// Builds the new store. Its key check is written last: it says that the rest is whole.
fn build(
    options: &OpenOptions,
    old: &Layout,
    sources: &Sources,
    content: &Content,
    recovered: &mut Recovered,
) -> Result<(), RecoverError> {
    let new = Layout::new(&old.root.join(Layout::RECOVERING));
    let sealer = Sealer::new(&options.key, options.entropy.clone());
    disk::remove_directory(&new.root).map_err(io_error("clean its directory"))?;
    for directory in [&new.root, &new.store, &new.mirror] {
        disk::create_directory(directory).map_err(io_error("make its directory"))?;
    }
    let (tree, file) = open_engine(&new.store).map_err(StoreError::Failed)?;
    let mut overlay = Overlay::new(Pages { tree, sealer: sealer.clone() });
    let mut state = State::default();
    let meta = sources.found.meta.unwrap_or_default();
    let stamp = sources.stamp.unwrap_or_default();
    state.meta.generation = meta.generation.max(stamp.generation).max(sources.mirror.newest());
    state.meta.incarnation = meta.incarnation.max(stamp.incarnation);
    state.meta.seq = meta.seq.max(stamp.seq) + EVENTS_SKIPPED;
    write_records(&mut overlay, &mut state, content)?;
    recovered.messages = write_messages(&mut overlay, &mut state, sources, content, options.clock.wall())?;
    link_bodies(&overlay.pages, old, &new, &sealer)?;
    state.write(&mut overlay)?;
    overlay.land().map_err(super::pages::failed)?;
    overlay.pages.tree.flush().map_err(super::pages::failed)?;
    disk::sync_data(&file).map_err(io_error("sync the database"))?;
    disk::sync_files(&new.store).map_err(io_error("sync the database"))?;

    let mut mirror = Mirror::open(&new.mirror, sealer);
    let changes =
        mirror::Changes { registry: Some(content.registry.clone()), slots: content.slots.clone(), dropped: Vec::new() };
    let prepared = mirror.prepare(state.meta.generation, &changes).map_err(io_error("write the mirror"))?;
    mirror.publish(vec![prepared]).map_err(io_error("write the mirror"))?;
    let stamp = Stamp {
        generation: state.meta.generation,
        mirror: state.meta.generation,
        seq: state.meta.seq,
        incarnation: state.meta.incarnation,
        ..Stamp::default()
    };
    stamp.write(&new.root).map_err(io_error("write the side file"))?;
    start::write_check(&new.root, &options.key).map_err(io_error("write the key check"))
}

fn write_records(overlay: &mut Overlay, state: &mut State, content: &Content) -> Result<(), StoreError> {
    let mut draft = Draft::new(overlay, state);
    for client in &content.registry.clients {
        let name = Some(client.name.to_string());
        draft.enter(keys::client(client.id), &encode(client)?, client.revision, name)?;
    }
    for profile in &content.registry.profiles {
        let name = Some(profile.name.to_string());
        let key = keys::profile(profile.id);
        draft.enter(key.clone(), &encode(profile)?, profile.revision, name)?;
        if !rules::sends(profile) {
            draft.sends_none(&key);
        }
    }
    for gate in &content.registry.paused {
        draft.enter(keys::gate(gate.profile, gate.reason), &encode(gate)?, 0, None)?;
    }
    for slot in &content.slots {
        draft.enter(keys::slot(slot.profile), &encode(slot)?, slot.version, None)?;
    }
    let (finished, _) = draft.finish()?;
    state.apply(finished, overlay);
    Ok(())
}

/// Writes the messages of profiles that are back, each held. Gives how many.
fn write_messages(
    overlay: &mut Overlay,
    state: &mut State,
    sources: &Sources,
    content: &Content,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let known: BTreeSet<ProfileId> = content.registry.profiles.iter().map(|profile| profile.id).collect();
    let mut back = 0;
    for (mut kept, body) in sources.found.messages() {
        let message = &mut kept.message;
        if !known.contains(&message.profile) {
            continue;
        }
        message.version += 1;
        message.claim = None;
        message.phase = Phase::BeforeDot;
        message.hold.get_or_insert_with(|| OperatorHold { since: now, reason: Some(HELD.to_owned()) });
        kept.submitted = None;
        let mut draft = Draft::new(overlay, state);
        let plain = messages::accepted(&kept, &body.unwrap_or_default())?;
        let sealed = draft.overlay.pages.sealer.seal(&keys::accepted(kept.message.id), &plain);
        draft.insert_kept(&kept, &sealed);
        let (finished, _) = draft.finish()?;
        state.apply(finished, overlay);
        back += 1;
        if overlay.waiting() > BATCH {
            overlay.land().map_err(super::pages::failed)?;
        }
    }
    overlay.land().map_err(super::pages::failed)?;
    Ok(back)
}

/// Gives the new store its bodies. A file has two names then: the damaged store keeps all of its own.
fn link_bodies(pages: &Pages, old: &Layout, new: &Layout, sealer: &Sealer) -> Result<(), RecoverError> {
    let bodies = Bodies::open(&new.bodies, sealer.clone()).map_err(io_error("make its directory"))?;
    for id in messages::newest(pages, MessageId::from_bits(u128::MAX)) {
        if let Some(kept) = messages::kept(pages, id?)?
            && kept.body == Some(BodyPlace::File)
        {
            let name = kept.message.id.to_string();
            fs::hard_link(old.bodies.join(&name), new.bodies.join(name)).map_err(io_error("copy the bodies"))?;
        }
    }
    bodies.sync().map_err(io_error("sync the bodies"))
}

/// Puts a new store that is whole in the place of the old one. Gives where the old one is now; `None` if there is no new
/// one, and then what is left of it is deleted.
fn finish_swap(layout: &Layout) -> Result<Option<PathBuf>, RecoverError> {
    let failed = io_error("put the new store in its place");
    let new = layout.root.join(Layout::RECOVERING);
    if !new.join(Layout::KEY_CHECK).exists() {
        disk::remove_directory(&new).map_err(failed)?;
        return Ok(None);
    }
    let left: Vec<&str> = PIECES.into_iter().filter(|piece| new.join(piece).exists()).collect();
    let aside = aside(&layout.root, &left).map_err(&failed)?;
    for piece in left {
        let (from, to) = (new.join(piece), layout.root.join(piece));
        if to.exists() {
            fs::rename(&to, aside.join(piece)).map_err(&failed)?;
        }
        fs::rename(from, to).map_err(&failed)?;
    }
    for directory in [&aside, &layout.root] {
        disk::sync_directory(directory).map_err(&failed)?;
    }
    disk::remove_directory(&new).map_err(failed)?;
    Ok(Some(aside))
}

/// The directory for the damaged store: the last one while it has room for what is left to move, as after a recovery that
/// was cut short, else the next number.
fn aside(root: &Path, left: &[&str]) -> io::Result<PathBuf> {
    let path = |n: u32| root.join(format!("damaged-{n}"));
    let next = (1..u32::MAX).find(|n| !path(*n).exists()).unwrap_or(u32::MAX);
    let last = path(next.saturating_sub(1).max(1));
    let fits = last.exists() && left.iter().all(|piece| !last.join(piece).exists());
    let path = if fits { last } else { path(next) };
    disk::create_directory(&path)?;
    Ok(path)
}
