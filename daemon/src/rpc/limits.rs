//! What each user has in use: connections, subscriptions, messages of the hour, shares of the processor.
//!
//! Everything is counted by uid, never by connection alone: an attacker with many connections is one user. The lock on
//! the table is held only to count; nothing is read, written or waited for under it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::hour::Hour;
use super::lane::Lanes;
use super::patience::Patience;
use crate::clock::Instant;
use crate::domain::settings::LimitSettings;

/// Large requests of one user that are read at the same time, each on a thread of its own.
const LARGE_READS: usize = 1;
/// Answers of one user that may be large and are made or written at the same time.
const LARGE_ANSWERS: usize = 2;
/// Refusals of one user are reported once in this time.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Every user that has something in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Arc<Mutex<HashMap<u32, Arc<User>>>>);

/// What one user has in use.
#[derive(Debug)]
pub(super) struct User {
    /// Its uid.
    pub(super) uid: u32,
    /// Answers that may be large.
    pub(super) large_answers: Arc<Semaphore>,
    /// Where its connections run.
    pub(super) lanes: Lanes,
    connections: AtomicU32,
    subscriptions: AtomicU32,
    large_reads: Semaphore,
    hour: Mutex<Hour>,
    refusals: Mutex<Refusals>,
    patience: Mutex<Patience>,
}

#[derive(Debug, Default)]
struct Refusals {
    reported_at: Option<Instant>,
    unreported: u64,
}

/// A connection that counts for its user until this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    /// The user.
    pub(super) user: Arc<User>,
}

/// A subscription that counts for its user until this is dropped.
#[derive(Debug)]
pub(super) struct SubscriptionPermit(Arc<User>);

