//! The store on sled.
//!
//! Under the state directory lie `store/` (the database), `bodies/`, `mirror/`, and four files: `lock`, `key-check`,
//! `generation`, and, unless the key is a credential, `master-key`. One thread writes (`writer`), reads go beside it.
//!
//! What sled does not promise, this module adds: a sync that survives a power cut, records that never become files of
//! sled's own, and a start that notices when something is missing or old instead of going on without it (`start`).

mod bodies;
mod calls;
mod draft;
mod kept;
mod keys;
mod messages;
mod octets;
mod pages;
mod reader;
mod recover;
mod salvage;
mod stamp;
mod start;
mod verify;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, RwLock};
#[cfg(test)]
use std::sync::{Mutex, mpsc::Receiver};
use std::time::Duration;

use frankd_proto::{MessageId, ProfileId};
use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::oneshot;

use self::bodies::Bodies;
use self::calls::Incoming;
use self::messages::{BodyPlace, Kept};
use self::reader::Reader;
use self::writer::{Call, Shared};
use super::disk;
use super::seal::MasterKey;
use super::{
    Accepted, BodyReader, BodyWriter, Change, IdempotencyKey, Lane, LaneCount, LastSeq, MessageFilter, MessagePage,
    NewBody, NewMessage, Opened, Reply, Retention, Snapshot, Store, StoreError, StoreHealth,
};
use crate::clock::SharedClock;
use crate::domain::{Message, NewEvent, StoredEvent};
use crate::entropy::SharedEntropy;

pub use self::recover::{RecoverError, Recovered, recover};
pub use self::start::OpenError;

/// Mail is not accepted under this much free disk, in octets, whatever the settings say: tokens must still fit.
const FLOOR: u64 = 32 * 1024 * 1024;

/// What it takes to open a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    directory: PathBuf,
    key: MasterKey,
    clock: SharedClock,
    entropy: SharedEntropy,
    /// How long the engine may take to open.
    deadline: Duration,
    /// The engine hangs at the opening until somebody sends here.
    #[cfg(test)]
    hanging: Option<Arc<Mutex<Receiver<()>>>>,
}

impl OpenOptions {
    /// The store beneath the state directory `directory`, sealed under `key`.
    pub fn new(directory: impl Into<PathBuf>, key: MasterKey, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            directory: directory.into(),
            key,
            clock,
            entropy,
            deadline: start::DEADLINE,
            #[cfg(test)]
            hanging: None,
        }
    }

    #[cfg(test)]
    fn hang(&self) {
        if let Some(hanging) = &self.hanging {
            let _ = hanging.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
    }
}

/// The store on sled. Its calls run in a tokio runtime: reads use its blocking threads.
pub struct SledStore {
    opened: Opened,
    directory: PathBuf,
    calls: Sender<Call>,
    shared: Arc<Shared>,
    bodies: Bodies,
    sealer: super::seal::Sealer,
    reader: Arc<RwLock<Option<Reader>>>,
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store, makes it on the first start, and verifies it. Blocks, at worst for a minute.
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        start::open(options)
    }

    /// Sends a call to the writer and waits for its answer.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Call,
    ) -> Reply<'static, T> {
        let (answer, answered) = oneshot::channel();
        let sent = self.calls.send(call(answer));
        let shared = Arc::clone(&self.shared);
        async move {
            let gone = || shared.read_only().map_or(StoreError::Closed, StoreError::ReadOnly);
            match sent {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(gone())),
                Err(_) => Err(gone()),
            }
        }
        .boxed()
    }

    /// Reads on a blocking thread.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Reply<'static, T> {
        let reader = Arc::clone(&self.reader);
        blocking(move || match &*reader.read().unwrap_or_else(PoisonError::into_inner) {
            Some(reader) => read(reader),
            None => Err(StoreError::Closed),
        })
        .boxed()
    }
}

/// Runs `work` where it may block. A panic of the engine is an error of the call.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Failed(format!("the engine: {error}"))))
}

