//! Real time, for tests and benches that watch processes of their own.
//!
//! Tests in one process run on paused time and never come here.

use std::time::{Duration, Instant};

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to count.
    #[expect(clippy::disallowed_methods, reason = "times other processes")]
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since it was made.
    #[expect(clippy::disallowed_methods, reason = "times other processes")]
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets time pass between two looks at another process, in a loop that ends.
#[expect(clippy::disallowed_methods, reason = "waits for another process, which nothing tells us of")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
