//! The queue: acceptance, order, claims, counts, lists.

use std::collections::BTreeSet;

use frankd_proto::{MessageId, Priority, RecipientState};

use super::{Failure, Subject, sample};
use crate::domain::message::OperatorHold;
use crate::domain::{Message, Phase};
use crate::store::{Accepted, Change, IdempotencyKey, Lane, LaneCount, MessageFilter, NewMessage, Store, StoreError};

async fn accept(store: &dyn Store, message: Message) -> Result<(), Failure> {
    match store.accept(sample::new_message(message)).await? {
        Accepted::New => Ok(()),
        other => Err(format!("not accepted: {other:?}").into()),
    }
}

async fn put(store: &dyn Store, message: &Message) -> Result<(), StoreError> {
    let change = Change::PutMessage { message: Box::new(message.clone()), expected: message.version - 1 };
    store.commit(vec![change], Vec::new()).await.map(drop)
}

fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|m| m.id).collect()
}

/// Bodies of all sizes, with all octets, after a crash too.
pub async fn a_body_comes_back_octet_for_octet(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let sizes = [0, 1, 4_000, 4_096, 4_097, 65_536, 131_072, 200_001];
    let body = |size: usize| (0..size).map(|i| (i * 7).to_le_bytes()[0]).collect::<Vec<u8>>();
    for (n, size) in (1..).zip(sizes) {
        let mut new = sample::new_message(sample::message(n, 1));
        let mut writer = subject.store().write_body(sample::message_id(n));
        for piece in body(size).chunks(50_000) {
            writer.write(piece.to_vec()).await?;
        }
        // Every other one comes whole: it makes no difference.
        new.body = if n % 2 == 0 { writer.finish().await? } else { body(size).into() };
        assert_eq!(subject.store().accept(new).await?, Accepted::New);
        assert!(subject.store().body(sample::message_id(n)).await? == Some(body(size)), "{size}");
    }
    subject.crash().await?;
    for (n, size) in (1..).zip(sizes) {
        assert_eq!(subject.store().message(sample::message_id(n)).await?, Some(sample::message(n, 1)));
        assert!(subject.store().body(sample::message_id(n)).await? == Some(body(size)), "{size}");
    }
    Ok(())
}

/// By priority, then by due time, then by id; nothing before its time.
pub async fn a_message_is_due_in_order(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    let plan = [
        (1, Priority::Low, 0),
        (2, Priority::Normal, 20),
        (3, Priority::Normal, 10),
        (5, Priority::Normal, 10),
        (4, Priority::Normal, 10),
        (6, Priority::High, 50),
        (7, Priority::High, 101),
    ];
    for (n, priority, due) in plan {
        let mut message = sample::message(n, 1);
        message.priority = priority;
        message.due_at = sample::at(due);
        accept(&*store, message).await?;
    }
    accept(&*store, sample::message(8, 2)).await?;
    let profile = sample::profile_id(1);
    let lane = |n, due| Lane { profile: sample::profile_id(n), due_at: sample::at(due) };
    assert_eq!(store.lanes().await?, [lane(1, 0), lane(2, 0)]);
    let first = store.claim(profile, sample::at(100), 3).await?;
    assert_eq!(ids(&first), [6, 3, 4].map(sample::message_id));
    let rest = store.claim(profile, sample::at(100), 100).await?;
    assert_eq!(ids(&rest), [5, 2, 1].map(sample::message_id));
    assert_eq!(store.lanes().await?, [lane(1, 101), lane(2, 0)]);
    assert_eq!(ids(&store.claim(profile, sample::at(101), 100).await?), [sample::message_id(7)]);
    assert_eq!(store.lanes().await?, [lane(2, 0)]);
    Ok(())
}

/// Many who claim at once get each message once, with their claim in it.
pub async fn a_message_is_claimed_once(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    for n in 1..=40 {
        accept(&*store, sample::message(n, 1)).await?;
    }
    let claim = || store.claim(sample::profile_id(1), sample::at(1), 5);
    let claims = futures::future::try_join_all((0..12).map(|_| claim())).await?;
    let claimed: Vec<Message> = claims.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 40);
    assert_eq!(ids(&claimed).into_iter().collect::<BTreeSet<_>>().len(), 40);
    for message in &claimed {
        assert_eq!(message.version, 2);
        assert_eq!(message.claim.map(|c| c.incarnation), Some(store.opened().incarnation));
        assert_eq!(store.message(message.id).await?.as_ref(), Some(message));
    }
    Ok(())
}

