//! What goes, and when.

use frankd_proto::{EventType, GrantState, MessageId, RecipientState};
use jiff::Timestamp;

use super::{Failure, Subject, sample};
use crate::domain::Message;
use crate::store::{Accepted, Change, IdempotencyKey, NewMessage, Retention, Store};

/// Nothing is old enough to go.
fn everything() -> Retention {
    Retention {
        body_before: Timestamp::UNIX_EPOCH,
        message_before: Timestamp::UNIX_EPOCH,
        event_before: Timestamp::UNIX_EPOCH,
        idempotency_before: Timestamp::UNIX_EPOCH,
        grant_before: Timestamp::UNIX_EPOCH,
    }
}

async fn sweep(store: &dyn Store, retention: Retention) -> Result<(), Failure> {
    for _ in 0..1000 {
        if !store.sweep(retention).await? {
            return Ok(());
        }
    }
    Err("the sweep does not end".into())
}

/// Accepts message `n` and brings it to its end at `end`.
async fn ended(store: &dyn Store, new: NewMessage, state: RecipientState, end: i64) -> Result<Message, Failure> {
    let message = sample::settled(&new.message, state, sample::at(end));
    assert_eq!(store.accept(new).await?, Accepted::New);
    let change = Change::PutMessage { message: Box::new(message.clone()), expected: 1 };
    store.commit(vec![change], Vec::new()).await?;
    Ok(message)
}

async fn has_body(store: &dyn Store, id: MessageId) -> Result<bool, Failure> {
    Ok(store.body(id).await?.is_some())
}

/// No sweep is needed for it.
pub async fn the_body_of_a_sent_message_goes_at_once(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    for (n, state) in [(1, RecipientState::Sent), (2, RecipientState::Cancelled)] {
        let mut new = sample::new_message(sample::message(n, 1));
        new.body = vec![b'x'; 10_000].into();
        let message = ended(&*subject.store(), new, state, 1).await?;
        assert!(!has_body(&*subject.store(), message.id).await?);
        subject.crash().await?;
        assert!(!has_body(&*subject.store(), message.id).await?);
        assert_eq!(subject.store().message(message.id).await?, Some(message));
    }
    Ok(())
}

/// It may be asked for: the sender wants to see what was refused.
pub async fn the_body_of_a_failed_message_stays_for_its_time(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let mut large = sample::new_message(sample::message(2, 1));
    large.body = vec![b'x'; 10_000].into();
    let new = sample::new_message(sample::message(1, 1));
    let small = ended(&*subject.store(), new, RecipientState::Failed, 10).await?;
    let large = ended(&*subject.store(), large, RecipientState::Expired, 10).await?;
    subject.crash().await?;
    let store = subject.store();
    let mut retention = everything();
    retention.body_before = sample::at(10);
    sweep(&*store, retention).await?;
    assert!(has_body(&*store, small.id).await? && has_body(&*store, large.id).await?);
    retention.body_before = sample::at(11);
    sweep(&*store, retention).await?;
    assert!(!has_body(&*store, small.id).await? && !has_body(&*store, large.id).await?);
    assert_eq!(store.message(small.id).await?, Some(small));
    Ok(())
}

/// Each kind goes by its own moment, and stays gone.
pub async fn final_messages_keys_grants_and_events_go_in_time(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let keyed = |n| {
        let mut new = sample::new_message(sample::message(n, 1));
        new.idempotency = Some(IdempotencyKey { uid: 1000, key: "k".to_owned(), digest: [1; 32] });
        new
    };
    let plain = ended(&*subject.store(), sample::new_message(sample::message(1, 1)), RecipientState::Sent, 10).await?;
    let named = ended(&*subject.store(), keyed(2), RecipientState::Failed, 10).await?;
    let mut over = sample::grant(1);
    over.state = GrantState::Denied;
    over.ended_at = Some(sample::at(10));
    let grants = [over, sample::grant(2)].map(|grant| Change::PutGrant { grant: Box::new(grant), expected: None });
    let mut late = sample::event(EventType::DaemonStarted);
    late.at = sample::at(100);
    subject.store().commit(grants.to_vec(), vec![late]).await?;

    let mut retention = everything();
    retention.message_before = sample::at(11);
    sweep(&*subject.store(), retention).await?;
    assert_eq!(subject.store().message(plain.id).await?, None);
    // Its key is still kept, and must be answered.
    assert_eq!(subject.store().accept(keyed(3)).await?, Accepted::Duplicate(Box::new(named.clone())));
    retention.idempotency_before = sample::at(11);
    retention.grant_before = sample::at(11);
    retention.event_before = sample::at(50);
    sweep(&*subject.store(), retention).await?;
    subject.crash().await?;
    let store = subject.store();
    assert_eq!(store.message(named.id).await?, None);
    assert!(!has_body(&*store, named.id).await?);
    assert_eq!(store.accept(keyed(3)).await?, Accepted::New);
    assert_eq!(store.snapshot().await?.grants, [sample::grant(2)]);
    let (events, oldest) = store.events(0, 10).await?;
    assert_eq!((events.iter().map(|e| e.seq).collect::<Vec<_>>(), oldest), (vec![3, 4], 3));
    Ok(())
}

/// A message that is not final is mail: no clock takes it.
pub async fn waiting_messages_stay_whatever_the_time(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    store.accept(sample::new_message(sample::message(1, 1))).await?;
    store.commit(vec![Change::PutGrant { grant: Box::new(sample::grant(1)), expected: None }], Vec::new()).await?;
    let far = sample::at(1_000_000_000);
    let retention = Retention {
        body_before: far,
        message_before: far,
        event_before: far,
        idempotency_before: far,
        grant_before: far,
    };
    sweep(&*store, retention).await?;
    assert_eq!(store.message(sample::message_id(1)).await?, Some(sample::message(1, 1)));
    assert!(has_body(&*store, sample::message_id(1)).await?);
    assert_eq!(store.snapshot().await?.grants.len(), 1);
    assert_eq!(store.events(0, 10).await?, (Vec::new(), 2));
    Ok(())
}

/// A large heap goes in bounded pieces, so that others get their turn.
pub async fn a_sweep_ends_in_pieces(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    for _ in 0..3 {
        let events = (0..500).map(|_| sample::event(EventType::AccessDenied)).collect();
        store.commit(Vec::new(), events).await?;
    }
    let mut retention = everything();
    retention.event_before = sample::at(1);
    assert!(store.sweep(retention).await?);
    assert!(!store.events(0, 10).await?.0.is_empty());
    sweep(&*store, retention).await?;
    assert_eq!(store.events(0, 10).await?, (Vec::new(), 1501));
    Ok(())
}
