//! The sequence number of the last event, to be read and to be waited for.
//!
//! It gives values, never a borrow: a borrow that somebody keeps while waiting would stop every commit.

use tokio::sync::watch;

/// Follows the sequence number of the last event.
#[derive(Clone, Debug)]
pub struct LastSeq(watch::Receiver<u64>);

impl LastSeq {
    /// Follows what `seq` tells.
    pub(super) fn of(seq: &watch::Sender<u64>) -> Self {
        Self(seq.subscribe())
    }

    /// The number now.
    pub fn now(&self) -> u64 {
        *self.0.borrow()
    }

    /// The number now, which counts as seen from here on.
    pub fn see(&mut self) -> u64 {
        *self.0.borrow_and_update()
    }

    /// Whether the number was seen.
    pub fn is_seen(&self) -> bool {
        self.0.has_changed().is_ok_and(|changed| !changed)
    }

    /// Waits for a number that was not seen, which counts as seen then. Gives whether there is one: there is none once the
    /// store is gone.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
