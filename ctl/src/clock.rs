//! The only place of frankctl that reads or waits for time.
//!
//! Wall time is for people to read ("in 52 min") and for `--since 2h`; waits bound the loopback listener and
//! pace redraws. Everything that decides about tokens or mail counts in the daemon.

use std::time::Duration;

use jiff::Timestamp;

/// Where the wall time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// Always this moment, so that a test knows what is printed.
    Fixed(Timestamp),
}

impl Clock {
    /// The wall time now.
    #[expect(clippy::disallowed_methods, reason = "this module is frankctl's clock")]
    pub fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Fixed(moment) => moment,
        }
    }
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "this module is frankctl's clock")]
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits for `future`, at most this long; `None` if it took longer.
#[expect(clippy::disallowed_methods, reason = "this module is frankctl's clock")]
pub(crate) async fn deadline<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(duration, future).await.ok()
}
