//! Time as the sandbox servers see it: the one file here that reads a clock or waits.
//!
//! Moments come from a [`Now`] that the test gives, so that a fake wall clock rules the life of tokens; waits are
//! tokio's, so that a paused clock jumps over them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Tells the sandbox servers what time it is.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Now {
    /// Reads time by `read`: a test's own fake clock.
    #[must_use]
    pub fn from_fn(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Follows the wall clock of this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the demo and the benches run on real time")]
    pub fn real() -> Self {
        Self::from_fn(Timestamp::now)
    }

    /// Stands at `start` now and moves with tokio's clock, paused or not.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock that tests pause")]
    pub fn of_tokio(start: Timestamp) -> Self {
        let zero = tokio::time::Instant::now();
        Self::from_fn(move || after(start, zero.elapsed()))
    }

    /// The present moment.
    #[must_use]
    pub fn read(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now(…)")
    }
}

/// The moment `life` after `at`, held at the end of the calendar where it would overflow.
pub(super) fn after(at: Timestamp, life: Duration) -> Timestamp {
    SignedDuration::try_from(life).ok().and_then(|life| at.checked_add(life).ok()).unwrap_or(Timestamp::MAX)
}

/// Waits on tokio's clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock that tests pause")]
pub(crate) async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

/// What `future` brings within `time` of tokio's clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock that tests pause")]
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(time, future).await.ok()
}
