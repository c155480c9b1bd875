//! Power cuts: what got its receipt is on the disk, whatever else the disk has of what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use frankd_proto::RecipientState;

use super::*;
use crate::domain::Phase;
use crate::entropy::{EntropyExt as _, SeededEntropy};
use crate::store::conformance::sample;
use crate::store::power::{Disk, Left};

/// Histories, and power cuts in each of them.
const SEEDS: u64 = 8;
const CUTS: u32 = 4;
/// Most things that one worker does between two cuts.
const STEPS: usize = 60;

/// The suite on a disk that loses what was not synced.
mod suite {
    use super::*;

    struct PowerCut {
        on: OnDisk,
        disk: Arc<Disk>,
    }

    impl PowerCut {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let disk = Disk::behind(directory.path());
            Self { on: OnDisk::open(directory).unwrap(), disk }
        }
    }

    impl Subject for PowerCut {
        fn store(&self) -> Arc<dyn Store> {
            self.on.store()
        }

        async fn crash(&mut self) -> Result<(), Failure> {
            let image = self.disk.left(&Left::Nothing);
            self.on.store.close().await?;
            self.disk = Disk::behind(image.path());
            self.on = OnDisk::open(image)?;
            Ok(())
        }

        async fn restart(&mut self) -> Result<(), Failure> {
            self.on.restart().await
        }
    }

    conformance::suite!(PowerCut::new());
}

/// What the store has said so far, of all rounds.
#[derive(Clone, Debug, Default)]
struct Receipts {
    /// Accepted messages, with the length of their bodies.
    accepted: BTreeMap<u32, usize>,
    /// The last version of a message that was written.
    written: BTreeMap<u32, u64>,
    /// Marked as past the final dot.
    marked: BTreeSet<u32>,
    /// Settlements that began: without a receipt they may be there or not.
    ending: BTreeSet<u32>,
    /// Settled.
    ended: BTreeSet<u32>,
    /// Last version of the token slot.
    token: u64,
}

/// A store that works until the power is cut, and again.
struct Life {
    random: SeededEntropy,
    receipts: Mutex<Receipts>,
    messages: Mutex<u32>,
    directory: tempfile::TempDir,
}

impl Life {
    fn pick(&self, n: u32) -> u32 {
        u32::try_from(self.random.bits() % u64::from(n)).unwrap()
    }

    /// Works until the power is cut, looks at what is left, and goes on with that.
    async fn round(&mut self) {
        let disk = Disk::behind(self.directory.path());
        // The first ones fall into the opening.
        disk.cut_at(1 + self.pick(90));
        let store = SledStore::open(options(self.directory.path())).unwrap();
        if store.snapshot().await.unwrap().profiles.is_empty() {
            sample::senders(&store).await.unwrap();
        }
        let (this, store) = (&*self, &store);
        let senders = futures::future::join_all((0..3).map(|_| this.send(store, &disk)));
        tokio::join!(senders, this.deliver(store, &disk), this.refresh(store, &disk));
        let left = if self.pick(3) == 0 { Left::Nothing } else { Left::Some(SeededEntropy::new(self.random.bits())) };
        let image = disk.left(&left);
        store.close().await.unwrap();
        self.recover(image.path(), &left).await;
        self.directory = image;
        let store = SledStore::open(options(self.directory.path())).unwrap();
        self.check(&store).await;
        store.close().await.unwrap();
    }

    async fn send(&self, store: &SledStore, disk: &Disk) {
        for _ in 0..STEPS {
            let n = {
                let mut last = self.messages.lock().unwrap();
                *last += 1;
                *last
            };
            let mut new = sample::new_message(sample::message(n, 1));
            let size = [10, 900, 4000, 5000, 70_000][self.pick(5) as usize];
            new.body = body(n, size).into();
            store.accept(new).await.unwrap();
            if disk.is_cut() {
                return;
            }
            self.receipts.lock().unwrap().accepted.insert(n, size);
        }
    }

