//! When a slot's token is refreshed, with what, and what a failure means for it: one machine for each slot.
//!
//! # Invariants
//!
//! - At most one request is on its way. A failure of a request that an adopted token overtook changes nothing.
//! - A refresh token is set aside only after three refusals on the way of the module's four steps: the generation moved;
//!   the refresh token before the last rotation is tried; the same one is tried once more after 30 to 60 s; then a person
//!   is asked, and the refused one is probed for 30 days. Nothing here deletes one.
//! - A lost answer is followed at once by the same request, one time: within the grace of a server that rotates it brings
//!   the answer again, and with one that does not it costs nothing.
//! - A flow without refresh tokens is retried for ever and never asks for a person.
//! - What is early (a caller wants more than the schedule gives) and what is refused is counted, and held for 15 minutes
//!   after ten in ten minutes. The schedule itself is never held.

mod terms;

use std::collections::VecDeque;
use std::time::Duration;

pub use terms::{Found, Holding, Obstacle, Order, QUARANTINE, Setback, Verdict, With, probe_after};

use super::classify::token::TokenClass;
use super::life::{Boot, Trouble};

/// Waits and counts of the machine.
const FIRST_DELAY: Duration = Duration::from_secs(2);
const SHORTEST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
const LONGEST_DELAY_WANTED: Duration = Duration::from_secs(60);
const LONGEST_DELAY_IDLE: Duration = Duration::from_secs(900);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
const WANTED_FOR: Duration = Duration::from_secs(300);
const RECHECK: Duration = Duration::from_secs(30);
const MISCONFIGURED_PROBE: Duration = Duration::from_secs(3600);
const LOCAL_PROBE: Duration = Duration::from_secs(60);
const ADMIN_PROBE: Duration = Duration::from_secs(1800);
const LOOP_WINDOW: Duration = Duration::from_secs(600);
const LOOP_COUNT: usize = 10;
const LOOP_HOLD: Duration = Duration::from_secs(900);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing to do until a person grants.
    Idle,
    /// By the schedule of the token.
    Scheduled { due: Boot },
    /// The same again, at once.
    AtOnce { with: With },
    /// After a failure that mends itself.
    BackOff { due: Boot },
    /// `invalid_grant`, second step.
    TryPrevious,
    /// `invalid_grant`, third step.
    Recheck { due: Boot },
    /// `invalid_grant`, fourth step. The token is aside since `since`, and was when `age` old.
    Refused { since: Boot, age: Duration, retry: Option<Boot> },
    /// Until an operator or administrator acts.
    Misconfigured { due: Boot },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Flying {
    order: Order,
    generation: u64,
}

/// The schedule of one slot. See the module.
#[derive(Clone, Debug)]
pub struct RefreshMachine {
    interactive: bool,
    holding: Option<Holding>,
    phase: Phase,
    flying: Option<Flying>,
    failures: u32,
    failed_at: Boot,
    jitter: f64,
    not_before: Boot,
    wanted_until: Boot,
    forced: bool,
    previous_tried: bool,
    rechecked: bool,
    probes: u32,
    counted: VecDeque<Boot>,
    hold_until: Boot,
}

impl RefreshMachine {
    /// The machine of a slot. `interactive` says whether new tokens need a refresh token.
    pub fn new(interactive: bool) -> Self {
        Self {
            interactive,
            holding: None,
            phase: Phase::Idle,
            flying: None,
            failures: 0,
            failed_at: Boot::ZERO,
            jitter: 0.0,
            not_before: Boot::ZERO,
            wanted_until: Boot::ZERO,
            forced: false,
            previous_tried: false,
            rechecked: false,
            probes: 0,
            counted: VecDeque::new(),
            hold_until: Boot::ZERO,
        }
    }

    /// Whether new tokens need a refresh token from now on. What was found is to be handled again.
    pub fn set_interactive(&mut self, interactive: bool) {
        self.interactive = interactive;
    }

    /// Begins with what was found: at the start, or after the slot was changed by somebody else.
    pub fn handle_found(&mut self, now: Boot, found: &Found, jitter: f64) {
        self.holding = found.holding;
        self.failures = found.failures;
        if found.failures == 0 {
            self.not_before = Boot::ZERO;
        }
        self.failed_at = now;
        self.jitter = jitter;
        self.previous_tried = false;
        self.rechecked = false;
        self.forced = false;
        self.probes = found.refused.map_or(0, |(probes, _)| probes);
        self.phase = if found.intent && self.can_ask() {
            Phase::AtOnce { with: With::Current }
        } else if !self.can_ask() {
            let refused = found.refused.map(|(_, age)| Phase::Refused { since: now, age, retry: None });
            refused.unwrap_or(Phase::Idle)
        } else if found.misconfigured {
            Phase::Misconfigured { due: now }
        } else if found.failures > 0 {
            Phase::BackOff { due: now }
        } else {
            Phase::Scheduled { due: self.scheduled(now, jitter) }
        };
    }

