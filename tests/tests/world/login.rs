//! Refused logins: one new token and one more try, then one gate for all mail of the profile, and logins without mail
//! until somebody has put it right.

use frankd_proto::methods::profile;
use frankd_proto::methods::profile::SmtpInput;
use frankd_proto::{EventType, HoldReason, MessageState, Patch, Secret, SecretInput};
use frankd_tests::sandbox::smtp::{Behaviour, Fault, Phase, Rule};
use frankd_tests::sandbox::{authorization, token_check};

use super::harness::*;

/// Has the server refuse tokens as this one does.
fn refuse_as(world: &World, other: Behaviour) {
    world.mail.set(|mail| mail.token_refusal = other.token_refusal);
}

fn direct() -> Behaviour {
    Behaviour::microsoft()
}

/// Lines of MAIL so far.
fn mails(world: &World) -> usize {
    world.mail.commands().iter().filter(|command| command.line.starts_with("MAIL")).count()
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_once_is_replaced_and_the_mail_goes_in_the_same_attempt() {
    for refusal in [Behaviour::default(), Behaviour::google(), direct()] {
        let world = World::with(service("alerts")).await;
        refuse_as(&world, refusal);
        world.mail.misbehave(Rule::once(Phase::Login, Fault::refuse_token()));
        world.pass(s(600)).await;
        let id = world.send(mail("alerts")).await.id;
        let view = world.sent(id).await;
        assert_eq!((view.attempts, view.consumed_age_s), (1, 0));
        let logins = world.mail.logins();
        assert_eq!(logins.len(), 2);
        assert_ne!(logins[0].secret, logins[1].secret, "another token");
        assert_eq!(world.login.token_requests(SERVICE.0).len(), 2);
        assert_eq!(world.told(EventType::ProfileHeld).await.len(), 0);
        assert_eq!(world.mail.offences(), Vec::<String>::new(), "the challenge was answered as it must be");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_stays_refused_holds_all_mail_tells_once_why_and_is_tried_without_mail() {
    let google = "go to https://support.google.com";
    for (refusal, params, diagnosis, words) in [
        (Behaviour::default(), service("alerts"), "sm.334", "Authentication failed"),
        (Behaviour::google(), service("alerts"), "sm.535_5_7_8", google),
        (direct(), service("alerts"), "smtp.app_not_registered", "Authentication unsuccessful [sandbox]"),
        (direct(), person("alerts"), "sm.535_5_7_3", "Authentication unsuccessful [sandbox]"),
    ] {
        let interactive = params.flow == Some(frankd_proto::Flow::Interactive);
        let world = World::with(params).await;
        if interactive {
            world.grant("alerts").await;
        }
        refuse_as(&world, refusal);
        world.mail.misbehave(Rule::always(Phase::Login, Fault::refuse_token()));
        let first = world.send(mail("alerts")).await.id;
        let view = world.wait(first, 60).await;
        assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::AuthRefused)), "{diagnosis}");
        let attempt = view.last_attempt.unwrap();
        assert_eq!(attempt.diagnosis.as_deref(), Some(diagnosis));
        for login in world.mail.logins() {
            assert!(!format!("{attempt:?}").contains(&login.secret), "no token is shown");
        }
        let second = world.send(mail("alerts")).await;
        assert_eq!(second.state, MessageState::Held);
        world.pass(s(HOUR)).await;
        assert_eq!(world.gates("alerts").await, [HoldReason::AuthRefused]);
        let tries = world.mail.logins().len();
        assert!((5..=8).contains(&tries), "twice, then after 1, 5, 15 minutes and with new tokens: {tries}");
        assert_eq!(mails(&world), 0);
        let mut held = world.told(EventType::ProfileHeld).await;
        held.retain(|event| event.data["reason"] == "auth_refused");
        assert_eq!(held.len(), 1, "{held:?}");
        let detail = held[0].data["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
        assert_eq!(held[0].data["diagnosis"], diagnosis);
        world.mail.behave();
        world.pass(s(HOUR + 60)).await;
        for id in [first, second.id] {
            let view = world.sent(id).await;
            assert_eq!(view.consumed_age_s, 0, "no fault of the message");
        }
        assert_eq!(world.gates("alerts").await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_grant_ends_the_hold_of_a_refused_token_at_once() {
    let world = World::with(person("alice")).await;
    world.grant("alice").await;
    world.mail.misbehave(Rule::once(Phase::Login, Fault::refuse_token()).times(2));
    let id = world.send(mail("alice")).await.id;
    assert_eq!(world.wait(id, 30).await.held, Some(HoldReason::AuthRefused));
    world.pass(s(20)).await;
    let until = world.profile("alice").await.held[0].until;
    assert!(until.is_some(), "it says when it is tried next");
    world.mail.misbehave(Rule::once(Phase::Login, Fault::refuse_token()));
    world.pass(s(90)).await;
    assert_eq!(world.gates("alice").await, [HoldReason::AuthRefused]);
    world.grant("alice").await;
    world.pass(s(5)).await;
    assert_eq!(world.state(id).await.0, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_logins_stops_logins_for_a_quarter_of_an_hour_and_fetches_no_token() {
    let world = World::with_clients().await;
    let smtp = service("alerts").smtp.map(|smtp| SmtpInput { max_messages_per_connection: Some(1), ..smtp });
    world.make(profile::CreateParams { smtp, ..service("alerts") }).await;
    let reply = Fault::reply("454 4.7.0 Too many login attempts, please try again later");
    world.mail.misbehave(Rule::once(Phase::Login, reply).after(2));
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.send(mail("alerts")).await.id);
        world.pass(s(1)).await;
    }
    assert_eq!(world.mail.delivered_count(), 2);
    assert_eq!(world.gates("alerts").await, [HoldReason::AccountLimit]);
    assert_eq!(world.state(ids[4]).await, (MessageState::Held, Some(HoldReason::AccountLimit)));
    let logins = world.mail.logins().len();
    world.pass(s(14 * 60)).await;
    assert_eq!(world.mail.logins().len(), logins, "nobody logs in meanwhile");
    world.pass(s(90)).await;
    assert_eq!(world.mail.delivered_count(), 5);
    assert_eq!(world.login.token_requests(SERVICE.0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_connections_is_learnt_and_closes_no_gate() {
    let world = World::with_clients().await;
    let smtp = service("alerts").smtp.map(|smtp| SmtpInput { max_connections: Some(4), ..smtp });
    world.make(profile::CreateParams { smtp, ..service("alerts") }).await;
    world.mail.set(|mail| mail.max_sessions_per_user = Some(2));
    world.mail.misbehave(Rule::always(Phase::FinalDot, Fault::late(s(2))));
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(world.send(mail("alerts")).await.id);
    }
    for id in ids {
        assert_eq!(world.sent(id).await.consumed_age_s, 0);
    }
    assert_eq!(world.mail.delivered_count(), 30);
    assert_eq!(world.told(EventType::ProfileHeld).await.len(), 0);
    let refused = world.mail.logins().iter().filter(|login| !login.accepted).count();
    assert!(refused <= 4, "{refused} logins were refused before it was learnt");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_longer_life_gets_a_fresh_token_in_the_same_attempt() {
    let world = World::with(service("alerts")).await;
    let check = token_check(world.login.registry(), authorization::MAIL_SCOPE, s(3000));
    world.mail.set(|mail| mail.token_check = check);
    world.pass(s(900)).await;
    let id = world.send(mail("alerts")).await.id;
    let view = world.sent(id).await;
    assert_eq!((view.attempts, world.login.token_requests(SERVICE.0).len()), (1, 2));
    assert_eq!(world.told(EventType::ProfileHeld).await.len(), 0);
    world.pass(s(900)).await;
    let again = world.send(mail("alerts")).await.id;
    assert_eq!(world.sent(again).await.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_once_and_a_right_one_at_once() {
    let world = World::with_clients().await;
    let wrong = SecretInput::value(Secret::new("wr0ng-s3cret"));
    world.make(profile::CreateParams { password: Some(wrong), ..classic("relay") }).await;
    let id = world.send(mail("relay")).await.id;
    let view = world.wait(id, 30).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::AuthRefused)));
    assert_eq!(world.mail.logins().len(), 1);
    world.pass(s(600)).await;
    world.update("relay", |update| update.password = Patch::Set(SecretInput::value(Secret::new(RELAY.1)))).await;
    world.pass(s(2)).await;
    assert_eq!(world.state(id).await.0, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_to_a_good_token_names_the_gate_and_the_cause() {
    let off = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    let policy =
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect, locked by security defaults";
    for (phase, reply, gate, diagnosis) in [
        (Phase::Login, off, HoldReason::AccountLimit, "sm.535_5_7_139"),
        (Phase::Login, policy, HoldReason::AccountLimit, "sm.535_sd"),
        (Phase::Login, "454 4.7.0 Temporary authentication failure", HoldReason::AuthRefused, "sm.454"),
        (Phase::Login, "501 5.5.127 Token will expire soon", HoldReason::AuthRefused, "sm.501_hve"),
        (Phase::Mail, "530 5.7.57 Client not authenticated", HoldReason::AuthRefused, "smtp.not_logged_in"),
        (Phase::Ehlo, "550 5.7.1 (EHLO) go away", HoldReason::HostFault, "smtp.ehlo_name"),
    ] {
        let world = World::with(service("alerts")).await;
        world.mail.misbehave(Rule::always(phase, Fault::reply(reply)));
        let id = world.send(mail("alerts")).await.id;
        let view = world.wait(id, 60).await;
        assert_eq!((view.state, view.held), (MessageState::Held, Some(gate)), "{reply}");
        assert_eq!(view.last_attempt.unwrap().diagnosis.as_deref(), Some(diagnosis), "{reply}");
        world.mail.behave();
        world.pass(s(HOUR + 60)).await;
        assert_eq!(world.sent(id).await.consumed_age_s, 0, "{reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_on_which_ehlo_forgets_the_login_gets_no_second_one() {
    let world = World::with(service("alerts")).await;
    world.mail.set(|mail| mail.ehlo_forgets_login = true);
    for _ in 0..3 {
        let id = world.send(mail("alerts")).await.id;
        world.sent(id).await;
    }
    assert_eq!((world.mail.logins().len(), world.mail.offences()), (1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_long_token_goes_in_two_steps_where_a_line_may_not_be_long() {
    let world = World::with_clients().await;
    world.login.update_client(SERVICE.0, |client| client.access_token_length = 4000);
    let dovecot = Behaviour::dovecot();
    world
        .mail
        .set(|mail| (mail.auth_line_limit, mail.response_limit) = (dovecot.auth_line_limit, dovecot.response_limit));
    world.make(service("alerts")).await;
    let id = world.send(mail("alerts")).await.id;
    world.sent(id).await;
    assert!(!world.mail.logins()[0].initial_response);
}
