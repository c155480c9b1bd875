//! A world to test in: one clock, two servers, a store that outlives its daemon, and the daemon.
//!
//! A crash drops the daemon's tasks and cuts its wires at one moment; what it had not written is gone.

mod callers;
mod stock;
mod wires;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use frankd::app::compose::{Daemon, Seams, compose};
use frankd::clock::{Clock as _, ClockExt as _, FakeClock, SharedClock};
use frankd::domain::Settings;
use frankd::entropy::SeededEntropy;
use frankd::oauth::http::HttpAuthorizationServer;
use frankd::policy::access::Privileged;
use frankd::registry::Secrets;
use frankd::rpc::{Parts, Server};
use frankd::smtp::Smtp;
use frankd::store::MemoryStore;
use frankd::tls::Tls;
use frankd_proto::RpcError;
use frankd_proto::methods::config::Configuration;
use frankd_proto::methods::system::Reloaded;
use frankd_tests::sandbox::authorization::{AuthorizationServer, Client, MAIL_SCOPE, Rotation, User};
use frankd_tests::sandbox::pki::{Flaw, Pki};
use frankd_tests::sandbox::smtp::{Behaviour, SmtpServer};
use frankd_tests::sandbox::{Now, token_check};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use callers::Caller;
pub(crate) use stock::{
    MAILBOX, PERSON, RELAY, SENDER, SERVICE, WEB, classic, letter, mail, named, names_of, person, raw, service, to_pipe,
};
use wires::{HttpPipe, MailPipes, Recording};

/// The daemon's own user and group.
const FRANKD: u32 = 990;
/// Root.
pub(crate) const ROOT: u32 = 0;

/// So many seconds.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Seconds of an hour and of a day.
pub(crate) const HOUR: u64 = 3600;
/// Seconds of a day.
pub(crate) const DAY: u64 = 24 * HOUR;

/// The certification authority of all worlds: keys take time to make.
pub(crate) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new().unwrap())
}

/// One daemon and everything around it.
pub(crate) struct World {
    /// Time: suspends and wall steps are made here.
    pub(crate) clock: FakeClock,
    /// The authorization server.
    pub(crate) login: AuthorizationServer,
    /// The submission server.
    pub(crate) mail: SmtpServer,
    /// The store of the daemon that runs now.
    pub(crate) store: Arc<MemoryStore>,
    /// The settings, as a reload would change them.
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    /// Whether the authorization server can be reached.
    pub(crate) login_reachable: watch::Sender<bool>,
    /// Whether the submission server takes connections.
    pub(crate) mail_reachable: watch::Sender<bool>,
    /// What clients wrote to the submission server, each connection in octets as they came.
    pub(crate) written: Recording,
    seed: u64,
    running: Running,
}

/// A daemon that runs. Dropping it is a crash.
struct Running {
    daemon: Daemon,
    server: Server,
    stop: watch::Sender<bool>,
    /// Says to wires and servers that the process is gone.
    gone: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gone.send_replace(true);
    }
}

impl World {
    /// A world with an empty daemon.
    pub(crate) async fn new() -> Self {
        Self::with_seed(7).await
    }

    /// A world in which everything random follows from `seed`, but for certificates.
    pub(crate) async fn with_seed(seed: u64) -> Self {
        let clock = FakeClock::new();
        let (began, wall) = (clock.now(), clock.wall());
        let true_time = clock.clone();
        // The servers' own clocks are right, whatever happens to the daemon's.
        let now = Now::from_fn(move || wall + jiff::SignedDuration::try_from(true_time.now().since(began)).unwrap());
        let login = AuthorizationServer::new("https://login.sandbox.test", now.clone(), seed);
        login.add_client(Client::interactive(WEB.0, WEB.1).with_rotation(Rotation::Strict));
        login.add_client(Client::service(SERVICE.0, SERVICE.1, SENDER));
        login.add_user(User::new(PERSON.0, PERSON.1, MAILBOX));
        let behaviour = Behaviour {
            tls: Some(pki().issue(Flaw::Sound).unwrap().config),
            passwords: vec![(RELAY.0.into(), RELAY.1.into())],
            token_check: token_check(login.registry(), MAIL_SCOPE, Duration::ZERO),
            ..Behaviour::default()
        };
        let mail = SmtpServer::new(behaviour, now);
        let store = Arc::new(MemoryStore::new());
        let settings = watch::Sender::new(Arc::new(Settings::default()));
        let (login_reachable, mail_reachable) = (watch::Sender::new(true), watch::Sender::new(true));
        let written = Recording::default();
        let around = Around {
            clock: clock.clone(),
            login: login.clone(),
            mail: mail.clone(),
            settings: settings.subscribe(),
            login_reachable: login_reachable.subscribe(),
            mail_reachable: mail_reachable.subscribe(),
            written: written.clone(),
        };
        let running = around.run(Arc::clone(&store), seed).await;
        Self { clock, login, mail, store, settings, login_reachable, mail_reachable, written, seed, running }
    }

