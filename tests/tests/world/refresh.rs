//! Refresh tokens that rotate, answers that are lost, servers that say odd things: no grant is lost where the server
//! allows it, and callers get a good token or an error that says when to come back.

use frankd_proto::{EventType, Kind, MessageState, TokenState};
use frankd_tests::sandbox::authorization::{Endpoint, Fault, Remark, Rotation};

use super::harness::*;

/// A granted profile whose refresh tokens rotate like this.
async fn granted(rotation: Rotation) -> World {
    let world = World::with(person("alice")).await;
    world.login.update_client(WEB.0, |client| client.rotation = rotation);
    world.grant("alice").await;
    world
}

/// What the rules of the authorization server remarked.
fn remarks(world: &World) -> Vec<Remark> {
    world.login.journal().into_iter().filter_map(|entry| entry.remark).collect()
}

/// Refreshes so far.
fn refreshes(world: &World) -> usize {
    let is_refresh = |grant_type: Option<&str>| grant_type == Some("refresh_token");
    let requests = world.login.token_requests(WEB.0);
    requests.iter().filter(|request| is_refresh(request.grant_type.as_deref())).count()
}

#[tokio::test(start_paused = true)]
async fn every_way_of_rotating_keeps_the_token_good_for_hours_and_nothing_is_used_twice() {
    for rotation in [Rotation::Strict, Rotation::Grace(s(30)), Rotation::KeepsOld, Rotation::None] {
        let world = granted(rotation).await;
        for _ in 0..36 {
            world.pass(s(600)).await;
            let token = world.token("alice", 0).await.unwrap();
            assert_eq!(token.warnings, Vec::<String>::new(), "{rotation:?}");
        }
        assert!((8..=11).contains(&refreshes(&world)), "{rotation:?}: {}", refreshes(&world));
        let reused = remarks(&world).into_iter().any(|remark| remark != Remark::Rotated);
        assert!(!reused, "{rotation:?}");
        assert_eq!(world.login.max_concurrent_of(WEB.0), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_after_rotating_is_asked_for_again_at_once() {
    for rotation in [Rotation::Grace(s(30)), Rotation::KeepsOld, Rotation::None] {
        let world = granted(rotation).await;
        world.login.fail(Endpoint::Token, Fault::drop_response(), 1);
        world.pass(s(2500)).await;
        let asked = world.login.token_requests(WEB.0);
        assert_eq!(asked.len(), 3, "{rotation:?}");
        let between = asked[2].came_at.duration_since(asked[1].came_at);
        assert!(between <= jiff::SignedDuration::from_secs(2), "{rotation:?}: {between}");
        assert_eq!(asked[2].body, asked[1].body, "{rotation:?}: the same refresh token");
        let slot = world.slot("alice").await;
        assert_eq!((slot.state, slot.generation, slot.last_error), (TokenState::Valid, 2, None), "{rotation:?}");
        assert_eq!(world.told(EventType::GrantRequired).await.len(), 0, "{rotation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_strict_rotation_a_lost_answer_costs_the_grant_and_the_old_token_serves_to_its_end() {
    let world = granted(Rotation::Strict).await;
    world.login.fail(Endpoint::Token, Fault::drop_response(), 1);
    world.pass(s(2600)).await;
    assert_eq!(world.told(EventType::GrantRequired).await.len(), 1);
    assert_eq!(world.slot("alice").await.state, TokenState::AtRisk);
    let served = world.token("alice", 0).await.unwrap();
    assert_eq!(served.warnings.len(), 1, "{served:?}");
    world.pass(s(1100)).await;
    let refused = world.token("alice", 5).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::GrantRequired);
    assert!(refused.data.hint.unwrap_or_default().contains("frankctl grant alice"));
    world.grant("alice").await;
    assert_eq!(world.slot("alice").await.state, TokenState::Valid);
    assert_eq!(world.told(EventType::GrantRequired).await.len(), 1, "asked once");
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_keeps_nobody_waiting_longer_than_they_asked_to() {
    let world = World::with_clients().await;
    world.login.fail(Endpoint::Token, Fault::slow(s(20)), 1);
    world.make(service("alerts")).await;
    let at_once = world.token("alerts", 0).await.unwrap_err();
    assert_eq!((at_once.kind(), at_once.data.retryable), (Kind::TokenRefreshing, true));
    assert!(at_once.data.retry_after_s.is_some());
    let soon = world.token("alerts", 10).await.unwrap_err();
    assert_eq!(soon.kind(), Kind::TokenRefreshing);
    assert!(world.token("alerts", 30).await.is_ok());
    assert_eq!(world.login.token_requests(SERVICE.0).len(), 1, "one request for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_and_asked_again() {
    let world = granted(Rotation::Grace(s(60))).await;
    world.login.fail(Endpoint::Token, Fault::hang(), 1);
    world.pass(s(2500)).await;
    assert_eq!(world.slot("alice").await.state, TokenState::Valid);
    assert_eq!(refreshes(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_floor_and_is_told_to_callers() {
    let world = World::with_clients().await;
    world.login.fail(Endpoint::Token, Fault::too_many_requests(90), 1);
    world.make(service("alerts")).await;
    world.settle().await;
    let refused = world.token("alerts", 5).await.unwrap_err();
    assert!(refused.data.retryable, "{refused:?}");
    assert!((80..=90).contains(&refused.data.retry_after_s.unwrap()), "{refused:?}");
    assert!(world.token("alerts", 120).await.is_ok());
    let asked = world.login.token_requests(SERVICE.0);
    assert_eq!(asked.len(), 2);
    assert!(asked[1].came_at.duration_since(asked[0].came_at) >= jiff::SignedDuration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_usable_token_costs_nothing_but_a_retry() {
    for (name, fault) in Fault::useless_answers() {
        let world = granted(Rotation::None).await;
        world.login.fail(Endpoint::Token, fault, 1);
        world.pass(s(2450)).await;
        let served = world.token("alice", 0).await;
        assert!(served.is_ok(), "{name}: {served:?}");
        world.pass(s(2 * HOUR)).await;
        let slot = world.slot("alice").await;
        assert_eq!((slot.state, slot.quarantined_at, slot.last_error), (TokenState::Valid, None, None), "{name}");
        assert_eq!(world.told(EventType::GrantRequired).await.len(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_odd_but_has_a_token_is_taken_and_mail_goes_with_it() {
    for (name, fault) in Fault::lenient_answers() {
        let world = World::with_clients().await;
        world.login.fail(Endpoint::Token, fault, 1);
        world.make(service("alerts")).await;
        let id = world.send(mail("alerts")).await.id;
        let view = world.wait(id, 60).await;
        assert_eq!(view.state, MessageState::Sent, "{name}: {view:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_half_a_day_needs_no_person_afterwards() {
    let world = granted(Rotation::Strict).await;
    world.login_reachable.send_replace(false);
    world.pass(s(3400)).await;
    assert_eq!(world.slot("alice").await.state, TokenState::AtRisk);
    assert_eq!(world.told(EventType::TokenAtRisk).await.len(), 1);
    world.pass(s(9 * HOUR)).await;
    let slot = world.slot("alice").await;
    assert_eq!(slot.state, TokenState::Expired);
    let id = world.send(mail("alice")).await.id;
    world.pass(s(HOUR)).await;
    assert!(!world.message(id).await.state.is_final());
    assert_eq!(world.message(id).await.consumed_age_s, 0, "no fault of the message");
    world.login_reachable.send_replace(true);
    assert_eq!(world.wait(id, 120).await.state, MessageState::Sent);
    assert_eq!(world.told(EventType::GrantRequired).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_cancels_nothing() {
    let world = granted(Rotation::Strict).await;
    world.login.set_latency(s(5));
    world.clock.suspend(s(2 * HOUR));
    let mut caller = world.connect(ROOT);
    let params =
        frankd_proto::methods::token::GetParams { profile: named("alice"), min_valid_s: None, wait_s: Some(60) };
    let call = tokio::spawn(async move { caller.call::<frankd_proto::methods::token::Get>(params).await });
    world.pass(s(2)).await;
    assert_eq!(refreshes(&world), 0, "the answer is still on its way");
    call.abort();
    world.pass(s(20)).await;
    let slot = world.slot("alice").await;
    assert_eq!((slot.state, slot.generation, slot.refreshing), (TokenState::Valid, 2, false));
    assert!(world.token("alice", 0).await.is_ok());
    assert_eq!(refreshes(&world), 1);
    assert_eq!(remarks(&world), [Remark::Rotated]);
    let world = world.crash().await;
    assert_eq!(world.slot("alice").await.generation, 2, "it is on disk");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_nobody_uses_is_kept_warm() {
    let world = granted(Rotation::Strict).await;
    world.login.update_client(WEB.0, |client| client.refresh_token_idle = Some(s(2 * DAY)));
    for _ in 0..60 {
        world.skip(s(12 * HOUR)).await;
    }
    assert_eq!(world.slot("alice").await.state, TokenState::Valid);
    let id = world.send(mail("alice")).await.id;
    world.sent(id).await;
    assert_eq!(world.told(EventType::GrantRequired).await.len(), 0);
    assert!(world.login.max_concurrent() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_token_is_set_aside_a_person_is_asked_once_and_a_probe_brings_it_back() {
    let world = granted(Rotation::None).await;
    world.login.fail(Endpoint::Token, Fault::invalid_grant(), 4);
    while refreshes(&world) == 0 {
        world.pass(s(10)).await;
    }
    assert_eq!(world.told(EventType::TokenQuarantined).await.len(), 0, "not on one answer");
    world.pass(s(61)).await;
    assert_eq!(refreshes(&world), 2);
    let slot = world.slot("alice").await;
    assert!(slot.quarantined_at.is_some());
    assert_eq!(slot.state, TokenState::AtRisk, "the access token is still good");
    world.pass(s(1500)).await;
    assert_eq!(world.slot("alice").await.state, TokenState::NeedsGrant);
    let id = world.send(mail("alice")).await.id;
    let view = world.wait(id, 10).await;
    assert_eq!((view.state, names_of(view.held)), (MessageState::Held, vec!["grant_required".to_owned()]));
    world.pass(s(8 * HOUR)).await;
    assert_eq!(refreshes(&world), 4, "probed after one hour and after six");
    assert_eq!(world.told(EventType::GrantRequired).await.len(), 1);
    assert_eq!(world.told(EventType::TokenQuarantined).await.len(), 1);
    world.skip(s(17 * HOUR)).await;
    world.sent(id).await;
    let slot = world.slot("alice").await;
    assert_eq!((slot.state, slot.quarantined_at), (TokenState::Valid, None));
}
