//! Clients and profiles: validated when they are set, kept in the store, read as a snapshot.
//!
//! One owner of both. Every change goes through [`Registry::commit`], one at a time, so that a snapshot is never older than
//! the store for anybody who saw the answer.

pub mod check;
pub mod client;
pub mod presets;
pub mod profile;
pub mod secrets;
pub mod show;
mod view;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, watch};

pub use check::Invalid;
pub use presets::{Preset, PresetError, Presets};
pub use secrets::{SecretError, Secrets};
pub use view::View;

use crate::domain::{Client, NewEvent, Profile};
use crate::store::{Change, Store, StoreError};

/// Owns clients and profiles.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn Store>,
    secrets: Secrets,
    view: RwLock<Arc<View>>,
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Registry {
    /// Begins with what the store has.
    pub fn new(
        store: Arc<dyn Store>,
        secrets: Secrets,
        clients: Vec<Client>,
        profiles: Vec<Profile>,
    ) -> Result<Self, PresetError> {
        let view = View {
            clients: clients.into_iter().map(|client| (client.id, Arc::new(client))).collect(),
            profiles: profiles.into_iter().map(|profile| (profile.id, Arc::new(profile))).collect(),
            presets: Arc::new(Presets::built_in()?),
        };
        Ok(Self {
            store,
            secrets,
            view: RwLock::new(Arc::new(view)),
            writing: Mutex::new(()),
            changed: watch::Sender::new(0),
        })
    }

    /// Clients and profiles now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever [`Self::view`] does.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Finds secrets.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Commits changes, and shows those of clients and profiles to everybody.
    pub async fn commit(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        self.store.commit(changes.clone(), events).await?;
        let mut view = View::clone(&self.view());
        for change in changes {
            apply(&mut view, change);
        }
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }
}

fn apply(view: &mut View, change: Change) {
    match change {
        Change::PutClient { client, .. } => {
            view.clients.insert(client.id, Arc::from(client));
        }
        Change::DeleteClient { id, .. } => {
            view.clients.remove(&id);
        }
        Change::PutProfile { profile, .. } => {
            view.profiles.insert(profile.id, Arc::from(profile));
        }
        Change::DeleteProfile { id, .. } => {
            view.profiles.remove(&id);
        }
        _ => {}
    }
}
