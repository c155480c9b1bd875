//! What is not certain: connections and daemons that end after the final dot.

use super::*;
use frankd_proto::methods::message::ResolveParams;
use frankd_proto::{DoubtOutcome, RecipientState};

fn held(to: &[&str]) -> SendParams {
    SendParams { on_doubt: Some(OnDoubt::Hold), ..mail(to) }
}

fn resolved(id: MessageId, outcome: DoubtOutcome) -> ResolveParams {
    ResolveParams { ids: vec![id], outcome }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_told_before_the_message_is_sent_again() {
    let bench = Bench::plain().await;
    bench.mail.on("DOT", Act::TakeAndClose, 1);
    let id = bench.send(&["c@d.example"]).await;
    let view = bench.wait(id).await;
    assert_eq!((view.state, view.attempts), (MessageState::Sent, 2));
    let taken = bench.mail.taken();
    assert_eq!(taken.len(), 2, "the server had taken it");
    assert!(taken.iter().all(|taken| taken.octets.contains(&view.message_id)));
    let types: Vec<_> = bench.events().await.iter().map(|event| event.event_type).collect();
    assert_eq!(types, [EventType::MessageQueued, EventType::MessageInDoubt, EventType::MessageSent]);
    assert_eq!(view.consumed_age_s, 0, "no fault of the message");
}

#[tokio::test(start_paused = true)]
async fn doubt_that_is_held_waits_for_a_decision() {
    let bench = Bench::plain().await;
    bench.mail.on("DOT", Act::TakeAndClose, 3);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = bench.submit(held(&["c@d.example"])).await.unwrap().id;
        let view = bench.wait(id).await;
        assert_eq!(view.state, MessageState::InDoubt);
        assert_eq!(view.recipients[0].state, RecipientState::InDoubt);
        ids.push(id);
    }
    bench.pass(s(DAY)).await;
    assert_eq!(bench.mail.taken().len(), 3);
    for (id, outcome) in ids.iter().zip([DoubtOutcome::Sent, DoubtOutcome::Fail, DoubtOutcome::Retry]) {
        let changed = bench.queue.resolve(resolved(*id, outcome), Scope::All).await.unwrap();
        assert_eq!(changed.changed, [*id]);
    }
    bench.pass(s(1)).await;
    assert_eq!(bench.state(ids[0]).await, MessageState::Sent);
    assert_eq!(bench.state(ids[1]).await, MessageState::Failed);
    assert_eq!(bench.state(ids[2]).await, MessageState::Sent);
    assert_eq!(bench.mail.taken().len(), 4);
    let again = bench.queue.resolve(resolved(ids[0], DoubtOutcome::Retry), Scope::All).await.unwrap();
    assert_eq!((again.changed.len(), again.skipped.len()), (0, 1));
}

