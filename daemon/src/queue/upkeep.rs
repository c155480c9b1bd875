//! What happens to messages by the clock alone: the caller's expiry, gates that stay closed too long, retention.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{EventType, HoldReason, RecipientState};
use jiff::Timestamp;

use super::orders::turn;
use super::shared::{Shared, Stop};
use crate::clock::ClockExt as _;
use crate::domain::{Gate, Message, NewEvent, Phase};
use crate::policy::retry::{after, outlasted};
use crate::store::{Change, MessageFilter, Retention, StoreError};

/// Time between two sweeps.
const SWEEP: Duration = Duration::from_secs(60);
/// Time between two looks for gates that stay closed too long.
const GATES: Duration = Duration::from_secs(15 * 60);
/// When a message that is being sent is looked at again.
const AGAIN: Duration = Duration::from_secs(5);
/// Messages that are read at once.
const PAGE: usize = 200;
/// Most pieces of one sweep; the rest comes with the next.
const PIECES: usize = 200;

/// Runs until the daemon stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    if let Err(error) = know_ends(&shared).await {
        tracing::warn!(%error, "messages that end cannot be read; they end with their next attempt");
    }
    let mut low_space = false;
    let (mut sweep_at, mut gates_at) = (shared.clock.now(), shared.clock.now());
    while *stop.borrow_and_update() == Stop::No {
        let now = shared.clock.now();
        let mut work = expire_due(&shared).await;
        if sweep_at <= now {
            sweep_at = now + SWEEP;
            work = work.and(sweep(&shared).await);
            low_space = watch_space(&shared, low_space).await;
        }
        if gates_at <= now {
            gates_at = now + GATES;
            work = work.and(expire_behind_gates(&shared).await);
        }
        if let Err(error) = work {
            tracing::warn!(%error, "the upkeep of the queue is put off");
        }
        let wait = SWEEP.min(next_end(&shared));
        tokio::select! {
            () = shared.clock.sleep(wait.max(Duration::from_millis(10))) => {}
            () = shared.earlier_end.notified() => {}
            _ = stop.changed() => {}
        }
    }
}

/// Reads which waiting messages have an end that their callers gave.
async fn know_ends(shared: &Shared) -> Result<(), StoreError> {
    let mut filter = MessageFilter { waiting: true, limit: PAGE, ..MessageFilter::default() };
    loop {
        let page = shared.store.messages(filter.clone()).await?;
        for message in &page.messages {
            shared.ends_at(message);
        }
        filter.before = page.next;
        if filter.before.is_none() || shared.is_stopping() {
            return Ok(());
        }
    }
}

fn next_end(shared: &Shared) -> Duration {
    let now = shared.clock.wall();
    let first = shared.ends().first().map(|(at, _)| *at);
    first.map_or(SWEEP, |at| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

async fn expire_due(shared: &Shared) -> Result<(), StoreError> {
    loop {
        let now = shared.clock.wall();
        let due = shared.ends().first().copied().filter(|(at, _)| *at <= now);
        let Some((at, id)) = due else { return Ok(()) };
        let message = shared.store.message(id).await?;
        shared.ends().remove(&(at, id));
        let Some(message) = message.filter(Message::is_pending) else { continue };
        let ended = message.claim.is_none() && expire(shared, message, "its time is over", None).await;
        if !ended {
            shared.ends().insert((after(now, AGAIN), id));
        }
    }
}

/// Ends what still waits of a message: one that nobody has claimed, or that the caller of this has. Says whether it did:
/// somebody may have been quicker.
pub(super) async fn expire(shared: &Shared, message: Message, why: &str, reason: Option<HoldReason>) -> bool {
    let now = shared.clock.wall();
    let pending = message.recipients.iter().filter(|r| r.state == RecipientState::Pending);
    let addresses: Vec<String> = pending.map(|recipient| recipient.address.clone()).collect();
    let mut event = NewEvent::new(now, EventType::MessageExpired)
        .profile(&shared.profile_name(message.profile))
        .object(message.id)
        .with("recipients", addresses)
        .with("detail", why);
    if let Some(reason) = reason {
        event = event.with("reason", reason.as_str());
    }
    let mut next = message;
    let expected = next.version;
    next.version += 1;
    next.claim = None;
    next.phase = Phase::BeforeDot;
    turn(&mut next, RecipientState::Pending, RecipientState::Expired, now);
    let change = Change::PutMessage { message: Box::new(next), expected };
    let expired = shared.store.commit(vec![change], vec![event]).await;
    expired.inspect_err(|error| tracing::debug!(%error, "a message did not expire now")).is_ok()
}

/// Ends messages that waited too long behind a gate.
async fn expire_behind_gates(shared: &Shared) -> Result<(), StoreError> {
    let longest = shared.settings().queue.longest_gate;
    let now = shared.clock.wall();
    for gate in shared.gates.closed().values().filter(|gate| after(gate.since, longest) <= now) {
        if gate.reason != HoldReason::Paused && shared.gates.gate(gate.profile, HoldReason::Paused).is_none() {
            expire_behind(shared, gate, longest, now).await?;
        }
    }
    Ok(())
}

async fn expire_behind(shared: &Shared, gate: &Gate, longest: Duration, now: Timestamp) -> Result<(), StoreError> {
    let mut filter =
        MessageFilter { profile: Some(gate.profile), waiting: true, limit: PAGE, ..MessageFilter::default() };
    let why = gate.detail.as_deref().unwrap_or("the profile's mail was held too long");
    loop {
        let page = shared.store.messages(filter.clone()).await?;
        for message in page.messages {
            let waits = message.is_pending() && message.claim.is_none() && message.hold.is_none();
            if waits && outlasted(&message, gate.reason, gate.since, longest, now) {
                expire(shared, message, why, Some(gate.reason)).await;
            }
        }
        filter.before = page.next;
        if filter.before.is_none() || shared.is_stopping() {
            return Ok(());
        }
    }
}

async fn sweep(shared: &Shared) -> Result<(), StoreError> {
    let keep = shared.settings().retention.clone();
    let now = shared.clock.wall();
    let ago = |span: Duration| {
        jiff::SignedDuration::try_from(span).ok().and_then(|span| now.checked_sub(span).ok()).unwrap_or(Timestamp::MIN)
    };
    let retention = Retention {
        body_before: ago(keep.body),
        message_before: ago(keep.message),
        event_before: ago(keep.event),
        idempotency_before: ago(keep.idempotency),
        grant_before: ago(keep.grant),
    };
    for _ in 0..PIECES {
        if !shared.store.sweep(retention).await? || shared.is_stopping() {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Tells once that the disk has too little room for new mail. Gives whether it has.
async fn watch_space(shared: &Shared, was_low: bool) -> bool {
    let least = shared.settings().queue.min_free_bytes;
    let Some(free) = shared.store.health().free_bytes else { return false };
    if free < least && !was_low {
        let event = NewEvent::new(shared.clock.wall(), EventType::StoreLowSpace).with("free_bytes", free);
        if let Err(error) = shared.store.commit(Vec::new(), vec![event.with("least_bytes", least)]).await {
            tracing::warn!(%error, free, "the disk has too little room for mail");
        }
    }
    free < least
}
