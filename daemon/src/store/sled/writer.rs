//! The one thread that writes.
//!
//! It takes all calls that wait, makes their changes in one batch, syncs once, and answers: so that many senders share one
//! sync. The order is: bodies have their names, the batch is written, the file is synced, the mirror has its places,
//! watchers are told, callers are answered. If a step fails nobody of the group gets a receipt, and the store takes no more
//! changes until it is opened again: after a failed sync nobody knows what the disk has.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frankd_proto::{MessageId, ProfileId};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::bodies::Bodies;
use super::calls::Incoming;
use super::draft::{Draft, Effects, State, registry};
use super::keys;
use super::messages::BodyPlace;
use super::pages::Overlay;
use super::stamp::Stamp;
use crate::clock::{Instant, SharedClock};
use crate::domain::{Message, NewEvent};
use crate::fail_point;
use crate::store::Temporary;
use crate::store::disk::{self, Layout, Lock};
use crate::store::mirror::{self, Mirror, Prepared};
use crate::store::{Accepted, Change, Retention, StoreError};

/// Most calls that share one sync.
const GROUP: usize = 512;
/// Changes that land at once, more of a group in a second batch.
const BATCH: usize = 4096;
/// Under this much free disk, in octets, nothing is changed: the engine stops for good at a write that finds no room, and a
/// group with all that the engine makes of it needs less.
const RESERVE: u64 = 16 * 1024 * 1024;
/// Orphans that one sweep looks for.
const ORPHANS: usize = 500;
/// How long the side file may be behind.
const STAMP_EVERY: Duration = Duration::from_secs(1);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call on its way to the writer.
pub(super) enum Call {
    Commit { changes: Vec<Change>, events: Vec<NewEvent>, answer: Answer<u64> },
    Accept { new: Box<Incoming>, file: Option<Arc<Temporary>>, answer: Answer<Accepted> },
    Claim { profile: ProfileId, now: Timestamp, limit: usize, answer: Answer<Vec<Message>> },
    Sweep { retention: Retention, answer: Answer<bool> },
    Close { answer: Answer<()> },
}

/// What the writer tells everybody.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) read_only: Mutex<Option<String>>,
    pub(super) seq: watch::Sender<u64>,
}

