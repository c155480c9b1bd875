//! How long a user that is refused again and again waits before it is heard.
//!
//! A program that sends nonsense in a loop costs two processes their share of the processor: itself and the daemon. So
//! refusals are spared up to a burst, and each one more costs its user a moment. Nobody else waits, and no answer is held
//! back: the next request is read later.

use std::time::Duration;

use frankd_proto::Kind;

use crate::clock::Instant;

/// What one refusal costs: a user is refused 500 times in a second, and not more often.
const EACH: Duration = Duration::from_millis(2);
/// What is forgiven: the cost of 500 refusals.
const SPARED: Duration = Duration::from_secs(1);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(1);

/// What a user's refusals have cost so far. They are forgotten as time passes.
#[derive(Debug, Default)]
pub(super) struct Patience {
    spent_until: Option<Instant>,
}

impl Patience {
    /// Counts a refusal.
    pub(super) fn refused(&mut self, now: Instant) {
        let from = self.spent_until.filter(|until| *until > now).unwrap_or(now);
        self.spent_until = Some((from + EACH).min(now + SPARED + LONGEST));
    }

    /// Whether nothing is held against the user.
    pub(super) fn is_whole(&self, now: Instant) -> bool {
        self.spent_until.is_none_or(|until| until <= now)
    }

    /// How long to wait before the user is heard.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.spent_until.map_or(Duration::ZERO, |until| until.since(now)).saturating_sub(SPARED)
    }
}

/// Whether an answer with this code refuses something that should not have been sent.
pub(super) fn is_refusal(code: i32) -> bool {
    matches!(
        Kind::from_code(code),
        Some(
            Kind::Parse
                | Kind::InvalidRequest
                | Kind::MethodNotFound
                | Kind::InvalidParams
                | Kind::AccessDenied
                | Kind::RequestTooLarge
                | Kind::RequestBatchTooLarge
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::since_boot(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_burst_is_spared_then_each_refusal_costs_and_the_wait_has_an_end() {
        let mut patience = Patience::default();
        for _ in 0..500 {
            assert_eq!(patience.wait(at(5)), Duration::ZERO);
            patience.refused(at(5));
        }
        patience.refused(at(5));
        assert_eq!(patience.wait(at(5)), EACH);
        (0..5_000).for_each(|_| patience.refused(at(5)));
        assert_eq!(patience.wait(at(5)), LONGEST);
        assert!(!patience.is_whole(at(2_004)));
        assert!(patience.is_whole(at(2_005)), "it is forgotten");
    }

    #[test]
    fn only_nonsense_counts() {
        assert!(is_refusal(Kind::MethodNotFound.code()) && is_refusal(Kind::Parse.code()));
        assert!(!is_refusal(Kind::GrantRequired.code()) && !is_refusal(Kind::RequestBusy.code()));
    }
}
