//! The queue: accepts mail durably, delivers it, and knows what became of it.
//!
//! [`Queue`] is the handle; its task runs the dispatcher, which opens connections, and the upkeep. A delivery is a detached
//! task: nobody who waits for it can cancel it.
//!
//! # Invariants
//!
//! - A receipt is given after the message is on disk.
//! - A recipient is `sent` only after the server's 2xx to the final dot, and what was marked as past the dot and has no
//!   such answer on disk is in doubt, told so by `message.in_doubt` before it is sent again.
//! - A fault of profile, client or host holds mail behind a gate and costs no message anything.
//! - Whoever changes a message names the version that it saw; a claimed message is changed by its delivery alone.

mod address;
mod carrier;
mod compose;
mod connection;
mod dispatcher;
mod doubt;
mod encode;
mod error;
mod gates;
mod intake;
mod line;
mod normalise;
mod orders;
mod orphans;
mod probe;
mod reading;
mod sender;
mod settle;
mod shared;
mod telling;
#[cfg(test)]
mod tests;
mod upkeep;
mod words;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::methods::message::{Changed, ListParams, MessageView, Messages, Receipt, ResolveParams, Selection};
use frankd_proto::methods::queue::QueueSummary;
use frankd_proto::{HoldReason, MessageId, Name, ProfileId};
use tokio::sync::{mpsc, oneshot};

pub use error::{QueueError, SubmitError};
pub use intake::{Pieces, Quota, Submit};
pub use sender::Allowed;
pub use shared::{Parts, Scope};

use crate::clock::ClockExt as _;
use crate::domain::Gate;
use crate::policy::retry::after;
use dispatcher::Dispatcher;
use gates::Gates;
use orders::{Order, Which};
use shared::{Shared, Stop};

/// Questions to the dispatcher that may wait.
const PINGS: usize = 4;

/// Queued mail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    pings: mpsc::Sender<oneshot::Sender<()>>,
}

impl Queue {
    /// The handle, and the task, which the caller spawns. `gates` are those that the store has.
    pub fn start(parts: Parts, gates: Vec<Gate>) -> (Self, impl Future<Output = ()> + Send) {
        let gates = Gates::new(Arc::clone(&parts.store), gates);
        let shared = Arc::new(Shared::new(parts, gates));
        let (pings, asked) = mpsc::channel(PINGS);
        let dispatcher = Dispatcher::new(Arc::clone(&shared), asked);
        let upkeep = upkeep::run(Arc::clone(&shared));
        let first = Arc::clone(&shared);
        let task = async move {
            doubt::decide_all(&first).await;
            if let Err(error) = orphans::hold(&first).await {
                tracing::warn!(%error, "mail without a profile is not looked for");
            }
            tokio::join!(dispatcher.run(), upkeep);
        };
        (Self { shared, pings }, task)
    }

    /// Takes a message: it is on disk when the receipt comes.
    pub async fn submit(&self, submit: Submit) -> Result<Receipt, SubmitError> {
        intake::submit(&self.shared, submit, None).await
    }

    /// Takes a message whose octets come beside the parameters. It is never in memory whole.
    pub async fn submit_raw(&self, submit: Submit, pieces: Pieces) -> Result<Receipt, SubmitError> {
        intake::submit(&self.shared, submit, Some(pieces)).await
    }

    /// One message.
    pub async fn message(&self, id: MessageId, scope: Scope) -> Result<MessageView, QueueError> {
        Ok(reading::view(&self.shared, reading::message(&self.shared, id, scope).await?))
    }

    /// Waits until the message is final, held or in doubt, or the time is up: two minutes at most.
    pub async fn wait(&self, id: MessageId, scope: Scope, limit: Duration) -> Result<MessageView, QueueError> {
        reading::wait(&self.shared, id, scope, limit).await
    }

    /// Messages, the newest first.
    pub async fn list(&self, params: ListParams, scope: Scope) -> Result<Messages, QueueError> {
        reading::list(&self.shared, params, scope).await
    }

    /// The octets of a message as they are sent.
    pub async fn raw(&self, id: MessageId, scope: Scope) -> Result<Vec<u8>, QueueError> {
        reading::raw(&self.shared, id, scope).await
    }

    /// Calls messages off: what was not sent yet is not sent.
    pub async fn cancel(&self, selection: Selection, scope: Scope) -> Result<Changed, QueueError> {
        self.carry_out(selection, |_| Order::Cancel, scope).await
    }

