//! How long a token is good for what: its life, its lead, when it is due, whether it may still be handed out.
//!
//! Times are [`Boot`]: they count on the boot clock, so neither a clock step nor a suspend makes a token live longer.
//! All numbers are per token, so 5-second tokens of a test and 28-hour tokens of a provider follow one rule.

use std::time::Duration;

use frankd_proto::TokenState;
use jiff::{SignedDuration, Timestamp};

/// A moment: time since the machine's boot, time in suspend included.
pub type Boot = Duration;

/// Life of a token whose answer names none.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// Longest life that is believed.
pub const LONGEST_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Life that a token must still have when it is used, where neither profile nor preset says.
pub const DEFAULT_MIN_REMAINING: Duration = Duration::from_secs(120);

/// A record that is this much longer in force than its own life was written under another wall clock.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Days before the end of something that are told of.
const FORECAST_DAYS: [u64; 4] = [1, 3, 7, 14];

/// The life of a token in whole seconds, from `expires_in` (RFC 6749 §5.1).
///
/// Rounded down, within 1 s and 30 d.
pub fn lifetime_s(expires_in: Option<Duration>) -> u32 {
    let life = expires_in.unwrap_or(DEFAULT_LIFE).clamp(Duration::from_secs(1), LONGEST_LIFE);
    u32::try_from(life.as_secs()).unwrap_or(u32::MAX)
}

/// What a token's life means for its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    life: Duration,
    min_use: Duration,
}

/// Whether a token may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Yes.
    Good,
    /// Only if no better one can be had.
    Stale,
    /// No.
    Spent,
}

impl Life {
    /// A token that lives `life`, and that must have `min_remaining` left when it is used.
    ///
    /// A third of the life is enough where that is less.
    pub fn new(life: Duration, min_remaining: Option<Duration>) -> Self {
        let min_use = min_remaining.unwrap_or(DEFAULT_MIN_REMAINING).min(life / 3);
        Self { life, min_use: min_use.max(floor(life)) }
    }

    /// The whole life.
    pub const fn whole(&self) -> Duration {
        self.life
    }

    /// Life that it must still have when it is used.
    pub const fn min_use(&self) -> Duration {
        self.min_use
    }

    /// Life under which it is never handed out, whatever fails.
    pub fn floor(&self) -> Duration {
        floor(self.life)
    }

    /// How long before its end the refresh is due: long enough to sit out an outage.
    pub fn lead(&self) -> Duration {
        let wanted = (self.life / 3).max(self.min_use + Duration::from_secs(600));
        wanted.min(self.life.mul_f64(0.6))
    }

    /// Whether it may be handed out with `remaining` left, to a caller who needs `asked`; the minimum at use if absent.
    pub fn fitness(&self, remaining: Duration, asked: Option<Duration>) -> Fitness {
        if remaining >= asked.unwrap_or(self.min_use).max(self.floor()) && !remaining.is_zero() {
            Fitness::Good
        } else if asked.is_none() && remaining >= self.floor() && !remaining.is_zero() {
            Fitness::Stale
        } else {
            Fitness::Spent
        }
    }

    /// When its refresh is due, if it ends at `expires`. `jitter`, from 0 to 1, spreads many slots, only ever earlier.
    ///
    /// `refresh_in` is the provider's wish; `refresh_life` the time within which the refresh token must be used, which
    /// keeps one warm that would die of idleness.
    pub fn due(
        &self,
        expires: Boot,
        refresh_in: Option<Duration>,
        refresh_life: Option<Duration>,
        jitter: f64,
    ) -> Boot {
        let spread = self.life.mul_f64(jitter.clamp(0.0, 1.0) * 0.1);
        let before_end = |after_sent: Duration| expires.saturating_sub(self.life.saturating_sub(after_sent));
        let soonest = Duration::from_secs(30).min(self.life / 4);
        let mut due = expires.saturating_sub(self.lead() + spread);
        for wish in [refresh_in.map(|wish| wish + spread / 2), refresh_life.map(|idle| idle / 2)] {
            due = due.min(wish.map_or(due, |wish| before_end(wish.max(soonest))));
        }
        due
    }