/// An operator's hold takes a message out of the lanes, its release brings it back.
pub async fn a_held_message_is_in_no_lane(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    accept(&*store, sample::message(1, 1)).await?;
    let mut message = sample::message(1, 1);
    message.version = 2;
    message.hold = Some(OperatorHold { since: sample::at(0), reason: Some("look".to_owned()) });
    put(&*store, &message).await?;
    assert_eq!(store.lanes().await?, []);
    assert_eq!(store.claim(sample::profile_id(1), sample::at(9), 9).await?, []);
    subject.crash().await?;
    let store = subject.store();
    assert_eq!(store.lanes().await?, []);
    message.version = 3;
    message.hold = None;
    message.due_at = sample::at(5);
    put(&*store, &message).await?;
    assert_eq!(store.lanes().await?, [Lane { profile: sample::profile_id(1), due_at: sample::at(5) }]);
    Ok(())
}

/// The queue of the profile that it leaves forgets it.
pub async fn a_message_moves_to_another_profile(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    accept(&*store, sample::message(1, 1)).await?;
    let mut message = sample::message(1, 2);
    message.version = 2;
    put(&*store, &message).await?;
    assert_eq!(store.lanes().await?, [Lane { profile: sample::profile_id(2), due_at: sample::at(0) }]);
    assert_eq!(store.claim(sample::profile_id(1), sample::at(9), 9).await?, []);
    assert_eq!(store.counts().await?.len(), 1);
    assert_eq!(ids(&store.claim(sample::profile_id(2), sample::at(9), 9).await?), [message.id]);
    Ok(())
}

/// What another run had claimed is due again, and its late settlement is refused.
pub async fn claims_of_another_run_are_void(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    for n in 1..=3 {
        accept(&*store, sample::message(n, 1)).await?;
    }
    let claimed = store.claim(sample::profile_id(1), sample::at(1), 2).await?;
    // A durable change after the claims: from now on they are on disk.
    put(&*store, &sample::settled(&sample::message(3, 1), RecipientState::Cancelled, sample::at(1))).await?;
    let first = store.opened().incarnation;
    subject.crash().await?;
    let store = subject.store();
    assert_eq!(store.opened().incarnation, first + 1);
    assert_eq!((store.opened().not_sent, &store.opened().in_doubt), (2, &Vec::new()));
    let late = put(&*store, &sample::settled(&claimed[0], RecipientState::Sent, sample::at(2))).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    let again = store.claim(sample::profile_id(1), sample::at(1), 9).await?;
    assert_eq!(ids(&again), ids(&claimed));
    assert!(again.iter().all(|m| m.claim.is_some_and(|c| c.incarnation == first + 1)));
    Ok(())
}

/// It is neither sent again nor forgotten until the queue decides, however often the daemon starts.
pub async fn a_message_past_the_final_dot_stays_in_doubt(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    accept(&*subject.store(), sample::message(1, 1)).await?;
    accept(&*subject.store(), sample::message(2, 1)).await?;
    let mut claimed = subject.store().claim(sample::profile_id(1), sample::at(1), 9).await?;
    claimed[0].version += 1;
    claimed[0].phase = Phase::AfterDot;
    put(&*subject.store(), &claimed[0]).await?;
    for run in 1..=2 {
        subject.crash().await?;
        let store = subject.store();
        assert_eq!(store.opened().in_doubt, [claimed[0].id]);
        assert_eq!(store.opened().not_sent, u64::from(run == 1));
        assert_eq!(store.message(claimed[0].id).await?, Some(claimed[0].clone()));
        assert_eq!(ids(&store.claim(sample::profile_id(1), sample::at(1), 0).await?), []);
    }
    let store = subject.store();
    put(&*store, &sample::settled(&claimed[0], RecipientState::Pending, sample::at(2))).await?;
    assert_eq!(ids(&store.claim(sample::profile_id(1), sample::at(2), 9).await?), [1, 2].map(sample::message_id));
    Ok(())
}