/// A daemon that dies while the server thinks about the final dot.
async fn dead_after_the_dot(params: SendParams) -> (Bench, MessageId, String) {
    let bench = Bench::plain().await;
    bench.mail.on("DOT", Act::Wait(s(10)), 1);
    let receipt = bench.submit(params).await.unwrap();
    bench.pass(s(2)).await;
    assert_eq!(bench.state(receipt.id).await, MessageState::Sending);
    (bench.crash().await, receipt.id, receipt.message_id)
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_after_the_dot_tells_the_doubt_and_sends_the_same_message_again() {
    let (bench, id, message_id) = dead_after_the_dot(mail(&["c@d.example"])).await;
    let view = bench.wait(id).await;
    assert_eq!((view.state, view.message_id.as_str()), (MessageState::Sent, message_id.as_str()));
    bench.pass(s(20)).await;
    let doubt = bench.told(EventType::MessageInDoubt).await;
    assert_eq!(doubt.len(), 1);
    assert_eq!(doubt[0].object.as_deref(), Some(id.to_string().as_str()));
    let types: Vec<_> = bench.events().await.iter().map(|event| event.event_type).collect();
    assert_eq!(types, [EventType::MessageQueued, EventType::MessageInDoubt, EventType::MessageSent]);
    assert!(bench.mail.taken().iter().all(|taken| taken.octets.contains(&message_id)));
    let bench = bench.crash().await;
    bench.pass(s(100)).await;
    assert_eq!(bench.told(EventType::MessageInDoubt).await.len(), 1, "told once");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_after_the_dot_keeps_what_shall_be_held() {
    let (bench, id, _) = dead_after_the_dot(held(&["c@d.example", "e@d.example"])).await;
    bench.pass(s(100)).await;
    let view = bench.view(id).await;
    assert_eq!(view.state, MessageState::InDoubt);
    assert!(view.recipients.iter().all(|r| r.state == RecipientState::InDoubt));
    let changed = bench.queue.resolve(resolved(id, DoubtOutcome::Sent), Scope::Own(1000)).await.unwrap();
    assert_eq!(changed.changed, [id]);
    assert_eq!(bench.state(id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_before_the_dot_sent_nothing_and_nobody_doubts_it() {
    let bench = Bench::plain().await;
    bench.mail.on("DATA", Act::Wait(s(10)), 1);
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(2)).await;
    assert_eq!(bench.state(id).await, MessageState::Sending);
    // The dead daemon's connection goes with it.
    for task in &bench.tasks {
        task.abort();
    }
    bench.queue.skip_drain();
    let bench = bench.crash().await;
    assert_eq!(bench.wait(id).await.state, MessageState::Sent);
    bench.pass(s(30)).await;
    assert_eq!(bench.mail.taken().len(), 1);
    assert_eq!(bench.told(EventType::MessageInDoubt).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_message_of_a_connection_is_in_doubt_after_a_crash() {
    for passed in [1, 5, 30, 100, 300] {
        let bench = Bench::plain().await;
        bench.mail.always("DOT", Act::Wait(Duration::from_millis(7)));
        for _ in 0..40 {
            bench.send(&["c@d.example"]).await;
        }
        bench.pass(Duration::from_millis(passed)).await;
        let bench = bench.crash().await;
        bench.pass(s(10)).await;
        let doubts = bench.told(EventType::MessageInDoubt).await.len();
        assert!(doubts <= 1, "{doubts} after {passed} ms");
        let mut subjects: Vec<_> = bench.mail.taken();
        let all = subjects.len();
        subjects.sort_by(|a, b| a.octets.cmp(&b.octets));
        subjects.dedup();
        assert_eq!(subjects.len(), 40, "none lost");
        assert!(all - 40 <= doubts, "{all} deliveries, {doubts} doubts");
    }
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_the_disk_refuses_leaves_the_message_in_doubt_and_not_twice_sent() {
    let bench = Bench::plain().await;
    bench.mail.on("DOT", Act::Wait(s(5)), 1);
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(2)).await;
    bench.store.set_read_only(Some("the disk is gone"));
    bench.pass(s(100)).await;
    assert_eq!(bench.mail.taken().len(), 1, "nothing is delivered that cannot be written down");
    let bench = bench.crash().await;
    let view = bench.wait(id).await;
    assert_eq!(view.state, MessageState::Sent);
    assert_eq!(bench.told(EventType::MessageInDoubt).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_the_disk_refuses_keeps_the_dot_back() {
    let bench = Bench::plain().await;
    bench.mail.on("DATA", Act::Wait(s(5)), 1);
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(2)).await;
    bench.store.fail_next(crate::store::StoreError::Full);
    bench.pass(s(10)).await;
    assert_eq!(bench.mail.taken().len(), 0);
    assert_eq!(bench.wait(id).await.state, MessageState::Sent);
    assert_eq!(bench.mail.taken().len(), 1);
    assert_eq!(bench.told(EventType::MessageInDoubt).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_not_asked_without_a_pause() {
    let bench = Bench::plain().await;
    bench.disk.refuse_claims(true);
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(60)).await;
    assert!((2..=61).contains(&bench.disk.refused()), "{} claims in a minute", bench.disk.refused());
    assert_eq!(bench.mail.taken().len(), 0);
    bench.disk.refuse_claims(false);
    assert_eq!(bench.wait(id).await.state, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_dot_waits_until_the_message_before_is_settled_on_disk() {
    let bench = Bench::plain().await;
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    for _ in 0..3 {
        bench.send(&["c@d.example"]).await;
    }
    bench.disk.settle_in(10);
    bench.queue.resume(&named("main")).await.unwrap();
    bench.pass(s(9)).await;
    assert_eq!(bench.mail.taken().len(), 1, "the second is with the server but for its dot");
    bench.pass(s(2)).await;
    assert_eq!(bench.mail.taken().len(), 2);
    let bench = bench.crash().await;
    bench.pass(s(60)).await;
    assert_eq!(bench.told(EventType::MessageInDoubt).await.len(), 1);
    assert_eq!(bench.mail.taken().len(), 4, "three, and one again");
}
