//! What people do with queued mail, and what they see of it.

use super::*;
use frankd_proto::RecipientState;

async fn shut() -> Bench {
    let bench = Bench::plain().await;
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    bench
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_message_is_not_sent_and_a_sent_one_not_cancelled() {
    let bench = shut().await;
    let id = bench.send(&["c@d.example", "e@d.example"]).await;
    assert_eq!(bench.queue.cancel(one(id), Scope::All).await.unwrap().changed, [id]);
    let view = bench.view(id).await;
    assert_eq!(view.state, MessageState::Cancelled);
    assert!(view.recipients.iter().all(|r| r.state == RecipientState::Cancelled && r.ended_at.is_some()));
    let again = bench.queue.cancel(one(id), Scope::All).await.unwrap();
    assert_eq!(again.skipped[0].reason, "is final already");
    bench.queue.resume(&named("main")).await.unwrap();
    bench.mail.always("DOT", Act::Wait(s(10)));
    let sending = bench.send(&["c@d.example"]).await;
    bench.pass(s(1)).await;
    let late = bench.queue.cancel(one(sending), Scope::All).await.unwrap();
    assert_eq!(late.skipped[0].reason, "is being sent");
    bench.pass(s(20)).await;
    assert_eq!(bench.mail.taken().len(), 1);
    assert_eq!(bench.told(EventType::MessageCancelled).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hold_outlives_everything_until_its_release() {
    let bench = shut().await;
    let id = bench.send(&["c@d.example"]).await;
    let hold = Selection { reason: Some("legal".to_owned()), ..one(id) };
    bench.queue.hold(hold, Scope::All).await.unwrap();
    bench.queue.resume(&named("main")).await.unwrap();
    bench.pass(s(2 * DAY)).await;
    let bench = bench.crash().await;
    let view = bench.view(id).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::Operator)));
    assert_eq!(bench.queue.retry(one(id), Scope::All).await.unwrap().skipped.len(), 1);
    bench.queue.release(one(id), Scope::All).await.unwrap();
    assert_eq!(bench.wait(id).await.state, MessageState::Sent);
    assert_eq!(bench.queue.release(one(id), Scope::All).await.unwrap().skipped.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_message_is_tried_now_and_a_scheduled_one_not() {
    let bench = Bench::plain().await;
    bench.mail.on("MAIL", Act::Say("451 4.3.0 later"), 1);
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(2)).await;
    assert_eq!(bench.state(id).await, MessageState::Deferred);
    let at = bench.clock.wall() + jiff::SignedDuration::from_secs(1000);
    let later = bench.submit(SendParams { send_at: Some(at), ..mail(&["c@d.example"]) }).await.unwrap().id;
    let changed = bench.queue.retry(whole("main"), Scope::All).await.unwrap();
    assert_eq!((changed.changed, changed.skipped.len()), (vec![id], 1));
    bench.pass(s(1)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
    assert_eq!(bench.state(later).await, MessageState::Scheduled);
}

#[tokio::test(start_paused = true)]
async fn callers_see_and_handle_their_own_mail_alone() {
    let bench = shut().await;
    let mine = bench.send(&["c@d.example"]).await;
    let other = bench.queue.submit(by(2000, mail(&["c@d.example"]))).await.unwrap().id;
    let own = Scope::Own(1000);
    assert!(bench.queue.message(mine, own).await.is_ok());
    assert!(matches!(bench.queue.message(other, own).await, Err(QueueError::NoSuchMessage(_))));
    assert!(bench.queue.raw(other, own).await.is_err());
    assert!(bench.queue.wait(other, own, s(1)).await.is_err());
    let listed = bench.queue.list(ListParams::default(), own).await.unwrap().items;
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), [mine]);
    let changed = bench.queue.cancel(Selection { ids: vec![mine, other], ..Selection::default() }, own).await.unwrap();
    assert_eq!((changed.changed, changed.skipped[0].id), (vec![mine], other));
    bench.queue.cancel(whole("main"), own).await.unwrap();
    assert_eq!(bench.state(other).await, MessageState::Held);
}

#[tokio::test(start_paused = true)]
async fn an_order_names_ids_or_a_profile() {
    let bench = shut().await;
    let id = bench.send(&["c@d.example"]).await;
    let both = Selection { profile: Some(named("main")), ..one(id) };
    let neither = Selection::default();
    let many = Selection { ids: vec![id; 1001], ..Selection::default() };
    let unknown = whole("nobody");
    for selection in [both, neither, many, unknown] {
        assert!(bench.queue.cancel(selection, Scope::All).await.is_err());
    }
    let gone = bench.queue.cancel(one(MessageId::from_bits(5)), Scope::All).await.unwrap();
    assert_eq!(gone.skipped[0].reason, "there is no such message");
}

