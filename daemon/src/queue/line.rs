//! The connections of one profile: how many there are, how many idle, how fast they may send.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frankd_proto::ProfileId;
use tokio::sync::Notify;

use crate::domain::Submission;
use crate::policy::rate::Pace;

/// How long a limit that a refusal taught is believed.
const LEARNED_FOR: Duration = Duration::from_secs(600);

/// One profile's connections.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) profile: ProfileId,
    /// Wakes one idle connection.
    pub(super) work: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    carriers: u32,
    idle: u32,
    pace: Pace,
    not_before: Duration,
    learned: Option<(u32, Duration)>,
    probing: bool,
}

/// What the dispatcher may do for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Open a connection.
    New,
    /// Wake an idle one.
    Idle,
    /// Nothing until a connection is free.
    Full,
    /// Nothing before that time after the boot.
    NotBefore(Duration),
}

impl Line {
    pub(super) fn new(profile: ProfileId) -> Arc<Self> {
        Arc::new(Self { profile, work: Notify::new(), inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn room(&self, submission: &Submission, now: Duration) -> Room {
        let mut inner = self.inner();
        if inner.not_before > now {
            return Room::NotBefore(inner.not_before);
        }
        if let Some(limit) = submission.messages_per_minute {
            match inner.pace.take(limit, now) {
                Ok(()) => inner.pace.give_back(),
                Err(wait) => return Room::NotBefore(now + wait),
            }
        }
        if inner.idle > 0 {
            return Room::Idle;
        }
        if inner.carriers < inner.limit(submission, now) { Room::New } else { Room::Full }
    }

    /// Whether there may be more connections.
    pub(super) fn wants_more(&self, submission: &Submission, now: Duration) -> bool {
        let mut inner = self.inner();
        inner.carriers < inner.limit(submission, now)
    }

    /// Whether there are more connections than there may be.
    pub(super) fn is_crowded(&self, submission: &Submission, now: Duration) -> bool {
        let mut inner = self.inner();
        inner.carriers > inner.limit(submission, now)
    }

    /// Takes one message of the minute's, or says how long to wait for it.
    pub(super) fn take(&self, submission: &Submission, now: Duration) -> Result<(), Duration> {
        submission.messages_per_minute.map_or(Ok(()), |limit| self.inner().pace.take(limit, now))
    }

    pub(super) fn give_back(&self) {
        self.inner().pace.give_back();
    }

    /// Nothing is tried before `wait` is over.
    pub(super) fn rest(&self, now: Duration, wait: Duration) {
        let mut inner = self.inner();
        inner.not_before = inner.not_before.max(now + wait);
    }

    /// The server wants fewer connections than there are.
    pub(super) fn learn_limit(&self, now: Duration) {
        let mut inner = self.inner();
        inner.learned = Some((inner.carriers.saturating_sub(1).max(1), now + LEARNED_FOR));
    }

    /// Counts a connection until the guard goes.
    pub(super) fn carrier(self: &Arc<Self>) -> Counted {
        self.inner().carriers += 1;
        Counted { line: Arc::clone(self), what: What::Carrier }
    }

    /// Counts an idle connection until the guard goes.
    pub(super) fn idle(self: &Arc<Self>) -> Counted {
        self.inner().idle += 1;
        Counted { line: Arc::clone(self), what: What::Idle }
    }

    /// The right to probe, which one task has at a time.
    pub(super) fn probe(self: &Arc<Self>) -> Option<Counted> {
        let mut inner = self.inner();
        (!std::mem::replace(&mut inner.probing, true)).then(|| Counted { line: Arc::clone(self), what: What::Probe })
    }
}

impl Inner {
    fn limit(&mut self, submission: &Submission, now: Duration) -> u32 {
        if self.learned.is_some_and(|(_, until)| until <= now) {
            self.learned = None;
        }
        let learned = self.learned.map_or(u32::MAX, |(limit, _)| limit);
        submission.max_connections.min(learned).max(1)
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Carrier,
    Idle,
    Probe,
}

/// Counts until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    line: Arc<Line>,
    what: What,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut inner = self.line.inner();
        match self.what {
            What::Carrier => inner.carriers = inner.carriers.saturating_sub(1),
            What::Idle => inner.idle = inner.idle.saturating_sub(1),
            What::Probe => inner.probing = false,
        }
    }
}
