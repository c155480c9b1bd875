//! The one-glance state: is mail flowing, when will it stop, what mends it.

mod problems;
pub mod show;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use frankd_proto::methods::queue::ProfileQueue;
use frankd_proto::methods::system::{Counters, Health, Limits, ProfileStatus, SystemInfo, SystemStatus};
use frankd_proto::{API_VERSION, EventType, ProfileKind, Secret};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::domain::{Profile, Settings};
use crate::events::{Events, Filter, Follower};
use crate::queue::{Queue, QueueError};
use crate::registry::Registry;
use crate::store::Store;
use crate::tokens::Tokens;

/// Events that the first count looks back over.
const LOOK_BACK: u64 = 50_000;
/// The time that is counted.
const COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// What the state is read from.
#[derive(Clone)]
pub struct Parts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Clients and profiles.
    pub registry: Arc<Registry>,
    /// The token slots.
    pub tokens: Tokens,
    /// Mail.
    pub queue: Queue,
    /// What happened.
    pub events: Events,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Why the configuration in force is not that of the files, if so.
    pub configuration_problem: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Makes the fingerprint of a secret.
    pub fingerprint: Arc<dyn Fn(&Secret) -> String + Send + Sync>,
    /// Time.
    pub clock: SharedClock,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

/// Reads the state.
#[derive(Clone, Debug)]
pub struct Status {
    parts: Parts,
    started_at: Timestamp,
    counted: Arc<Mutex<Counted>>,
}

/// Deliveries of the last 24 hours, as far as they were looked at.
#[derive(Debug)]
struct Counted {
    follower: Option<Follower>,
    ends: std::collections::VecDeque<(Timestamp, bool)>,
}

impl Status {
    /// Begins now.
    pub fn new(parts: Parts) -> Self {
        let started_at = parts.clock.wall();
        let from = parts.events.last_seq().saturating_sub(LOOK_BACK);
        let types = vec![EventType::MessageSent, EventType::MessageFailed, EventType::MessageExpired];
        let follower = parts.events.follow(Filter { types: Some(types), ..Filter::default() }, Some(from));
        let counted = Counted { follower: Some(follower), ends: std::collections::VecDeque::new() };
        Self { parts, started_at, counted: Arc::new(Mutex::new(counted)) }
    }

    /// Versions and limits.
    pub fn info(&self) -> SystemInfo {
        let settings = Arc::clone(&self.parts.settings.borrow());
        let limits = &settings.limits;
        SystemInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: API_VERSION.to_owned(),
            started_at: self.started_at,
            store: self.parts.store.engine().to_owned(),
            limits: Limits {
                request_bytes: limits.request_bytes,
                message_bytes: limits.message_bytes,
                batch: limits.batch,
                calls_in_flight: limits.calls_in_flight,
                connections_per_uid: limits.connections_per_uid,
                subscriptions_per_uid: limits.subscriptions_per_uid,
                queue_messages: settings.queue.messages,
            },
        }
    }

    /// Everything in one glance.
    pub async fn glance(&self) -> Result<SystemStatus, QueueError> {
        let now = self.parts.clock.wall();
        let queues = self.parts.queue.summary().await?.profiles;
        let view = self.parts.registry.view();
        let mut profiles: Vec<ProfileStatus> = view.profiles().map(|profile| self.row(profile, &queues)).collect();
        profiles.sort_by(|a, b| a.name.cmp(&b.name));
        let mut problems = problems::of_the_daemon(&self.parts);
        problems.extend(view.clients().filter_map(|client| problems::of_client(client, now)));
        problems.extend(queues.iter().filter_map(problems::of_queue));
        for row in &profiles {
            let gates = view.profile_named(&row.name).map(|profile| self.parts.queue.gates(profile.id));
            problems.extend(problems::of_profile(row, &gates.unwrap_or_default()));
        }
        problems.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.object.cmp(&b.object)));
        Ok(SystemStatus {
            state: problems.iter().map(|problem| problem.severity).max().unwrap_or(Health::Ok),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            as_of: now,
            problems,
            profiles,
            last_24h: self.count(now).await,
        })
    }

    fn row(&self, profile: &Profile, queues: &[ProfileQueue]) -> ProfileStatus {
        let info = (profile.kind != ProfileKind::Smtp).then(|| self.parts.tokens.info(profile.id)).flatten();
        ProfileStatus {
            name: profile.name.clone(),
            kind: profile.kind,
            username: profile.username.clone(),
            token: info.map(|info| show::token(profile, &info, &*self.parts.fingerprint)),
            queue: queues.iter().find(|queue| queue.profile == profile.name).cloned(),
            held: self.parts.queue.gates(profile.id).iter().map(|gate| gate.reason).collect(),
        }
    }

    /// Counts what ended since the last look. One caller at a time counts; another meanwhile gets the counts before.
    async fn count(&self, now: Timestamp) -> Counters {
        let taken = self.counted.lock().unwrap_or_else(PoisonError::into_inner).follower.take();
        let mut new = Vec::new();
        let mut follower = taken;
        if let Some(follower) = &mut follower {
            while let Ok(Some(event)) = follower.ready().await {
                new.push((event.at, event.event_type == EventType::MessageSent));
            }
        }
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if follower.is_some() {
            counted.follower = follower;
        }
        counted.ends.extend(new);
        while counted.ends.front().is_some_and(|(at, _)| now.duration_since(*at) > COUNTED) {
            counted.ends.pop_front();
        }
        let sent = counted.ends.iter().filter(|(_, sent)| *sent).count() as u64;
        Counters { sent, failed: counted.ends.len() as u64 - sent }
    }
}
