//! Servers that hang up, fall silent or answer late at every step of a session: mail is lost nowhere, and sent twice only
//! where an event said that it is in doubt.

use frankd_proto::methods::message::SendParams;
use frankd_proto::methods::profile::SmtpInput;
use frankd_proto::{DoubtOutcome, EventType, HoldReason, MessageState, OnDoubt, RecipientState};
use frankd_tests::sandbox::smtp::{Fault, Phase, Rule};

use super::harness::*;

/// Where a fault of the host or its network holds the profile's mail.
const BEFORE_THE_MESSAGE: [Phase; 9] = [
    Phase::Greeting,
    Phase::Ehlo,
    Phase::StartTls,
    Phase::Handshake,
    Phase::EhloOverTls,
    Phase::Auth,
    Phase::Login,
    Phase::Mail,
    Phase::Rcpt,
];
/// Where it may be the message's own fault, and its life runs.
const UNDER_THE_MESSAGE: [Phase; 2] = [Phase::Data, Phase::Body];

fn hold(params: SendParams) -> SendParams {
    SendParams { on_doubt: Some(OnDoubt::Hold), ..params }
}

/// Sends one mail through `fault` at `phase`; checks that it arrives once, and what held it meanwhile.
async fn arrives_once(phase: Phase, fault: Fault, gate: Option<HoldReason>) {
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(phase, fault));
    let mut params = mail("alerts");
    if let Some(compose) = params.message.as_mut().filter(|_| phase == Phase::Body) {
        // More than the pipe holds: a smaller one is with the server whole, dot included, whatever it reads.
        compose.text = Some("a line of a large message\n".repeat(20_000));
    }
    let receipt = world.send(params).await;
    let mut waited = 0;
    while world.message(receipt.id).await.last_attempt.is_none() {
        world.pass(s(5)).await;
        waited += 5;
        assert!(waited <= 700, "{phase:?}: no attempt ended");
    }
    let view = world.message(receipt.id).await;
    assert_eq!(view.held, gate, "{phase:?}: {view:#?}");
    assert_eq!(world.gates("alerts").await, Vec::from_iter(gate), "{phase:?}");
    if gate.is_none() {
        assert_eq!(view.state, MessageState::Deferred, "{phase:?}");
    }
    assert_eq!(view.consumed_age_s > 0, gate.is_none(), "{phase:?}: only the message's own fault uses up its life");
    let sent = world.sent(receipt.id).await;
    assert_eq!(sent.message_id, receipt.message_id);
    assert_eq!(world.mail.delivered_count(), 1, "{phase:?}");
    assert_eq!(world.told(EventType::MessageInDoubt).await.len(), 0, "{phase:?}: it was surely not sent before");
    assert_eq!(world.gates("alerts").await, [], "{phase:?}");
    let held = usize::from(gate.is_some());
    assert_eq!(world.told(EventType::ProfileHeld).await.len(), held, "{phase:?}");
    assert_eq!(world.told(EventType::ProfileReleased).await.len(), held, "{phase:?}");
}

