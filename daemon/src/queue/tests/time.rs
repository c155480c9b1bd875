//! What the clock alone does.

use super::*;

fn ends(seconds: u64) -> SendParams {
    SendParams { expires_in_s: Some(seconds), ..mail(&["c@d.example"]) }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_caller_gave_counts_whatever_holds_the_message() {
    let bench = Bench::plain().await;
    bench.mail.state().down = true;
    let behind_a_gate = bench.submit(ends(3600)).await.unwrap().id;
    bench.pass(s(10)).await;
    let held = bench.submit(ends(1800)).await.unwrap().id;
    bench.queue.hold(one(held), Scope::All).await.unwrap();
    bench.pass(s(1785)).await;
    assert_eq!(bench.state(held).await, MessageState::Held);
    bench.pass(s(20)).await;
    assert_eq!(bench.state(held).await, MessageState::Expired);
    assert_eq!(bench.state(behind_a_gate).await, MessageState::Held);
    let bench = bench.crash().await;
    bench.pass(s(1800)).await;
    let view = bench.view(behind_a_gate).await;
    assert_eq!(view.state, MessageState::Expired);
    assert_eq!(view.expires_at, view.ended_at.map(|_| view.queued_at + jiff::SignedDuration::from_secs(3600)));
    assert_eq!(bench.told(EventType::MessageExpired).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_counts_from_the_time_that_the_message_is_scheduled_for() {
    let bench = Bench::plain().await;
    bench.mail.always("MAIL", Act::Say("451 4.3.0 later"));
    let at = bench.clock.wall() + jiff::SignedDuration::from_secs(7200);
    let id = bench.submit(SendParams { send_at: Some(at), ..ends(600) }).await.unwrap().id;
    bench.pass(s(7500)).await;
    assert_eq!(bench.state(id).await, MessageState::Deferred);
    bench.pass(s(310)).await;
    assert_eq!(bench.state(id).await, MessageState::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_ends_while_it_is_sent_ends_by_what_comes_of_it() {
    let bench = Bench::plain().await;
    bench.mail.always("DOT", Act::Wait(s(20)));
    let id = bench.submit(ends(10)).await.unwrap().id;
    bench.pass(s(15)).await;
    assert_eq!(bench.state(id).await, MessageState::Sending);
    bench.pass(s(15)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_suspend_and_a_stepped_clock_do_not_keep_due_mail_waiting() {
    let bench = Bench::plain().await;
    let at = bench.clock.wall() + jiff::SignedDuration::from_secs(7200);
    let first = bench.submit(SendParams { send_at: Some(at), ..mail(&["c@d.example"]) }).await.unwrap().id;
    bench.pass(s(1)).await;
    bench.clock.suspend(s(7200));
    bench.pass(s(31)).await;
    assert_eq!(bench.state(first).await, MessageState::Sent);
    let at = bench.clock.wall() + jiff::SignedDuration::from_secs(7200);
    let second = bench.submit(SendParams { send_at: Some(at), ..mail(&["c@d.example"]) }).await.unwrap().id;
    bench.clock.step_wall(jiff::SignedDuration::from_secs(7201));
    bench.pass(s(31)).await;
    assert_eq!(bench.state(second).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_forgotten_in_time() {
    let bench = Bench::plain().await;
    bench.settings(|settings| {
        settings.retention.body = s(DAY);
        settings.retention.message = s(DAY);
        settings.retention.idempotency = s(3600);
        settings.retention.event = s(2 * DAY);
    });
    let sent = bench.send(&["c@d.example"]).await;
    bench.wait(sent).await;
    bench.mail.always("DOT", Act::Say("554 5.7.1 no"));
    let failed = bench.send(&["c@d.example"]).await;
    bench.wait(failed).await;
    bench.pass(s(DAY - 3600)).await;
    assert!(bench.queue.message(sent, Scope::All).await.is_ok());
    assert!(bench.queue.raw(failed, Scope::All).await.is_ok());
    assert!(matches!(bench.queue.raw(sent, Scope::All).await, Err(QueueError::NoBody(_))));
    bench.pass(s(3600 + 120)).await;
    for id in [sent, failed] {
        assert!(matches!(bench.queue.message(id, Scope::All).await, Err(QueueError::NoSuchMessage(_))));
    }
    assert!(!bench.events().await.is_empty());
    bench.pass(s(DAY + 120)).await;
    assert!(bench.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn mail_of_a_profile_without_a_token_yet_waits_without_growing_older() {
    let bench = Bench::start([oauth2("main")]).await;
    bench.login.set_reachable(false);
    let id = bench.submit(SendParams { profile: Some(named("main")), ..mail(&["c@d.example"]) }).await.unwrap().id;
    bench.pass(s(7200)).await;
    let view = bench.view(id).await;
    assert_eq!((view.state, view.attempts, view.consumed_age_s), (MessageState::Queued, 0, 0));
    assert_eq!(bench.mail.state().connections, 0);
    bench.login.set_reachable(true);
    bench.pass(s(300)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_does_nothing() {
    let bench = Bench::plain().await;
    bench.pass(s(DAY)).await;
    assert_eq!(bench.mail.state().connections, 0);
    assert!(bench.events().await.is_empty());
}