    async fn deliver(&self, store: &SledStore, disk: &Disk) {
        for _ in 0..STEPS {
            let claimed = store.claim(sample::profile_id(1), sample::at(1), 1).await.unwrap();
            let Some(mut message) = claimed.into_iter().next() else {
                store.commit(Vec::new(), Vec::new()).await.unwrap();
                continue;
            };
            let n = number(message.id);
            message.phase = Phase::AfterDot;
            message.version += 1;
            put(store, &message).await;
            if disk.is_cut() {
                return;
            }
            {
                let mut receipts = self.receipts.lock().unwrap();
                receipts.written.insert(n, message.version);
                receipts.marked.insert(n);
            }
            if self.pick(4) == 0 {
                continue;
            }
            self.receipts.lock().unwrap().ending.insert(n);
            let settled = sample::settled(&message, RecipientState::Sent, sample::at(1));
            put(store, &settled).await;
            if disk.is_cut() {
                return;
            }
            let mut receipts = self.receipts.lock().unwrap();
            receipts.written.insert(n, settled.version);
            receipts.ended.insert(n);
        }
    }

    async fn refresh(&self, store: &SledStore, disk: &Disk) {
        for _ in 0..STEPS {
            let snapshot = store.snapshot().await.unwrap();
            let version = snapshot.slots.first().map(|slot| slot.version);
            let slot = Box::new(sample::slot(1, version.unwrap_or(0) + 1));
            store.commit(vec![Change::PutSlot { slot, expected: version }], Vec::new()).await.unwrap();
            if disk.is_cut() {
                return;
            }
            self.receipts.lock().unwrap().token = version.unwrap_or(0) + 1;
        }
    }

    async fn check(&self, store: &SledStore) {
        let receipts = self.receipts.lock().unwrap().clone();
        for (n, size) in &receipts.accepted {
            let id = sample::message_id(*n);
            let Some(message) = store.message(id).await.unwrap() else {
                panic!("message {n} is lost");
            };
            let least = receipts.written.get(n).copied().unwrap_or(1);
            assert!(message.version >= least, "message {n} is of version {}, not of {least}", message.version);
            assert!(message.is_final() || !receipts.ended.contains(n), "the settlement of {n} is lost");
            if message.is_final() {
                assert!(receipts.ending.contains(n), "message {n} was never settled");
            } else {
                let marked = receipts.marked.contains(n);
                assert!(!marked || store.opened().in_doubt.contains(&id), "the mark of {n} is lost");
                let found = store.body(id).await.unwrap();
                assert!(found == Some(body(*n, *size)), "the body of {n} is lost");
            }
        }
        let slots = store.snapshot().await.unwrap().slots;
        let token = slots.first().map_or(0, |slot| slot.version);
        assert!(token >= receipts.token, "token {token} is older than {}", receipts.token);
    }

    /// Without the database the mirror alone has the token. If some names of a commit were written and others not, it may
    /// have an old one: that is never used, and said.
    async fn recover(&self, image: &Path, left: &Left) {
        let token = self.receipts.lock().unwrap().token;
        if token == 0 || self.pick(4) != 0 {
            return;
        }
        let copy = tempfile::tempdir().unwrap();
        copy_all(image, copy.path());
        fs::remove_dir_all(copy.path().join("store")).unwrap();
        let recovered = recover(&options(copy.path())).unwrap();
        let store = SledStore::open(options(copy.path())).unwrap();
        let slots = store.snapshot().await.unwrap().slots;
        match slots.first() {
            Some(slot) => assert!(slot.version >= token, "{slot:?} is older than {token}"),
            None => {
                assert!(matches!(left, Left::Some(_)), "the token {token} is lost");
                assert!(recovered.gone.iter().any(|gone| gone.contains("grant again")), "{recovered:?}");
            }
        }
    }
}

async fn put(store: &SledStore, message: &Message) {
    let change = Change::PutMessage { expected: message.version - 1, message: Box::new(message.clone()) };
    store.commit(vec![change], vec![sample::event(frankd_proto::EventType::MessageSent)]).await.unwrap();
}

fn body(n: u32, size: usize) -> Vec<u8> {
    let mut body = format!("body of message {n}\r\n").into_bytes();
    body.resize(size.max(body.len()), b'x');
    body
}

fn number(id: MessageId) -> u32 {
    (1..10_000).find(|n| sample::message_id(*n) == id).unwrap()
}

#[tokio::test]
async fn what_got_its_receipt_survives_power_cuts_at_any_moment() {
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        let random = SeededEntropy::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut life = Life { random, receipts: Mutex::default(), messages: Mutex::default(), directory };
        for _ in 0..CUTS {
            life.round().await;
        }
    }
}