    /// The request brought a token, which is in use now.
    pub fn handle_answer(&mut self, now: Boot, holding: Holding, jitter: f64) {
        self.flying = None;
        let found = Found { holding: Some(holding), ..Found::default() };
        self.handle_found(now, &found, jitter);
    }

    /// The request ended, and its answer was thrown away: the slot had changed meanwhile.
    pub fn handle_overtaken(&mut self) {
        self.flying = None;
    }

    /// The request of [`Self::poll`] is on its way.
    pub fn handle_started(&mut self, now: Boot, order: Order) {
        self.flying = Some(Flying { order, generation: self.generation() });
        self.forced = false;
        if order.early {
            self.count(now);
        }
    }

    /// The request failed.
    pub fn handle_failure(&mut self, now: Boot, setback: Setback, jitter: f64) -> Verdict {
        let Some(flying) = self.flying.take() else {
            return Verdict::Overtaken;
        };
        if flying.generation != self.generation() {
            return Verdict::Overtaken;
        }
        if setback.refusal && !flying.order.early {
            self.count(now);
        }
        if let Some(wait) = setback.retry_after {
            self.not_before = now + wait.min(LONGEST_RETRY_AFTER);
        }
        if !setback.excused {
            self.failures = self.failures.saturating_add(1);
        }
        if self.can_ask()
            && let Some(holding) = self.holding.as_mut().filter(|holding| holding.doubtful)
        {
            // What nobody can date is not used after it could not be renewed.
            holding.doubtful = false;
            holding.expires = now;
        }
        self.decide(now, flying.order, setback, jitter)
    }

    fn decide(&mut self, now: Boot, order: Order, setback: Setback, jitter: f64) -> Verdict {
        if order.with == With::Quarantined {
            return self.probe_failed(now, setback, jitter);
        }
        if order.with == With::Previous && setback.class != TokenClass::InvalidGrant {
            self.previous_tried = false;
        }
        match setback.class {
            TokenClass::RetryAtOnce if !order.at_once => {
                self.jitter = jitter;
                self.failed_at = now;
                self.phase = Phase::AtOnce { with: order.with };
            }
            TokenClass::Retry | TokenClass::RetryAtOnce => self.back_off(now, jitter),
            TokenClass::InvalidGrant if !self.interactive => self.back_off(now, jitter),
            TokenClass::InvalidGrant if self.previous() && !self.previous_tried => {
                self.previous_tried = true;
                self.phase = Phase::TryPrevious;
            }
            TokenClass::InvalidGrant if !self.rechecked => {
                self.rechecked = true;
                self.phase = Phase::Recheck { due: now + RECHECK.mul_f64(1.0 + jitter) };
            }
            TokenClass::InvalidGrant => {
                self.probes = 0;
                self.phase = Phase::Refused { since: now, age: Duration::ZERO, retry: None };
                if let Some(holding) = &mut self.holding {
                    holding.refresh_token = false;
                    holding.previous = false;
                }
                return Verdict::Quarantine;
            }
            TokenClass::InvalidClient | TokenClass::Misconfigured | TokenClass::NeedsAdmin => {
                let wait = match setback.class {
                    _ if setback.local => LOCAL_PROBE,
                    TokenClass::NeedsAdmin => ADMIN_PROBE,
                    _ => MISCONFIGURED_PROBE,
                };
                self.phase = Phase::Misconfigured { due: now + wait.mul_f64(1.0 - 0.1 * jitter) };
            }
        }
        Verdict::Failed
    }

    fn probe_failed(&mut self, now: Boot, setback: Setback, jitter: f64) -> Verdict {
        if let Phase::Refused { retry, .. } = &mut self.phase {
            if setback.class == TokenClass::InvalidGrant {
                *retry = None;
                self.probes = self.probes.saturating_add(1);
                return Verdict::RefusedAgain;
            }
            *retry = Some(now + LONGEST_DELAY_IDLE.mul_f64(0.5 + 0.5 * jitter));
        }
        Verdict::Failed
    }

    /// The client or profile changed, but not what tokens are issued to: what waited for that is tried now.
    pub fn handle_changed(&mut self, now: Boot) {
        match &mut self.phase {
            Phase::Misconfigured { due } | Phase::BackOff { due } | Phase::Recheck { due } => *due = (*due).min(now),
            Phase::Refused { retry, .. } => *retry = Some(now),
            Phase::Idle | Phase::Scheduled { .. } | Phase::AtOnce { .. } | Phase::TryPrevious => {}
        }
    }

    /// A caller waits for a token that the slot does not have.
    pub fn handle_demand(&mut self, now: Boot) {
        self.wanted_until = now + WANTED_FOR;
        match self.phase {
            Phase::Scheduled { due } if due > now => self.forced = self.not_before.max(self.hold_until) <= now,
            Phase::BackOff { due } => {
                let due = due.min(self.failed_at + self.delay(now));
                self.phase = Phase::BackOff { due };
            }
            _ => {}
        }
    }

