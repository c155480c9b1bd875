//! How fast one authorization server is asked: a rate, a number at once, and a breaker for when it cannot be reached.
//!
//! # Invariants
//!
//! - After a burst of four, requests leave at 2/s or at twice what the slots there need in the long run, whichever is more,
//!   so a restart with many expired tokens is no herd and yet ends.
//! - No more are on their way at once than that rate and the server's own speed make necessary, four at least.
//! - After five transport failures in a row the server is asked by one request at a time, at growing intervals, until
//!   anything answers. So a network that is down is one fact, not one for each slot.

use std::time::Duration;

use super::life::Boot;

const BURST: f64 = 4.0;
const LEAST_RATE: f64 = 2.0;
const LEAST_AT_ONCE: f64 = 4.0;
const OPENS_AFTER: u32 = 5;
const FIRST_STEP: Duration = Duration::from_secs(2);
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// Whether a request may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now.
    Go,
    /// At that moment, asked again.
    NotBefore(Boot),
    /// When one that is on its way ends, asked again.
    Full,
}

/// The flow to one authorization server.
#[derive(Clone, Debug)]
pub struct HostFlow {
    need: f64,
    tokens: f64,
    refilled: Boot,
    flying: u32,
    mean_answer: Duration,
    failures: u32,
    probe_at: Boot,
    probing: bool,
}

impl HostFlow {
    /// A flow that may burst at `now`.
    pub const fn new(now: Boot) -> Self {
        Self {
            need: 0.0,
            tokens: BURST,
            refilled: now,
            flying: 0,
            mean_answer: Duration::from_secs(1),
            failures: 0,
            probe_at: Boot::ZERO,
            probing: false,
        }
    }

    /// Refreshes in a second that all slots there need in the long run.
    pub fn handle_need(&mut self, need: f64) {
        self.need = need;
    }

    /// Whether a request may leave at `now`. It has not left until [`Self::handle_departed`].
    pub fn admit(&mut self, now: Boot) -> Admission {
        if self.is_open() {
            return match (self.probing, self.probe_at <= now) {
                (true, _) => Admission::Full,
                (false, true) => Admission::Go,
                (false, false) => Admission::NotBefore(self.probe_at),
            };
        }
        if f64::from(self.flying) >= self.at_once() {
            return Admission::Full;
        }
        self.refill(now);
        if self.tokens >= 1.0 {
            Admission::Go
        } else {
            let wait = Duration::from_secs_f64((1.0 - self.tokens) / self.rate());
            Admission::NotBefore(now + wait.max(Duration::from_millis(1)))
        }
    }

    /// A request left, admitted or past the limits.
    pub fn handle_departed(&mut self, now: Boot) {
        self.refill(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
        self.flying += 1;
        self.probing = self.is_open();
    }

    /// A request ended with an answer of any kind after `took`: the server can be reached.
    pub fn handle_answered(&mut self, took: Duration) {
        self.landed();
        self.failures = 0;
        self.mean_answer = (self.mean_answer * 7 + took.min(Duration::from_secs(60))) / 8;
    }

    /// A request ended without a whole answer. `jitter` is from 0 to 1; an `excused` failure does not count.
    pub fn handle_unreachable(&mut self, now: Boot, jitter: f64, excused: bool) {
        self.landed();
        if !excused {
            self.failures = self.failures.saturating_add(1);
        }
        let doubled = FIRST_STEP.saturating_mul(1 << self.failures.saturating_sub(OPENS_AFTER).min(16));
        self.probe_at = now + doubled.min(LONGEST_STEP).mul_f64(0.5 + 0.5 * jitter);
    }

    /// A request ended without having been sent.
    pub fn handle_not_sent(&mut self) {
        self.landed();
    }

    /// Whether the server counts as unreachable.
    pub const fn is_open(&self) -> bool {
        self.failures >= OPENS_AFTER
    }

    /// Whether requests are on their way.
    pub const fn is_busy(&self) -> bool {
        self.flying > 0
    }

    /// Requests in a second.
    fn rate(&self) -> f64 {
        LEAST_RATE.max(2.0 * self.need)
    }

    fn at_once(&self) -> f64 {
        LEAST_AT_ONCE.max(2.0 * self.need * self.mean_answer.as_secs_f64())
    }

    fn landed(&mut self) {
        self.flying = self.flying.saturating_sub(1);
        self.probing = false;
    }

    fn refill(&mut self, now: Boot) {
        let gained = now.saturating_sub(self.refilled).as_secs_f64() * self.rate();
        self.tokens = (self.tokens + gained).min(BURST);
        self.refilled = self.refilled.max(now);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unchecked_time_subtraction, reason = "the moments of these tests are in order")]