fn submission(n: u32, uid: u32, key: &str, digest: u8) -> NewMessage {
    let mut new = sample::new_message(sample::message(n, 1));
    new.message.uid = uid;
    new.idempotency = Some(IdempotencyKey { uid, key: key.to_owned(), digest: [digest; 32] });
    new
}

/// The second submission under a key gives the first message, as it is by then.
pub async fn a_submission_is_accepted_once(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let first = submission(1, 1000, "order-7", 1);
    assert_eq!(subject.store().accept(first.clone()).await?, Accepted::New);
    subject.crash().await?;
    let store = subject.store();
    let seq = store.last_seq().now();
    let again = store.accept(submission(2, 1000, "order-7", 1)).await?;
    assert_eq!(again, Accepted::Duplicate(Box::new(first.message.clone())));
    let sent = sample::settled(&first.message, RecipientState::Sent, sample::at(1));
    put(&*store, &sent).await?;
    let again = store.accept(submission(3, 1000, "order-7", 1)).await?;
    assert_eq!(again, Accepted::Duplicate(Box::new(sent)));
    assert_eq!(store.message(sample::message_id(2)).await?, None);
    assert_eq!(store.last_seq().now(), seq);
    Ok(())
}

/// Another content is a conflict, another caller is another key, and an id is used once.
pub async fn a_key_belongs_to_its_caller_and_its_content(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    assert_eq!(store.accept(submission(1, 1000, "k", 1)).await?, Accepted::New);
    assert_eq!(store.accept(submission(2, 1000, "k", 2)).await?, Accepted::KeyConflict);
    let named = |uid, key: &str, digest| IdempotencyKey { uid, key: key.to_owned(), digest: [digest; 32] };
    assert_eq!(store.named(named(1000, "k", 2)).await?, Some(Accepted::KeyConflict));
    let first = submission(1, 1000, "k", 1).message;
    assert_eq!(store.named(named(1000, "k", 1)).await?, Some(Accepted::Duplicate(Box::new(first))));
    assert_eq!((store.named(named(1001, "k", 1)).await?, store.named(named(1000, "K", 1)).await?), (None, None));
    assert_eq!(store.accept(submission(3, 1001, "k", 2)).await?, Accepted::New);
    assert_eq!(store.accept(submission(4, 1000, "K", 2)).await?, Accepted::New);
    let used = store.accept(sample::new_message(sample::message(1, 1))).await;
    assert!(matches!(used, Err(StoreError::Conflict(_))), "{used:?}");
    Ok(())
}

/// Limits count what is not final, over all callers and for one uid.
pub async fn a_full_queue_refuses(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let limited = |n: u32, uid: u32| {
        let mut new = sample::new_message(sample::message(n, 1));
        new.message.uid = uid;
        new.max_messages = 3;
        new.max_of_uid = 2;
        new
    };
    for n in [1, 2] {
        assert_eq!(subject.store().accept(limited(n, 1000)).await?, Accepted::New);
    }
    subject.crash().await?;
    let store = subject.store();
    assert_eq!(store.accept(limited(3, 1000)).await?, Accepted::QueueFull { of_uid: true });
    assert_eq!(store.accept(limited(3, 1001)).await?, Accepted::New);
    assert_eq!(store.accept(limited(4, 1001)).await?, Accepted::QueueFull { of_uid: false });
    let mut first = limited(1, 1000).message;
    first = sample::settled(&first, RecipientState::Sent, sample::at(1));
    put(&*store, &first).await?;
    assert_eq!(store.accept(limited(4, 1000)).await?, Accepted::New);
    Ok(())
}

/// Many at once with one key: one message.
pub async fn one_of_many_submissions_of_one_key_is_new(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    let results = futures::future::try_join_all((1..=16).map(|n| store.accept(submission(n, 1000, "k", 1)))).await?;
    assert_eq!(results.iter().filter(|r| **r == Accepted::New).count(), 1);
    assert_eq!(results.iter().filter(|r| matches!(r, Accepted::Duplicate(_))).count(), 15);
    Ok(())
}