    /// Tries messages now, and the gates of a whole profile.
    pub async fn retry(&self, selection: Selection, scope: Scope) -> Result<Changed, QueueError> {
        let profile = selection.profile.as_ref().and_then(|name| self.profile(name).ok());
        let changed = self.carry_out(selection, |_| Order::Retry, scope).await?;
        if let Some(profile) = profile.filter(|_| scope == Scope::All) {
            probe::hasten(&self.shared, profile, probe::Occasion::Person, self.shared.clock.wall()).await?;
        }
        Ok(changed)
    }

    /// Holds messages one by one.
    pub async fn hold(&self, selection: Selection, scope: Scope) -> Result<Changed, QueueError> {
        self.carry_out(selection, Order::Hold, scope).await
    }

    /// Lets held messages go.
    pub async fn release(&self, selection: Selection, scope: Scope) -> Result<Changed, QueueError> {
        self.carry_out(selection, |_| Order::Release, scope).await
    }

    /// Decides what is in doubt.
    pub async fn resolve(&self, params: ResolveParams, scope: Scope) -> Result<Changed, QueueError> {
        if params.ids.is_empty() {
            return Err(QueueError::Parameter { field: "ids", reason: "give at least one id".to_owned() });
        }
        let which = Which::new(params.ids, None)?;
        orders::carry_out(&self.shared, which, &Order::Resolve(params.outcome), scope).await
    }

    async fn carry_out(
        &self,
        selection: Selection,
        order: impl FnOnce(Option<String>) -> Order,
        scope: Scope,
    ) -> Result<Changed, QueueError> {
        let which = Which::new(selection.ids, selection.profile)?;
        orders::carry_out(&self.shared, which, &order(selection.reason), scope).await
    }

    /// Counts of messages by profile.
    pub async fn summary(&self) -> Result<QueueSummary, QueueError> {
        reading::summary(&self.shared).await
    }

    /// Stops delivery of a profile; mail is still accepted. It resumes by itself after `for_`.
    pub async fn pause(&self, name: &Name, for_: Option<Duration>, reason: Option<String>) -> Result<(), QueueError> {
        let profile = self.profile(name)?;
        let since = self.shared.clock.wall();
        let until = for_.map(|span| after(since, span));
        let gate =
            Gate { profile, reason: HoldReason::Paused, detail: reason, diagnosis: None, since, until, probes: 0 };
        if self.shared.gates.gate(profile, HoldReason::Paused).is_some() {
            return Ok(self.shared.gates.put(profile, HoldReason::Paused, |closed| *closed = gate).await?);
        }
        Ok(self.shared.gates.close(gate, name, Vec::new(), Vec::new()).await?)
    }

    /// Starts delivery again.
    pub async fn resume(&self, name: &Name) -> Result<(), QueueError> {
        let profile = self.profile(name)?;
        self.shared.gates.open(profile, HoldReason::Paused, Some(name), self.shared.clock.wall()).await?;
        Ok(())
    }

    fn profile(&self, name: &Name) -> Result<ProfileId, QueueError> {
        let view = self.shared.registry.view();
        view.profile_named(name).map(|profile| profile.id).ok_or_else(|| QueueError::NoSuchProfile(name.clone()))
    }

    /// The closed gates of a profile, the one that is shown first.
    pub fn gates(&self, profile: ProfileId) -> Vec<Gate> {
        self.shared.gates.of(profile)
    }

    /// Whether the dispatcher answers within `limit`.
    pub async fn is_alive(&self, limit: Duration) -> bool {
        let (ping, answer) = oneshot::channel();
        let asked = async { self.pings.send(ping).await.is_ok() && answer.await.is_ok() };
        self.shared.clock.deadline(limit, asked).await.unwrap_or(false)
    }

    /// Begins nothing new, and lets deliveries finish for `drain` at most. What has not passed the final dot then does not
    /// pass it any more.
    pub async fn stop(&self, drain: Duration) {
        self.shared.stop.send_if_modified(|stop| {
            let first = *stop == Stop::No;
            if first {
                *stop = Stop::Draining;
            }
            first
        });
        let mut cut = self.shared.stop.subscribe();
        tokio::select! {
            () = self.shared.landed() => {}
            _ = cut.wait_for(|stop| *stop == Stop::Now) => {}
            () = self.shared.clock.sleep(drain) => {}
        }
        self.skip_drain();
    }

    /// Ends a drain: see [`Self::stop`].
    pub fn skip_drain(&self) {
        self.shared.stop.send_replace(Stop::Now);
    }
}
