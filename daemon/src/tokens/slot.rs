//! One slot and one server, as the keeper knows them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{ProfileId, TokenState};
use jiff::Timestamp;

use super::lane::{Lane, Outlook, Shown, whole};
use super::{House, call, record};
use crate::domain::{Client, Failure, Profile, SlotIdentity};
use crate::policy::flow::HostFlow;
use crate::policy::life::{Boot, Life};
use crate::policy::refresh::{Found, Holding, RefreshMachine};
use crate::registry::View;

/// A token that was handed out since then is in use.
const LATELY: Duration = Duration::from_secs(86_400);

/// A request's place in the line to its server: how urgent, when its token ends, whose it is.
pub(super) type Place = (u8, Boot, ProfileId);

/// One slot.
pub(super) struct Entry {
    pub(super) lane: Arc<Lane>,
    pub(super) machine: RefreshMachine,
    /// Where its requests go: scheme, host and port.
    pub(super) host: String,
    /// Revisions of profile and client that it was set up for.
    pub(super) revisions: (u64, u64),
    pub(super) deadline: Option<Boot>,
    /// Whether it stands in the line to its server.
    pub(super) queued: Option<Place>,
    /// When the mail server last refused its token.
    pub(super) refused_at: Option<Boot>,
    /// Whether the end of a token that cannot be refreshed was told of.
    pub(super) risk_told: bool,
    /// The state that was told last.
    pub(super) told: Option<TokenState>,
    pub(super) fault: Option<Arc<Failure>>,
    /// What of the outlook only settings and landings change.
    pub(super) outlook: Outlook,
    identity: Option<SlotIdentity>,
    refresh_life: Option<Duration>,
}

/// One authorization server.
pub(super) struct Host {
    pub(super) flow: HostFlow,
    pub(super) waiting: BTreeSet<Place>,
    /// When the flow lets the next one through.
    pub(super) wake: Option<Boot>,
    /// Why it cannot be reached.
    pub(super) fault: Option<Arc<Failure>>,
}

impl Host {
    pub(super) fn new(now: Boot) -> Self {
        Self { flow: HostFlow::new(now), waiting: BTreeSet::new(), wake: None, fault: None }
    }
}

impl Entry {
    pub(super) fn new(lane: Lane, profile: &Profile) -> Self {
        let fault = lane.shown().slot.failure.clone().map(Arc::new);
        Self {
            lane: Arc::new(lane),
            machine: RefreshMachine::new(call::is_interactive(profile)),
            host: String::new(),
            revisions: (0, 0),
            deadline: None,
            queued: None,
            refused_at: None,
            risk_told: false,
            told: None,
            fault,
            outlook: Outlook::default(),
            identity: None,
            refresh_life: None,
        }
    }

    /// Sets it up for a profile and its client as they are now. Says whether its tokens are of another identity.
    pub(super) fn adjust(
        &mut self,
        house: &House,
        view: &View,
        (profile, client): (&Profile, &Client),
        now: Boot,
        jitter: f64,
    ) -> bool {
        let interactive = call::is_interactive(profile);
        let preset = view.preset(profile);
        let min_remaining = profile.min_valid_s.or_else(|| preset.and_then(|preset| preset.min_remaining_s));
        self.machine.set_interactive(interactive);
        self.host = server(&client.token_endpoint);
        self.revisions = (profile.revision, client.revision);
        self.identity = view.identity(profile);
        self.refresh_life = preset.and_then(|preset| preset.refresh_token_idle_days).map(days);
        self.outlook.interactive = interactive;
        self.outlook.min_remaining = min_remaining.map(|seconds| Duration::from_secs(u64::from(seconds)));
        self.refound(house, now, jitter);
        let wall = house.parts.clock.wall();
        let slot = self.lane.shown().slot;
        self.identity.as_ref().is_some_and(|identity| record::identified(&slot, identity, wall).is_some())
    }

    /// Reads the slot again, because somebody else changed it.
    pub(super) fn refound(&mut self, house: &House, now: Boot, jitter: f64) {
        let found = self.found(&self.lane.shown(), house.parts.clock.wall());
        if found.failures == 0 {
            self.fault = None;
            self.risk_told = false;
        }
        self.machine.handle_found(now, &found, jitter);
    }

    fn found(&self, shown: &Shown, wall: Timestamp) -> Found {
        let slot = &shown.slot;
        let refused = self.identity.as_ref().and_then(|identity| record::refused(slot, identity));
        let age = |since: Timestamp| Duration::try_from(wall.duration_since(since)).unwrap_or_default();
        Found {
            holding: self.holding(shown),
            refused: refused.map(|aside| (aside.probes, age(aside.since))),
            intent: slot.intent.is_some(),
            failures: slot.failure.as_ref().map_or(0, |failure| failure.count.max(1)),
            misconfigured: slot.failure.as_ref().is_some_and(|failure| failure.misconfigured),
        }
    }

    /// What the slot holds, for the schedule. Tokens of another identity are nothing.
    pub(super) fn holding(&self, shown: &Shown) -> Option<Holding> {
        let tokens = shown.slot.tokens.as_ref().filter(|tokens| Some(&tokens.identity) == self.identity.as_ref())?;
        let until_end = tokens.refresh_expires_at.map(|end| end.duration_since(tokens.obtained_at));
        let until_end = until_end.and_then(|left| Duration::try_from(left).ok());
        Some(Holding {
            generation: shown.slot.generation,
            life: Life::new(whole(tokens), self.outlook.min_remaining),
            expires: shown.expires,
            refresh_in: tokens.refresh_in_s.map(|seconds| Duration::from_secs(u64::from(seconds))),
            refresh_life: self.refresh_life.into_iter().chain(until_end).min(),
            refresh_token: tokens.refresh_token.is_some(),
            previous: tokens.previous_refresh_token.is_some(),
            doubtful: shown.doubtful,
        })
    }

    /// Its place in the line to its server: who waits goes first, then what was used lately, then what ends first.
    pub(super) fn place(&self, now: Boot, wall: Timestamp) -> Place {
        let slot = self.lane.shown().slot;
        let used = slot.handed_out_at.is_some_and(|at| wall.duration_since(at).unsigned_abs() < LATELY);
        let rank = match (self.machine.is_wanted(now), used) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        (rank, self.machine.holding().map_or(Boot::ZERO, |holding| holding.expires), self.lane.profile)
    }

    /// When to look at it next: a request is due, or its state changes by time alone.
    pub(super) fn next_look(&self, shown: &Shown, now: Boot, stopping: bool) -> Option<Boot> {
        let request = self.machine.poll_timeout().filter(|_| self.queued.is_none() && !stopping);
        let over = shown.remaining(now).map(|(life, _)| shown.expires.saturating_sub(life.floor()) + MOMENT);
        request.into_iter().chain(over.filter(|over| *over > now)).min()
    }
}

/// The least time after which a token under its floor is told apart from one at it.
const MOMENT: Duration = Duration::from_millis(1);

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

/// Scheme, host and port of an endpoint.
fn server(endpoint: &str) -> String {
    url::Url::parse(endpoint).map_or_else(|_| endpoint.to_owned(), |url| url.origin().ascii_serialization())
}
