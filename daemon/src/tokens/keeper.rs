//! The one task that decides when which token is refreshed.
//!
//! It owns the schedule of every slot and the flow to every server. It never waits for disk or network: what does is a
//! task of its own that reports back. It looks at the clock every 15 s at least, so that a suspend is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{EventType, ProfileId, TokenState};
use tokio::sync::{mpsc, oneshot, watch};

use super::flight::{self, Landing};
use super::forecast::Forecast;
use super::lane::{Lane, Outlook};
use super::slot::{Entry, Host};
use super::{Forced, House, Unavailable, audit, call, offer, record};
use crate::clock::{Instant, SLICE};
use crate::domain::{NewEvent, TokenSlot};
use crate::entropy::EntropyExt as _;
use crate::policy::flow::Admission;
use crate::policy::life::{Boot, Trouble};
use crate::policy::refresh::Order;

/// A wake-up that is later than this was held up by a suspend.
const LATE: Duration = Duration::from_secs(2);

/// Time after a suspend in which the network may not be up yet.
const NO_NETWORK: Duration = Duration::from_secs(60);

/// Time between two refreshes of a slot because the mail server refused its token.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);

const HOUR: Duration = Duration::from_secs(3600);

/// What the keeper is told.
#[derive(Debug)]
pub(super) enum Ask {
    /// A caller waits for a token that a slot does not have.
    Demand { profile: ProfileId, done: oneshot::Sender<()> },
    /// Somebody wants a new token now.
    Force { profile: ProfileId, why: Forced, done: oneshot::Sender<Result<(), Unavailable>> },
    /// A request ended.
    Landed { profile: ProfileId, order: Order, generation: u64, landing: Box<Landing> },
    /// A slot was changed by somebody else.
    Changed(ProfileId),
    /// A profile is gone.
    Forget(ProfileId),
    /// Whether it is alive.
    Ping(oneshot::Sender<()>),
    /// The daemon is going down.
    Stop,
}

/// The task's state.
pub(super) struct Keeper {
    pub(super) house: Arc<House>,
    asks: mpsc::Receiver<Ask>,
    registry: watch::Receiver<u64>,
    pub(super) own: mpsc::Sender<Ask>,
    pub(super) entries: BTreeMap<ProfileId, Entry>,
    deadlines: BTreeSet<(Boot, ProfileId)>,
    pub(super) hosts: BTreeMap<String, Host>,
    forecast: Forecast,
    hourly: Boot,
    flush_at: Option<Boot>,
    wakes_at: Boot,
    resumed: Option<Boot>,
}

