//! The dispatcher: opens connections for lanes with due mail, and tries gates that are due.
//!
//! It only decides how many connections a profile has; each of them takes its own mail. A connection that took a message
//! wakes it, so a lane with more due mail gets the next connection at once, up to the profile's limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use frankd_proto::{HoldReason, ProfileId};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::carrier::Carrier;
use super::line::{Line, Room};
use super::probe::{self, Basis};
use super::shared::{Shared, Stop};
use crate::clock::ClockExt as _;
use crate::store::StoreError;

/// Most connections of all profiles together.
const CONNECTIONS: usize = 256;
/// How long a look at the lanes is put off when the store cannot be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest time without a look at the lanes while mail waits for its time: the wall clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(30);

/// The one task that starts deliveries.
#[derive(Debug)]
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    lines: HashMap<ProfileId, Arc<Line>>,
    bases: HashMap<ProfileId, Basis>,
    pings: mpsc::Receiver<oneshot::Sender<()>>,
    /// Where the next look begins, so that no profile is always first.
    turn: usize,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>, pings: mpsc::Receiver<oneshot::Sender<()>>) -> Self {
        Self { shared, lines: HashMap::new(), bases: HashMap::new(), pings, turn: 0 }
    }

    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (mut registry, mut tokens) = (shared.registry.changed(), shared.tokens.changed());
        let (mut gates, mut settings) = (shared.gates.changed(), shared.settings_changed());
        let mut stop = shared.stop.subscribe();
        let mut follow = true;
        while *stop.borrow_and_update() == Stop::No {
            if std::mem::take(&mut follow) {
                registry.borrow_and_update();
                tokens.borrow_and_update();
                follow = self.follow().await.is_err();
            }
            gates.borrow_and_update();
            settings.borrow_and_update();
            let next = match self.look().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "the lanes cannot be read");
                    Some(AGAIN)
                }
            };
            let next = if follow { Some(AGAIN) } else { next };
            tokio::select! {
                () = shared.woken() => {}
                Ok(()) = registry.changed() => follow = true,
                Ok(()) = tokens.changed() => follow = true,
                Ok(()) = gates.changed() => {}
                Ok(()) = settings.changed() => {}
                _ = stop.changed() => {}
                () = shared.clock.sleep(next.unwrap_or(LOOK).min(LOOK)), if next.is_some() => {}
                Some(ping) = self.pings.recv() => drop(ping.send(())),
            }
        }
    }

    /// Follows profiles and their tokens: gates that they close and open, and gates that are worth a try now.
    async fn follow(&mut self) -> Result<(), StoreError> {
        let view = self.shared.registry.view();
        self.lines.retain(|id, _| view.profile(*id).is_some());
        self.bases.retain(|id, _| view.profile(*id).is_some());
        for profile in view.profiles().filter(|profile| profile.smtp.is_some()) {
            let now = self.shared.clock.wall();
            self.shared.gates.open(profile.id, HoldReason::NoProfile, Some(&profile.name), now).await?;
            let info = if probe::uses_tokens(profile) { self.shared.tokens.info(profile.id) } else { None };
            if let Some(info) = &info {
                probe::follow_token(&self.shared, profile, info).await?;
            }
            let basis = Basis::of(profile, info.as_ref());
            if let Some(what) = self.bases.insert(profile.id, basis).and_then(|before| basis.since(before)) {
                // The refusal that closed a gate brought a new token itself: that one is known to be refused.
                let settled = jiff::SignedDuration::from_secs(60);
                let before = self.shared.clock.wall().checked_sub(settled).unwrap_or(Timestamp::MIN);
                probe::hasten(&self.shared, profile.id, what, before).await?;
            }
        }
        Ok(())
    }

    /// Starts what is due; says when to look again, if nothing else happens.
    async fn look(&mut self) -> Result<Option<Duration>, StoreError> {
        if self.shared.store.health().read_only.is_some() {
            return Ok(Some(AGAIN));
        }
        let mut next = self.probe();
        let view = self.shared.registry.view();
        let (now, boot) = (self.shared.clock.wall(), self.shared.boot());
        let mut lanes = self.shared.store.lanes().await?;
        if !lanes.is_empty() {
            self.turn = (self.turn + 1) % lanes.len();
            lanes.rotate_left(self.turn);
        }
        let mut crowded = false;
        for lane in lanes {
            let profile = view.profile(lane.profile);
            let Some(to) = profile.and_then(|profile| profile.smtp.as_ref()) else { continue };
            if self.shared.gates.holds(lane.profile).is_some() {
                continue;
            }
            if lane.due_at > now {
                next = Some(sooner(next, until(lane.due_at, now)));
                continue;
            }
            let line = self.line(lane.profile);
            match line.room(to, boot) {
                Room::New if self.shared.aloft() < CONNECTIONS => self.start(&line),
                Room::New => {
                    crowded = true;
                    next = Some(sooner(next, AGAIN));
                }
                Room::Idle => line.work.notify_one(),
                Room::Full => {}
                Room::NotBefore(at) => next = Some(sooner(next, at.saturating_sub(boot))),
            }
        }
        self.shared.crowded.store(crowded, Ordering::Relaxed);
        Ok(next)
    }

    fn line(&mut self, profile: ProfileId) -> Arc<Line> {
        Arc::clone(self.lines.entry(profile).or_insert_with(|| Line::new(profile)))
    }

    /// Starts one more connection, detached.
    fn start(&self, line: &Arc<Line>) {
        let aloft = self.shared.take_off();
        let carrier = Carrier::new(Arc::clone(&self.shared), Arc::clone(line));
        tokio::spawn(async move {
            carrier.run().await;
            drop(aloft);
        });
    }

    /// Tries the gates that are due, each in a task of its own; says when the next one is.
    fn probe(&mut self) -> Option<Duration> {
        let now = self.shared.clock.wall();
        let view = self.shared.registry.view();
        let mut next = None;
        for gate in self.shared.gates.closed().values() {
            let (Some(at), Some(profile)) = (gate.until, view.profile(gate.profile)) else { continue };
            if at > now {
                next = Some(sooner(next, until(at, now)));
                continue;
            }
            let Some(right) = self.line(gate.profile).probe() else { continue };
            let (gate, profile, aloft) = (gate.clone(), profile.clone(), self.shared.take_off());
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                if let Err(error) = probe::probe(&shared, gate, profile).await {
                    tracing::warn!(%error, "the gate could not be changed");
                    shared.clock.sleep(AGAIN).await;
                }
                drop(right);
                drop(aloft);
            });
        }
        next
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

fn sooner(next: Option<Duration>, wait: Duration) -> Duration {
    next.map_or(wait, |next| next.min(wait))
}
