//! The engine against the fake: any history of calls, crashes and restarts leaves both with the same content.

use frankd_proto::{HoldReason, Priority, RecipientState};

use super::*;
use crate::domain::Phase;
use crate::domain::message::OperatorHold;
use crate::entropy::{EntropyExt as _, SeededEntropy};
use crate::store::conformance::sample;
use crate::store::{IdempotencyKey, MemoryStore};

/// Both stores, and the numbers that choose what happens to them.
struct Pair {
    disk: OnDisk,
    fake: MemoryStore,
    random: SeededEntropy,
    messages: u32,
}

impl Pair {
    fn pick(&self, n: u32) -> u32 {
        u32::try_from(self.random.bits() % u64::from(n)).unwrap()
    }

    /// Makes one call on both, and compares the answers.
    async fn step(&mut self) {
        match self.pick(22) {
            0..6 => self.accept().await,
            6..12 => self.change_message().await,
            12..15 => self.claim().await,
            15..18 => self.change_slot_or_gate().await,
            18 => self.sweep().await,
            19..21 => self.change_profile().await,
            _ => self.reopen().await,
        }
    }

    async fn accept(&mut self) {
        self.messages += 1;
        let mut message = sample::message(self.messages, 1 + self.pick(3));
        message.uid = 1000 + self.pick(2);
        message.priority = Priority::ALL[self.pick(3) as usize];
        message.due_at = sample::at(self.pick(50).into());
        let mut new = sample::new_message(message);
        new.body = vec![b'x'; self.pick(9000) as usize].into();
        new.max_messages = 25;
        new.max_of_uid = 15;
        new.idempotency = (self.pick(3) == 0).then(|| IdempotencyKey {
            uid: new.message.uid,
            key: format!("key-{}", self.pick(10)),
            digest: [0; 32],
        });
        let (a, b) = (self.disk.store.accept(new.clone()).await, self.fake.accept(new).await);
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }

    /// Deletes a profile, makes it anew, or takes it out of sending.
    async fn change_profile(&mut self) {
        let n = 1 + self.pick(3);
        let profiles = self.fake.snapshot().await.unwrap().profiles;
        let revision = profiles.iter().find(|p| p.id == sample::profile_id(n)).map(|p| p.revision);
        let change = match (self.pick(3), revision) {
            (0, Some(expected)) => Change::DeleteProfile { id: sample::profile_id(n), expected },
            (silent, expected) => {
                let mut profile = sample::sender(n).unwrap();
                profile.revision = expected.unwrap_or(0) + 1;
                profile.smtp = profile.smtp.filter(|_| silent != 1);
                Change::PutProfile { profile: Box::new(profile), expected }
            }
        };
        self.commit(vec![change]).await;
    }

    async fn change_message(&mut self) {
        let id = sample::message_id(1 + self.pick(self.messages.max(1)));
        let Some(mut message) = self.fake.message(id).await.unwrap() else {
            return;
        };
        let expected = message.version;
        message.version += 1;
        message.claim = message.claim.filter(|_| self.pick(2) == 0);
        message.phase = if message.claim.is_some() { Phase::AfterDot } else { Phase::BeforeDot };
        message.recipients[0].state = RecipientState::ALL[self.pick(6) as usize];
        message.hold = (self.pick(4) == 0).then(|| OperatorHold { since: sample::at(0), reason: None });
        message.profile = sample::profile_id(1 + self.pick(3));
        message.due_at = sample::at(self.pick(90).into());
        message.ended_at = message.is_final().then(|| sample::at(self.pick(90).into()));
        // One of many is made from a version that is gone.
        let expected = expected - u64::from(self.pick(8) == 0);
        let change = Change::PutMessage { message: Box::new(message), expected };
        self.commit(vec![change]).await;
    }

    async fn claim(&mut self) {
        let (profile, now, limit) =
            (sample::profile_id(1 + self.pick(3)), sample::at(self.pick(90).into()), self.pick(4) as usize);
        let (a, b) = (self.disk.store.claim(profile, now, limit).await, self.fake.claim(profile, now, limit).await);
        assert_eq!(a.unwrap(), b.unwrap());
    }

    async fn change_slot_or_gate(&mut self) {
        let n = 1 + self.pick(3);
        let version = self
            .fake
            .snapshot()
            .await
            .unwrap()
            .slots
            .iter()
            .find(|s| s.profile == sample::profile_id(n))
            .map(|s| s.version);
        let reason = HoldReason::ALL[self.pick(4) as usize];
        let change = match (self.pick(4), version) {
            (0, _) => Change::PutGate(sample::gate(n, reason)),
            (1, _) => Change::RemoveGate { profile: sample::profile_id(n), reason },
            (2, Some(expected)) => Change::DeleteSlot { profile: sample::profile_id(n), expected },
            _ => Change::PutSlot { slot: Box::new(sample::slot(n, version.unwrap_or(0) + 1)), expected: version },
        };
        self.commit(vec![change]).await;
    }

    async fn commit(&mut self, changes: Vec<Change>) {
        let events = || vec![sample::event(frankd_proto::EventType::ConfigReloaded)];
        let a = self.disk.store.commit(changes.clone(), events()).await;
        let b = self.fake.commit(changes, events()).await;
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }

    async fn sweep(&mut self) {
        let retention = Retention {
            body_before: sample::at(self.pick(90).into()),
            message_before: sample::at(self.pick(90).into()),
            event_before: sample::at(-1),
            idempotency_before: sample::at(self.pick(90).into()),
            grant_before: sample::at(0),
        };
        while self.disk.store.sweep(retention).await.unwrap() {}
        while self.fake.sweep(retention).await.unwrap() {}
    }

    async fn reopen(&mut self) {
        // From now on all claims are on disk: a crash may lose them, and the fake loses nothing.
        self.commit(Vec::new()).await;
        if self.pick(2) == 0 {
            self.disk.crash().await.unwrap();
        } else {
            self.disk.restart().await.unwrap();
        }
        self.fake = self.fake.reopen();
        assert_eq!(self.disk.store.opened(), self.fake.opened());
    }

    async fn compare(&self) {
        let (disk, fake) = (&*self.disk.store, &self.fake);
        assert_eq!(disk.snapshot().await.unwrap(), fake.snapshot().await.unwrap());
        assert_eq!(disk.lanes().await.unwrap(), fake.lanes().await.unwrap());
        assert_eq!(disk.counts().await.unwrap(), fake.counts().await.unwrap());
        assert_eq!(disk.events(0, 10_000).await.unwrap(), fake.events(0, 10_000).await.unwrap());
        assert_eq!(disk.last_seq().now(), fake.last_seq().now());
        let all = MessageFilter { limit: 10_000, ..MessageFilter::default() };
        let page = fake.messages(all.clone()).await.unwrap();
        assert_eq!(disk.messages(all).await.unwrap(), page);
        for n in 1..=self.messages {
            let id = sample::message_id(n);
            assert!(disk.body(id).await.unwrap() == fake.body(id).await.unwrap(), "{id}");
        }
    }
}

#[tokio::test]
async fn any_history_leaves_both_engines_alike() {
    for seed in 1..=3 {
        let random = SeededEntropy::new(seed);
        let mut pair = Pair { disk: OnDisk::with_senders().await, fake: MemoryStore::new(), random, messages: 0 };
        sample::senders(&pair.fake).await.unwrap();
        for step in 0..120 {
            pair.step().await;
            if step % 20 == 19 {
                pair.compare().await;
            }
        }
        pair.reopen().await;
        pair.compare().await;
    }
}
