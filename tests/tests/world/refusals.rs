//! Refused recipients, messages and accounts: each recipient gets its own end, and only what is nobody else's fault ends
//! a message.

use frankd_proto::methods::message::Compose;
use frankd_proto::{EventType, HoldReason, MessageState, RecipientState};
use frankd_tests::sandbox::smtp::{Fault, Phase, Rule};

use super::harness::*;

#[tokio::test(start_paused = true)]
async fn each_recipient_has_its_own_end_and_its_own_reply() {
    let world = World::with(service("alerts")).await;
    let to = ["ops@example.org", "reject-1@example.org", "greylist-1@example.org"];
    let id = world.send(letter("alerts", &to)).await.id;
    world.pass(s(5)).await;
    let view = world.message(id).await;
    assert_eq!(view.state, MessageState::Deferred);
    let states: Vec<_> = view.recipients.iter().map(|recipient| recipient.state).collect();
    assert_eq!(states, [RecipientState::Sent, RecipientState::Failed, RecipientState::Pending]);
    world.pass(s(120)).await;
    let view = world.message(id).await;
    assert_eq!((view.state, view.attempts), (MessageState::Partial, 2));
    let said: Vec<_> = view.recipients.iter().map(|r| (r.state, r.reply.as_ref().map(|reply| reply.code))).collect();
    let expected =
        [(RecipientState::Sent, Some(250)), (RecipientState::Failed, Some(550)), (RecipientState::Sent, Some(250))];
    assert_eq!(said, expected);
    for (address, copies) in [(to[0], 1), (to[1], 0), (to[2], 1)] {
        assert_eq!(world.mail.delivered_to(address).len(), copies, "{address}");
    }
    for (event, times) in [(EventType::MessageSent, 2), (EventType::MessageFailed, 1), (EventType::MessageDeferred, 1)]
    {
        assert_eq!(world.told(event).await.len(), times, "{event}");
    }
    assert_eq!(world.gates("alerts").await, []);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_recipients_are_all_refused_is_sent_to_nobody_though_the_server_takes_data() {
    let world = World::with(service("alerts")).await;
    world.mail.set(|mail| mail.data_without_recipients = true);
    let id = world.send(letter("alerts", &["reject-1@example.org", "relay-1@example.org"])).await.id;
    let next = world.send(mail("alerts")).await.id;
    let view = world.wait(id, 30).await;
    assert_eq!(view.state, MessageState::Failed);
    assert!(view.recipients.iter().all(|recipient| recipient.state == RecipientState::Failed));
    world.sent(next).await;
    assert_eq!(world.mail.delivered_count(), 1);
    assert_eq!(world.mail.offences(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_servers_size_fails_without_being_sent_there() {
    let world = World::with(service("alerts")).await;
    world.mail.set(|mail| mail.size = Some(2000));
    let mut large = mail("alerts");
    if let Some(compose) = &mut large.message {
        compose.text = Some("a line of a large message\n".repeat(200));
    }
    let id = world.send(large).await.id;
    let view = world.wait(id, 30).await;
    assert_eq!(view.state, MessageState::Failed);
    let attempt = view.last_attempt.unwrap();
    assert_eq!(attempt.diagnosis.as_deref(), Some("smtp.over_size"));
    assert!(attempt.outcome.contains("2000"), "{}", attempt.outcome);
    let small = world.send(mail("alerts")).await.id;
    world.sent(small).await;
    let mails = world.mail.commands().iter().filter(|command| command.line.starts_with("MAIL")).count();
    assert_eq!(mails, 1, "the large one was not even begun");
}

#[tokio::test(start_paused = true)]
async fn a_size_that_only_the_server_knows_fails_the_message_for_good() {
    for phase in [Phase::Mail, Phase::FinalDot] {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::once(phase, Fault::reply("552 5.3.4 Message too big for system")));
        let id = world.send(mail("alerts")).await.id;
        let view = world.wait(id, 30).await;
        assert_eq!(view.state, MessageState::Failed, "{phase:?}");
        assert_eq!(view.last_attempt.unwrap().diagnosis.as_deref(), Some("smtp.too_big"), "{phase:?}");
        assert_eq!(world.told(EventType::MessageFailed).await.len(), 1);
        assert_eq!(world.gates("alerts").await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_8bitmime_gets_seven_bits_or_nothing() {
    let world = World::with(service("alerts")).await;
    world.mail.set(|mail| mail.eight_bit_mime = false);
    let mut composed = mail("alerts");
    if let Some(compose) = &mut composed.message {
        *compose =
            Compose { text: Some("Gr\u{fc}\u{df}e".to_owned()), subject: Some("\u{dc}".to_owned()), ..compose.clone() };
    }
    let id = world.send(composed).await.id;
    world.sent(id).await;
    assert!(world.mail.delivered()[0].octets.is_ascii());
    let eight = "From: alerts@sandbox.test\r\nTo: ops@example.org\r\nMIME-Version: 1.0\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n";
    let id = world.send(raw("alerts", eight.as_bytes())).await.id;
    let view = world.wait(id, 30).await;
    assert_eq!(view.state, MessageState::Failed);
    assert_eq!(view.last_attempt.unwrap().diagnosis.as_deref(), Some("smtp.not_offered"));
    world.mail.set(|mail| mail.eight_bit_mime = true);
    world.pass(s(60)).await;
    let id = world.send(raw("alerts", eight.as_bytes())).await.id;
    world.sent(id).await;
    assert!(world.mail.delivered()[1].parameters.contains(&"BODY=8BITMIME".to_owned()));
    assert_eq!(world.mail.offences(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn recipients_too_many_for_one_transaction_go_in_the_next_at_once() {
    for reply in ["452 4.5.3 Too many recipients", "552 5.5.3 Too many recipients", "552 too many"] {
        let world = World::with(service("alerts")).await;
        world.mail.set(|mail| (mail.max_recipients, mail.too_many_recipients) = (Some(3), reply.to_owned()));
        let to: Vec<String> = (0..8).map(|number| format!("ops-{number}@example.org")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let id = world.send(letter("alerts", &to)).await.id;
        world.pass(s(5)).await;
        let view = world.message(id).await;
        assert_eq!((view.state, view.attempts, view.consumed_age_s), (MessageState::Sent, 3, 0), "{reply}: {view:#?}");
        assert_eq!(world.mail.delivered_count(), 3);
        for address in to {
            assert_eq!(world.mail.delivered_to(address).len(), 1, "{reply}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_account_holds_the_mail_says_until_when_and_bounces_nothing() {
    for (phase, reply, diagnosis) in [
        (Phase::FinalDot, "550 5.4.5 Daily user sending limit exceeded", "sm.550_5_4_5"),
        (Phase::Mail, "550 5.4.5 Daily user sending limit exceeded", "sm.550_5_4_5"),
        (Phase::Rcpt, "550 5.4.5 Daily user sending limit exceeded", "sm.550_5_4_5"),
        (Phase::FinalDot, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", "smtp.quota"),
        (Phase::FinalDot, "554 5.2.2 mailbox full", "smtp.mailbox_full"),
    ] {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::once(phase, Fault::reply(reply)));
        let first = world.send(mail("alerts")).await.id;
        let view = world.wait(first, 30).await;
        assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::AccountLimit)), "{reply}");
        assert_eq!(view.last_attempt.as_ref().unwrap().diagnosis.as_deref(), Some(diagnosis), "{reply}");
        let second = world.send(mail("alerts")).await;
        assert_eq!(second.state, MessageState::Held);
        let hold = &world.profile("alerts").await.held[0];
        let wait = hold.until.unwrap().duration_since(hold.since);
        assert_eq!(wait, jiff::SignedDuration::from_hours(1), "{reply}");
        assert_eq!(view.next_attempt_at, hold.until, "{reply}");
        world.pass(s(HOUR - 120)).await;
        assert_eq!(world.state(first).await.0, MessageState::Held);
        world.pass(s(180)).await;
        for id in [first, second.id] {
            assert_eq!(world.sent(id).await.consumed_age_s, 0, "{reply}");
        }
        assert_eq!(world.told(EventType::MessageFailed).await.len(), 0, "{reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_the_account_may_not_use_fails_the_message_and_holds_no_other() {
    let world = World::with(service("alerts")).await;
    let mut foreign = mail("alerts");
    if let Some(compose) = &mut foreign.message {
        compose.from = Some("badfrom@sandbox.test".to_owned());
    }
    let id = world.send(foreign).await.id;
    let other = world.send(mail("alerts")).await.id;
    let view = world.wait(id, 30).await;
    assert_eq!(view.state, MessageState::Failed);
    let attempt = view.last_attempt.unwrap();
    assert_eq!(attempt.diagnosis.as_deref(), Some("sm.sendas"));
    assert!(attempt.outcome.contains("550 5.7.60"), "{}", attempt.outcome);
    world.sent(other).await;
    assert_eq!(world.gates("alerts").await, []);
}
