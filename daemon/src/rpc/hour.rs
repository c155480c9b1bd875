//! How many messages a user queued in the last hour, minute by minute.

use std::time::Duration;

use crate::clock::Instant;

/// One more than an hour has: the minute that is running counts whole.
const MINUTES: usize = 61;

/// A sliding hour of one-minute counts: never more than the limit in any sixty minutes.
#[derive(Debug)]
pub(super) struct Hour {
    counts: [u32; MINUTES],
    /// Minutes since boot, counted from a whole round on, so that every age is a minute before it.
    newest: u64,
}

impl Hour {
    /// An hour without a message.
    pub(super) const fn new() -> Self {
        Self { counts: [0; MINUTES], newest: MINUTES as u64 }
    }

    /// Counts one message, or says how long to wait until one fits.
    pub(super) fn take(&mut self, limit: u32, now: Instant) -> Result<(), Duration> {
        self.forget_old(now);
        if self.total() < limit {
            self.counts[slot(self.newest)] += 1;
            return Ok(());
        }
        let oldest = (0..MINUTES as u64).rev().find(|age| self.counts[slot(self.newest - *age)] > 0);
        let wait = MINUTES as u64 - oldest.unwrap_or_default();
        let into_minute = since_boot(now).as_secs() % 60;
        Err(Duration::from_secs(wait * 60 - into_minute))
    }

    /// Takes back the last one counted: nothing came of it.
    pub(super) fn give_back(&mut self) {
        if let Some(count) = (0..MINUTES as u64).map(|age| slot(self.newest - age)).find(|slot| self.counts[*slot] > 0)
        {
            self.counts[count] -= 1;
        }
    }

    /// Whether nothing of the last hour is left.
    pub(super) fn is_empty(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        self.total() == 0
    }

    fn total(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn forget_old(&mut self, now: Instant) {
        let minute = since_boot(now).as_secs() / 60 + MINUTES as u64;
        let passed = minute.saturating_sub(self.newest).min(MINUTES as u64);
        for step in 0..passed {
            self.counts[slot(minute - step)] = 0;
        }
        self.newest = self.newest.max(minute);
    }
}

fn since_boot(now: Instant) -> Duration {
    now.since(Instant::since_boot(Duration::ZERO))
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 61 fits")]
fn slot(minute: u64) -> usize {
    (minute % MINUTES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn no_sixty_minutes_hold_more_than_the_limit() {
        let mut hour = Hour::new();
        let mut taken = Vec::new();
        for second in (0..4 * 3600).step_by(30) {
            if hour.take(10, at(second)).is_ok() {
                taken.push(second);
            }
        }
        for begin in &taken {
            let within = taken.iter().filter(|t| (*begin..begin + 3600).contains(*t)).count();
            assert!(within <= 10, "{within} from {begin}");
        }
        assert!(taken.len() >= 30, "{}", taken.len());
    }

    #[test]
    fn the_wait_that_is_told_is_enough_and_a_failed_call_does_not_count() {
        let mut hour = Hour::new();
        assert!(hour.take(1, at(100)).is_ok());
        let wait = hour.take(1, at(130)).unwrap_err();
        assert!(hour.take(1, at(130 + wait.as_secs() - 61)).is_err());
        assert!(hour.take(1, at(130 + wait.as_secs())).is_ok());
        hour.give_back();
        assert!(hour.take(1, at(130 + wait.as_secs())).is_ok());
        assert!(!hour.is_empty(at(140)));
        assert!(hour.is_empty(at(140 + 3 * 3600)));
    }
}