    /// The daemon is killed, and started again on what was on disk.
    pub(crate) async fn crash(self) -> Self {
        let around = self.around();
        let Self { clock, login, mail, store, settings, login_reachable, mail_reachable, written, seed, running } =
            self;
        drop(running);
        let store = Arc::new(store.reopen());
        let seed = seed + 1;
        let running = around.run(Arc::clone(&store), seed).await;
        Self { clock, login, mail, store, settings, login_reachable, mail_reachable, written, seed, running }
    }

    /// The daemon is stopped in order, as by one signal, and started again.
    pub(crate) async fn stop_and_start(self) -> Self {
        self.running.stop.send_replace(true);
        self.running.daemon.drain(s(60)).await;
        self.running.daemon.land(s(10)).await;
        self.running.daemon.finish().await;
        self.crash().await
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// Lets everything happen that is due now.
    pub(crate) async fn settle(&self) {
        self.pass(Duration::from_millis(1)).await;
    }

    /// Lets long time pass at once: the machine sleeps, and everything that is due happens in the 16 s after it.
    pub(crate) async fn skip(&self, time: Duration) {
        self.clock.suspend(time);
        self.pass(s(16)).await;
    }

    /// Connects a user to the daemon, in newline-delimited JSON.
    pub(crate) fn connect(&self, uid: u32) -> Caller {
        Caller::connect(&self.running.server, uid, &self.running.stop, &self.running.gone, &self.clock)
    }

    /// Changes the settings in force.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_modify(|settings| change(Arc::make_mut(settings)));
    }

    fn around(&self) -> Around {
        Around {
            clock: self.clock.clone(),
            login: self.login.clone(),
            mail: self.mail.clone(),
            settings: self.settings.subscribe(),
            login_reachable: self.login_reachable.subscribe(),
            mail_reachable: self.mail_reachable.subscribe(),
            written: self.written.clone(),
        }
    }
}

/// What a daemon is put into.
struct Around {
    clock: FakeClock,
    login: AuthorizationServer,
    mail: SmtpServer,
    settings: watch::Receiver<Arc<Settings>>,
    login_reachable: watch::Receiver<bool>,
    mail_reachable: watch::Receiver<bool>,
    written: Recording,
}

impl Around {
    async fn run(self, store: Arc<MemoryStore>, seed: u64) -> Running {
        let clock: SharedClock = Arc::new(self.clock.clone());
        let gone = watch::Sender::new(false);
        let http = HttpPipe::new(self.login, Arc::clone(&clock), self.login_reachable, gone.subscribe());
        let pipes = MailPipes::new(self.mail, self.mail_reachable, gone.subscribe(), self.written);
        let seams = Seams {
            store,
            server: Arc::new(HttpAuthorizationServer::new(Arc::new(http), Arc::clone(&clock))),
            smtp: Smtp {
                network: Arc::new(pipes.network()),
                tls: Arc::new(Tls::new(Arc::clone(&clock), Vec::new())),
                clock: Arc::clone(&clock),
                host_name: "relay.sandbox.test".to_owned(),
            },
            secrets: Secrets::default(),
            fingerprint: Arc::new(|secret| format!("{:012x}", secret.len())),
            clock: Arc::clone(&clock),
            entropy: Arc::new(SeededEntropy::new(seed)),
            settings: self.settings.clone(),
            config: Arc::new(NoFiles),
            configuration_problem: Arc::new(|| None),
        };
        let (daemon, owners) = compose(seams).await.unwrap();
        let mut tasks = JoinSet::new();
        for owner in owners {
            tasks.spawn(owner);
        }
        let server = Server::new(Parts {
            router: daemon.router.clone(),
            settings: self.settings,
            clock,
            accounts: Arc::new(callers::Strangers),
            privileged: Privileged { daemon_uid: FRANKD, group: Some(FRANKD) },
            on_denied: daemon.on_denied(),
        });
        daemon.announce().await.unwrap();
        Running { daemon, server, stop: watch::Sender::new(false), gone, _tasks: tasks }
    }
}

/// Settings that come from no file.
#[derive(Debug)]
struct NoFiles;

impl frankd::rpc::methods::ConfigReader for NoFiles {
    fn show(&self) -> Configuration {
        Configuration { settings: Vec::new() }
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, RpcError>> {
        Box::pin(std::future::ready(Ok(Reloaded {
            changed: Vec::new(),
            needs_restart: Vec::new(),
            warnings: Vec::new(),
        })))
    }
}