impl Shared {
    /// Why the store takes no more changes.
    pub(super) fn read_only(&self) -> Option<String> {
        self.read_only.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The state of the thread. The lock is the last to go.
pub(super) struct Writer {
    pub(super) layout: Layout,
    pub(super) overlay: Overlay,
    pub(super) state: State,
    pub(super) mirror: Mirror,
    pub(super) bodies: Bodies,
    /// The writer's own handle of the database: the engine's flush asks for less than a power cut needs.
    pub(super) file: File,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: SharedClock,
    /// What the side file says, and when it was written.
    pub(super) stamped: (Stamp, Instant),
    /// Deleted bodies whose note is still in the database.
    pub(super) unlinked: Vec<MessageId>,
    /// Bodies that were not looked at yet.
    pub(super) orphans: Option<Box<dyn Iterator<Item = MessageId> + Send>>,
    /// Messages up to this one were looked at by the sweep that is under way.
    pub(super) swept_to: Option<MessageId>,
    pub(super) placed_bodies: bool,
    pub(super) lock: Lock,
}

/// Answers that wait for the disk.
#[derive(Default)]
struct Pending {
    after_land: Vec<Box<dyn FnOnce(Option<StoreError>)>>,
    after_sync: Vec<Box<dyn FnOnce(Option<StoreError>)>>,
    after_mirror: Vec<Box<dyn FnOnce(Option<StoreError>)>>,
    prepared: Vec<Prepared>,
    unlink: Vec<MessageId>,
}

fn later<T: 'static>(answer: Answer<T>, value: T) -> Box<dyn FnOnce(Option<StoreError>)> {
    // A caller that went away has its change all the same.
    Box::new(move |error| drop(answer.send(error.map_or(Ok(value), Err))))
}

fn give(answers: &mut Vec<Box<dyn FnOnce(Option<StoreError>)>>, error: Option<&StoreError>) {
    for answer in answers.drain(..) {
        answer(error.cloned());
    }
}

impl Writer {
    /// Works until the store is closed or everybody let go of it.
    pub(super) fn run(mut self, calls: &Receiver<Call>) {
        let mut closing = None;
        while closing.is_none() {
            let first = match self.next(calls) {
                Ok(call) => call,
                Err(RecvTimeoutError::Timeout) => {
                    self.stamp();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut group = vec![first];
            group.extend(calls.try_iter().take(GROUP - 1));
            let worked = catch_unwind(AssertUnwindSafe(|| self.group(group)));
            match worked {
                Ok(close) => closing = close,
                Err(_) => drop(self.stop_writing("the engine panicked")),
            }
            if self.clock.now().since(self.stamped.1) >= STAMP_EVERY {
                self.stamp();
            }
        }
        let finished = catch_unwind(AssertUnwindSafe(|| self.finish()));
        if finished.is_err() {
            tracing::error!("the store's engine panicked at the end");
        }
        self.end();
        if let Some(answer) = closing {
            drop(answer.send(Ok(())));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a thread waits for calls, not for a moment that a test moves")]
    fn next(&self, calls: &Receiver<Call>) -> Result<Call, RecvTimeoutError> {
        if self.stamped.0.generation == self.state.meta.generation {
            return calls.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        let since = self.clock.now().since(self.stamped.1);
        calls.recv_timeout(STAMP_EVERY.saturating_sub(since))
    }

    /// Makes the changes of all calls, and answers them. Gives the answer that waits for the end, if one closes the store.
    fn group(&mut self, calls: Vec<Call>) -> Option<Answer<()>> {
        let mut pending = Pending::default();
        let mut closing = None;
        let full = disk::free_bytes(&self.layout.root).is_some_and(|free| free < RESERVE);
        for call in calls {
            match call {
                Call::Close { answer } => closing = Some(answer),
                call => self.call(call, full, &mut pending),
            }
        }
        let landed = self.land();
        give(&mut pending.after_land, landed.as_ref().err());
        if let Err(error) = &landed {
            give(&mut pending.after_sync, Some(error));
            give(&mut pending.after_mirror, Some(error));
            return closing;
        }
        if pending.after_sync.is_empty() && pending.after_mirror.is_empty() {
            return closing;
        }
        let synced = self.sync();
        let mirrored = match &synced {
            Ok(()) => self.publish(std::mem::take(&mut pending.prepared)),
            Err(error) => Err(error.clone()),
        };
        if synced.is_ok() {
            let last = self.state.meta.seq;
            self.shared.seq.send_if_modified(|seq| std::mem::replace(seq, last) != last);
        }
        give(&mut pending.after_sync, synced.as_ref().err());
        give(&mut pending.after_mirror, mirrored.as_ref().err());
        if synced.is_ok() {
            self.unlink(&pending.unlink);
        }
        closing
    }

    fn call(&mut self, call: Call, full: bool, pending: &mut Pending) {
        let read_only = self.shared.read_only().map(StoreError::ReadOnly);
        let refused = read_only.or(full.then_some(StoreError::Full));
        match call {
            Call::Commit { changes, events, answer } => {
                let done = refused.map_or_else(|| self.commit(changes, events), Err);
                match done {
                    Ok((seq, effects, Some(prepared))) => {
                        pending.unlink.extend(effects.unlink);
                        pending.prepared.push(prepared);
                        pending.after_mirror.push(later(answer, seq));
                    }
                    Ok((seq, effects, None)) => {
                        pending.unlink.extend(effects.unlink);
                        pending.after_sync.push(later(answer, seq));
                    }
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Call::Accept { new, file, answer } => match refused.map_or_else(|| self.accept(*new, file.as_deref()), Err)
            {
                Ok(accepted) => pending.after_sync.push(later(answer, accepted)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Call::Claim { profile, now, limit, answer } => {
                match refused.map_or_else(|| self.claim(profile, now, limit), Err) {
                    Ok(claimed) => pending.after_land.push(later(answer, claimed)),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Call::Sweep { retention, answer } => match refused.map_or_else(|| self.sweep(&retention), Err) {
                Ok((more, effects)) => {
                    pending.unlink.extend(effects.unlink);
                    pending.after_sync.push(later(answer, more));
                }
                Err(error) => drop(answer.send(Err(error))),
            },
            // Handled by the group.
            Call::Close { answer } => drop(answer.send(Err(StoreError::Closed))),
        }
        if self.overlay.waiting() > BATCH {
            // A failure has stopped the store, so that the group's own landing fails too.
            let _ = self.land();
        }
    }

    fn commit(
        &mut self,
        changes: Vec<Change>,
        events: Vec<NewEvent>,
    ) -> Result<(u64, Effects, Option<Prepared>), StoreError> {
        let mut draft = Draft::new(&mut self.overlay, &self.state);
        for change in changes {
            draft.change(change)?;
        }
        let seq = draft.append(events);
        let (finished, mut effects) = draft.finish()?;
        let mut prepared = None;
        if effects.mirrored() {
            let roster = finished.roster(&self.state);
            let changes = mirror::Changes {
                registry: effects.registry.then(|| registry(&self.overlay, roster)).transpose()?,
                slots: std::mem::take(&mut effects.slots),
                dropped: std::mem::take(&mut effects.dropped),
            };
            let generation = self.state.meta.generation + 1;
            prepared = Some(self.mirror.prepare(generation, &changes).map_err(|e| disk_error(&e))?);
        }
        self.state.apply(finished, &mut self.overlay);
        Ok((seq, effects, prepared))
    }

    fn accept(&mut self, new: Incoming, file: Option<&Temporary>) -> Result<Accepted, StoreError> {
        let id = new.kept.message.id;
        let mut draft = Draft::new(&mut self.overlay, &self.state);
        let accepted = draft.accept(new)?;
        if accepted != Accepted::New {
            self.overlay.discard();
            return Ok(accepted);
        }
        let (finished, _) = draft.finish()?;
        if let Some(file) = file {
            self.bodies.place(file, id).map_err(|e| disk_error(&e))?;
            self.placed_bodies = true;
        }
        self.state.apply(finished, &mut self.overlay);
        Ok(accepted)
    }

    fn claim(&mut self, profile: ProfileId, now: Timestamp, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.land()?;
        let mut draft = Draft::new(&mut self.overlay, &self.state);
        let claimed = draft.claim(profile, now, limit)?;
        if claimed.is_empty() {
            return Ok(claimed);
        }
        let (finished, _) = draft.finish()?;
        self.state.apply(finished, &mut self.overlay);
        Ok(claimed)
    }

    fn sweep(&mut self, retention: &Retention) -> Result<(bool, Effects), StoreError> {
        self.land()?;
        let mut draft = Draft::new(&mut self.overlay, &self.state);
        let mut more = draft.sweep(retention)?;
        let swept_to = draft.sweep_messages(retention, self.swept_to)?;
        let (finished, effects) = draft.finish()?;
        self.state.apply(finished, &mut self.overlay);
        self.swept_to = swept_to;
        more |= swept_to.is_some();
        more |= self.sweep_orphans(ORPHANS)?;
        Ok((more, effects))
    }

    /// Deletes bodies without a message. Gives whether there are more to look at.
    pub(super) fn sweep_orphans(&mut self, limit: usize) -> Result<bool, StoreError> {
        let Some(mut orphans) = self.orphans.take() else {
            return Ok(false);
        };
        for _ in 0..limit {
            let Some(id) = orphans.next() else { return Ok(false) };
            let draft = Draft::new(&mut self.overlay, &self.state);
            if draft.kept(id)?.and_then(|kept| kept.body) != Some(BodyPlace::File) {
                tracing::info!(message = %id, "a body without a message is deleted");
                self.bodies.remove(id).map_err(|e| disk_error(&e))?;
            }
        }
        self.orphans = Some(orphans);
        Ok(true)
    }

    /// Puts all changes into the database.
    pub(super) fn land(&mut self) -> Result<(), StoreError> {
        if let Some(cause) = self.shared.read_only() {
            return Err(StoreError::ReadOnly(cause));
        }
        if self.overlay.waiting() == 0 && !self.state.has_events() {
            return Ok(());
        }
        self.land_at_once()
    }

    /// Puts all changes into the database, and a new generation even if there are none.
    pub(super) fn land_at_once(&mut self) -> Result<(), StoreError> {
        let landed = self.try_land();
        landed.map_err(|cause| self.stop_writing(&cause))
    }

    fn try_land(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.placed_bodies) {
            self.bodies.sync().map_err(|error| format!("syncing the bodies: {error}"))?;
        }
        self.overlay.discard();
        for id in self.unlinked.drain(..) {
            self.overlay.unmark(keys::unlink(id));
        }
        self.state.write(&mut self.overlay).map_err(|error| error.to_string())?;
        self.overlay.land().map_err(|error| format!("writing: {error}"))
    }

    /// Syncs what has landed.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.try_sync();
        synced.map_err(|cause| self.stop_writing(&cause))
    }

    fn try_sync(&mut self) -> Result<(), String> {
        fail_point::hit("store.before_flush").map_err(|error| error.to_string())?;
        self.overlay.pages.tree.flush().map_err(|error| format!("flushing: {error}"))?;
        disk::sync_data(&self.file).map_err(|error| format!("syncing: {error}"))?;
        fail_point::hit("store.after_flush_before_reply").map_err(|error| error.to_string())
    }

    pub(super) fn publish(&mut self, prepared: Vec<Prepared>) -> Result<(), StoreError> {
        if prepared.is_empty() {
            return Ok(());
        }
        let published = self.mirror.publish(prepared);
        published.map_err(|error| self.stop_writing(&format!("writing the mirror: {error}")))
    }

    /// Deletes body files. A failure costs room, nothing else: the note stays for the next start.
    pub(super) fn unlink(&mut self, bodies: &[MessageId]) {
        for id in bodies {
            match self.bodies.remove(*id) {
                Ok(()) => self.unlinked.push(*id),
                Err(error) => tracing::warn!(message = %id, %error, "a body cannot be deleted"),
            }
        }
    }

    /// From now on the store takes no changes.
    fn stop_writing(&mut self, cause: &str) -> StoreError {
        tracing::error!(cause, "the store takes no more changes until the daemon starts again");
        let mut read_only = self.shared.read_only.lock().unwrap_or_else(PoisonError::into_inner);
        StoreError::ReadOnly(read_only.get_or_insert_with(|| cause.to_owned()).clone())
    }

    /// Brings the side file up to what is synced. A failure is tried again: the file is a lower bound.
    pub(super) fn stamp(&mut self) {
        self.stamped.1 = self.clock.now();
        if self.shared.read_only().is_some() {
            // What the disk has is not known. Nothing is to be stamped any more, so that nobody waits for it.
            self.stamped.0.generation = self.state.meta.generation;
            return;
        }
        let stamp = Stamp {
            generation: self.state.meta.generation,
            mirror: self.mirror.index().generation,
            seq: self.state.meta.seq,
            incarnation: self.state.meta.incarnation,
            ended: None,
        };
        match self.sync().map(|()| stamp.write(&self.layout.root)) {
            Ok(Ok(())) => self.stamped.0 = stamp,
            Ok(Err(error)) => tracing::warn!(%error, "the side file of the store cannot be written"),
            Err(_) => {}
        }
    }

    fn finish(&mut self) {
        if self.shared.read_only().is_none() && self.land().is_ok() && self.sync().is_ok() {
            self.stamp();
        }
    }

    /// Lets go of the database, and notes how it was left: so the next start need not look at it twice.
    fn end(self) {
        let Self { layout, overlay, file, shared, stamped: (stamp, _), lock, .. } = self;
        drop((overlay, file));
        if shared.read_only().is_none() {
            let ended = Stamp::checksum(&layout.store.join("db")).ok().flatten();
            let written = Stamp { ended, ..stamp }.write(&layout.root);
            drop(written.inspect_err(|error| tracing::warn!(%error, "the side file of the store cannot be written")));
        }
        drop(lock);
    }
}

/// A full disk is told apart: the caller may come again.
pub(super) fn disk_error(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(error.to_string()),
    }
}
