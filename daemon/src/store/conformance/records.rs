//! The small records and the events: versions, atomicity, names, sequence numbers.

use std::collections::BTreeMap;

use frankd_proto::{ClientId, EventType, GrantId, GrantState, HoldReason, ProfileKind, RecipientState};

use super::{Failure, Subject, sample};
use crate::domain::{Client, Grant, Profile, TokenSlot};
use crate::store::{Change, Record, Snapshot, Store, StoreError};

fn put_client(client: &Client, expected: Option<u64>) -> Change {
    Change::PutClient { client: Box::new(client.clone()), expected }
}

fn put_profile(profile: &Profile, expected: Option<u64>) -> Change {
    Change::PutProfile { profile: Box::new(profile.clone()), expected }
}

fn put_slot(slot: &TokenSlot, expected: Option<u64>) -> Change {
    Change::PutSlot { slot: Box::new(slot.clone()), expected }
}

fn put_grant(grant: &Grant, expected: Option<GrantState>) -> Change {
    Change::PutGrant { grant: Box::new(grant.clone()), expected }
}

/// One record of each kind.
async fn filled(store: &dyn Store) -> Result<Snapshot, Failure> {
    let all = Snapshot {
        clients: vec![sample::client(1, "provider")?],
        profiles: vec![sample::profile(1, "alerts")?],
        slots: vec![sample::slot(1, 1)],
        grants: vec![sample::grant(1)],
        gates: vec![sample::gate(1, HoldReason::Paused)],
    };
    let changes = vec![
        put_client(&all.clients[0], None),
        put_profile(&all.profiles[0], None),
        put_slot(&all.slots[0], None),
        put_grant(&all.grants[0], None),
        Change::PutGate(all.gates[0].clone()),
    ];
    store.commit(changes, Vec::new()).await?;
    Ok(all)
}

/// Everything comes back, secrets included, after a crash and after a stop.
pub async fn what_was_committed_is_there_after_a_crash(mut subject: impl Subject) -> Result<(), Failure> {
    let mut all = filled(&*subject.store()).await?;
    assert_eq!(subject.store().snapshot().await?, all);
    subject.crash().await?;
    assert_eq!(subject.store().snapshot().await?, all);
    all.slots[0] = sample::slot(1, 2);
    subject.store().commit(vec![put_slot(&all.slots[0], Some(1))], Vec::new()).await?;
    subject.restart().await?;
    assert_eq!(subject.store().snapshot().await?, all);
    let deletions = vec![
        Change::DeleteSlot { profile: sample::profile_id(1), expected: 2 },
        Change::DeleteProfile { id: sample::profile_id(1), expected: 1 },
        Change::DeleteClient { id: ClientId::from_bits(1), expected: 1 },
    ];
    subject.store().commit(deletions, Vec::new()).await?;
    subject.crash().await?;
    let left = subject.store().snapshot().await?;
    assert!(left.clients.is_empty() && left.profiles.is_empty() && left.slots.is_empty());
    assert_eq!((left.grants, left.gates), (all.grants, all.gates));
    Ok(())
}

/// A change that was made from another version, skips one, or makes what is there, is refused.
pub async fn a_change_from_another_version_is_a_conflict(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    let all = filled(&*store).await?;
    let (client, profile, slot) = (&all.clients[0], &all.profiles[0], &all.slots[0]);
    let mut skipping = client.clone();
    skipping.revision = 3;
    let message = sample::new_message(sample::message(1, 1));
    store.accept(message.clone()).await?;
    for (change, record) in [
        (put_client(client, None), Record::Client(client.id)),
        (put_client(client, Some(7)), Record::Client(client.id)),
        (put_client(&skipping, Some(1)), Record::Client(client.id)),
        (put_profile(profile, None), Record::Profile(profile.id)),
        (put_slot(slot, None), Record::Slot(profile.id)),
        (put_slot(&sample::slot(1, 3), Some(2)), Record::Slot(profile.id)),
        (Change::DeleteSlot { profile: profile.id, expected: 2 }, Record::Slot(profile.id)),
        (Change::DeleteProfile { id: profile.id, expected: 2 }, Record::Profile(profile.id)),
        (Change::DeleteClient { id: client.id, expected: 2 }, Record::Client(client.id)),
        (put_message(&message.message, 2), Record::Message(message.message.id)),
        (put_message(&message.message, 1), Record::Message(message.message.id)),
    ] {
        let refusal = store.commit(vec![change.clone()], Vec::new()).await;
        let Err(StoreError::Conflict(of)) = refusal else {
            return Err(format!("{change:?} gave {refusal:?}").into());
        };
        assert_eq!(of, record);
    }
    assert_eq!(store.snapshot().await?, all);
    Ok(())
}