impl Keeper {
    pub(super) fn new(
        house: Arc<House>,
        asks: mpsc::Receiver<Ask>,
        own: mpsc::Sender<Ask>,
        slots: Vec<TokenSlot>,
    ) -> Self {
        let now = house.parts.now();
        let mut keeper = Self {
            // Before the first look, so that no change falls between the two.
            registry: house.parts.registry.changed(),
            house,
            asks,
            own,
            entries: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            hosts: BTreeMap::new(),
            forecast: Forecast::default(),
            hourly: now,
            flush_at: None,
            wakes_at: now,
            resumed: None,
        };
        keeper.sync(slots.into_iter().map(|slot| (slot.profile, slot)).collect());
        keeper
    }

    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        let house = Arc::clone(&self.house);
        loop {
            self.tick();
            self.wakes_at = self.next_wake();
            let sleep = house.parts.clock.sleep_until(Instant::since_boot(self.wakes_at));
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(Ask::Stop) | None => break,
                    Some(ask) => self.hear(ask),
                },
                Ok(()) = self.registry.changed() => self.sync(BTreeMap::new()),
                () = house.audit.waiting(), if self.flush_at.is_none() => {
                    self.flush_at = Some(self.house.parts.now() + audit::GATHER);
                }
                () = sleep => {}
            }
            let now = self.house.parts.now();
            if now > self.wakes_at + LATE {
                tracing::info!("the machine was suspended");
                self.resumed = Some(now);
            }
        }
        audit::flush(&self.house).await;
    }

    fn hear(&mut self, ask: Ask) {
        let now = self.house.parts.now();
        match ask {
            Ask::Demand { profile, done } => {
                if !self.entries.contains_key(&profile) {
                    self.sync(BTreeMap::new());
                }
                if let Some(entry) = self.entries.get_mut(&profile) {
                    entry.machine.handle_demand(now);
                }
                self.consider(profile, now);
                done.send(()).ok();
            }
            Ask::Force { profile, why, done } => {
                let forced = self.force(profile, why, now);
                self.consider(profile, now);
                done.send(forced).ok();
            }
            Ask::Landed { profile, order, generation, landing } => {
                self.landed(profile, order, generation, *landing);
                self.consider(profile, now);
            }
            Ask::Changed(profile) => {
                let jitter = self.jitter();
                if let Some(entry) = self.entries.get_mut(&profile) {
                    entry.refound(&self.house, now, jitter);
                }
                self.consider(profile, now);
            }
            Ask::Forget(profile) => self.forget(profile),
            Ask::Ping(done) => drop(done.send(())),
            Ask::Stop => {}
        }
    }

    /// Takes clients and profiles as they are now. `slots` are those that were found on disk.
    fn sync(&mut self, mut slots: BTreeMap<ProfileId, TokenSlot>) {
        let view = self.house.parts.registry.view();
        let now = self.house.parts.now();
        let gone = self.entries.keys().filter(|id| call::parties(&view, **id).is_none());
        for profile in gone.copied().collect::<Vec<_>>() {
            self.forget(profile);
        }
        for (profile, client) in view.profiles().filter_map(|profile| call::parties(&view, profile.id)) {
            let jitter = self.jitter();
            let known = self.entries.contains_key(&profile.id);
            let entry = self.entries.entry(profile.id).or_insert_with(|| {
                let slot = slots.remove(&profile.id).unwrap_or_else(|| record::empty(profile.id));
                Entry::new(Lane::new(slot, now, self.house.parts.clock.wall()), profile)
            });
            if entry.revisions == (profile.revision, client.revision) {
                continue;
            }
            if let Some(place) = entry.queued.take()
                && let Some(host) = self.hosts.get_mut(&entry.host)
            {
                host.waiting.remove(&place);
            }
            let foreign = entry.adjust(&self.house, &view, (profile, client), now, jitter);
            if known {
                entry.machine.handle_changed(now);
            }
            self.hosts.entry(entry.host.clone()).or_insert_with(|| Host::new(now));
            let lane = Arc::clone(&entry.lane);
            if foreign {
                self.identify(Arc::clone(&lane));
            }
            self.consider(profile.id, now);
            self.house.settle_in(lane);
        }
        self.count_needs();
    }

    fn forget(&mut self, profile: ProfileId) {
        if let Some(entry) = self.entries.remove(&profile) {
            entry.lane.end();
            self.house.move_out(profile);
            self.deadlines.retain(|(_, waiting)| *waiting != profile);
            if let (Some(place), Some(host)) = (entry.queued, self.hosts.get_mut(&entry.host)) {
                host.waiting.remove(&place);
            }
        }
    }

    /// Has tokens of another identity put aside.
    pub(super) fn identify(&self, lane: Arc<Lane>) {
        let (house, profile) = (Arc::clone(&self.house), lane.profile);
        self.detach(async move { flight::identify(&house, &lane).await }, Some(profile));
    }

    fn force(&mut self, profile: ProfileId, why: Forced, now: Boot) -> Result<(), Unavailable> {
        let entry = self.entries.get_mut(&profile).ok_or(Unavailable::NoProfile)?;
        let shown = entry.lane.shown();
        if let Forced::RefusedBySmtp { generation } = why {
            let over = shown.remaining(now).is_none_or(|(_, left)| left.is_zero());
            if generation != shown.slot.generation || over {
                entry.machine.handle_demand(now);
                return Ok(());
            }
            if let Some(last) = entry.refused_at.filter(|last| *last + REFUSED_AGAIN > now) {
                let retry_after = (last + REFUSED_AGAIN).saturating_sub(now);
                return Err(Unavailable::RefusedRecently { retry_after });
            }
        }
        entry.machine.handle_forced(now).map_err(|obstacle| offer::held(obstacle, &shown, now))?;
        if matches!(why, Forced::RefusedBySmtp { .. }) {
            entry.refused_at = Some(now);
        }
        Ok(())
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = self.house.parts.now();
        while let Some((_, profile)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_first();
            if let Some(entry) = self.entries.get_mut(&profile) {
                entry.deadline = None;
            }
            self.consider(profile, now);
        }
        self.let_through(now);
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            let house = Arc::clone(&self.house);
            self.detach(async move { audit::flush(&house).await }, None);
        }
        if self.hourly <= now {
            self.hourly = now + HOUR;
            self.each_hour();
        }
    }

    /// Lets a slot's due request go, or queues it.
    fn consider(&mut self, profile: ProfileId, now: Boot) {
        let Some(entry) = self.entries.get_mut(&profile) else { return };
        match entry.machine.poll(now).filter(|_| !self.house.is_stopping()) {
            Some(order) if order.at_once => self.launch(profile, order, now),
            Some(_) => {
                let place = entry.place(now, self.house.parts.clock.wall());
                let before = entry.queued.replace(place);
                if before != Some(place)
                    && let Some(host) = self.hosts.get_mut(&entry.host)
                {
                    before.map(|before| host.waiting.remove(&before));
                    host.waiting.insert(place);
                    self.let_through(now);
                }
            }
            None => {}
        }
        self.show(profile, now);
    }

    /// Sends what the flows allow.
    fn let_through(&mut self, now: Boot) {
        let mut ready = Vec::new();
        for host in self.hosts.values_mut() {
            host.wake = None;
            while !host.waiting.is_empty() {
                match host.flow.admit(now) {
                    Admission::Go => {}
                    Admission::Full => break,
                    Admission::NotBefore(at) => {
                        host.wake = Some(at);
                        break;
                    }
                }
                let Some((_, _, profile)) = host.waiting.pop_first() else { break };
                let Some(entry) = self.entries.get_mut(&profile) else { continue };
                entry.queued = None;
                if let Some(order) = entry.machine.poll(now) {
                    host.flow.handle_departed(now);
                    entry.machine.handle_started(now, order);
                    ready.push((profile, order));
                }
            }
        }
        for (profile, order) in ready {
            self.fly(profile, order);
            self.show(profile, now);
        }
    }

    /// Sends a request past the limits.
    fn launch(&mut self, profile: ProfileId, order: Order, now: Boot) {
        let Some(entry) = self.entries.get_mut(&profile) else { return };
        entry.machine.handle_started(now, order);
        if let Some(host) = self.hosts.get_mut(&entry.host) {
            host.flow.handle_departed(now);
            entry.queued.take().map(|place| host.waiting.remove(&place));
        }
        self.fly(profile, order);
    }

    fn fly(&self, profile: ProfileId, order: Order) {
        let Some(entry) = self.entries.get(&profile) else { return };
        let (house, lane, own) = (Arc::clone(&self.house), Arc::clone(&entry.lane), self.own.clone());
        let aloft = house.take_off();
        let generation = entry.lane.shown().slot.generation;
        tokio::spawn(async move {
            // A task of its own, so that a fault in it is a landing like any other.
            let flown = tokio::spawn(async move { flight::fly(&house, &lane, order.with).await });
            let landing = Box::new(flown.await.unwrap_or(Landing::Nothing));
            drop(aloft);
            own.send(Ask::Landed { profile, order, generation, landing }).await.ok();
        });
    }

    /// Runs something that waits for the disk, and has the slot looked at again.
    pub(super) fn detach(&self, work: impl Future<Output = ()> + Send + 'static, profile: Option<ProfileId>) {
        let aloft = self.house.take_off();
        let own = self.own.clone();
        tokio::spawn(async move {
            work.await;
            drop(aloft);
            if let Some(profile) = profile {
                own.send(Ask::Changed(profile)).await.ok();
            }
        });
    }

    /// Shows how a slot is, and sets when it is looked at next.
    pub(super) fn show(&mut self, profile: ProfileId, now: Boot) {
        let Some(entry) = self.entries.get_mut(&profile) else { return };
        let host = self.hosts.get(&entry.host);
        let unreachable = host.filter(|host| entry.queued.is_some() && host.flow.is_open());
        let outlook = Outlook {
            refreshing: entry.machine.is_flying(),
            trouble: entry.machine.trouble().or(unreachable.map(|_| Trouble::Retrying)),
            fault: entry.fault.clone().or_else(|| unreachable.and_then(|host| host.fault.clone())),
            next: entry.machine.next_due().map(|due| host.and_then(|host| host.wake).map_or(due, |wake| due.max(wake))),
            ..entry.outlook.clone()
        };
        let doubt_over = entry.machine.holding().is_some_and(|holding| !holding.doubtful);
        entry.lane.shown.send_if_modified(|shown| {
            let drop_doubt = shown.doubtful && doubt_over;
            if drop_doubt {
                shown.doubtful = false;
                shown.expires = now;
            }
            let news = shown.outlook != outlook || drop_doubt;
            shown.outlook = outlook;
            news
        });
        let shown = entry.lane.shown();
        let state = shown.state(now);
        let told = entry.told.replace(state);
        if told != Some(state) {
            self.house.tell();
        }
        let ended = state == TokenState::NeedsGrant && told.is_some_and(|told| told != state);
        let by_itself = entry.machine.trouble() != Some(Trouble::NeedsGrant);
        let next = entry.next_look(&shown, now, self.house.is_stopping());
        if entry.deadline != next {
            if let Some(at) = entry.deadline.take() {
                self.deadlines.remove(&(at, profile));
            }
            entry.deadline = next;
            self.deadlines.extend(next.map(|at| (at, profile)));
        }
        if ended && by_itself {
            self.tell_grant_required(profile);
        }
    }

    fn tell_grant_required(&self, profile: ProfileId) {
        let view = self.house.parts.registry.view();
        let Some(profile) = view.profile(profile) else { return };
        let event = NewEvent::new(self.house.parts.clock.wall(), EventType::GrantRequired).profile(&profile.name);
        self.write_events(vec![event]);
    }

    fn write_events(&self, events: Vec<NewEvent>) {
        if !events.is_empty() {
            let store = Arc::clone(&self.house.parts.store);
            let write = async move {
                if let Err(error) = store.commit(Vec::new(), events).await {
                    tracing::warn!(%error, "an event could not be written");
                }
            };
            self.detach(write, None);
        }
    }

    fn each_hour(&mut self) {
        let view = self.house.parts.registry.view();
        let slots: Vec<_> = self.entries.values().map(|entry| entry.lane.shown().slot).collect();
        let wall = self.house.parts.clock.wall();
        let events = self.forecast.due(&view, slots.iter().map(AsRef::as_ref), wall);
        self.write_events(events);
        for slot in slots.iter().filter(|slot| record::swept(slot, wall).is_some()) {
            if let Some(lane) = self.house.lane(slot.profile) {
                let house = Arc::clone(&self.house);
                self.detach(async move { flight::sweep(&house, &lane).await }, Some(slot.profile));
            }
        }
    }

    fn next_wake(&self) -> Boot {
        let now = self.house.parts.now();
        let first = self.deadlines.first().map(|(at, _)| *at);
        let hosts = self.hosts.values().filter_map(|host| host.wake);
        let wakes = hosts.chain(first).chain(self.flush_at).chain([self.hourly, now + SLICE]);
        wakes.min().unwrap_or(now)
    }

    /// Sums what the slots of each server need in the long run.
    pub(super) fn count_needs(&mut self) {
        let mut needs: BTreeMap<&str, f64> = BTreeMap::new();
        for entry in self.entries.values() {
            *needs.entry(&entry.host).or_default() +=
                entry.machine.holding().map_or(0.0, |held| held.life.steady_need());
        }
        self.hosts.retain(|name, host| needs.contains_key(name.as_str()) || host.flow.is_busy());
        for (name, host) in &mut self.hosts {
            host.flow.handle_need(needs.get(name.as_str()).copied().unwrap_or_default());
        }
    }

    /// Whether the network may not be up yet.
    pub(super) fn is_just_resumed(&self, now: Boot) -> bool {
        self.resumed.is_some_and(|at| at + NO_NETWORK > now)
    }

    pub(super) fn jitter(&self) -> f64 {
        self.house.parts.entropy.unit()
    }
}
