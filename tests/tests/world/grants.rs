//! Grants: what they hold and open, what they must not disturb, and what a restart does to them.

use frankd_proto::methods::grant;
use frankd_proto::{EventType, GrantState, HoldReason, Kind, MessageState, TokenState};
use frankd_tests::sandbox::authorization::{Decision, Endpoint, Fault, MAIL_SCOPE};

use super::harness::*;

async fn view(world: &World, started: &grant::Started) -> grant::GrantView {
    world.call::<grant::Get>(grant::ById { id: started.grant.id }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_gate_holds_all_mail_of_a_profile_without_a_grant_and_a_grant_opens_it() {
    let world = World::with(person("alice")).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.send(mail("alice")).await.id);
    }
    world.pass(s(2 * HOUR)).await;
    assert_eq!(world.gates("alice").await, [HoldReason::GrantRequired]);
    for id in &ids {
        assert_eq!(world.state(*id).await, (MessageState::Held, Some(HoldReason::GrantRequired)));
    }
    assert_eq!((world.queue("alice").await.waiting, world.mail.connections()), (20, 0));
    assert_eq!(world.told(EventType::ProfileHeld).await.len(), 1, "told once, not for each message");
    world.grant("alice").await;
    for id in &ids {
        let view = world.sent(*id).await;
        assert_eq!((view.attempts, view.consumed_age_s), (1, 0));
    }
    assert_eq!(world.mail.delivered_count(), 20);
    assert_eq!(world.gates("alice").await, []);
    assert_eq!(world.told(EventType::ProfileReleased).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grant_in_progress_survives_a_restart_and_is_good_once() {
    let world = World::with(person("alice")).await;
    let started = world.begin_grant("alice").await;
    let redirect = world.walk(&started, &Decision::Allow).await;
    let world = world.crash().await;
    assert_eq!(view(&world, &started).await.state, GrantState::Pending);
    let completed = world.paste(redirect.clone()).await.unwrap();
    assert_eq!((completed.grant.id, completed.token.state), (started.grant.id, TokenState::Valid));
    let again = world.paste(redirect).await.unwrap_err();
    assert_eq!(again.kind(), Kind::GrantStateMismatch);
    assert_eq!(world.login.token_requests(WEB.0).len(), 1, "the code was sent once");
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_the_code_is_exchanged_fails_the_grant_and_sends_the_code_never_again() {
    let world = World::with(person("alice")).await;
    let started = world.begin_grant("alice").await;
    let redirect = world.walk(&started, &Decision::Allow).await;
    world.login.fail(Endpoint::Token, Fault::late(s(10)), 1);
    let mut caller = world.connect(ROOT);
    let params = grant::CompleteParams { id: None, redirect_url: frankd_proto::Secret::new(redirect.clone()) };
    let call = tokio::spawn(async move { caller.call::<grant::Complete>(params).await });
    world.pass(s(2)).await;
    call.abort();
    let world = world.crash().await;
    world.settle().await;
    let ended = view(&world, &started).await;
    assert_eq!(ended.state, GrantState::Failed);
    assert!(ended.error.is_some_and(|error| error.message.contains("restart") || error.data.hint.is_some()));
    assert_eq!(world.paste(redirect).await.unwrap_err().kind(), Kind::GrantStateMismatch);
    assert_eq!(world.login.token_requests(WEB.0).len(), 1);
    world.grant("alice").await;
    assert_eq!(world.slot("alice").await.state, TokenState::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_denied_or_never_finished_leaves_the_token_in_use_alone() {
    let world = World::with(person("alice")).await;
    world.grant("alice").await;
    let before = world.slot("alice").await;
    let denied = world.begin_grant("alice").await;
    let redirect = world.walk(&denied, &Decision::Deny).await;
    assert_eq!(world.paste(redirect).await.unwrap_err().kind(), Kind::GrantDeniedByUser);
    assert_eq!(view(&world, &denied).await.state, GrantState::Denied);
    let forgotten = world.begin_grant("alice").await;
    let late = world.walk(&forgotten, &Decision::Allow).await;
    world.pass(s(601)).await;
    assert_eq!(view(&world, &forgotten).await.state, GrantState::Expired);
    assert_eq!(world.paste(late).await.unwrap_err().kind(), Kind::GrantExpired);
    let after = world.slot("alice").await;
    assert_eq!((after.generation, after.state), (before.generation, TokenState::Valid));
    assert_eq!(after.access_token, before.access_token);
    world.grant("alice").await;
    assert!(world.slot("alice").await.generation > before.generation, "a new grant takes its place");
}

#[tokio::test(start_paused = true)]
async fn a_grant_of_fewer_scopes_is_said_at_once_and_its_mail_waits_when_the_server_refuses_it() {
    let params = frankd_proto::methods::profile::CreateParams {
        scopes: Some(vec![MAIL_SCOPE.to_owned(), "email".to_owned()]),
        ..person("alice")
    };
    let world = World::with(params).await;
    let started = world.begin_grant("alice").await;
    let redirect = world.walk(&started, &Decision::AllowOnly(vec!["email".to_owned()])).await;
    let completed = world.paste(redirect).await.unwrap();
    assert!(completed.grant.warnings.iter().any(|warning| warning.contains(MAIL_SCOPE)), "{:?}", completed.grant);
    assert_eq!(world.slot("alice").await.scopes, ["email"]);
    let id = world.send(mail("alice")).await.id;
    let held = world.wait(id, 60).await;
    assert_eq!((held.state, held.held), (MessageState::Held, Some(HoldReason::AuthRefused)));
    assert_eq!(world.mail.logins().len(), 2, "one refresh, one more try");
    world.pass(s(61)).await;
    world.grant("alice").await;
    world.sent(id).await;
}
