//! How many messages a profile sends in a minute: a bucket that keeps every 60 seconds within the limit.

use std::time::Duration;

/// What one profile may still send. Starts full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Used up, in messages.
    used: f64,
    /// Since when, after the boot.
    at: Duration,
}

/// A limit, as a bucket: what it holds, and how much of it comes back in a second.
fn bucket(per_minute: u32) -> (f64, f64) {
    let limit = f64::from(per_minute.max(1));
    // A burst is part of the limit, not on top of it: what comes back in a minute is the rest.
    let burst = (limit / 10.0).floor().max(1.0);
    (burst, (limit - burst).max(1.0) / 60.0)
}

impl Pace {
    /// Takes a message, or says how long to wait for one.
    pub fn take(&mut self, per_minute: u32, now: Duration) -> Result<(), Duration> {
        let (burst, back) = bucket(per_minute);
        self.used = (self.used - now.saturating_sub(self.at).as_secs_f64() * back).max(0.0);
        self.at = self.at.max(now);
        let over = self.used + 1.0 - burst;
        if over <= f64::EPSILON {
            self.used += 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(over / back).max(Duration::from_millis(1)))
    }

    /// Gives back a message that was taken and not used.
    pub fn give_back(&mut self) {
        self.used = (self.used - 1.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit_and_none_is_starved(limit in 1u32..400) {
            let mut pace = Pace::default();
            let mut now = Duration::from_secs(1000);
            let end = now + Duration::from_secs(600);
            let mut sent: Vec<Duration> = Vec::new();
            while now < end {
                match pace.take(limit, now) {
                    Ok(()) => sent.push(now),
                    Err(wait) => now += wait,
                }
            }
            for (i, from) in sent.iter().enumerate() {
                let within = sent[i..].iter().take_while(|t| **t < *from + Duration::from_secs(60)).count();
                proptest::prop_assert!(within <= usize::try_from(limit).unwrap(), "{within} of {limit}");
            }
            let least = f64::from(limit) * 10.0 * 0.45;
            proptest::prop_assert!(f64::from(u32::try_from(sent.len()).unwrap()) >= least, "{} of {limit} in a minute", sent.len());
        }
    }

    #[test]
    fn what_was_not_used_comes_back() {
        let mut pace = Pace::default();
        let now = Duration::from_secs(5);
        assert_eq!(pace.take(1, now), Ok(()));
        assert_eq!(pace.take(1, now), Err(Duration::from_secs(60)));
        pace.give_back();
        assert_eq!(pace.take(1, now), Ok(()));
    }
}
