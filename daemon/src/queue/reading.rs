//! Messages and gates as callers see them.

use frankd_proto::methods::message::{ListParams, MessageView, Messages, RecipientView};
use frankd_proto::methods::queue::{ProfileQueue, QueueSummary};
use frankd_proto::{HoldReason, MessageId, MessageState, ProfileId};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

use super::error::QueueError;
use super::shared::{Scope, Shared};
use crate::clock::ClockExt as _;
use crate::domain::{Gate, Message};
use crate::store::{LaneCount, MessageFilter};

/// Messages of one page, unless the caller says.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;
/// Most pages that one list looks at: a filter that nothing matches ends with a cursor instead of a long scan.
const PAGES_LOOKED_AT: usize = 10;
/// Longest `message.wait`.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// One message that the caller may see.
pub(super) async fn message(shared: &Shared, id: MessageId, scope: Scope) -> Result<Message, QueueError> {
    let message = shared.store.message(id).await?;
    message.filter(|message| scope.covers(message)).ok_or(QueueError::NoSuchMessage(id))
}

/// Waits until the message is final, held or in doubt, or the time is up.
pub(super) async fn wait(
    shared: &Shared,
    id: MessageId,
    scope: Scope,
    limit: Duration,
) -> Result<MessageView, QueueError> {
    let mut commits = shared.store.last_seq();
    let mut gates = shared.gates.changed();
    let limit = limit.min(WAIT_MAX);
    let settled = async {
        loop {
            commits.see();
            gates.borrow_and_update();
            let view = view(shared, message(shared, id, scope).await?);
            if view.state.is_final() || matches!(view.state, MessageState::Held | MessageState::InDoubt) {
                return Ok(view);
            }
            tokio::select! {
                true = commits.changed() => {}
                Ok(()) = gates.changed() => {}
                else => return Ok(view),
            }
        }
    };
    match shared.clock.deadline(limit, settled).await {
        Ok(view) => view,
        Err(_) => Ok(view(shared, message(shared, id, scope).await?)),
    }
}

/// A page of messages, the newest first.
pub(super) async fn list(shared: &Shared, params: ListParams, scope: Scope) -> Result<Messages, QueueError> {
    let limit = params.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(QueueError::Parameter { field: "limit", reason: format!("must be from 1 to {PAGE_MAX}") });
    }
    let limit = limit as usize;
    let profile = match params.profile {
        Some(name) => Some(shared.profile_id(&name).ok_or(QueueError::NoSuchProfile(name))?),
        None => None,
    };
    let mut filter = MessageFilter {
        profile,
        uid: scope.uid(),
        waiting: params.state.is_some_and(|state| !state.is_final()),
        since: params.since,
        before: params.cursor,
        limit,
    };
    let wanted = |view: &MessageView| {
        let to = |wanted: &String| view.recipients.iter().any(|r| r.address.eq_ignore_ascii_case(wanted));
        params.state.is_none_or(|state| view.state == state) && params.to.as_ref().is_none_or(to)
    };
    let mut items: Vec<MessageView> = Vec::new();
    for _ in 0..PAGES_LOOKED_AT {
        let page = shared.store.messages(filter.clone()).await?;
        let last_of_page = page.messages.last().map(|message| message.id);
        for found in page.messages {
            let id = found.id;
            let view = view(shared, found);
            if !wanted(&view) {
                continue;
            }
            items.push(view);
            if items.len() == limit {
                let more = page.next.is_some() || last_of_page != Some(id);
                return Ok(Messages { items, next_cursor: more.then_some(id) });
            }
        }
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    Ok(Messages { items, next_cursor: filter.before })
}

/// The octets as they are sent.
pub(super) async fn raw(shared: &Shared, id: MessageId, scope: Scope) -> Result<Vec<u8>, QueueError> {
    message(shared, id, scope).await?;
    shared.store.body(id).await?.ok_or(QueueError::NoBody(id))
}

