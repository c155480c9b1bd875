//! What a crash or a stop leaves, and what the next daemon makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use frankd_proto::methods::message::SendParams;
use frankd_proto::methods::{profile, token};
use frankd_proto::{DoubtOutcome, EventType, HoldReason, Kind, MessageState, OnDoubt, TokenState};
use frankd_tests::sandbox::authorization::{Endpoint, Fault as LoginFault, Remark, Rotation};
use frankd_tests::sandbox::smtp::{Fault, Phase, Rule};

use super::harness::*;

fn hold(params: SendParams) -> SendParams {
    SendParams { on_doubt: Some(OnDoubt::Hold), ..params }
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_a_moment_before_a_crash_is_sent_after_it_and_its_key_is_known() {
    let world = World::with(service("alerts")).await;
    world.mail_reachable.send_replace(false);
    let params = SendParams { idempotency_key: Some("order-4711".to_owned()), ..mail("alerts") };
    let receipt = world.send(params.clone()).await;
    let world = world.crash().await;
    world.mail_reachable.send_replace(true);
    let again = world.send(params.clone()).await;
    assert!(again.duplicate);
    assert_eq!((again.id, &again.message_id), (receipt.id, &receipt.message_id));
    let other = SendParams { idempotency_key: params.idempotency_key, ..letter("alerts", &["else@example.org"]) };
    let conflict = world.call::<frankd_proto::methods::message::Send>(other).await.unwrap_err();
    assert_eq!(conflict.kind(), Kind::MessageIdempotencyConflict);
    world.sent(receipt.id).await;
    assert_eq!(world.mail.delivered_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_had_not_reached_its_final_dot_was_not_sent_and_nobody_doubts_it() {
    for phase in [Phase::Greeting, Phase::Login, Phase::Rcpt, Phase::Data] {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::once(phase, Fault::silence()));
        let receipt = world.send(hold(mail("alerts"))).await;
        world.pass(s(5)).await;
        assert_eq!(world.state(receipt.id).await.0, MessageState::Sending, "{phase:?}");
        let world = world.crash().await;
        let view = world.sent(receipt.id).await;
        assert_eq!(view.message_id, receipt.message_id);
        assert_eq!(world.mail.delivered_count(), 1, "{phase:?}");
        assert_eq!(world.told(EventType::MessageInDoubt).await.len(), 0, "{phase:?}");
        assert_eq!(world.told(EventType::DaemonStarted).await[1].data["claims_not_sent"], 1, "{phase:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_past_its_final_dot_is_told_to_be_in_doubt_and_goes_again_as_the_same_message() {
    for (fault, copies) in [(Fault::lose_reply_and_hang(), 2), (Fault::silence(), 1)] {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::once(Phase::FinalDot, fault));
        let receipt = world.send(mail("alerts")).await;
        world.pass(s(5)).await;
        let world = world.crash().await;
        world.sent(receipt.id).await;
        let delivered = world.mail.delivered();
        assert_eq!(delivered.len(), copies);
        assert!(delivered.iter().all(|kept| kept.header("Message-ID") == Some(receipt.message_id.clone())));
        let doubt = world.told(EventType::MessageInDoubt).await;
        assert_eq!(doubt.len(), 1);
        assert_eq!(doubt[0].object, Some(receipt.id.to_string()));
        let world = world.crash().await;
        world.pass(s(60)).await;
        assert_eq!(world.told(EventType::MessageInDoubt).await.len(), 1, "told once");
        assert_eq!(world.mail.delivered_count(), copies);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_past_its_final_dot_that_is_to_be_held_waits_for_a_person_through_every_restart() {
    for (outcome, state, copies) in [
        (DoubtOutcome::Sent, MessageState::Sent, 1),
        (DoubtOutcome::Retry, MessageState::Sent, 2),
        (DoubtOutcome::Fail, MessageState::Failed, 1),
    ] {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::once(Phase::FinalDot, Fault::lose_reply_and_hang()));
        let id = world.send(hold(mail("alerts"))).await.id;
        world.pass(s(5)).await;
        let world = world.crash().await;
        world.skip(s(DAY)).await;
        assert_eq!(world.state(id).await, (MessageState::InDoubt, None));
        assert_eq!(world.queue("alerts").await.in_doubt, 1);
        let world = world.crash().await;
        world.resolve(id, outcome).await;
        world.pass(s(5)).await;
        assert_eq!(world.state(id).await.0, state);
        assert_eq!(world.mail.delivered_count(), copies, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_delivery_finish_and_leaves_no_doubt() {
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(Phase::FinalDot, Fault::late(s(20))));
    let id = world.send(mail("alerts")).await.id;
    world.pass(s(2)).await;
    let began = frankd::clock::Clock::now(&world.clock);
    let world = world.stop_and_start().await;
    let took = frankd::clock::Clock::now(&world.clock).since(began);
    assert!((s(17)..=s(20)).contains(&took), "as long as the delivery took and no longer: {took:?}");
    assert_eq!(world.state(id).await.0, MessageState::Sent);
    world.pass(s(60)).await;
    assert_eq!((world.mail.delivered_count(), world.told(EventType::MessageInDoubt).await.len()), (1, 0));
    assert_eq!(world.told(EventType::DaemonStopping).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_outlasts_the_drain_leaves_a_doubt_and_says_so() {
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(Phase::FinalDot, Fault::lose_reply_and_hang()));
    let id = world.send(mail("alerts")).await.id;
    world.pass(s(2)).await;
    let world = world.stop_and_start().await;
    world.sent(id).await;
    assert_eq!((world.mail.delivered_count(), world.told(EventType::MessageInDoubt).await.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn gates_outlive_a_crash_and_open_when_they_said() {
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(Phase::FinalDot, Fault::reply("550 5.4.5 Daily limit exceeded")));
    let id = world.send(mail("alerts")).await.id;
    assert_eq!(world.wait(id, 30).await.held, Some(HoldReason::AccountLimit));
    let before = world.profile("alerts").await.held;
    let world = world.crash().await;
    assert_eq!(world.profile("alerts").await.held, before);
    world.pass(s(50 * 60)).await;
    assert_eq!(world.state(id).await, (MessageState::Held, Some(HoldReason::AccountLimit)));
    world.pass(s(11 * 60)).await;
    assert_eq!(world.state(id).await.0, MessageState::Sent);
    assert_eq!(world.told(EventType::ProfileHeld).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_crash_lost_is_fetched_again_before_anything_else() {
    let world = World::with(person("alice")).await;
    world.login.update_client(WEB.0, |client| client.rotation = Rotation::Grace(s(30)));
    world.grant("alice").await;
    world.login.fail(Endpoint::Token, LoginFault::late(s(10)), 1);
    let mut caller = world.connect(ROOT);
    let call =
        tokio::spawn(async move { caller.call::<token::Refresh>(token::OfProfile { profile: named("alice") }).await });
    world.pass(s(2)).await;
    call.abort();
    let world = world.crash().await;
    world.pass(s(1)).await;
    let slot = world.slot("alice").await;
    assert_eq!((slot.state, slot.generation), (TokenState::Valid, 2));
    let remarks: Vec<_> = world.login.journal().into_iter().filter_map(|entry| entry.remark).collect();
    assert_eq!(remarks, [Remark::Rotated, Remark::GraceUsed]);
    let id = world.send(mail("alice")).await.id;
    world.sent(id).await;
}

#[tokio::test(start_paused = true)]
async fn twenty_crashes_under_load_lose_nothing_and_send_twice_only_what_was_said_to_be_in_doubt() {
    let world = World::with_clients().await;
    let smtp = service("alerts").smtp.map(|smtp| profile::SmtpInput { max_connections: Some(2), ..smtp });
    world.make(profile::CreateParams { smtp, ..service("alerts") }).await;
    world.mail.misbehave(Rule::always(Phase::FinalDot, Fault::late(Duration::from_millis(400))));
    let mut receipts = Vec::new();
    for _ in 0..60 {
        receipts.push(world.send(mail("alerts")).await);
    }
    let mut world = world;
    for crash in 0..20 {
        world.pass(Duration::from_millis(370 + 90 * (crash % 7))).await;
        world = world.crash().await;
    }
    for receipt in &receipts {
        world.sent(receipt.id).await;
    }
    let mut doubted = BTreeMap::new();
    for event in world.told(EventType::MessageInDoubt).await {
        *doubted.entry(event.object.unwrap()).or_insert(0_usize) += 1;
    }
    let mut copies = BTreeMap::new();
    for kept in world.mail.delivered() {
        *copies.entry(kept.header("Message-ID").unwrap()).or_insert(0_usize) += 1;
    }
    for receipt in &receipts {
        let doubts = doubted.get(&receipt.id.to_string()).copied().unwrap_or_default();
        let arrived = copies[&receipt.message_id];
        assert!((1..=1 + doubts).contains(&arrived), "{arrived} copies and {doubts} doubts");
    }
    let doubts: usize = doubted.values().sum();
    assert!((1..=20 * 2).contains(&doubts), "at most connections × crashes: {doubts}");
}