    use super::*;

    const fn ms(milliseconds: u64) -> Boot {
        Duration::from_millis(milliseconds)
    }

    /// Sends as many as it may from `from` on for `span`, each answered after `took`; gives the moments.
    fn drain(flow: &mut HostFlow, from: Boot, span: Duration, took: Duration) -> Vec<Boot> {
        let (mut now, mut sent, mut landing) = (from, Vec::new(), Vec::<Boot>::new());
        while now < from + span {
            landing.retain(|at| {
                let over = *at <= now;
                if over {
                    flow.handle_answered(took);
                }
                !over
            });
            match flow.admit(now) {
                Admission::Go => {
                    flow.handle_departed(now);
                    sent.push(now);
                    landing.push(now + took);
                }
                Admission::NotBefore(at) => now = at,
                Admission::Full => now += ms(10),
            }
        }
        sent
    }

    #[test]
    fn a_burst_of_four_then_two_in_a_second() {
        let mut flow = HostFlow::new(ms(0));
        let sent = drain(&mut flow, ms(0), ms(10_000), ms(100));
        assert_eq!(sent.iter().filter(|at| **at == ms(0)).count(), 4);
        assert!((23..=24).contains(&sent.len()), "{}", sent.len());
        assert!(sent.windows(6).all(|w| w[5] - w[0] >= ms(450)), "more than the burst within half a second");
    }

    #[test]
    fn many_short_lived_slots_get_twice_their_need() {
        let mut flow = HostFlow::new(ms(0));
        flow.handle_need(50.0);
        let sent = drain(&mut flow, ms(0), ms(10_000), ms(100));
        assert!(sent.len() > 900, "{}", sent.len());
        let mut slow = HostFlow::new(ms(0));
        slow.handle_need(50.0);
        let sent = drain(&mut slow, ms(0), ms(20_000), ms(2000));
        assert!(sent.len() > 20 * 50, "a slow server gets more at once, not less in a second");
    }

    #[test]
    fn the_breaker_opens_after_five_failures_and_any_answer_closes_it() {
        let mut flow = HostFlow::new(ms(0));
        let mut now = ms(0);
        for _ in 0..5 {
            assert!(!flow.is_open());
            flow.handle_departed(now);
            flow.handle_unreachable(now, 1.0, false);
            now += ms(1000);
        }
        assert!(flow.is_open());
        now -= ms(1000);
        assert_eq!(flow.admit(now), Admission::NotBefore(now + ms(2000)));
        now += ms(2000);
        assert_eq!(flow.admit(now), Admission::Go);
        flow.handle_departed(now);
        assert_eq!(flow.admit(now), Admission::Full, "one probe at a time");
        flow.handle_unreachable(now, 1.0, false);
        assert_eq!(flow.admit(now), Admission::NotBefore(now + ms(4000)));
        now += ms(4000);
        flow.handle_departed(now);
        flow.handle_answered(ms(50));
        assert!(!flow.is_open());
        assert_eq!(flow.admit(now), Admission::Go);
    }

    #[test]
    fn failures_right_after_a_suspend_do_not_open_it() {
        let mut flow = HostFlow::new(ms(0));
        for _ in 0..20 {
            flow.handle_departed(ms(0));
            flow.handle_unreachable(ms(0), 0.5, true);
        }
        assert!(!flow.is_open());
    }
}
