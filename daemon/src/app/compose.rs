//! The owners, put together from the seams: once for the daemon, and once for tests that run it in their own process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{EventType, RpcError, Secret};
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::logins::Logins;
use crate::changes::Changes;
use crate::clock::{ClockExt as _, SharedClock};
use crate::domain::{NewEvent, Settings};
use crate::entropy::SharedEntropy;
use crate::events::Events;
use crate::grants::{self, Grants};
use crate::oauth::AuthorizationServer;
use crate::queue::{self, Queue};
use crate::registry::{PresetError, Registry, Secrets};
use crate::rpc::methods::{self, ConfigReader, Owners};
use crate::rpc::{Denied, OnDenied, Registrar, RegistrationError, Router};
use crate::smtp::Smtp;
use crate::status::{self, Status};
use crate::store::{Store, StoreError};
use crate::tokens::{self, Tokens};
use crate::trials::Trials;

/// Everything that is different in a test.
pub struct Seams {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Authorization servers.
    pub server: Arc<dyn AuthorizationServer>,
    /// Mail servers.
    pub smtp: Smtp,
    /// Where secrets by reference are.
    pub secrets: Secrets,
    /// Makes the fingerprint of a secret.
    pub fingerprint: Arc<dyn Fn(&Secret) -> String + Send + Sync>,
    /// Time.
    pub clock: SharedClock,
    /// Randomness.
    pub entropy: SharedEntropy,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// The settings with their origin.
    pub config: Arc<dyn ConfigReader>,
    /// Why the configuration in force is not that of the files, if so.
    pub configuration_problem: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seams")
    }
}

/// The owners cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The store cannot be read.
    #[error("read the store")]
    Store(#[from] StoreError),
    /// The provider presets cannot be read.
    #[error(transparent)]
    Presets(#[from] PresetError),
    /// A method is missing or there twice.
    #[error("register the methods")]
    Methods(#[from] RegistrationError),
}

/// The owners, running once their tasks are spawned.
#[derive(Debug)]
pub struct Daemon {
    /// All owners, as the methods see them.
    pub owners: Arc<Owners>,
    /// The methods.
    pub router: Router,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
}

/// Puts the owners together. The caller spawns the tasks.
pub async fn compose(seams: Seams) -> Result<(Daemon, Vec<BoxFuture<'static, ()>>), ComposeError> {
    let Seams { store, server, smtp, secrets, fingerprint, clock, entropy, settings, config, configuration_problem } =
        seams;
    let kept = store.snapshot().await?;
    let registry = Arc::new(Registry::new(Arc::clone(&store), secrets, kept.clients, kept.profiles)?);
    let events = Events::new(Arc::clone(&store), Arc::clone(&clock));
    let parts = tokens::Parts {
        store: Arc::clone(&store),
        server: Arc::clone(&server),
        registry: Arc::clone(&registry),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let (tokens, keeper) = Tokens::start(parts, kept.slots);
    let parts = grants::Parts {
        store: Arc::clone(&store),
        server,
        registry: Arc::clone(&registry),
        tokens: tokens.clone(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let (grants, broker) = Grants::start(parts, kept.grants);
    let parts = queue::Parts {
        store: Arc::clone(&store),
        registry: Arc::clone(&registry),
        tokens: tokens.clone(),
        smtp: smtp.clone(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        settings: settings.clone(),
    };
    let (queue, dispatcher) = Queue::start(parts, kept.gates);
    let status = Status::new(status::Parts {
        store: Arc::clone(&store),
        registry: Arc::clone(&registry),
        tokens: tokens.clone(),
        queue: queue.clone(),
        events: events.clone(),
        settings,
        configuration_problem,
        fingerprint: Arc::clone(&fingerprint),
        clock: Arc::clone(&clock),
    });
    let changes = Changes::new(
        Arc::clone(&store),
        Arc::clone(&registry),
        tokens.clone(),
        Arc::clone(&clock),
        Arc::clone(&entropy),
    );
    let logins = Arc::new(Logins { registry: Arc::clone(&registry), tokens: tokens.clone() });
    let trials = Trials { smtp, logins, clock: Arc::clone(&clock), entropy };
    let owners = Arc::new(Owners {
        registry,
        events,
        tokens,
        grants,
        queue,
        changes,
        status,
        trials,
        config,
        fingerprint,
        clock: Arc::clone(&clock),
    });
    let mut registrar = Registrar::default();
    methods::register(&mut registrar, &owners)?;
    let health = Arc::clone(&store);
    registrar.readiness(move || health.health().read_only.map_or(Ok(()), Err));
    let daemon = Daemon { owners, router: registrar.finish(), store };
    Ok((daemon, vec![Box::pin(keeper), Box::pin(broker), Box::pin(dispatcher)]))
}

impl Daemon {
    /// Tells that the daemon is up, and what the run before left.
    pub async fn announce(&self) -> Result<(), RpcError> {
        let opened = self.store.opened();
        let event = NewEvent::new(self.owners.clock.wall(), EventType::DaemonStarted)
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("incarnation", opened.incarnation)
            .with("claims_not_sent", opened.not_sent)
            .with("claims_in_doubt", opened.in_doubt.len());
        self.store.commit(Vec::new(), vec![event]).await?;
        Ok(())
    }

    /// Notes refused callers in the event log.
    pub fn on_denied(&self) -> OnDenied {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.owners.clock));
        Arc::new(move |denied: Denied| {
            let event = NewEvent::new(clock.wall(), EventType::AccessDenied)
                .with("method", denied.method)
                .with("uid", denied.caller.uid)
                .with("gid", denied.caller.gid)
                .with("user", denied.caller.user.clone())
                .with("pid", denied.caller.pid)
                .with("count", denied.count);
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(Vec::new(), vec![event]).await });
        })
    }

    /// Whether keeper, dispatcher and store writer answer within `limit`: what the watchdog is fed for.
    pub async fn is_alive(&self, limit: Duration) -> bool {
        let all = async {
            self.owners.tokens.ping().await;
            self.store.commit(Vec::new(), Vec::new()).await.is_ok()
        };
        let queue = self.owners.queue.is_alive(limit);
        let (rest, queue) = futures::future::join(self.owners.clock.deadline(limit, all), queue).await;
        rest.unwrap_or(false) && queue
    }

    /// Notes the stop, and lets deliveries finish for `limit`.
    pub async fn drain(&self, limit: Duration) {
        let event = NewEvent::new(self.owners.clock.wall(), EventType::DaemonStopping);
        if let Err(error) = self.store.commit(Vec::new(), vec![event]).await {
            tracing::warn!(%error, "the stop cannot be noted");
        }
        self.owners.queue.stop(limit).await;
    }

    /// Lets token requests finish for `limit`.
    pub async fn land(&self, limit: Duration) {
        self.owners.grants.stop(limit).await;
        self.owners.tokens.stop(limit).await;
    }

    /// Closes the store.
    pub async fn finish(&self) {
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store does not close well");
        }
    }
}
