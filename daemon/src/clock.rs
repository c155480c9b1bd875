//! The one module that reads clocks and sleeps.
//!
//! Deadlines count on `CLOCK_BOOTTIME`, which goes on while the machine is suspended; wall time is only stored and shown.
//! Timers of the runtime stop during a suspend, so every sleep wakes in slices of at most 15 s and looks at the clock
//! again. Everybody else takes an `Arc<dyn Clock>`, and `clippy.toml` forbids the rest.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use jiff::Timestamp;

/// Longest sleep without a look at the clock.
pub const SLICE: Duration = Duration::from_secs(15);

/// A moment on the boot clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The moment that long after the boot.
    pub const fn since_boot(duration: Duration) -> Self {
        Self(duration)
    }

    /// Time from `earlier` to this moment; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

/// Time, as frankd sees it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now, on the boot clock.
    fn now(&self) -> Instant;

    /// Now, on the wall clock. It may step.
    fn wall(&self) -> Timestamp;

    /// Returns at `deadline`, a suspend included.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;
}

/// A clock that many share.
pub type SharedClock = Arc<dyn Clock>;

/// The time of a [`Clock::deadline`](ClockExt::deadline) was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is up")]
pub struct Elapsed;

/// Waits on any clock.
pub trait ClockExt: Clock {
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + duration)
    }

    /// Runs `future` for at most `limit`.
    fn deadline<F: Future>(&self, limit: Duration, future: F) -> impl Future<Output = Result<F::Output, Elapsed>> {
        let up = self.sleep(limit);
        async move {
            match select(pin!(future), up).await {
                Either::Left((output, _)) => Ok(output),
                Either::Right(((), _)) => Err(Elapsed),
            }
        }
    }
}

impl<C: Clock + ?Sized> ClockExt for C {}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the boot clock")]
    fn now(&self) -> Instant {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
        Instant(Duration::new(seconds, nanoseconds))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the wall clock")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = deadline.since(Self.now());
                if left.is_zero() {
                    return;
                }
                runtime_sleep(left.min(SLICE)).await;
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the module that sleeps")]
async fn runtime_sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A [`Clock`] in the shape that hyper asks for. Its moments are only compared with each other.
#[derive(Clone, Debug)]
pub struct HyperTimer {
    clock: SharedClock,
    zero: (Instant, std::time::Instant),
}

impl HyperTimer {
    /// A timer on this clock.
    #[expect(clippy::disallowed_methods, reason = "hyper's moments have this type; the clock alone moves them on")]
    pub fn new(clock: SharedClock) -> Self {
        let zero = (clock.now(), std::time::Instant::now());
        Self { clock, zero }
    }

    fn boxed(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(std::sync::Mutex::new(self.clock.sleep_until(deadline))))
    }
}

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.boxed(self.clock.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.boxed(self.zero.0 + deadline.saturating_duration_since(self.zero.1))
    }

    fn now(&self) -> std::time::Instant {
        self.zero.1 + self.clock.now().since(self.zero.0)
    }
}

/// hyper wants its sleeps to be `Sync`; nobody ever locks this.
struct HyperSleep(std::sync::Mutex<BoxFuture<'static, ()>>);

impl hyper::rt::Sleep for HyperSleep {}

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        sleep.as_mut().poll(context)
    }
}

/// A clock for tests that run on tokio's paused time: it adds suspends and wall steps.
#[cfg(any(test, feature = "fakes"))]
#[derive(Clone, Debug)]
pub struct FakeClock {
    inner: Arc<std::sync::Mutex<FakeState>>,
}

#[cfg(any(test, feature = "fakes"))]
#[derive(Debug)]
struct FakeState {
    zero: tokio::time::Instant,
    suspended: Duration,
    wall_zero: Timestamp,
    wall_step: jiff::SignedDuration,
}

#[cfg(any(test, feature = "fakes"))]
impl FakeClock {
    /// A clock that begins at 2026-11-24T12:00:00Z, one hour after boot. Call it inside the runtime.
    #[expect(clippy::disallowed_methods, reason = "the fake clock counts on tokio's paused time")]
    pub fn new() -> Self {
        let state = FakeState {
            zero: tokio::time::Instant::now(),
            suspended: Duration::from_secs(3600),
            wall_zero: Timestamp::from_second(1_795_521_600).unwrap_or(Timestamp::UNIX_EPOCH),
            wall_step: jiff::SignedDuration::ZERO,
        };
        Self { inner: Arc::new(std::sync::Mutex::new(state)) }
    }

    /// The machine sleeps that long: both clocks go on, the runtime's timers do not.
    pub fn suspend(&self, duration: Duration) {
        let mut state = self.state();
        state.suspended += duration;
        state.wall_step += jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::ZERO);
    }

    /// Somebody sets the wall clock.
    pub fn step_wall(&self, step: jiff::SignedDuration) {
        self.state().wall_step += step;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, FakeState> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(any(test, feature = "fakes"))]
impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(any(test, feature = "fakes"))]
impl Clock for FakeClock {
    #[expect(clippy::disallowed_methods, reason = "the fake clock counts on tokio's paused time")]
    fn now(&self) -> Instant {
        let state = self.state();
        Instant(tokio::time::Instant::now().duration_since(state.zero) + state.suspended)
    }

    #[expect(clippy::disallowed_methods, reason = "the fake clock counts on tokio's paused time")]
    fn wall(&self) -> Timestamp {
        let state = self.state();
        let awake = tokio::time::Instant::now().duration_since(state.zero);
        state.wall_zero + jiff::SignedDuration::try_from(awake).unwrap_or(jiff::SignedDuration::ZERO) + state.wall_step
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let left = deadline.since(clock.now());
                if left.is_zero() {
                    return;
                }
                runtime_sleep(left.min(SLICE)).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_at_the_deadline_although_the_machine_slept() {
        let clock = FakeClock::new();
        let (began, wall) = (clock.now(), clock.wall());
        let sleep = clock.sleep(Duration::from_secs(3600));
        clock.suspend(Duration::from_secs(3000));
        sleep.await;
        assert_eq!(clock.now().since(began), Duration::from_secs(3600));
        assert_eq!(clock.wall().duration_since(wall), jiff::SignedDuration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_gives_up_what_takes_too_long() {
        let clock = FakeClock::new();
        let slow = clock.sleep(Duration::from_secs(2));
        assert_eq!(clock.deadline(Duration::from_secs(1), slow).await, Err(Elapsed));
        assert_eq!(clock.deadline(Duration::from_secs(1), async { 7 }).await, Ok(7));
    }
}