    /// Refreshes in a second that such a token asks for in the long run.
    pub fn steady_need(&self) -> f64 {
        let cycle = self.life.saturating_sub(self.lead()).as_secs_f64() - self.life.as_secs_f64() * 0.05;
        1.0 / cycle.max(0.1)
    }
}

fn floor(life: Duration) -> Duration {
    Duration::from_secs(30).min(life / 10)
}

/// What is left of a stored token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// That much.
    Known(Duration),
    /// The wall clock was set back since, or the record is from the future: nobody can tell.
    Unknown,
}

/// What is left at `wall` of a token that was asked for at `obtained_at`.
pub fn left(obtained_at: Timestamp, life: Duration, wall: Timestamp) -> Left {
    let age = wall.duration_since(obtained_at);
    match Duration::try_from(age) {
        Ok(age) => Left::Known(life.saturating_sub(age)),
        Err(_) if age.unsigned_abs() <= CLOCK_SLACK => Left::Known(life),
        Err(_) => Left::Unknown,
    }
}

/// What keeps a slot from a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is tried again by itself.
    Retrying,
    /// A person must grant.
    NeedsGrant,
    /// An operator must correct something.
    Misconfigured,
}

/// The state of a slot, as it is told.
///
/// A token that may still be used is `valid` or `at_risk`, whatever comes after it: mail still goes out with it.
/// `granted` says whether new tokens come without a person: there is a refresh token, or the flow needs none.
pub fn state(remaining: Option<(Life, Duration)>, trouble: Option<Trouble>, granted: bool) -> TokenState {
    let usable = remaining.is_some_and(|(life, left)| life.fitness(left, None) != Fitness::Spent);
    match (usable, trouble) {
        (true, None) if granted => TokenState::Valid,
        (true, _) => TokenState::AtRisk,
        (false, Some(Trouble::Misconfigured)) => TokenState::Misconfigured,
        (false, Some(Trouble::NeedsGrant)) => TokenState::NeedsGrant,
        (false, _) if !granted => TokenState::NeedsGrant,
        (false, None) if remaining.is_none() => TokenState::None,
        (false, _) => TokenState::Expired,
    }
}

