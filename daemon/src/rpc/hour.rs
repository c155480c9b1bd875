//! How many messages a user queued in the last hour, minute by minute.
//!
//! In memory only: a restart of the daemon begins a new hour for everybody.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;

/// What the limit is for.
const HOUR: Duration = Duration::from_secs(3600);
/// Messages that are counted together, and forgotten together an hour after the last of them.
const MINUTE: Duration = Duration::from_secs(60);

/// A sliding hour: never more than the limit in any sixty minutes of one run of the daemon.
#[derive(Debug)]
pub(super) struct Hour {
    /// The oldest first: at most as many as an hour has minutes, and one.
    minutes: VecDeque<Minute>,
}

#[derive(Debug)]
struct Minute {
    first: Instant,
    last: Instant,
    count: u32,
}

impl Hour {
    /// An hour without a message.
    pub(super) const fn new() -> Self {
        Self { minutes: VecDeque::new() }
    }

    /// Counts one message, or says how long to wait until one fits: an hour at most.
    pub(super) fn take(&mut self, limit: u32, now: Instant) -> Result<(), Duration> {
        self.forget_old(now);
        let total = self.minutes.iter().fold(0, |sum: u32, minute| sum.saturating_add(minute.count));
        if total >= limit {
            return Err(self.minutes.front().map_or(HOUR, |oldest| HOUR.saturating_sub(now.since(oldest.last))));
        }
        match self.minutes.back_mut().filter(|minute| now.since(minute.first) < MINUTE) {
            Some(minute) => (minute.last, minute.count) = (now, minute.count + 1),
            None => self.minutes.push_back(Minute { first: now, last: now, count: 1 }),
        }
        Ok(())
    }

    /// Takes back the last one counted: nothing came of it.
    pub(super) fn give_back(&mut self) {
        if let Some(minute) = self.minutes.back_mut() {
            minute.count -= 1;
            if minute.count == 0 {
                self.minutes.pop_back();
            }
        }
    }

    /// Whether nothing of the last hour is left.
    pub(super) fn is_empty(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        self.minutes.is_empty()
    }

    fn forget_old(&mut self, now: Instant) {
        while self.minutes.front().is_some_and(|oldest| now.since(oldest.last) >= HOUR) {
            self.minutes.pop_front();
        }
    }
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
    fn no_wait_is_longer_than_the_hour_and_it_is_enough() {
        for first in [0, 1, 59, 60, 3599] {
            let mut hour = Hour::new();
            hour.take(1, at(first)).unwrap();
            let wait = hour.take(1, at(first)).unwrap_err();
            assert_eq!(wait, HOUR, "{first}");
            assert!(hour.take(1, at(first) + wait).is_ok(), "{first}");
        }
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
