//! The queue on paused time: the real task, sessions and tokens, over a store and servers in memory.

mod corpus;
mod delivery;
mod doubt;
mod gates;
mod intake;
mod orders;
mod server;
mod slow;
mod time;

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::methods::message::{Compose, SendParams};
use frankd_proto::{ClientId, EventType, Flow, MessageState, OnDoubt, Priority, ProfileKind, Secret};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::{Clock as _, FakeClock};
use crate::domain::{Client, Profile, SecretSource, Settings, StoredEvent, StoredSecret, sample};
use crate::entropy::SeededEntropy;
use crate::oauth::fake::FakeServer;
use crate::registry::{Registry, Secrets, View};
use crate::smtp::Smtp;
use crate::store::{Change, MemoryStore, Store};
use crate::tls::Tls;
use crate::tokens::{self, Tokens};
use server::{Act, MailServer};
use slow::SlowStore;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const DAY: u64 = 24 * 3600;

/// A profile that sends without a login, changed by `change`.
pub(super) fn profile(name: &str, change: impl FnOnce(&mut Profile)) -> Profile {
    let bits = name.bytes().fold(0u128, |bits, octet| bits << 8 | u128::from(octet));
    let mut profile = Profile {
        kind: ProfileKind::Smtp,
        flow: None,
        client: None,
        smtp: Some(sample::submission("mx.example")),
        ..sample::profile(ProfileId::from_bits(bits), name.parse().unwrap())
    };
    change(&mut profile);
    profile
}

/// A profile with a token of its own client.
fn oauth2(name: &str) -> Profile {
    profile(name, |p| {
        p.kind = ProfileKind::Oauth2Smtp;
        p.flow = Some(Flow::ClientCredentials);
        p.client = Some(ClientId::from_bits(1));
        p.username = Some("relay@x.example".to_owned());
    })
}

pub(super) fn view_of(profiles: impl IntoIterator<Item = Profile>) -> View {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let registry = Registry::new(store, Secrets::default(), Vec::new(), profiles.into_iter().collect()).unwrap();
    View::clone(&registry.view())
}

fn client() -> Client {
    sample::client(ClientId::from_bits(1), "login".parse().unwrap())
}

/// The parts of one daemon, and what outlives it.
struct Bench {
    clock: FakeClock,
    store: Arc<MemoryStore>,
    disk: Arc<SlowStore>,
    login: Arc<FakeServer>,
    mail: Arc<MailServer>,
    registry: Arc<Registry>,
    settings: watch::Sender<Arc<Settings>>,
    queue: Queue,
    tasks: Vec<JoinHandle<()>>,
}

impl Bench {
    async fn start(profiles: impl IntoIterator<Item = Profile>) -> Self {
        let clock = FakeClock::new();
        let store = Arc::new(MemoryStore::new());
        let login = FakeServer::new(Arc::new(clock.clone()));
        let mail = MailServer::new(clock.clone());
        let mut changes = vec![Change::PutClient { client: Box::new(client()), expected: None }];
        let profiles = profiles.into_iter().map(Box::new);
        changes.extend(profiles.map(|profile| Change::PutProfile { profile, expected: None }));
        store.commit(changes, Vec::new()).await.unwrap();
        Self::run(clock, store, login, mail).await
    }

    /// One profile, `main`, that sends without a login.
    async fn plain() -> Self {
        Self::start([profile("main", |p| p.default = true)]).await
    }