fn put_message(message: &crate::domain::Message, expected: u64) -> Change {
    Change::PutMessage { message: Box::new(message.clone()), expected }
}

/// A change of what is not there says so.
pub async fn a_record_that_is_not_there_is_missing(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    let mut grant = sample::grant(1);
    grant.state = GrantState::Exchanging;
    for change in [
        put_client(&sample::client(1, "provider")?, Some(1)),
        put_profile(&sample::profile(1, "alerts")?, Some(1)),
        put_profile(&sample::profile(1, "alerts")?, None),
        put_slot(&sample::slot(1, 2), Some(1)),
        put_grant(&grant, Some(GrantState::Pending)),
        put_message(&sample::message(1, 1), 1),
        Change::DeleteSlot { profile: sample::profile_id(1), expected: 1 },
    ] {
        let refusal = store.commit(vec![change.clone()], Vec::new()).await;
        assert!(matches!(refusal, Err(StoreError::Missing(_))), "{change:?} gave {refusal:?}");
    }
    assert_eq!(store.message(sample::message_id(1)).await?, None);
    assert_eq!(store.body(sample::message_id(1)).await?, None);
    Ok(())
}

/// If the last change is refused, nothing of the commit is there: no record, no event, no number.
pub async fn a_commit_is_made_whole_or_not_at_all(mut subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    let all = filled(&*store).await?;
    store.accept(sample::new_message(sample::message(1, 1))).await?;
    let before = store.last_seq().now();
    let mut held = sample::message(1, 1);
    held.version = 2;
    held.hold = Some(crate::domain::message::OperatorHold { since: sample::at(0), reason: None });
    let changes = vec![
        put_client(&sample::client(2, "other")?, None),
        put_slot(&sample::slot(1, 2), Some(1)),
        put_message(&held, 1),
        Change::RemoveGate { profile: sample::profile_id(1), reason: HoldReason::Paused },
        put_profile(&all.profiles[0], Some(9)),
    ];
    let refusal = store.commit(changes, vec![sample::event(EventType::ProfileResumed)]).await;
    assert!(matches!(refusal, Err(StoreError::Conflict(Record::Profile(_)))), "{refusal:?}");
    subject.crash().await?;
    let store = subject.store();
    assert_eq!(store.snapshot().await?, all);
    assert_eq!(store.message(held.id).await?, Some(sample::message(1, 1)));
    assert_eq!(store.lanes().await?.len(), 1);
    assert_eq!(store.last_seq().now(), before);
    assert_eq!(store.commit(Vec::new(), vec![sample::event(EventType::ProfileResumed)]).await?, before + 1);
    Ok(())
}

/// Of two changes that were made from one version at the same time, one is made.
pub async fn one_of_two_changes_from_one_version_wins(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    filled(&*store).await?;
    for version in 1..20 {
        let change = || vec![put_slot(&sample::slot(1, version + 1), Some(version))];
        let (a, b) =
            futures::future::join(store.commit(change(), Vec::new()), store.commit(change(), Vec::new())).await;
        assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1, "{a:?} {b:?}");
    }
    Ok(())
}

fn delete_profile(n: u32, expected: u64) -> Vec<Change> {
    vec![Change::DeleteProfile { id: sample::profile_id(n), expected }]
}

/// A profile that sends no mail any more.
fn silent(n: u32, revision: u64) -> Result<Profile, Failure> {
    Ok(Profile { kind: ProfileKind::Token, smtp: None, revision, ..sample::profile(n, "alerts")? })
}

