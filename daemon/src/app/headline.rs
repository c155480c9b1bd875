//! The line that `systemctl status` shows: how many profiles are well, how much mail waits, what needs somebody.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::TokenState;
use frankd_proto::methods::system::SystemStatus;
use futures::FutureExt as _;

use super::compose::Daemon;
use super::notify::Notifier;
use crate::clock::ClockExt as _;

/// Between two lines, at least.
const PAUSE: Duration = Duration::from_secs(5);
/// A look without a change, for what time alone changes.
const LOOK: Duration = Duration::from_secs(60);

/// Keeps the line current, for as long as the daemon runs.
pub(super) async fn keep(daemon: Arc<Daemon>, notifier: Notifier, mut shown: String) {
    let clock = Arc::clone(&daemon.owners.clock);
    let (mut seq, mut registry) = (daemon.store.last_seq(), daemon.owners.registry.changed());
    loop {
        clock.sleep(PAUSE).await;
        tokio::select! {
            () = while_there(seq.changed()) => {}
            () = while_there(registry.changed().map(|there| there.is_ok())) => {}
            () = clock.sleep(LOOK) => {}
        }
        let line = now(&daemon).await;
        if line != shown {
            notifier.status(&line);
            shown = line;
        }
    }
}

/// Waits for a change; for ever, once nothing changes any more.
async fn while_there(changed: impl Future<Output = bool>) {
    if !changed.await {
        std::future::pending::<()>().await;
    }
}

/// The line of this moment.
pub(super) async fn now(daemon: &Daemon) -> String {
    match daemon.owners.status.glance().await {
        Ok(status) => line(&status),
        Err(error) => format!("the state cannot be read: {error}"),
    }
}

/// Messages that wait.
pub(super) fn queued(status: &SystemStatus) -> u64 {
    status.profiles.iter().filter_map(|row| row.queue.as_ref()).map(|queue| queue.waiting).sum()
}

fn line(status: &SystemStatus) -> String {
    let count = |state: TokenState| {
        status.profiles.iter().filter(|row| row.token.as_ref().is_some_and(|token| token.state == state)).count()
    };
    let troubles = [
        (count(TokenState::NeedsGrant) + count(TokenState::None), "needs a grant", "need a grant"),
        (count(TokenState::Misconfigured), "is misconfigured", "are misconfigured"),
        (count(TokenState::Expired), "has no valid token", "have no valid token"),
        (count(TokenState::AtRisk), "is at risk", "are at risk"),
    ];
    let troubled: usize = troubles.iter().map(|(count, ..)| count).sum();
    let valid = status.profiles.len() - troubled;
    let profiles = if valid == 1 { "profile" } else { "profiles" };
    let mut line = format!("{valid} {profiles} valid, {} queued", queued(status));
    for (count, one, many) in troubles.iter().filter(|(count, ..)| *count > 0) {
        line.push_str(&format!(", {count} {}", if *count == 1 { one } else { many }));
    }
    line
}
