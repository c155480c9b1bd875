//! A daemon's tokens on paused time, for tests: the real keeper, flights and lanes over a store and a server in memory.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{ClientId, EventType, Flow, ProfileId, Secret, TokenState};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::{Clock as _, ClockExt as _, FakeClock};
use crate::domain::{Client, Profile, SlotIdentity, StoredEvent, TokenSet, sample};
use crate::entropy::SeededEntropy;
use crate::oauth::fake::FakeServer;
use crate::registry::Secrets;
use crate::store::Change;
use crate::store::memory::MemoryStore;

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const NOW: Duration = Duration::ZERO;

/// The parts of one daemon, and what outlives it.
pub(crate) struct Bench {
    pub(crate) clock: FakeClock,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) server: Arc<FakeServer>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) tokens: Tokens,
    pub(crate) keeper: JoinHandle<()>,
}

pub(crate) fn client() -> Client {
    Client {
        revocation_endpoint: Some("https://login.example/revoke".to_owned()),
        ..sample::client(ClientId::from_bits(1), "login".parse().unwrap())
    }
}

pub(crate) fn profile(number: u8, flow: Flow) -> Profile {
    let name = format!("p{number}").parse().unwrap();
    Profile { flow: Some(flow), ..sample::profile(ProfileId::from_bits(u128::from(number)), name) }
}

pub(crate) fn identity() -> SlotIdentity {
    SlotIdentity {
        token_endpoint: "https://login.example/token".to_owned(),
        client_id: "frankd".to_owned(),
        issuer: None,
        scopes: vec!["mail".to_owned()],
        audience_host: None,
    }
}

/// A slot with an hour-long token that was asked for `age` ago, and refresh token `refresh-0`.
pub(crate) fn slot(number: u8, clock: &FakeClock, age: Duration) -> TokenSlot {
    let obtained_at = clock.wall() - jiff::SignedDuration::try_from(age).unwrap();
    TokenSlot {
        version: 1,
        generation: 1,
        tokens: Some(TokenSet {
            access_token: Secret::new("access-0"),
            obtained_at,
            lifetime_s: 3600,
            refresh_in_s: None,
            scopes: vec!["mail".to_owned()],
            refresh_token: Some(Secret::new("refresh-0")),
            refresh_obtained_at: Some(obtained_at),
            refresh_expires_at: None,
            previous_refresh_token: None,
            account: None,
            identity: identity(),
        }),
        ..record::empty(ProfileId::from_bits(u128::from(number)))
    }
}

pub(crate) const P1: ProfileId = ProfileId::from_bits(1);

impl Bench {
    /// A daemon with these profiles and slots on its first start.
    pub(crate) async fn start(clock: FakeClock, profiles: Vec<Profile>, slots: Vec<TokenSlot>) -> Self {
        let store = Arc::new(MemoryStore::new());
        let server = FakeServer::new(Arc::new(clock.clone()));
        server.know("refresh-0");
        let mut changes = vec![Change::PutClient { client: Box::new(client()), expected: None }];
        let profiles = profiles.into_iter().map(Box::new);
        changes.extend(profiles.map(|profile| Change::PutProfile { profile, expected: None }));
        changes.extend(slots.into_iter().map(|slot| Change::PutSlot { slot: Box::new(slot), expected: None }));
        store.commit(changes, Vec::new()).await.unwrap();
        Self::run(clock, store, server).await
    }

    pub(crate) async fn run(clock: FakeClock, store: Arc<MemoryStore>, server: Arc<FakeServer>) -> Self {
        let found = store.snapshot().await.unwrap();
        let as_store: Arc<dyn Store> = Arc::clone(&store) as _;
        let registry = Registry::new(Arc::clone(&as_store), Secrets::default(), found.clients, found.profiles).unwrap();
        let registry = Arc::new(registry);
        let parts = Parts {
            store: as_store,
            server: Arc::clone(&server) as _,
            registry: Arc::clone(&registry),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(7)),
        };
        let (tokens, task) = Tokens::start(parts, found.slots);
        let keeper = tokio::spawn(task);
        Self { clock, store, server, registry, tokens, keeper }
    }

    /// One interactive profile with a fresh hour-long token.
    pub(crate) async fn granted() -> Self {
        let clock = FakeClock::new();
        let fresh = slot(1, &clock, NOW);
        Self::start(clock, vec![profile(1, Flow::Interactive)], vec![fresh]).await
    }

    /// One client-credentials profile with nothing yet.
    pub(crate) async fn serving_itself() -> Self {
        Self::start(FakeClock::new(), vec![profile(1, Flow::ClientCredentials)], Vec::new()).await
    }

    /// The daemon is killed, and started again on what was on disk.
    pub(crate) async fn crash(self) -> Self {
        self.keeper.abort();
        let store = Arc::new(self.store.reopen());
        Self::run(self.clock, store, self.server).await
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
        self.settle().await;
    }

    /// Lets much time pass at once: what is due meanwhile comes late, as after a suspend.
    pub(crate) async fn skip(&self, time: Duration) {
        self.clock.suspend(time);
        self.pass(s(16)).await;
    }

    /// Lets everything that can run now run.
    pub(crate) async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn get(&self, wait: Duration) -> Result<Issued, Unavailable> {
        self.tokens.get(P1, None, wait).await
    }

    pub(crate) fn info(&self) -> SlotInfo {
        self.tokens.info(P1).unwrap()
    }

    pub(crate) fn state(&self) -> TokenState {
        self.info().state
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.server.seen().iter().filter(|seen| seen.what != "revoke").count()
    }

    pub(crate) async fn on_disk(&self) -> TokenSlot {
        self.store.snapshot().await.unwrap().slots.into_iter().find(|slot| slot.profile == P1).unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<StoredEvent> {
        self.store.events(0, 10_000).await.unwrap().0
    }

    pub(crate) async fn count(&self, event_type: EventType) -> usize {
        self.events().await.iter().filter(|event| event.event_type == event_type).count()
    }
}