/// What waits for a profile keeps it, and keeps it sending, through a crash too; what is final does not.
pub async fn a_profile_with_waiting_mail_stays(mut subject: impl Subject) -> Result<(), Failure> {
    filled(&*subject.store()).await?;
    subject.store().accept(sample::new_message(sample::message(1, 1))).await?;
    subject.crash().await?;
    let store = subject.store();
    for changes in [delete_profile(1, 1), vec![put_profile(&silent(1, 2)?, Some(1))]] {
        let refusal = store.commit(changes, Vec::new()).await;
        let profile = sample::profile_id(1);
        assert!(matches!(refusal, Err(StoreError::InUse(Record::Profile(id))) if id == profile), "{refusal:?}");
    }
    let renamed = Profile { revision: 2, ..sample::profile(1, "other")? };
    store.commit(vec![put_profile(&renamed, Some(1))], Vec::new()).await?;
    let sent = sample::settled(&sample::message(1, 1), RecipientState::Sent, sample::at(1));
    let mut last = vec![put_message(&sent, 1)];
    last.extend(delete_profile(1, 2));
    store.commit(last, Vec::new()).await?;
    assert_eq!(store.snapshot().await?.profiles, []);
    Ok(())
}

/// Mail is accepted only for a profile that is there and sends it, and moves only to such a one.
pub async fn mail_without_a_sender_is_refused(mut subject: impl Subject) -> Result<(), Failure> {
    filled(&*subject.store()).await?;
    subject.store().commit(vec![put_profile(&silent(1, 2)?, Some(1))], Vec::new()).await?;
    subject.crash().await?;
    let store = subject.store();
    store.commit(vec![put_profile(&sample::sender(2)?, None)], Vec::new()).await?;
    store.accept(sample::new_message(sample::message(1, 2))).await?;
    for profile in [1, 3] {
        let refusal = store.accept(sample::new_message(sample::message(2, profile))).await;
        let of = sample::profile_id(profile);
        assert!(matches!(refusal, Err(StoreError::Missing(Record::Profile(id))) if id == of), "{refusal:?}");
        let moved = crate::domain::Message { version: 2, ..sample::message(1, profile) };
        let refusal = store.commit(vec![put_message(&moved, 1)], Vec::new()).await;
        assert!(matches!(refusal, Err(StoreError::Missing(Record::Profile(id))) if id == of), "{refusal:?}");
    }
    assert_eq!(store.body(sample::message_id(2)).await?, None);
    assert_eq!(store.message(sample::message_id(2)).await?, None);
    let speaking = Profile { revision: 3, ..sample::profile(1, "alerts")? };
    store.commit(vec![put_profile(&speaking, Some(2))], Vec::new()).await?;
    store.accept(sample::new_message(sample::message(2, 1))).await?;
    Ok(())
}

/// Of an acceptance and a deletion at the same time one is refused.
pub async fn mail_and_the_deletion_of_its_profile_exclude_each_other(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    for n in 10..40 {
        store.commit(vec![put_profile(&sample::sender(n)?, None)], Vec::new()).await?;
        let accepting = store.accept(sample::new_message(sample::message(n, n)));
        let deleting = store.commit(delete_profile(n, 1), Vec::new());
        let (accepted, deleted) = if n % 2 == 0 {
            futures::future::join(accepting, deleting).await
        } else {
            let (deleted, accepted) = futures::future::join(deleting, accepting).await;
            (accepted, deleted)
        };
        assert!(accepted.is_ok() != deleted.is_ok(), "{accepted:?} {deleted:?}");
        let waits = store.message(sample::message_id(n)).await?.is_some();
        let there = store.snapshot().await?.profiles.iter().any(|profile| profile.id == sample::profile_id(n));
        assert_eq!((waits, there), (accepted.is_ok(), accepted.is_ok()));
    }
    Ok(())
}