/// How much mail waits where.
pub(super) async fn summary(shared: &Shared) -> Result<QueueSummary, QueueError> {
    let counts = shared.store.counts().await?;
    let now = shared.clock.wall();
    let view = shared.registry.view();
    let mut profiles: Vec<ProfileQueue> = Vec::new();
    let senders = view.profiles().filter(|profile| profile.smtp.is_some()).map(|profile| profile.id);
    let all: BTreeSet<ProfileId> = senders.chain(counts.iter().map(|(id, _)| *id)).collect();
    for id in all {
        let count = counts.iter().find(|(of, _)| *of == id).map(|(_, count)| *count).unwrap_or_default();
        profiles.push(ProfileQueue {
            profile: shared.profile_name(id),
            waiting: count.waiting,
            due: due(shared, id, &count, now).await?,
            sending: count.sending,
            held: count.held,
            in_doubt: count.in_doubt,
            bytes: count.bytes,
            oldest_at: count.oldest_at,
            gates: shared.gates.of(id).iter().map(|gate| gate.reason).collect(),
        });
    }
    profiles.sort_by(|a, b| a.profile.cmp(&b.profile));
    Ok(QueueSummary {
        waiting: counts.iter().map(|(_, count)| count.waiting).sum(),
        bytes: counts.iter().map(|(_, count)| count.bytes).sum(),
        profiles,
    })
}

/// How many messages of a profile are due. Of a long queue only the newest are looked at; the rest counts as due.
async fn due(shared: &Shared, profile: ProfileId, count: &LaneCount, now: Timestamp) -> Result<u64, QueueError> {
    let deliverable = count.waiting.saturating_sub(count.sending + count.held + count.in_doubt);
    if deliverable == 0 {
        return Ok(0);
    }
    let mut filter =
        MessageFilter { profile: Some(profile), waiting: true, limit: PAGE_MAX as usize, ..MessageFilter::default() };
    let mut later = 0;
    for _ in 0..PAGES_LOOKED_AT {
        let page = shared.store.messages(filter.clone()).await?;
        let waits = |m: &&Message| m.is_pending() && m.claim.is_none() && m.hold.is_none() && m.due_at > now;
        later += page.messages.iter().filter(waits).count() as u64;
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    Ok(deliverable.saturating_sub(later))
}

/// A message as it is read.
pub(super) fn view(shared: &Shared, message: Message) -> MessageView {
    let gates = shared.gates.of(message.profile);
    let state = message.state(shared.clock.wall(), !gates.is_empty());
    MessageView {
        id: message.id,
        profile: shared.profile_name(message.profile),
        state,
        held: held(&message, state, &gates),
        next_attempt_at: next_attempt(&message, state, &gates),
        from: message.from,
        recipients: message
            .recipients
            .into_iter()
            .map(|r| RecipientView { address: r.address, state: r.state, reply: r.reply, ended_at: r.ended_at })
            .collect(),
        message_id: message.message_id,
        subject: message.subject,
        size_bytes: message.size_bytes,
        priority: message.priority,
        queued_at: message.queued_at,
        send_at: message.send_at,
        expires_at: message.expires_at,
        attempts: message.attempts,
        consumed_age_s: message.consumed_age_s,
        ended_at: message.ended_at,
        uid: message.uid,
        last_attempt: message.last_attempt,
    }
}

fn held(message: &Message, state: MessageState, gates: &[Gate]) -> Option<HoldReason> {
    match (state, &message.hold) {
        (MessageState::Held, Some(_)) => Some(HoldReason::Operator),
        (MessageState::Held, None) => gates.first().map(|gate| gate.reason),
        _ => None,
    }
}

fn next_attempt(message: &Message, state: MessageState, gates: &[Gate]) -> Option<Timestamp> {
    match state {
        // The last of the gates counts; one that somebody must open has no time.
        MessageState::Held if message.hold.is_none() => {
            let until: Option<Vec<Timestamp>> = gates.iter().map(|gate| gate.until).collect();
            until.and_then(|until| until.into_iter().max())
        }
        MessageState::Scheduled | MessageState::Queued | MessageState::Deferred => Some(message.due_at),
        _ => None,
    }
}