impl Users {
    /// Counts one more connection, or says that the user has as many as it may.
    pub(super) fn connect(&self, uid: u32, limits: &LimitSettings, now: Instant) -> Option<ConnectionPermit> {
        let mut users = self.lock();
        let user = users.entry(uid).or_insert_with(|| Arc::new(User::new(uid)));
        if user.connections.load(Ordering::Relaxed) >= limits.connections_per_uid {
            user.try_patience(now);
            return None;
        }
        user.connections.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionPermit { user: Arc::clone(user) })
    }

    /// Ends a connection, and forgets its user if it was the last one, nothing was queued in the last hour, and no refusal
    /// is left to count.
    pub(super) fn leave(&self, permit: ConnectionPermit, now: Instant) {
        let mut users = self.lock();
        let user = Arc::clone(&permit.user);
        drop(permit);
        if user.connections.load(Ordering::Relaxed) == 0 && user.is_blank(now) {
            users.remove(&user.uid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<User>>> {
        lock(&self.0)
    }
}

impl User {
    fn new(uid: u32) -> Self {
        Self {
            uid,
            large_answers: Arc::new(Semaphore::new(LARGE_ANSWERS)),
            lanes: Lanes::start(),
            connections: AtomicU32::new(0),
            subscriptions: AtomicU32::new(0),
            large_reads: Semaphore::new(LARGE_READS),
            hour: Mutex::new(Hour::new()),
            refusals: Mutex::default(),
            patience: Mutex::default(),
        }
    }

    /// Whether nothing is to be remembered of the user once its connections are gone.
    fn is_blank(&self, now: Instant) -> bool {
        lock(&self.hour).is_empty(now) && lock(&self.patience).is_whole(now)
    }

    /// Waits for the turn to read a large request.
    pub(super) async fn large_read(&self) -> Option<SemaphorePermit<'_>> {
        self.large_reads.acquire().await.ok()
    }

    /// Counts one more subscription, or says that the user has as many as it may.
    pub(super) fn subscribe(self: &Arc<Self>, limits: &LimitSettings) -> Option<SubscriptionPermit> {
        let counted = self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < limits.subscriptions_per_uid).then_some(count + 1)
        });
        counted.is_ok().then(|| SubscriptionPermit(Arc::clone(self)))
    }

    /// Counts a message of the hour, or says how long to wait until one fits.
    pub(super) fn take_message(&self, limit: u32, now: Instant) -> Result<(), Duration> {
        lock(&self.hour).take(limit, now)
    }

    /// Takes back a message that was refused.
    pub(super) fn give_message_back(&self) {
        lock(&self.hour).give_back();
    }

    /// Counts a request that should not have been sent.
    pub(super) fn try_patience(&self, now: Instant) {
        lock(&self.patience).refused(now);
    }

    /// How long to wait before the user's next request is read.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        lock(&self.patience).wait(now)
    }

    /// Counts a call that is not allowed. Gives the number of them since the last report if it is time for one.
    pub(super) fn refused(&self, now: Instant) -> Option<u64> {
        let mut refusals = lock(&self.refusals);
        refusals.unreported += 1;
        if refusals.reported_at.is_some_and(|at| now.since(at) < REPORT_EVERY) {
            return None;
        }
        refusals.reported_at = Some(now);
        Some(std::mem::take(&mut refusals.unreported))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.user.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for SubscriptionPermit {
    fn drop(&mut self) {
        self.0.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a request of which `octets` have come may take to be complete.
pub(super) fn time_for(limits: &LimitSettings, octets: u64) -> Duration {
    let more = octets / limits.request_bytes_per_second.max(1);
    limits.request_timeout + Duration::from_secs(more)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Settings;

    fn at(seconds: u64) -> Instant {
        Instant::since_boot(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn connections_and_subscriptions_are_counted_by_user_and_come_back() {
        let mut limits = Settings::default().limits;
        (limits.connections_per_uid, limits.subscriptions_per_uid) = (2, 1);
        let users = Users::default();
        let first = users.connect(7, &limits, at(0)).unwrap();
        let second = users.connect(7, &limits, at(0)).unwrap();
        assert!(users.connect(7, &limits, at(0)).is_none());
        assert!(users.connect(8, &limits, at(0)).is_some());
        let subscription = first.user.subscribe(&limits).unwrap();
        assert!(second.user.subscribe(&limits).is_none());
        drop((second, subscription));
        assert!(first.user.subscribe(&limits).is_some());
        assert!(users.connect(7, &limits, at(0)).is_some());
    }

    #[tokio::test]
    async fn an_hour_outlives_the_connection_and_is_forgotten_after_it() {
        let limits = Settings::default().limits;
        let users = Users::default();
        let first = users.connect(7, &limits, at(0)).unwrap();
        first.user.take_message(1, at(0)).unwrap();
        users.leave(first, at(10));
        let again = users.connect(7, &limits, at(0)).unwrap();
        assert!(again.user.take_message(1, at(10)).is_err());
        users.leave(again, at(7200));
        assert!(users.lock().is_empty());
    }

    #[tokio::test]
    async fn a_refusal_outlives_the_connection_for_as_long_as_it_counts() {
        let limits = Settings::default().limits;
        let users = Users::default();
        let first = users.connect(7, &limits, at(0)).unwrap();
        (0..600).for_each(|_| first.user.try_patience(at(0)));
        users.leave(first, at(0));
        let again = users.connect(7, &limits, at(0)).unwrap();
        assert!(!again.user.wait(at(0)).is_zero());
        users.leave(again, at(3));
        assert!(users.lock().is_empty());
    }

    #[tokio::test]
    async fn refusals_are_reported_once_in_a_minute_with_their_number() {
        let user = User::new(7);
        assert_eq!(user.refused(at(0)), Some(1));
        assert_eq!(user.refused(at(1)), None);
        assert_eq!(user.refused(at(59)), None);
        assert_eq!(user.refused(at(61)), Some(3));
    }

    #[test]
    fn a_large_request_has_a_second_more_for_each_256_kib() {
        let limits = Settings::default().limits;
        assert_eq!(time_for(&limits, 100), Duration::from_secs(30));
        assert_eq!(time_for(&limits, 1024 * 1024), Duration::from_secs(34));
    }
}
