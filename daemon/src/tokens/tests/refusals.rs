//! Refusals and failures: what is kept, who is asked, what callers get meanwhile.

use frankd_proto::{EventType, Flow, Kind, Secret, TokenState};

use super::*;
use crate::clock::{Clock as _, FakeClock};
use crate::domain::Client;
use crate::oauth::fake::Step;
use crate::store::Change;

/// One interactive profile whose token is over, and whose refresh token the server does not know.
async fn dead() -> Bench {
    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    bench.server.end("refresh-0");
    bench
}

async fn change_client(bench: &Bench, change: impl FnOnce(&mut Client)) {
    let mut client = bench.registry.view().clients().next().unwrap().clone();
    let expected = Some(client.revision);
    client.revision += 1;
    change(&mut client);
    let change = Change::PutClient { client: Box::new(client), expected };
    bench.registry.commit(vec![change], Vec::new()).await.unwrap();
    bench.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_token_is_asked_twice_then_a_person_once_and_it_is_never_deleted() {
    let bench = dead().await;
    bench.settle().await;
    assert_eq!((bench.refreshes(), bench.state()), (1, TokenState::Expired), "not on one answer");
    bench.pass(s(61)).await;
    assert_eq!((bench.refreshes(), bench.state()), (2, TokenState::NeedsGrant));
    let slot = bench.on_disk().await;
    assert_eq!(slot.tokens.unwrap().refresh_token, None);
    assert_eq!(slot.quarantined.len(), 1);
    assert_eq!(slot.quarantined[0].tokens.refresh_token, Some(Secret::new("refresh-0")));
    assert!(slot.quarantined[0].refused && slot.quarantined[0].next_probe_at.is_some());
    let told = bench.get(s(10)).await;
    let Err(Unavailable::NeedsGrant { failure: Some(failure) }) = told else { panic!("{told:?}") };
    assert_eq!(failure.data.kind, Kind::OauthInvalidGrant);
    assert_eq!(failure.data.hint.as_deref(), Some("frankctl grant p1"));
    bench.pass(s(3 * 86_400)).await;
    assert_eq!(bench.refreshes(), 2 + 2 + 3, "after 1 h and 6 h, then daily");
    assert_eq!(bench.count(EventType::GrantRequired).await, 1, "asked once");
    assert_eq!(bench.count(EventType::TokenQuarantined).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_token_that_works_again_is_back_in_use_by_itself_even_after_a_restart() {
    let bench = dead().await;
    bench.pass(s(61)).await;
    assert_eq!(bench.state(), TokenState::NeedsGrant);
    let bench = bench.crash().await;
    bench.settle().await;
    assert_eq!(bench.state(), TokenState::NeedsGrant);
    bench.server.know("refresh-0");
    bench.pass(s(3700)).await;
    assert_eq!(bench.state(), TokenState::Valid);
    let slot = bench.on_disk().await;
    assert_eq!(slot.tokens.unwrap().refresh_token, Some(Secret::new("refresh-0")));
    assert_eq!((slot.quarantined.len(), slot.failure), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_good_access_token_is_served_to_its_end_although_its_refresh_token_is_dead() {
    let bench = Bench::granted().await;
    bench.server.end("refresh-0");
    bench.pass(s(2500)).await;
    assert_eq!(bench.state(), TokenState::AtRisk);
    assert!(bench.info().failure.unwrap().needs_grant);
    assert_eq!(bench.count(EventType::GrantRequired).await, 1);
    bench.pass(s(1000)).await;
    let issued = bench.get(NOW).await.unwrap();
    assert!(issued.warnings[0].contains("refreshing fails"), "{:?}", issued.warnings);
    let mut changed = bench.tokens.changed();
    changed.borrow_and_update();
    bench.pass(s(75)).await;
    assert_eq!(bench.state(), TokenState::NeedsGrant);
    assert!(changed.has_changed().unwrap(), "time alone changed it, and followers were told");
    assert_eq!(bench.count(EventType::GrantRequired).await, 1, "no second time");
}

#[tokio::test(start_paused = true)]
async fn while_refreshing_fails_a_good_token_is_served_with_a_warning_and_an_expired_one_never() {
    let bench = Bench::granted().await;
    bench.server.set_reachable(false);
    bench.pass(s(2500)).await;
    assert_eq!(bench.state(), TokenState::AtRisk);
    assert!(!bench.get(NOW).await.unwrap().warnings.is_empty());
    bench.pass(s(1065)).await;
    assert!(bench.get(NOW).await.is_ok(), "35 s left");
    bench.pass(s(6)).await;
    let refused = bench.get(NOW).await;
    let Err(Unavailable::Failing { failure, retry_after }) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.data.kind, Kind::OauthProviderUnavailable);
    assert!(retry_after <= s(900));
    assert_eq!(bench.state(), TokenState::Expired);
    assert!(bench.count(EventType::TokenAtRisk).await == 1);
    bench.server.set_reachable(true);
    bench.pass(s(70)).await;
    assert_eq!(bench.state(), TokenState::Valid);
    assert_eq!(bench.info().failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_through_a_short_failure_and_not_for_a_long_one() {
    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    bench.server.then(Step::Status(503, None));
    assert!(bench.get(s(10)).await.is_ok());

    let bench = Bench::granted().await;
    bench.server.then(Step::Status(429, Some(s(1800))));
    bench.pass(s(2500)).await;
    let began = bench.clock.now();
    let refused = bench.tokens.get(P1, Some(s(3000)), s(10)).await;
    assert!(matches!(refused, Err(Unavailable::Failing { .. })), "{refused:?}");
    assert_eq!(bench.clock.now(), began, "no use in waiting");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_floor() {
    let bench = Bench::serving_itself().await;
    bench.server.then(Step::Status(429, Some(s(120))));
    bench.settle().await;
    bench.get(NOW).await.unwrap_err();
    bench.pass(s(119)).await;
    assert_eq!(bench.refreshes(), 1);
    bench.pass(s(2)).await;
    assert_eq!(bench.refreshes(), 2);
    assert_eq!(bench.state(), TokenState::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_secret_is_probed_hourly_and_a_corrected_one_tried_at_once() {
    let bench = Bench::granted().await;
    bench.server.then(Step::Refuse { status: 401, error: "invalid_client" });
    bench.server.then(Step::Refuse { status: 401, error: "invalid_client" });
    bench.pass(s(3600)).await;
    assert_eq!((bench.refreshes(), bench.state()), (1, TokenState::Misconfigured));
    let refused = bench.get(s(10)).await;
    assert!(matches!(refused, Err(Unavailable::Misconfigured { .. })), "{refused:?}");
    bench.pass(s(3600)).await;
    assert_eq!(bench.refreshes(), 2, "hourly");
    change_client(&bench, |client| client.client_secret.as_mut().unwrap().source = new_secret()).await;
    assert_eq!((bench.refreshes(), bench.state()), (3, TokenState::Valid));
    assert_eq!(bench.server.seen()[2].client_secret, Some(Secret::new("new")));
    assert_eq!(bench.on_disk().await.tokens.unwrap().refresh_token, Some(Secret::new("refresh-0")));
}

fn new_secret() -> crate::domain::SecretSource {
    crate::domain::SecretSource::Value(Secret::new("new"))
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_is_said_to_be_so_and_nothing_is_sent() {
    let bench = Bench::granted().await;
    change_client(&bench, |client| {
        client.client_secret.as_mut().unwrap().source = crate::domain::SecretSource::File("gone".to_owned());
    })
    .await;
    let refused = bench.tokens.refresh(P1, Forced::Operator, s(5)).await;
    let Err(Unavailable::Misconfigured { failure }) = refused else { panic!("{refused:?}") };
    assert!(failure.message.contains("login"), "{}", failure.message);
    assert_eq!(bench.refreshes(), 0);
    assert!(bench.get(NOW).await.is_ok(), "the token is still good");
}

#[tokio::test(start_paused = true)]
async fn client_credentials_never_need_a_person() {
    let bench = Bench::serving_itself().await;
    for _ in 0..50 {
        bench.server.then(Step::Refuse { status: 400, error: "invalid_grant" });
    }
    bench.pass(s(4 * 3600)).await;
    assert_eq!(bench.state(), TokenState::Misconfigured, "the server gives this client no token: an operator's matter");
    for _ in 0..60 {
        bench.skip(s(3600)).await;
    }
    assert_eq!(bench.state(), TokenState::Valid);
    assert_eq!(bench.count(EventType::GrantRequired).await, 0);
}

#[tokio::test(start_paused = true)]
async fn another_identity_sets_the_tokens_aside_and_the_old_one_brings_them_back() {
    let bench = Bench::granted().await;
    change_client(&bench, |client| client.client_id = "other".to_owned()).await;
    assert_eq!(bench.state(), TokenState::NeedsGrant);
    assert!(matches!(bench.get(s(5)).await, Err(Unavailable::NeedsGrant { .. })));
    let aside = &bench.on_disk().await.quarantined[0];
    assert!(!aside.refused);
    assert_eq!(bench.refreshes(), 0, "the refresh token is shown to nobody else");
    bench.skip(s(20 * 86_400)).await;
    change_client(&bench, |client| client.client_id = "frankd".to_owned()).await;
    assert!(bench.get(s(5)).await.is_ok());
    let slot = bench.on_disk().await;
    assert_eq!(slot.tokens.unwrap().refresh_token, Some(Secret::new("refresh-0")));
    assert_eq!(slot.quarantined.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_changes_while_a_request_is_on_its_way_keeps_both_apart() {
    let bench = Bench::granted().await;
    bench.server.set_rotation(crate::oauth::fake::Rotation::Strict);
    bench.server.set_takes(s(5));
    let tokens = bench.tokens.clone();
    tokio::spawn(async move { tokens.refresh(P1, Forced::Operator, s(1)).await });
    bench.pass(s(1)).await;
    change_client(&bench, |client| client.client_id = "other".to_owned()).await;
    assert!(bench.get(NOW).await.is_err(), "the old identity's token is not served");
    bench.pass(s(10)).await;
    let aside = &bench.on_disk().await.quarantined[0];
    let kept = aside.tokens.refresh_token.clone().unwrap();
    assert!(bench.server.is_live(&kept), "the rotated one is what is kept");
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_goes_after_thirty_days() {
    let bench = Bench::granted().await;
    change_client(&bench, |client| client.client_id = "other".to_owned()).await;
    bench.skip(s(29 * 86_400)).await;
    assert_eq!(bench.on_disk().await.quarantined.len(), 1);
    bench.skip(s(2 * 86_400)).await;
    assert_eq!(bench.on_disk().await.quarantined.len(), 0);
}