async fn arrives_once_from_every_phase(fault: &dyn Fn() -> Fault) {
    for phase in BEFORE_THE_MESSAGE {
        arrives_once(phase, fault(), Some(HoldReason::HostFault)).await;
    }
    for phase in UNDER_THE_MESSAGE {
        arrives_once(phase, fault(), None).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_421_at_any_step_delays_the_mail_and_no_more() {
    arrives_once_from_every_phase(&|| Fault::reply("421 4.3.2 Service shutting down")).await;
    arrives_once(Phase::FinalDot, Fault::reply("421 4.3.2 Service shutting down"), None).await;
}

#[tokio::test(start_paused = true)]
async fn silence_at_any_step_delays_the_mail_and_no_more() {
    for phase in BEFORE_THE_MESSAGE {
        arrives_once(phase, Fault::silence(), Some(HoldReason::HostFault)).await;
    }
    arrives_once(Phase::Data, Fault::silence(), None).await;
    // A server that no longer reads: one that reads on in silence gets the final dot, too.
    arrives_once(Phase::Body, Fault::throttle(1), None).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_at_any_step_delays_the_mail_and_no_more() {
    arrives_once_from_every_phase(&Fault::drop).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_the_server_closed_costs_the_next_mail_nothing() {
    let world = World::with(service("alerts")).await;
    world.mail.set(|mail| mail.idle_limit = Some(s(10)));
    for _ in 0..3 {
        let id = world.send(mail("alerts")).await.id;
        assert_eq!(world.sent(id).await.attempts, 1);
        world.pass(s(12)).await;
    }
    assert_eq!(world.mail.connections(), 3);
    assert_eq!(world.told(EventType::ProfileHeld).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_answer_to_the_final_dot_is_told_and_the_same_message_goes_again() {
    for (fault, copies) in
        [(Fault::drop(), 1), (Fault::lose_reply(), 2), (Fault::silence(), 1), (Fault::lose_reply_and_hang(), 2)]
    {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::once(Phase::FinalDot, fault.clone()));
        let receipt = world.send(mail("alerts")).await;
        world.pass(s(700)).await;
        let view = world.sent(receipt.id).await;
        assert_eq!((view.attempts, view.consumed_age_s), (2, 0), "{fault:?}");
        let delivered = world.mail.delivered();
        assert_eq!(delivered.len(), copies, "{fault:?}");
        assert!(delivered.iter().all(|kept| kept.header("Message-ID") == Some(receipt.message_id.clone())));
        let doubt = world.told(EventType::MessageInDoubt).await;
        assert_eq!(doubt.len(), 1, "{fault:?}");
        assert_eq!(doubt[0].object, Some(receipt.id.to_string()));
        let types = names_of(world.events().await.into_iter().map(|event| event.event_type));
        assert!(types.ends_with(&["message.in_doubt".to_owned(), "message.sent".to_owned()]), "{types:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn doubt_that_is_held_waits_for_a_person_whatever_time_passes() {
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(Phase::FinalDot, Fault::lose_reply()).times(3));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = world.send(hold(mail("alerts"))).await.id;
        let view = world.wait(id, 30).await;
        assert_eq!((view.state, view.held), (MessageState::InDoubt, None));
        assert_eq!(view.recipients[0].state, RecipientState::InDoubt);
        ids.push(id);
    }
    world.skip(s(2 * DAY)).await;
    assert_eq!((world.mail.delivered_count(), world.queue("alerts").await.in_doubt), (3, 3));
    world.resolve(ids[0], DoubtOutcome::Sent).await;
    world.resolve(ids[1], DoubtOutcome::Fail).await;
    world.resolve(ids[2], DoubtOutcome::Retry).await;
    world.pass(s(2)).await;
    assert_eq!(world.state(ids[0]).await.0, MessageState::Sent);
    assert_eq!(world.state(ids[1]).await.0, MessageState::Failed);
    assert_eq!(world.state(ids[2]).await.0, MessageState::Sent);
    assert_eq!(world.mail.delivered_count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_too_late_is_never_taken_for_the_next_message() {
    for (phase, late) in [(Phase::FinalDot, 605), (Phase::Mail, 305), (Phase::Data, 305)] {
        let world = World::with(service("alerts")).await;
        world.redirect("alerts", SmtpInput { max_connections: Some(1), ..SmtpInput::default() }).await;
        world.mail.misbehave(Rule::once(phase, Fault::late(s(late))));
        let first = world.send(hold(mail("alerts"))).await.id;
        world.pass(s(1)).await;
        let second = world.send(letter("alerts", &["datafail-1@example.org"])).await.id;
        world.pass(s(HOUR)).await;
        let refused = world.message(second).await;
        assert_eq!(refused.state, MessageState::Failed, "{phase:?}: {refused:#?}");
        assert_eq!(refused.recipients[0].reply.as_ref().map(|reply| reply.code), Some(554), "{phase:?}");
        assert_eq!(refused.attempts, 1, "{phase:?}: on a connection of its own");
        let expected = if phase == Phase::FinalDot { MessageState::InDoubt } else { MessageState::Sent };
        assert_eq!(world.state(first).await.0, expected, "{phase:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn replies_without_a_text_of_many_lines_or_of_odd_octets_are_read_as_they_are_meant() {
    let phases =
        [Phase::Greeting, Phase::StartTls, Phase::Login, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::FinalDot];
    for (name, fault) in [("textless", Fault::textless()), ("many lines", Fault::many_lines(40))] {
        let world = World::with(service("alerts")).await;
        for phase in phases {
            world.mail.misbehave(Rule::always(phase, fault.clone()));
        }
        let id = world.send(mail("alerts")).await.id;
        assert_eq!(world.sent(id).await.attempts, 1, "{name}");
    }
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(Phase::FinalDot, Fault::raw(b"250 2.0.0 angenommen f\xfcr \xe9\r\n")));
    let id = world.send(mail("alerts")).await.id;
    assert_eq!(world.sent(id).await.attempts, 1);
}