/// A client stays as long as a profile refers to it, and no profile refers to one that is not there.
pub async fn a_client_in_use_stays(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    filled(&*store).await?;
    let client = ClientId::from_bits(1);
    let delete = || Change::DeleteClient { id: client, expected: 1 };
    let refusal = store.commit(vec![delete()], Vec::new()).await;
    assert!(matches!(refusal, Err(StoreError::InUse(Record::Client(id))) if id == client), "{refusal:?}");
    let mut both = delete_profile(1, 1);
    both.push(delete());
    store.commit(both, Vec::new()).await?;
    let refusal = store.commit(vec![put_profile(&sample::profile(2, "late")?, None)], Vec::new()).await;
    assert!(matches!(refusal, Err(StoreError::Missing(Record::Client(id))) if id == client), "{refusal:?}");
    Ok(())
}

/// A name is taken as long as its record has it, and free afterwards.
pub async fn a_name_belongs_to_one_record(mut subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    let (first, second) = (sample::client(1, "provider")?, sample::client(2, "provider")?);
    store.commit(vec![put_client(&first, None)], Vec::new()).await?;
    let refusal = store.commit(vec![put_client(&second, None)], Vec::new()).await;
    assert!(matches!(refusal, Err(StoreError::Taken(Record::Client(id))) if id == first.id), "{refusal:?}");
    // The two kinds do not share their names.
    store.commit(vec![put_profile(&sample::profile(1, "provider")?, None)], Vec::new()).await?;
    let refusal = store.commit(vec![put_profile(&sample::profile(2, "provider")?, None)], Vec::new()).await;
    assert!(matches!(refusal, Err(StoreError::Taken(Record::Profile(_)))), "{refusal:?}");

    let mut renamed = sample::client(1, "old-provider")?;
    renamed.revision = 2;
    store.commit(vec![put_client(&renamed, Some(1)), put_client(&second, None)], Vec::new()).await?;
    subject.crash().await?;
    let store = subject.store();
    store.commit(vec![Change::DeleteClient { id: second.id, expected: 1 }], Vec::new()).await?;
    store.commit(vec![put_client(&sample::client(3, "provider")?, None)], Vec::new()).await?;
    let names: BTreeMap<ClientId, String> =
        store.snapshot().await?.clients.into_iter().map(|c| (c.id, c.name.to_string())).collect();
    assert_eq!(names.into_values().collect::<Vec<_>>(), ["old-provider", "provider"]);
    Ok(())
}

/// A grant is taken by one of many, also by another run of the daemon.
pub async fn a_grant_leaves_a_state_once(mut subject: impl Subject) -> Result<(), Failure> {
    let mut grant = sample::grant(1);
    subject.store().commit(vec![put_grant(&grant, None)], Vec::new()).await?;
    grant.state = GrantState::Exchanging;
    let store = subject.store();
    let take = || store.commit(vec![put_grant(&grant, Some(GrantState::Pending))], Vec::new());
    let results = futures::future::join_all((0..8).map(|_| take())).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(StoreError::Conflict(Record::Grant(_))))));
    subject.crash().await?;
    let again = subject.store().commit(vec![put_grant(&grant, Some(GrantState::Pending))], Vec::new()).await;
    assert!(matches!(again, Err(StoreError::Conflict(Record::Grant(id))) if id == GrantId::from_bits(1)), "{again:?}");
    assert_eq!(subject.store().snapshot().await?.grants, [grant]);
    Ok(())
}

/// A gate of one reason replaces the one before; gates of other reasons stay.
pub async fn a_gate_is_one_record_for_each_reason(mut subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    let mut fault = sample::gate(1, HoldReason::HostFault);
    let paused = sample::gate(1, HoldReason::Paused);
    let other = sample::gate(2, HoldReason::HostFault);
    let changes = [&fault, &paused, &other].map(|gate| Change::PutGate(gate.clone()));
    store.commit(changes.to_vec(), Vec::new()).await?;
    fault.probes = 3;
    store.commit(vec![Change::PutGate(fault.clone())], Vec::new()).await?;
    subject.crash().await?;
    let store = subject.store();
    let mut gates = store.snapshot().await?.gates;
    gates.sort_by_key(|gate| (gate.profile, gate.reason));
    assert_eq!(gates, [paused, fault.clone(), other.clone()]);
    let open = |reason| Change::RemoveGate { profile: fault.profile, reason };
    let changes = vec![open(HoldReason::Paused), open(HoldReason::HostFault), open(HoldReason::AuthRefused)];
    store.commit(changes, Vec::new()).await?;
    assert_eq!(store.snapshot().await?.gates, [other]);
    Ok(())
}