    /// Somebody asks for a new token now, whatever the schedule says.
    pub fn handle_forced(&mut self, now: Boot) -> Result<(), Obstacle> {
        if self.flying.is_some() {
            return Ok(());
        }
        if self.phase == Phase::Idle {
            return Err(Obstacle::NeedsGrant);
        }
        let not_before = self.not_before.max(self.hold_until);
        if not_before > now {
            return Err(Obstacle::NotBefore(not_before));
        }
        self.forced = true;
        Ok(())
    }

    /// When [`Self::poll`] may next have something; `None` until something is handled.
    pub fn poll_timeout(&self) -> Option<Boot> {
        if self.flying.is_some() {
            return None;
        }
        let forced = self.forced.then(|| self.not_before.max(self.hold_until));
        forced.into_iter().chain(self.next_due()).min()
    }

    /// The request that is due at `now`, if any. Say [`Self::handle_started`] when it is on its way.
    pub fn poll(&self, now: Boot) -> Option<Order> {
        if self.poll_timeout()? > now {
            return None;
        }
        let early = self.next_due().is_none_or(|due| due > now);
        let (with, at_once) = match self.phase {
            Phase::AtOnce { with } => (with, true),
            Phase::TryPrevious => (With::Previous, false),
            Phase::Refused { .. } => (With::Quarantined, false),
            _ => (With::Current, false),
        };
        Some(Order { with, at_once, early })
    }

    /// When the next request comes by itself, if one does.
    ///
    /// What the server and the guard against loops allow counts, but a lost answer is not waited for, and the guard does
    /// not hold the schedule.
    pub fn next_due(&self) -> Option<Boot> {
        let due = self.due()?;
        Some(match self.phase {
            Phase::AtOnce { .. } => due,
            Phase::Scheduled { .. } => due.max(self.not_before),
            _ => due.max(self.not_before).max(self.hold_until),
        })
    }

    /// What keeps the slot from a new token.
    pub fn trouble(&self) -> Option<Trouble> {
        match self.phase {
            Phase::Refused { .. } => Some(Trouble::NeedsGrant),
            Phase::Misconfigured { .. } => Some(Trouble::Misconfigured),
            Phase::BackOff { .. } | Phase::TryPrevious | Phase::Recheck { .. } => Some(Trouble::Retrying),
            Phase::AtOnce { .. } if self.failures > 0 => Some(Trouble::Retrying),
            Phase::Idle | Phase::Scheduled { .. } | Phase::AtOnce { .. } => None,
        }
    }

    /// Whether a request is on its way.
    pub const fn is_flying(&self) -> bool {
        self.flying.is_some()
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a caller waits, or did lately.
    pub fn is_wanted(&self, now: Boot) -> bool {
        self.wanted_until > now
    }

    /// What the slot holds.
    pub const fn holding(&self) -> Option<&Holding> {
        self.holding.as_ref()
    }

    fn generation(&self) -> u64 {
        self.holding.map_or(0, |holding| holding.generation)
    }

    fn previous(&self) -> bool {
        self.holding.is_some_and(|holding| holding.previous)
    }

    /// Whether there is something to ask with that was not refused.
    fn can_ask(&self) -> bool {
        !self.interactive || self.holding.is_some_and(|holding| holding.refresh_token)
    }

    fn scheduled(&self, now: Boot, jitter: f64) -> Boot {
        let by_itself = |holding: Holding| {
            let life = holding.life;
            life.due(holding.expires, holding.refresh_in, holding.refresh_life, jitter)
        };
        match self.holding {
            Some(holding) if !holding.doubtful => by_itself(holding).max(now),
            _ => now,
        }
    }

    fn due(&self) -> Option<Boot> {
        match self.phase {
            Phase::Idle => None,
            Phase::AtOnce { .. } | Phase::TryPrevious => Some(self.failed_at),
            Phase::Scheduled { due }
            | Phase::BackOff { due }
            | Phase::Recheck { due }
            | Phase::Misconfigured { due } => Some(due),
            Phase::Refused { since, age, retry } => {
                let planned = probe_after(self.probes).map(|after| since + after.saturating_sub(age));
                retry.or(planned)
            }
        }
    }

    fn back_off(&mut self, now: Boot, jitter: f64) {
        self.jitter = jitter;
        self.failed_at = now;
        self.phase = Phase::BackOff { due: now + self.delay(now) };
    }

    /// Full jitter over a wait that doubles.
    fn delay(&self, now: Boot) -> Duration {
        let expired = self.holding.is_none_or(|holding| holding.expires <= now);
        let longest = match (self.is_wanted(now), expired) {
            (true, _) => LONGEST_DELAY_WANTED,
            (false, true) => LONGEST_DELAY_IDLE,
            (false, false) => LONGEST_DELAY,
        };
        let doubled = FIRST_DELAY.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        doubled.min(longest).mul_f64(self.jitter).max(SHORTEST_DELAY)
    }

    fn count(&mut self, now: Boot) {
        self.counted.push_back(now);
        while self.counted.front().is_some_and(|first| *first + LOOP_WINDOW < now) {
            self.counted.pop_front();
        }
        if self.counted.len() >= LOOP_COUNT {
            self.counted.clear();
            self.hold_until = now + LOOP_HOLD;
        }
    }
}

#[cfg(test)]
mod tests;