    async fn run(clock: FakeClock, store: Arc<MemoryStore>, login: Arc<FakeServer>, mail: Arc<MailServer>) -> Self {
        let found = store.snapshot().await.unwrap();
        let disk = Arc::new(SlowStore::new(Arc::clone(&store), clock.clone()));
        let as_store: Arc<dyn Store> = Arc::clone(&disk) as _;
        let registry =
            Arc::new(Registry::new(Arc::clone(&as_store), Secrets::default(), found.clients, found.profiles).unwrap());
        let entropy = Arc::new(SeededEntropy::new(7));
        let (tokens, keeper) = Tokens::start(
            tokens::Parts {
                store: Arc::clone(&as_store),
                server: Arc::clone(&login) as _,
                registry: Arc::clone(&registry),
                clock: Arc::new(clock.clone()),
                entropy: Arc::clone(&entropy) as _,
            },
            found.slots,
        );
        let settings = watch::Sender::new(Arc::new(Settings::default()));
        let smtp = Smtp {
            network: Arc::new(mail.network()),
            tls: Arc::new(Tls::new(Arc::new(clock.clone()), Vec::new())),
            clock: Arc::new(clock.clone()),
            host_name: "client.example".to_owned(),
        };
        let parts = Parts {
            store: as_store,
            registry: Arc::clone(&registry),
            tokens,
            smtp,
            clock: Arc::new(clock.clone()),
            entropy,
            settings: settings.subscribe(),
        };
        let (queue, task) = Queue::start(parts, found.gates);
        let tasks = vec![tokio::spawn(keeper), tokio::spawn(task)];
        Self { clock, store, disk, login, mail, registry, settings, queue, tasks }
    }

    /// The daemon is killed, and started again on what was on disk.
    async fn crash(self) -> Self {
        self.tasks.iter().for_each(JoinHandle::abort);
        let store = Arc::new(self.store.reopen());
        Self::run(self.clock, store, self.login, self.mail).await
    }

    fn settings(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_modify(|settings| change(Arc::make_mut(settings)));
    }

    async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    async fn change_profile(&self, name: &str, change: impl FnOnce(&mut Profile)) {
        let mut profile = self.registry.view().profile_named(&named(name)).unwrap().clone();
        let expected = Some(profile.revision);
        profile.revision += 1;
        change(&mut profile);
        self.registry.commit(vec![Change::PutProfile { profile: Box::new(profile), expected }], vec![]).await.unwrap();
    }

    async fn submit(&self, params: SendParams) -> Result<Receipt, SubmitError> {
        self.queue.submit(by(1000, params)).await
    }

    async fn send(&self, to: &[&str]) -> MessageId {
        self.submit(mail(to)).await.unwrap().id
    }

    async fn view(&self, id: MessageId) -> MessageView {
        self.queue.message(id, Scope::All).await.unwrap()
    }

    async fn state(&self, id: MessageId) -> MessageState {
        self.view(id).await.state
    }

    async fn wait(&self, id: MessageId) -> MessageView {
        self.queue.wait(id, Scope::All, s(120)).await.unwrap()
    }

    async fn events(&self) -> Vec<StoredEvent> {
        self.store.events(0, 10_000).await.unwrap().0
    }

    async fn told(&self, event_type: EventType) -> Vec<StoredEvent> {
        self.events().await.into_iter().filter(|event| event.event_type == event_type).collect()
    }

    fn reasons(&self, name: &str) -> Vec<HoldReason> {
        let view = self.registry.view();
        let id = view.profile_named(&named(name)).unwrap().id;
        self.queue.gates(id).iter().map(|gate| gate.reason).collect()
    }
}

fn named(text: &str) -> Name {
    text.parse().unwrap()
}

fn by(uid: u32, params: SendParams) -> Submit {
    Submit { uid, unlimited: false, allowed: Allowed::default(), quota: None, params }
}

/// A small message.
fn mail(to: &[&str]) -> SendParams {
    SendParams {
        message: Some(Compose {
            from: Some("a@x.example".to_owned()),
            to: to.iter().map(|address| (*address).to_owned()).collect(),
            subject: Some("Hello".to_owned()),
            text: Some("text".to_owned()),
            ..Compose::default()
        }),
        ..SendParams::default()
    }
}

fn raw(text: &str) -> SendParams {
    use base64::Engine as _;
    SendParams { raw_b64: Some(base64::engine::general_purpose::STANDARD.encode(text)), ..SendParams::default() }
}

fn one(id: MessageId) -> Selection {
    Selection { ids: vec![id], ..Selection::default() }
}

fn whole(profile: &str) -> Selection {
    Selection { profile: Some(named(profile)), ..Selection::default() }
}
