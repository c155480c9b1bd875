//! The octets of large requests: how many may be in memory together, and how many of them for one user.
//!
//! One user has at most half, so a second always finds room. Who does not fit waits in the order of asking; a user that is
//! over its half does not hold up the others. A request asks once for all that it may need: nobody holds some octets while
//! it waits for more, so nobody waits for ever.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The octets of all large requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    limit: u64,
    used: u64,
    by_uid: HashMap<u32, u64>,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    uid: u32,
    octets: u64,
    grant: oneshot::Sender<Octets>,
}

/// Octets in use; they are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Octets {
    budget: Budget,
    uid: u32,
    count: u64,
}

impl Budget {
    /// Waits until `octets` of `limit` are free for `uid`. Who asks for more than half gets half.
    pub(super) async fn take(&self, uid: u32, octets: u64, limit: u64) -> Octets {
        loop {
            let (grant, granted) = oneshot::channel();
            {
                let mut state = self.lock();
                state.limit = limit;
                let octets = octets.min(limit / 2);
                state.waiting.push_back(Waiter { uid, octets, grant });
            }
            self.serve();
            if let Ok(octets) = granted.await {
                return octets;
            }
        }
    }

    /// Hands out what is free, outside of the lock: a waiter that has gone gives its octets back at once.
    fn serve(&self) {
        for (waiter, octets) in self.grants() {
            drop(waiter.send(octets));
        }
    }

    fn grants(&self) -> Vec<(oneshot::Sender<Octets>, Octets)> {
        let mut state = self.lock();
        let mut grants = Vec::new();
        let mut over = HashSet::new();
        let mut kept = VecDeque::new();
        while let Some(waiter) = state.waiting.pop_front() {
            if waiter.grant.is_closed() {
                continue;
            }
            let Waiter { uid, octets, .. } = waiter;
            let own = state.by_uid.get(&uid).copied().unwrap_or_default();
            if over.contains(&uid) || own + octets > state.limit / 2 {
                over.insert(uid);
                kept.push_back(waiter);
            } else if state.used + octets > state.limit {
                kept.push_back(waiter);
                break;
            } else {
                state.used += octets;
                *state.by_uid.entry(uid).or_default() += octets;
                let budget = self.clone();
                grants.push((waiter.grant, Octets { budget, uid, count: octets }));
            }
        }
        kept.append(&mut state.waiting);
        state.waiting = kept;
        grants
    }

    fn give_back(&self, uid: u32, octets: u64) {
        {
            let mut state = self.lock();
            state.used -= octets;
            let own = state.by_uid.entry(uid).or_default();
            *own -= octets;
            if *own == 0 {
                state.by_uid.remove(&uid);
            }
            if state.waiting.is_empty() {
                return;
            }
        }
        self.serve();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Octets {
    /// Keeps only as many as turned out to be needed.
    pub(super) fn shrink(&mut self, count: u64) {
        if let Some(spare) = self.count.checked_sub(count).filter(|spare| *spare > 0) {
            self.count = count;
            self.budget.give_back(self.uid, spare);
        }
    }
}

impl Drop for Octets {
    fn drop(&mut self) {
        if self.count > 0 {
            self.budget.give_back(self.uid, self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_user_has_at_most_half_and_its_next_request_waits() {
        let budget = Budget::default();
        let first = budget.take(1, 40, 96).await;
        assert!(budget.take(1, 20, 96).now_or_never().is_none(), "the same user waits");
        let other = budget.take(2, 48, 96).now_or_never();
        assert!(other.is_some(), "another user does not");
        assert!(budget.take(3, 20, 96).now_or_never().is_none(), "there are no more than all");
        drop(first);
        assert!(budget.take(1, 48, 96).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_waiter_is_served_when_enough_comes_back_and_in_the_order_of_asking() {
        let budget = Budget::default();
        let mut first = budget.take(1, 48, 96).await;
        let (mut large, mut small) = (Box::pin(budget.take(1, 40, 96)), Box::pin(budget.take(1, 4, 96)));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(small.as_mut().now_or_never().is_none());
        first.shrink(20);
        assert!(small.as_mut().now_or_never().is_none(), "nobody overtakes within a user");
        drop(first);
        assert!(large.await.count == 40 && small.await.count == 4);
    }

    #[tokio::test]
    async fn a_waiter_that_went_away_leaves_nothing_behind() {
        let budget = Budget::default();
        let first = budget.take(1, 48, 96).await;
        let mut gone = Box::pin(budget.take(1, 48, 96));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(budget.take(1, 1_000, 96).now_or_never().is_some(), "more than half is half");
        assert_eq!(budget.lock().used, 0);
    }
}
