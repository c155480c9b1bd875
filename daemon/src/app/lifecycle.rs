//! How the daemon goes: SIGHUP loads the settings again; SIGTERM or SIGINT lets the mail in progress finish; a second one
//! skips that but waits for token flights, because a refresh token that rotates must not be lost; a third one ends at once.

use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::clock::{ClockExt as _, SharedClock};

/// How long a stop waits for token flights, at most.
const FLIGHTS: Duration = Duration::from_secs(10);

/// What somebody asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Load the settings again.
    Reload,
    /// Stop; the second and third time with less patience.
    Stop,
}

/// The signals of this process.
pub struct Signals(BoxStream<'static, Signal>);

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// Catches SIGHUP, SIGTERM and SIGINT from now on. Call it inside the runtime.
    pub fn catch() -> std::io::Result<Self> {
        let signals = signal_hook_tokio::Signals::new([SIGHUP, SIGTERM, SIGINT])?;
        let signals = signals.map(|signal| if signal == SIGHUP { Signal::Reload } else { Signal::Stop });
        Ok(Self(signals.boxed()))
    }

    /// Signals that somebody else makes.
    pub fn of(signals: impl futures::Stream<Item = Signal> + Send + 'static) -> Self {
        Self(signals.boxed())
    }

    /// Reloads at each SIGHUP, until the first signal to stop.
    pub async fn until_stop(&mut self, reload: impl AsyncFn()) {
        while let Some(Signal::Reload) = self.0.next().await {
            reload().await;
        }
    }

    /// Waits for the next signal to stop.
    async fn stop(&mut self) {
        loop {
            match self.0.next().await {
                Some(Signal::Stop) => return,
                Some(Signal::Reload) => {}
                None => return std::future::pending().await,
            }
        }
    }
}

/// What has to end in order.
pub trait Parts: Send + Sync {
    /// Ends accepting work. Returns at once.
    fn close(&self);

    /// Lets deliveries finish, for at most so long.
    fn drain_mail(&self, limit: Duration) -> BoxFuture<'_, ()>;

    /// Ends `drain_mail` soon.
    fn skip_mail_drain(&self);

    /// Lets token flights finish, for at most so long.
    fn wait_for_flights(&self, limit: Duration) -> BoxFuture<'_, ()>;

    /// Writes out what is buffered and closes the store. Always the last thing, but for a third signal.
    fn finish(&self) -> BoxFuture<'_, ()>;
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All that was in progress is finished, or known to be cut short.
    InOrder,
    /// A third signal cut everything short.
    AtOnce,
}

/// Ends the parts in order, after the first signal to stop.
pub async fn stop(signals: &mut Signals, clock: &SharedClock, parts: &dyn Parts, drain: Duration) -> Stopped {
    parts.close();
    // The parts keep their limits themselves; these deadlines are for one that does not.
    let grace = Duration::from_secs(5);
    let orderly = async {
        if clock.deadline(drain + grace, parts.drain_mail(drain)).await.is_err() {
            tracing::warn!("deliveries did not end in time");
        }
        if clock.deadline(FLIGHTS + grace, parts.wait_for_flights(FLIGHTS)).await.is_err() {
            tracing::warn!("token flights did not end in time");
        }
        if clock.deadline(FLIGHTS, parts.finish()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
    };
    let mut orderly = std::pin::pin!(orderly);
    tokio::select! {
        biased;
        () = &mut orderly => return Stopped::InOrder,
        () = signals.stop() => {}
    }
    tracing::info!("stopping without waiting for mail");
    parts.skip_mail_drain();
    tokio::select! {
        biased;
        () = &mut orderly => Stopped::InOrder,
        () = signals.stop() => Stopped::AtOnce,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::clock::FakeClock;

    /// Parts that take as long as they may, and note what they are told.
    struct Slow {
        clock: SharedClock,
        noted: Arc<Mutex<Vec<String>>>,
        skip: watch::Sender<bool>,
        mail: Duration,
        flights: Duration,
    }

    impl Slow {
        fn note(&self, what: &str) {
            self.noted.lock().unwrap().push(what.to_owned());
        }
    }

    impl Parts for Slow {
        fn close(&self) {
            self.note("close");
        }

        fn drain_mail(&self, limit: Duration) -> BoxFuture<'_, ()> {
            async move {
                let mut skip = self.skip.subscribe();
                let skipped = skip.wait_for(|skip| *skip);
                let all = self.clock.deadline(self.mail.min(limit), skipped).await;
                self.note(if all.is_ok() { "mail skipped" } else { "mail done" });
            }
            .boxed()
        }

        fn skip_mail_drain(&self) {
            self.skip.send_replace(true);
        }

        fn wait_for_flights(&self, limit: Duration) -> BoxFuture<'_, ()> {
            async move {
                self.clock.sleep(self.flights.min(limit)).await;
                self.note("flights done");
            }
            .boxed()
        }

        fn finish(&self) -> BoxFuture<'_, ()> {
            async { self.note("finish") }.boxed()
        }
    }

    /// Stops parts with further signals at these seconds. Gives the end, the seconds it took, and what was noted.
    async fn stopped(mail: u64, flights: u64, signals: &[u64]) -> (Stopped, u64, Vec<String>) {
        let clock: SharedClock = Arc::new(FakeClock::new());
        let (sender, mut receiver) = mpsc::channel(8);
        let (timer, at) = (Arc::clone(&clock), signals.to_vec());
        tokio::spawn(async move {
            let began = timer.now();
            for second in at {
                timer.sleep_until(began + Duration::from_secs(second)).await;
                sender.send(Signal::Stop).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let mut signals = Signals::of(futures::stream::poll_fn(move |context| receiver.poll_recv(context)));
        let noted = Arc::new(Mutex::new(Vec::new()));
        let parts = Slow {
            clock: Arc::clone(&clock),
            noted: Arc::clone(&noted),
            skip: watch::channel(false).0,
            mail: Duration::from_secs(mail),
            flights: Duration::from_secs(flights),
        };
        let began = clock.now();
        let end = stop(&mut signals, &clock, &parts, Duration::from_secs(60)).await;
        let took = clock.now().since(began).as_secs();
        let noted = noted.lock().unwrap().clone();
        (end, took, noted)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_lets_mail_and_flights_finish() {
        let (end, took, noted) = stopped(20, 3, &[]).await;
        assert_eq!((end, took), (Stopped::InOrder, 23));
        assert_eq!(noted, ["close", "mail done", "flights done", "finish"]);
        assert_eq!(stopped(1000, 1000, &[]).await.1, 70, "60 s for mail, 10 s for flights, no more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_skips_mail_and_still_waits_for_flights() {
        let (end, took, noted) = stopped(1000, 1000, &[5]).await;
        assert_eq!((end, took), (Stopped::InOrder, 15));
        assert_eq!(noted, ["close", "mail skipped", "flights done", "finish"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_third_ends_at_once() {
        let (end, took, noted) = stopped(1000, 1000, &[5, 7]).await;
        assert_eq!((end, took), (Stopped::AtOnce, 7));
        assert_eq!(noted, ["close", "mail skipped"]);
    }

    #[tokio::test]
    async fn signals_of_the_process_are_told_apart() {
        let mut signals = Signals::catch().unwrap();
        for signal in [SIGHUP, SIGTERM] {
            signal_hook::low_level::raise(signal).unwrap();
        }
        let reloads = std::sync::atomic::AtomicU32::new(0);
        let reload = async || {
            reloads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        signals.until_stop(reload).await;
        assert_eq!(reloads.into_inner(), 1);
    }
}
