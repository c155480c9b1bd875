//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, a status line, and signs of life.
//!
//! The watchdog is fed only when every part that must not hang has answered within ten seconds. So a daemon that still
//! runs but no longer works is restarted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use sd_notify::NotifyState;

use crate::clock::{ClockExt as _, SharedClock};

/// Longest answer of a part that works.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks a part whether it works: the future ends when the part has answered.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

type Tell = dyn Fn(&[NotifyState<'_>]) + Send + Sync;

/// Tells the service manager.
#[derive(Clone)]
pub struct Notifier {
    send: Arc<Tell>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

impl Notifier {
    /// Tells the manager of this process, if it has one that wants to know.
    pub fn of_process() -> Self {
        Self {
            send: Arc::new(|states| {
                if let Err(error) = sd_notify::notify(states) {
                    tracing::debug!(%error, "the service manager does not listen");
                }
            }),
        }
    }

    /// The daemon serves.
    pub fn ready(&self, status: &str) {
        (self.send)(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The settings are loaded again, or stay as they were.
    pub fn reloaded(&self) {
        (self.send)(&[NotifyState::Ready]);
    }

    /// The settings are being loaded again; `reloaded` ends it.
    pub fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now();
        let states = [NotifyState::Reloading].into_iter().chain(now);
        (self.send)(&states.collect::<Vec<_>>());
    }

    /// The daemon ends.
    pub fn stopping(&self, status: &str) {
        (self.send)(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        (self.send)(&[NotifyState::Status(status)]);
    }

    /// Feeds the watchdog as long as all parts answer. `within` is what the manager asked for; without it nothing is to
    /// be done.
    pub async fn feed(self, within: Option<Duration>, clock: SharedClock, parts: Vec<(&'static str, Check)>) {
        let Some(within) = within else {
            return;
        };
        loop {
            clock.sleep(within / 3).await;
            let asked = parts.iter().map(|(name, check)| {
                let answer = clock.deadline(ANSWER, check());
                async move { answer.await.err().map(|_| *name) }
            });
            let silent: Vec<&str> = join_all(asked).await.into_iter().flatten().collect();
            if silent.is_empty() {
                (self.send)(&[NotifyState::Watchdog]);
            } else {
                tracing::error!(parts = %silent.join(", "), "no answer within 10 s: the watchdog is not fed");
            }
        }
    }
}

/// How often the manager wants a sign of life, if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt as _;

    use super::*;
    use crate::clock::FakeClock;

    fn listener() -> (Notifier, Arc<Mutex<Vec<String>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let send = move |states: &[NotifyState<'_>]| {
            ear.lock().unwrap().extend(states.iter().map(ToString::to_string));
        };
        (Notifier { send: Arc::new(send) }, heard)
    }

    #[test]
    fn states_are_told_as_the_manager_expects_them() {
        let (notifier, heard) = listener();
        notifier.ready("2 profiles");
        notifier.reloading();
        notifier.reloaded();
        notifier.stopping("draining");
        let heard = heard.lock().unwrap();
        assert_eq!(heard[..3], ["READY=1", "STATUS=2 profiles", "RELOADING=1"]);
        assert!(heard[3].starts_with("MONOTONIC_USEC="), "{}", heard[3]);
        assert_eq!(heard[4..], ["READY=1", "STOPPING=1", "STATUS=draining"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_every_part_answers() {
        let (notifier, heard) = listener();
        let clock: SharedClock = Arc::new(FakeClock::new());
        let hangs = Arc::new(AtomicBool::new(false));
        let stuck = Arc::clone(&hangs);
        let parts: Vec<(&'static str, Check)> = vec![
            ("keeper", Arc::new(|| std::future::ready(()).boxed())),
            (
                "dispatcher",
                Arc::new(move || {
                    if stuck.load(Ordering::Relaxed) {
                        std::future::pending().boxed()
                    } else {
                        std::future::ready(()).boxed()
                    }
                }),
            ),
        ];
        let feeding = tokio::spawn(notifier.feed(Some(Duration::from_secs(30)), Arc::clone(&clock), parts));
        clock.sleep(Duration::from_secs(35)).await;
        assert_eq!(*heard.lock().unwrap(), ["WATCHDOG=1"; 3]);
        hangs.store(true, Ordering::Relaxed);
        clock.sleep(Duration::from_secs(300)).await;
        assert_eq!(heard.lock().unwrap().len(), 3);
        hangs.store(false, Ordering::Relaxed);
        clock.sleep(Duration::from_secs(60)).await;
        assert!(heard.lock().unwrap().len() > 3);
        feeding.abort();
    }
}