impl Store for SledStore {
    fn engine(&self) -> &'static str {
        "sled"
    }

    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn snapshot(&self) -> Reply<'_, Snapshot> {
        self.read(Reader::snapshot)
    }

    fn commit(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Reply<'_, u64> {
        self.call(|answer| Call::Commit { changes, events, answer })
    }

    fn accept(&self, new: NewMessage) -> Reply<'_, Accepted> {
        async move {
            if disk::free_bytes(&self.directory).is_some_and(|free| free < FLOOR) {
                return Err(StoreError::Full);
            }
            let id = new.message.id;
            let body = match new.body {
                NewBody::Octets(octets) if octets.len() > bodies::LARGEST_RECORD => {
                    let mut writer = self.write_body(id);
                    writer.write(octets).await?;
                    writer.finish().await?
                }
                body => body,
            };
            let (place, octets, file) = match body {
                NewBody::Octets(octets) => (BodyPlace::Record, octets, None),
                NewBody::File(file) => (BodyPlace::File, Vec::new(), Some(file)),
            };
            let kept = Kept {
                message: new.message,
                body: Some(place),
                submitted: new.idempotency.as_ref().map(calls::submitted_by),
            };
            let plain = messages::accepted(&kept, &octets)?;
            let incoming = Incoming {
                sealed: self.sealer.seal(&keys::accepted(id), &plain),
                kept,
                digest: new.idempotency.map_or([0; 32], |key| key.digest),
                max_messages: new.max_messages,
                max_of_uid: new.max_of_uid,
                event: new.event,
            };
            let new = Box::new(incoming);
            self.call(|answer| Call::Accept { new, file, answer }).await
        }
        .boxed()
    }

    fn lanes(&self) -> Reply<'_, Vec<Lane>> {
        self.read(Reader::lanes)
    }

    fn claim(&self, profile: ProfileId, now: Timestamp, limit: usize) -> Reply<'_, Vec<Message>> {
        self.call(move |answer| Call::Claim { profile, now, limit, answer })
    }

    fn named(&self, key: IdempotencyKey) -> Reply<'_, Option<Accepted>> {
        self.read(move |reader| reader.named(&key))
    }

    fn message(&self, id: MessageId) -> Reply<'_, Option<Message>> {
        self.read(move |reader| reader.message(id))
    }

    fn messages(&self, filter: MessageFilter) -> Reply<'_, MessagePage> {
        self.read(move |reader| reader.messages(&filter))
    }

    fn write_body(&self, id: MessageId) -> Box<dyn BodyWriter> {
        Box::new(octets::Incoming::new(self.bodies.clone(), id))
    }

    fn read_body(&self, id: MessageId) -> Reply<'_, Option<Box<dyn BodyReader>>> {
        self.read(move |reader| {
            let found = reader.body(id)?;
            Ok(found.map(|found| Box::new(octets::Outgoing::new(id, found)) as Box<dyn BodyReader>))
        })
    }

    fn counts(&self) -> Reply<'_, Vec<(ProfileId, LaneCount)>> {
        self.read(Reader::counts)
    }

    fn events(&self, since: u64, limit: usize) -> Reply<'_, (Vec<StoredEvent>, u64)> {
        let last = *self.shared.seq.borrow();
        self.read(move |reader| reader.events(since, last, limit))
    }

    fn last_seq(&self) -> LastSeq {
        LastSeq::of(&self.shared.seq)
    }

    fn sweep(&self, retention: Retention) -> Reply<'_, bool> {
        self.call(move |answer| Call::Sweep { retention, answer })
    }

    fn health(&self) -> StoreHealth {
        StoreHealth { read_only: self.shared.read_only(), free_bytes: disk::free_bytes(&self.directory) }
    }

    fn close(&self) -> Reply<'_, ()> {
        let reader = Arc::clone(&self.reader);
        let closed = blocking(move || {
            // Reads that are under way end first: they hold the database open.
            reader.write().unwrap_or_else(PoisonError::into_inner).take();
            Ok(())
        });
        async move {
            closed.await?;
            self.call(|answer| Call::Close { answer }).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