/// Each state is counted, by profile, after a crash too; final messages are not.
pub async fn counts_follow_the_messages(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    for n in 1..=5 {
        accept(&*store, sample::message(n, 1)).await?;
    }
    accept(&*store, sample::message(6, 2)).await?;
    let claimed = store.claim(sample::profile_id(1), sample::at(1), 2).await?;
    put(&*store, &sample::settled(&claimed[0], RecipientState::Sent, sample::at(1))).await?;
    put(&*store, &sample::settled(&sample::message(4, 1), RecipientState::InDoubt, sample::at(1))).await?;
    let mut held = sample::message(5, 1);
    held.version = 2;
    held.hold = Some(OperatorHold { since: sample::at(1), reason: None });
    put(&*store, &held).await?;
    let mut expected =
        LaneCount { waiting: 4, sending: 1, held: 1, in_doubt: 1, bytes: 400, oldest_at: Some(sample::at(2)) };
    let other = LaneCount { waiting: 1, bytes: 100, oldest_at: Some(sample::at(6)), ..LaneCount::default() };
    let both = |first| vec![(sample::profile_id(1), first), (sample::profile_id(2), other)];
    assert_eq!(store.counts().await?, both(expected));
    subject.crash().await?;
    expected.sending = 0;
    assert_eq!(subject.store().counts().await?, both(expected));
    let store = subject.store();
    put(&*store, &sample::settled(&sample::message(6, 2), RecipientState::Failed, sample::at(1))).await?;
    assert_eq!(store.counts().await?, [(sample::profile_id(1), expected)]);
    Ok(())
}

/// A list is walked with `before` until `next` is gone, and each filter shows what it says.
pub async fn messages_are_listed_newest_first(subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    for n in 1..=9 {
        let mut message = sample::message(n, 1 + n % 2);
        message.uid = 1000 + n % 3;
        accept(&*store, message).await?;
    }
    let mut first = sample::message(9, 2);
    first.uid = 1000;
    put(&*store, &sample::settled(&first, RecipientState::Sent, sample::at(20))).await?;
    let all = MessageFilter { limit: 2, ..MessageFilter::default() };
    let filters = [
        (all.clone(), vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (MessageFilter { profile: Some(sample::profile_id(2)), ..all.clone() }, vec![9, 7, 5, 3, 1]),
        (MessageFilter { uid: Some(1000), ..all.clone() }, vec![9, 6, 3]),
        (MessageFilter { waiting: true, uid: Some(1000), ..all.clone() }, vec![6, 3]),
        (MessageFilter { waiting: true, profile: Some(sample::profile_id(2)), ..all.clone() }, vec![7, 5, 3, 1]),
        (MessageFilter { since: Some(sample::at(7)), ..all.clone() }, vec![9, 8, 7]),
        (MessageFilter { before: Some(sample::message_id(3)), ..all.clone() }, vec![2, 1]),
    ];
    for (mut filter, expected) in filters {
        let mut seen = Vec::new();
        loop {
            let page = store.messages(filter.clone()).await?;
            assert!(page.messages.len() <= 2);
            seen.extend(ids(&page.messages));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, expected.into_iter().map(sample::message_id).collect::<Vec<_>>(), "{filter:?}");
    }
    Ok(())
}

/// 64 senders at once: every receipt is a message on disk, after a crash too.
pub async fn many_senders_at_once_lose_nothing(mut subject: impl Subject) -> Result<(), Failure> {
    sample::senders(&*subject.store()).await?;
    let store = subject.store();
    for round in 0..4 {
        let accepts = (1..=64).map(|n| accept(&*store, sample::message(round * 64 + n, n % 3)));
        futures::future::try_join_all(accepts).await?;
    }
    drop(store);
    subject.crash().await?;
    let store = subject.store();
    for n in 1..=256 {
        assert!(store.message(sample::message_id(n)).await?.is_some(), "{n}");
        assert!(store.body(sample::message_id(n)).await?.is_some(), "{n}");
    }
    assert_eq!(store.last_seq().now(), 256);
    assert_eq!(store.counts().await?.iter().map(|(_, c)| c.waiting).sum::<u64>(), 256);
    Ok(())
}
