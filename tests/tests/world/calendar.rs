//! What days do: scheduled mail, ends of mail, and what is forgotten when.

use frankd_proto::methods::message::{self, SendParams};
use frankd_proto::methods::profile;
use frankd_proto::{EventType, HoldReason, Kind, MessageId, MessageState, Priority};
use jiff::SignedDuration;

use super::harness::*;

fn wall(world: &World) -> jiff::Timestamp {
    frankd::clock::Clock::wall(&world.clock)
}

async fn has_body(world: &World, id: MessageId) -> bool {
    world.call::<message::Raw>(message::ById { id }).await.is_ok()
}

async fn is_known(world: &World, id: MessageId) -> bool {
    world.call::<message::Get>(message::ById { id }).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn scheduled_mail_goes_at_its_time_awake_asleep_and_after_a_restart() {
    let world = World::with(service("alerts")).await;
    let at = wall(&world) + SignedDuration::from_hours(24);
    let receipt = world.send(SendParams { send_at: Some(at), ..mail("alerts") }).await;
    assert_eq!(receipt.state, MessageState::Scheduled);
    world.skip(s(23 * HOUR)).await;
    let world = world.crash().await;
    world.pass(s(HOUR - 60)).await;
    assert_eq!(world.state(receipt.id).await.0, MessageState::Scheduled);
    world.pass(s(60)).await;
    assert_eq!(world.state(receipt.id).await.0, MessageState::Sent);
    let late = world.mail.delivered()[0].at.duration_since(at);
    assert!(late >= SignedDuration::ZERO && late <= SignedDuration::from_secs(30), "{late}");
    let soon = wall(&world) + SignedDuration::from_hours(2);
    let second = world.send(SendParams { send_at: Some(soon), ..mail("alerts") }).await.id;
    world.skip(s(5 * HOUR)).await;
    assert_eq!(world.state(second).await.0, MessageState::Sent, "due while the machine slept");
}

#[tokio::test(start_paused = true)]
async fn what_is_urgent_goes_first() {
    let world = World::with_clients().await;
    let smtp = service("alerts").smtp.map(|smtp| profile::SmtpInput { max_connections: Some(1), ..smtp });
    world.make(profile::CreateParams { smtp, ..service("alerts") }).await;
    let pause = profile::PauseParams { name: named("alerts"), for_s: None, reason: Some("maintenance".to_owned()) };
    world.call::<profile::Pause>(pause).await.unwrap();
    for (priority, to) in [
        (Priority::Low, "low@example.org"),
        (Priority::Normal, "normal@example.org"),
        (Priority::High, "high@example.org"),
    ] {
        world.send(SendParams { priority: Some(priority), ..letter("alerts", &[to]) }).await;
    }
    world.skip(s(20 * DAY)).await;
    assert_eq!(world.gates("alerts").await, [HoldReason::Paused], "a pause ends nothing");
    world.call::<profile::Resume>(frankd_proto::methods::client::Named { name: named("alerts") }).await.unwrap();
    world.pass(s(5)).await;
    let order: Vec<_> = world.mail.delivered().into_iter().map(|kept| kept.to[0].clone()).collect();
    assert_eq!(order, ["high@example.org", "normal@example.org", "low@example.org"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_caller_gave_counts_whatever_holds_the_mail() {
    let world = World::with(person("alice")).await;
    let id = world.send(SendParams { expires_in_s: Some(2 * HOUR), ..mail("alice") }).await.id;
    world.skip(s(2 * HOUR - 60)).await;
    assert_eq!(world.state(id).await.0, MessageState::Held);
    world.pass(s(60)).await;
    let view = world.message(id).await;
    assert_eq!(view.state, MessageState::Expired);
    world.grant("alice").await;
    world.pass(s(60)).await;
    assert_eq!((world.mail.delivered_count(), world.told(EventType::MessageExpired).await.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_recipient_that_is_never_taken_is_given_up_after_five_days_of_tries() {
    let world = World::with(service("alerts")).await;
    let receipt = world.send(letter("alerts", &["tempfail-1@example.org", "ops@example.org"])).await;
    for _ in 0..4 * 24 * 6 {
        world.skip(s(HOUR / 4 - 16)).await;
    }
    let view = world.message(receipt.id).await;
    assert_eq!(view.state, MessageState::Partial);
    assert_eq!(view.recipients[0].reply.as_ref().map(|reply| reply.code), Some(451), "it says what the server said");
    assert!((60..=160).contains(&view.attempts), "{}", view.attempts);
    assert!((5 * DAY..=5 * DAY + HOUR).contains(&view.consumed_age_s), "{}", view.consumed_age_s);
    assert_eq!(world.mail.delivered_count(), 1);
    assert_eq!(world.told(EventType::MessageExpired).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn mail_behind_a_gate_waits_fourteen_days_and_ends_with_the_gates_reason() {
    let world = World::with(person("alice")).await;
    let id = world.send(mail("alice")).await.id;
    world.skip(s(13 * DAY + 20 * HOUR)).await;
    world.pass(s(16 * 60)).await;
    assert_eq!(world.state(id).await, (MessageState::Held, Some(HoldReason::GrantRequired)));
    world.skip(s(4 * HOUR)).await;
    world.pass(s(16 * 60)).await;
    assert_eq!(world.state(id).await.0, MessageState::Expired);
    let told = world.told(EventType::MessageExpired).await;
    assert_eq!(told[0].data["reason"], "grant_required");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_forgotten_body_record_key_and_event_each_in_its_time() {
    let world = World::with(service("alerts")).await;
    let keyed = SendParams { idempotency_key: Some("invoice-1".to_owned()), ..mail("alerts") };
    let sent = world.send(keyed.clone()).await.id;
    world.sent(sent).await;
    let failed = world.send(letter("alerts", &["reject-1@example.org"])).await.id;
    assert_eq!(world.wait(failed, 30).await.state, MessageState::Failed);
    assert!(!has_body(&world, sent).await, "nobody needs the octets of what was sent");
    assert!(has_body(&world, failed).await);
    world.skip(s(71 * HOUR)).await;
    assert!(world.send(keyed.clone()).await.duplicate);
    world.skip(s(2 * HOUR)).await;
    world.pass(s(61)).await;
    let again = world.send(keyed).await;
    assert!(!again.duplicate && again.id != sent, "after 72 hours the key is free");
    world.skip(s(3 * DAY + 20 * HOUR)).await;
    world.pass(s(61)).await;
    assert!(is_known(&world, sent).await && has_body(&world, failed).await, "not seven days yet");
    world.skip(s(6 * HOUR)).await;
    world.pass(s(61)).await;
    assert!(!is_known(&world, sent).await && !is_known(&world, failed).await);
    assert!(!has_body(&world, failed).await);
    assert!(is_known(&world, again.id).await);
    let gone = world.call::<message::Get>(message::ById { id: sent }).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::ObjectNotFound);
    world.skip(s(20 * DAY)).await;
    assert_eq!(world.told(EventType::MessageFailed).await.len(), 1, "what happened is known for thirty days");
    world.skip(s(4 * DAY)).await;
    world.pass(s(61)).await;
    assert_eq!(world.told(EventType::MessageFailed).await.len(), 0);
    let params = frankd_proto::methods::event::ListParams { since_seq: Some(1), ..Default::default() };
    assert!(world.call::<frankd_proto::methods::event::List>(params).await.unwrap().lost);
}
