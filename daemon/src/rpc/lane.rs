//! Where a user's connections run: together, in few tasks.
//!
//! The runtime shares its workers among tasks, not among users: with a task for each connection, a user that floods 250 of
//! them would have 250 shares. So all connections of a user run inside of one task for every two workers, and a flood
//! slows down nobody but its user. A task gives its worker back after a bounded amount of work, as every task does.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

type Work = BoxFuture<'static, ()>;

/// The tasks of one user. They end when this is gone and all that runs in them has ended.
#[derive(Debug)]
pub(super) struct Lanes {
    tasks: Vec<mpsc::UnboundedSender<Work>>,
    next: AtomicUsize,
}

impl Lanes {
    /// Starts the tasks. Call it inside the runtime.
    pub(super) fn start() -> Self {
        let runtime = Handle::current();
        let count = (runtime.metrics().num_workers() / 2).max(1);
        let start = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            runtime.spawn(run(receiver));
            sender
        };
        Self { tasks: (0..count).map(|_| start()).collect(), next: AtomicUsize::new(0) }
    }

    /// Runs something in one of the tasks until it ends, or until this future is dropped.
    pub(super) async fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let (mut waits, ended) = oneshot::channel::<()>();
        let work = async move {
            tokio::select! {
                biased;
                () = waits.closed() => {}
                done = AssertUnwindSafe(work).catch_unwind() => {
                    if done.is_err() {
                        tracing::error!("a connection panicked");
                    }
                }
            }
        };
        let lane = self.next.fetch_add(1, Ordering::Relaxed) % self.tasks.len();
        if self.tasks[lane].send(work.boxed()).is_ok() {
            drop(ended.await);
        }
    }
}

async fn run(mut work: mpsc::UnboundedReceiver<Work>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(new) = work.recv() => running.push(new),
            Some(()) = running.next() => {}
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn work_ends_when_nobody_waits_for_it_and_a_panic_harms_no_other() {
        let lanes = Arc::new(Lanes::start());
        let (alive, mut gone) = oneshot::channel::<()>();
        let held = async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        };
        let other = Arc::clone(&lanes);
        let waiting = tokio::spawn(async move { other.run(held).await });
        lanes.run(async { panic!("on purpose") }).await;
        assert!(gone.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        waiting.abort();
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn the_tasks_end_with_their_user() {
        let before = Handle::current().metrics().num_alive_tasks();
        let lanes = Lanes::start();
        lanes.run(async {}).await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before + 1);
        drop(lanes);
        tokio::task::yield_now().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    }
}
