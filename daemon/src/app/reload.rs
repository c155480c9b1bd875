//! The settings files, as methods and signals use them: both load them again in the same way.
//!
//! The service manager is told when it begins and ends, and the event log what came of it. A wrong file changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use frankd_proto::methods::config::Configuration;
use frankd_proto::methods::system::Reloaded;
use frankd_proto::{EventType, Kind, Name, RpcError};
use futures::future::BoxFuture;

use super::journal::with_causes;
use super::notify::Notifier;
use super::settings_file::Configurator;
use crate::clock::SharedClock;
use crate::domain::NewEvent;
use crate::rpc::methods::ConfigReader;
use crate::store::Store;

/// The settings files.
pub(super) struct Files {
    /// What is in them.
    pub(super) config: Arc<Configurator>,
    /// Hears when they are loaded again.
    pub(super) notifier: Notifier,
    /// Keeps the event.
    pub(super) store: Arc<dyn Store>,
    /// Says when.
    pub(super) clock: SharedClock,
    /// Why the settings in force are not those of the files.
    problem: Mutex<Option<String>>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Files {
    /// Files that are loaded once already.
    pub(super) fn new(
        config: Arc<Configurator>,
        notifier: Notifier,
        store: Arc<dyn Store>,
        clock: SharedClock,
    ) -> Self {
        Self { config, notifier, store, clock, problem: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Why the settings in force are not those of the files, if so.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self) -> Result<Reloaded, RpcError> {
        let config = Arc::clone(&self.config);
        let outcome = match tokio::task::spawn_blocking(move || config.reload()).await {
            Ok(read) => read.map_err(|error| with_causes(&error)),
            Err(error) => Err(error.to_string()),
        };
        let outcome = match outcome {
            Ok(reloaded) => Ok(self.with_unknown_profiles(reloaded).await),
            refused => refused,
        };
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = outcome.as_ref().err().cloned();
        outcome.map_err(|message| {
            RpcError::new(Kind::ObjectInvalid, message)
                .hint("the old settings stay in force: mend the file, then `frankctl reload`")
        })
    }

    /// Adds a warning for each profile that a rule names and that is not there.
    async fn with_unknown_profiles(&self, mut reloaded: Reloaded) -> Reloaded {
        let Ok(kept) = self.store.snapshot().await else { return reloaded };
        let settings = Arc::clone(&self.config.settings().borrow());
        let named: BTreeSet<&Name> = settings.access.iter().flat_map(|rule| rule.profiles.iter().flatten()).collect();
        for name in named.into_iter().filter(|name| kept.profiles.iter().all(|profile| profile.name != **name)) {
            let warning = format!("an [[access]] rule names the profile {name}, which does not exist yet");
            tracing::warn!("{warning}");
            reloaded.warnings.push(warning);
        }
        reloaded
    }

    async fn note(&self, outcome: &Result<Reloaded, RpcError>) {
        let now = self.clock.wall();
        let event = match outcome {
            Ok(reloaded) => {
                tracing::info!(changed = %reloaded.changed.join(", "), "the settings are reloaded");
                NewEvent::new(now, EventType::ConfigReloaded).with("changed", reloaded.changed.clone())
            }
            Err(error) => {
                tracing::error!(%error, "the settings are not reloaded");
                NewEvent::new(now, EventType::ConfigReloadFailed).with("message", error.message.clone())
            }
        };
        if let Err(error) = self.store.commit(Vec::new(), vec![event]).await {
            tracing::warn!(%error, "the reload cannot be noted");
        }
    }
}

impl ConfigReader for Files {
    fn show(&self) -> Configuration {
        self.config.show()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, RpcError>> {
        Box::pin(async {
            let _turn = self.turn.lock().await;
            self.notifier.reloading();
            let outcome = self.read().await;
            self.note(&outcome).await;
            self.notifier.reloaded();
            outcome
        })
    }
}