#[tokio::test(start_paused = true)]
async fn many_messages_of_a_profile_change_in_one_call() {
    let bench = shut().await;
    bench.settings(|settings| settings.queue.uid_percent = 100);
    let mut ids = Vec::new();
    for _ in 0..450 {
        ids.push(bench.send(&["c@d.example"]).await);
    }
    let changed = bench.queue.cancel(whole("main"), Scope::All).await.unwrap();
    assert_eq!(changed.changed.len(), 450);
    assert_eq!(bench.queue.summary().await.unwrap().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_filtered_and_goes_on_where_it_stopped() {
    let bench = Bench::start([profile("main", |p| p.default = true), profile("side", |_| {})]).await;
    bench.queue.pause(&named("side"), None, None).await.unwrap();
    for i in 0..25 {
        let to = format!("r{i}@d.example");
        let profile = Some(named(if i % 5 == 0 { "side" } else { "main" }));
        bench.submit(SendParams { profile, ..mail(&[&to]) }).await.unwrap();
        bench.pass(s(2)).await;
    }
    let list = |params: ListParams| bench.queue.list(params, Scope::All);
    let held = list(ListParams { state: Some(MessageState::Held), ..ListParams::default() }).await.unwrap();
    assert_eq!((held.items.len(), held.next_cursor), (5, None));
    let to = list(ListParams { to: Some("R7@D.example".to_owned()), ..ListParams::default() }).await.unwrap();
    assert_eq!(to.items.len(), 1);
    let (mut cursor, mut seen, mut calls) = (None, Vec::new(), 0);
    loop {
        let params = ListParams { profile: Some(named("main")), limit: Some(7), cursor, ..ListParams::default() };
        let page = list(params).await.unwrap();
        seen.extend(page.items.iter().map(|view| view.id));
        calls += 1;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), calls), (20, 3));
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once");
    assert!(list(ListParams { limit: Some(0), ..ListParams::default() }).await.is_err());
    let nobody = ListParams { profile: Some(named("nobody")), ..ListParams::default() };
    assert!(matches!(list(nobody).await, Err(QueueError::NoSuchProfile(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_message_or_with_its_time() {
    let bench = Bench::plain().await;
    bench.mail.on("DOT", Act::Wait(s(7)), 1);
    let id = bench.send(&["c@d.example"]).await;
    let began = bench.clock.now();
    assert_eq!(bench.queue.wait(id, Scope::All, s(3)).await.unwrap().state, MessageState::Sending);
    assert_eq!(bench.clock.now().since(began), s(3));
    assert_eq!(bench.wait(id).await.state, MessageState::Sent);
    assert!(bench.clock.now().since(began) < s(8));
    let parked = bench.submit(SendParams { send_at: Some(Timestamp::MAX), ..mail(&["c@d.example"]) }).await.unwrap().id;
    let (queue, clock) = (bench.queue.clone(), bench.clock.clone());
    let waiter = tokio::spawn(async move {
        let view = queue.wait(parked, Scope::All, s(100)).await.unwrap();
        (view.state, clock.now())
    });
    bench.pass(s(10)).await;
    let now = bench.clock.now();
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    let (state, woke) = waiter.await.unwrap();
    assert_eq!((state, woke.since(now)), (MessageState::Held, Duration::ZERO), "a gate that closes ends it at once");
}

#[tokio::test(start_paused = true)]
async fn the_summary_counts_what_waits_where() {
    let bench = Bench::start([profile("main", |p| p.default = true), profile("side", |_| {})]).await;
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    let at = bench.clock.wall() + jiff::SignedDuration::from_secs(1000);
    let held = bench.send(&["c@d.example"]).await;
    bench.queue.hold(one(held), Scope::All).await.unwrap();
    bench.send(&["c@d.example"]).await;
    bench.submit(SendParams { send_at: Some(at), ..mail(&["c@d.example"]) }).await.unwrap();
    let summary = bench.queue.summary().await.unwrap();
    let main = &summary.profiles[0];
    assert_eq!((main.profile.as_str(), summary.profiles.len()), ("main", 2));
    assert_eq!((main.waiting, main.due, main.held, main.sending, main.in_doubt), (3, 1, 1, 0, 0));
    assert_eq!(main.gates, [HoldReason::Paused]);
    assert_eq!(main.bytes, summary.bytes);
    assert!(main.oldest_at.is_some() && summary.waiting == 3);
}

#[tokio::test(start_paused = true)]
async fn the_dispatcher_says_that_it_lives() {
    let bench = Bench::plain().await;
    assert!(bench.queue.is_alive(s(10)).await);
    bench.tasks.iter().for_each(JoinHandle::abort);
    bench.pass(s(1)).await;
    assert!(!bench.queue.is_alive(s(10)).await);
}