/// Numbers go on by one, whoever commits, through crashes and restarts.
pub async fn events_are_numbered_without_a_gap(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    assert_eq!(subject.store().events(0, 10).await?, (Vec::new(), 1));
    let event = || sample::event(EventType::TokenRefreshed).with("try", 1);
    assert_eq!(subject.store().commit(Vec::new(), vec![event(), event()]).await?, 2);
    subject.crash().await?;
    assert_eq!(subject.store().last_seq().now(), 2);
    subject.store().accept(sample::new_message(sample::message(1, 1))).await?;
    subject.restart().await?;
    assert_eq!(subject.store().commit(Vec::new(), vec![event()]).await?, 4);
    assert_eq!(subject.store().commit(Vec::new(), Vec::new()).await?, 4);
    let (events, oldest) = subject.store().events(0, 10).await?;
    assert_eq!(oldest, 1);
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(events[2].event_type, EventType::MessageQueued);
    assert_eq!(events[2].object, Some(sample::message_id(1).to_string()));
    assert_eq!(events[3].data.get("try"), Some(&1.into()));
    Ok(())
}

/// `since` is the last one that the caller has.
pub async fn events_come_in_pieces(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    let events = (0..25).map(|_| sample::event(EventType::AccessDenied)).collect();
    store.commit(Vec::new(), events).await?;
    let mut seen = Vec::new();
    loop {
        let since = seen.last().copied().unwrap_or(0);
        let (piece, _) = store.events(since, 10).await?;
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= 10);
        seen.extend(piece.into_iter().map(|event| event.seq));
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    assert_eq!(store.events(u64::MAX, 10).await?.0, []);
    Ok(())
}

/// Who waits for events need not poll.
pub async fn a_commit_with_an_event_wakes_the_watchers(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    sample::senders(&*store).await?;
    let mut watcher = store.last_seq();
    store.commit(vec![put_client(&sample::client(1, "provider")?, None)], Vec::new()).await?;
    assert!(watcher.is_seen());
    let seq = store.commit(Vec::new(), vec![sample::event(EventType::ConfigReloaded)]).await?;
    assert!(!watcher.is_seen());
    assert_eq!(watcher.see(), seq);
    store.accept(sample::new_message(sample::message(1, 1))).await?;
    assert_eq!(watcher.see(), seq + 1);
    Ok(())
}

/// A record of any size is one record.
pub async fn large_records_shrink_and_grow(mut subject: impl Subject) -> Result<(), Failure> {
    let mut client = sample::client(1, "provider")?;
    for (revision, size) in [(1, 300_000), (2, 0), (3, 4_096), (4, 20_000), (5, 10)] {
        client.revision = revision;
        client.ca_bundle = Some("x".repeat(size));
        let expected = (revision > 1).then_some(revision - 1);
        subject.store().commit(vec![put_client(&client, expected)], Vec::new()).await?;
        assert_eq!(subject.store().snapshot().await?.clients, [client.clone()]);
        subject.crash().await?;
        assert_eq!(subject.store().snapshot().await?.clients, [client.clone()]);
    }
    Ok(())
}

/// Nothing works after the end, and nothing hangs.
pub async fn a_closed_store_says_so(subject: impl Subject) -> Result<(), Failure> {
    let store = subject.store();
    store.close().await?;
    assert!(matches!(store.snapshot().await, Err(StoreError::Closed)));
    assert!(matches!(store.commit(Vec::new(), Vec::new()).await, Err(StoreError::Closed)));
    let accepted = store.accept(sample::new_message(sample::message(1, 1))).await;
    assert!(matches!(accepted, Err(StoreError::Closed)), "{accepted:?}");
    Ok(())
}