/// Which warning is due for something that began at `since` and ends at `end`: the days left, of 14, 7, 3 and 1.
///
/// What lives shorter than twice a warning's time is renewed as it goes and not told of.
pub fn forecast(since: Timestamp, end: Timestamp, wall: Timestamp) -> Option<u64> {
    let whole = end.duration_since(since);
    let left = end.duration_since(wall);
    FORECAST_DAYS.into_iter().find(|days| {
        let days = i64::try_from(*days).unwrap_or(i64::MAX).saturating_mul(86_400);
        left <= SignedDuration::from_secs(days) && whole >= SignedDuration::from_secs(days.saturating_mul(2))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unchecked_time_subtraction, reason = "the moments of these tests are in order")]

    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lives_are_read_in_seconds_and_kept_within_bounds() {
        assert_eq!(lifetime_s(None), 3600);
        assert_eq!(lifetime_s(Some(Duration::ZERO)), 1);
        assert_eq!(lifetime_s(Some(Duration::from_millis(5999))), 5);
        assert_eq!(lifetime_s(Some(s(u64::MAX))), 30 * 86_400);
    }

    #[test]
    fn due_times_are_those_of_the_design() {
        // life, minimum at use, earliest and latest due after the request, in milliseconds.
        for (life, min, earliest, latest) in [
            (3600, None, 2_040_000, 2_400_000),
            (3600, Some(s(660)), 1_980_000, 2_340_000),
            (300, None, 90_000, 120_000),
            (5, None, 1500, 2000),
            (28 * 3600, None, 57_120_000, 67_200_000),
        ] {
            let rule = Life::new(s(life), min);
            let expires = s(100_000_000) + s(life);
            let after = |jitter| (rule.due(expires, None, None, jitter) - s(100_000_000)).as_millis();
            assert_eq!(after(0.0), latest, "{life}");
            assert_eq!(after(1.0), earliest, "{life}");
        }
    }

    #[test]
    fn a_provider_and_an_idle_refresh_token_only_make_it_earlier() {
        let rule = Life::new(s(86_400), None);
        let expires = s(86_400);
        assert_eq!(rule.due(expires, Some(s(43_200)), None, 0.0), s(43_200));
        assert_eq!(rule.due(expires, Some(s(86_000)), None, 0.0), s(57_600));
        assert_eq!(rule.due(expires, None, Some(s(1800)), 0.0), s(900));
        assert_eq!(rule.due(expires, None, Some(s(1)), 0.0), s(30), "never a hot loop");
        assert_eq!(rule.due(expires, None, Some(s(90 * 86_400)), 0.0), s(57_600));
    }

    #[test]
    fn fitness_of_an_hour_long_token() {
        let rule = Life::new(s(3600), None);
        for (remaining, asked, fitness) in [
            (120, None, Fitness::Good),
            (119, None, Fitness::Stale),
            (30, None, Fitness::Stale),
            (29, None, Fitness::Spent),
            (300, Some(300), Fitness::Good),
            (299, Some(300), Fitness::Spent),
            (30, Some(0), Fitness::Good),
            (29, Some(0), Fitness::Spent),
        ] {
            assert_eq!(rule.fitness(s(remaining), asked.map(s)), fitness, "{remaining} {asked:?}");
        }
    }

    #[test]
    fn a_wall_clock_that_went_back_is_noticed() {
        let sent = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |offset: i64| sent + SignedDuration::from_secs(offset);
        assert_eq!(left(sent, s(3600), at(600)), Left::Known(s(3000)));
        assert_eq!(left(sent, s(3600), at(4000)), Left::Known(s(0)));
        assert_eq!(left(sent, s(3600), at(-60)), Left::Known(s(3600)));
        assert_eq!(left(sent, s(3600), at(-61)), Left::Unknown);
    }

    #[test]
    fn states() {
        let hour = Life::new(s(3600), None);
        let (good, low, over) = (Some((hour, s(1000))), Some((hour, s(40))), Some((hour, s(0))));
        for (remaining, trouble, granted, expected) in [
            (good, None, true, TokenState::Valid),
            (low, None, true, TokenState::Valid),
            (good, Some(Trouble::Retrying), true, TokenState::AtRisk),
            (good, Some(Trouble::NeedsGrant), false, TokenState::AtRisk),
            (good, None, false, TokenState::AtRisk),
            (over, None, true, TokenState::Expired),
            (over, Some(Trouble::Retrying), true, TokenState::Expired),
            (over, Some(Trouble::NeedsGrant), false, TokenState::NeedsGrant),
            (over, Some(Trouble::Misconfigured), true, TokenState::Misconfigured),
            (over, None, false, TokenState::NeedsGrant),
            (None, None, false, TokenState::NeedsGrant),
            (None, None, true, TokenState::None),
            (None, Some(Trouble::Retrying), true, TokenState::Expired),
        ] {
            assert_eq!(state(remaining, trouble, granted), expected, "{remaining:?} {trouble:?} {granted}");
        }
    }

    #[test]
    fn an_end_is_told_at_the_right_days_and_not_for_what_renews_itself() {
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let days = |n: i64| since + SignedDuration::from_hours(24 * n);
        assert_eq!(forecast(since, days(90), days(70)), None);
        assert_eq!(forecast(since, days(90), days(76)), Some(14));
        assert_eq!(forecast(since, days(90), days(84)), Some(7));
        assert_eq!(forecast(since, days(90), days(90)), Some(1));
        assert_eq!(forecast(since, days(1), since), None);
        assert_eq!(forecast(since, days(7), days(4)), Some(3));
    }

    proptest! {
        #[test]
        fn it_is_due_after_it_was_asked_for_and_long_before_it_is_too_short(
            life in 1u64..30 * 86_400, min in 0u64..10_000, jitter in 0.0f64..1.0, wish in proptest::option::of(0u64..200_000)
        ) {
            let rule = Life::new(s(life), Some(s(min)));
            let sent = s(10_000_000);
            let due = rule.due(sent + s(life), wish.map(s), None, jitter);
            prop_assert!(due >= sent);
            let remaining_at_due = sent + s(life) - due;
            prop_assert!(remaining_at_due >= rule.min_use());
            prop_assert!(rule.floor() <= rule.min_use());
            prop_assert_eq!(rule.fitness(remaining_at_due, None), Fitness::Good);
        }
    }
}
