//! Clocks, audit, forecasts, revocation, adoption.

use frankd_proto::methods::token::RemoteRevocation;
use frankd_proto::{EventType, Flow, Secret, TokenState};
use jiff::SignedDuration;

use super::*;
use crate::clock::{Clock as _, ClockExt as _, FakeClock};
use crate::domain::answer::TokenAnswer;
use crate::domain::{Caller, SocketKind};
use crate::oauth::fake::FakeServer;
use crate::store::Change;

#[tokio::test(start_paused = true)]
async fn after_a_suspend_no_expired_token_is_served_and_a_new_one_comes_within_a_slice() {
    let bench = Bench::granted().await;
    bench.pass(s(100)).await;
    bench.clock.suspend(s(4000));
    assert_eq!(bench.get(NOW).await, Err(Unavailable::Refreshing { retry_after: s(1) }));
    bench.settle().await;
    assert!(bench.get(NOW).await.is_ok(), "who asked set it going");

    let bench = Bench::granted().await;
    bench.pass(s(100)).await;
    bench.clock.suspend(s(4000));
    bench.pass(s(16)).await;
    assert_eq!((bench.refreshes(), bench.state()), (1, TokenState::Valid), "and nobody has to ask");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_up_after_the_machine_is_no_failure() {
    let bench = Bench::granted().await;
    bench.pass(s(100)).await;
    bench.server.set_reachable(false);
    bench.clock.suspend(s(4000));
    bench.pass(s(40)).await;
    assert!(bench.refreshes() > 5, "tried often: {}", bench.refreshes());
    bench.server.set_reachable(true);
    bench.pass(s(3)).await;
    assert_eq!(bench.state(), TokenState::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_steps_neither_ends_nor_prolongs_a_token() {
    for step in [SignedDuration::from_hours(5), SignedDuration::from_hours(-5)] {
        let bench = Bench::granted().await;
        bench.pass(s(100)).await;
        bench.clock.step_wall(step);
        let issued = bench.get(NOW).await.unwrap();
        assert_eq!(issued.remaining, s(3500));
        let left = issued.expires_at.duration_since(bench.clock.wall());
        assert_eq!(left, SignedDuration::from_secs(3500), "told by the clock of now");
        bench.pass(s(2400)).await;
        assert_eq!(bench.refreshes(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_under_an_earlier_clock_a_token_is_used_until_it_could_be_renewed() {
    let bench = Bench::granted().await;
    bench.pass(s(100)).await;
    bench.clock.step_wall(SignedDuration::from_hours(-5));
    bench.server.set_takes(s(2));
    let bench = bench.crash().await;
    bench.settle().await;
    let issued = bench.get(NOW).await.unwrap();
    assert!(issued.warnings.iter().any(|warning| warning.contains("clock")), "{:?}", issued.warnings);
    bench.pass(s(3)).await;
    assert_eq!(bench.refreshes(), 1, "renewed at once");
    assert_eq!(bench.get(NOW).await.unwrap().warnings, Vec::<String>::new());

    let bench = Bench::granted().await;
    bench.clock.step_wall(SignedDuration::from_hours(-5));
    bench.server.set_reachable(false);
    let bench = bench.crash().await;
    bench.settle().await;
    assert!(bench.get(NOW).await.is_err(), "and not after it could not be");
}

fn caller(uid: u32) -> Caller {
    Caller {
        uid,
        gid: 100,
        pid: Some(4711),
        user: Some("www".to_owned()),
        groups: vec![100],
        socket: SocketKind::Control,
    }
}

#[tokio::test(start_paused = true)]
async fn hand_outs_are_on_disk_within_a_second_and_gathered() {
    let bench = Bench::granted().await;
    bench.settle().await;
    let writes = bench.on_disk().await.version;
    for _ in 0..100 {
        bench.tokens.handed_out(P1, &caller(33));
    }
    bench.tokens.handed_out(P1, &caller(34));
    bench.pass(s(1)).await;
    let slot = bench.on_disk().await;
    assert_eq!((slot.handed_out, slot.version), (101, writes + 1));
    assert!(slot.handed_out_at.is_some());
    let events: Vec<_> =
        bench.events().await.into_iter().filter(|event| event.event_type == EventType::TokenHandedOut).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].data["times"], 100);
    assert_eq!((&events[0].data["uid"], &events[0].data["user"]), (&33.into(), &"www".into()));
    assert!(!serde_json::to_string(&events).unwrap().contains("access-0"));

    bench.store.set_read_only(Some("no sync"));
    bench.tokens.handed_out(P1, &caller(33));
    bench.pass(s(5)).await;
    bench.store.set_read_only(None);
    bench.pass(s(1)).await;
    assert_eq!(bench.on_disk().await.handed_out, 102, "kept until it could be written");
    bench.tokens.handed_out(P1, &caller(33));
    bench.tokens.stop(s(1)).await;
    bench.settle().await;
    assert_eq!(bench.on_disk().await.handed_out, 103, "and at a stop");
}

#[tokio::test(start_paused = true)]
async fn revocation_takes_the_refresh_token_first_and_forgets_everything() {
    let bench = Bench::granted().await;
    let revoked = bench.tokens.revoke(P1, false).await.unwrap();
    assert_eq!(revoked, Revocation { remote: RemoteRevocation::Done, detail: None });
    let seen = bench.server.seen();
    assert_eq!((seen.len(), &seen[0].with), (1, &Some(Secret::new("refresh-0"))));
    bench.settle().await;
    let slot = bench.on_disk().await;
    assert_eq!((slot.tokens, slot.quarantined.len(), slot.generation), (None, 0, 2));
    assert_eq!(bench.state(), TokenState::NeedsGrant);
    assert!(matches!(bench.get(s(5)).await, Err(Unavailable::NeedsGrant { .. })));
    bench.skip(s(86_400)).await;
    assert_eq!(bench.refreshes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_fails_at_the_server_is_told_and_one_for_here_alone_asks_nobody() {
    let bench = Bench::granted().await;
    bench.server.set_revokes(false);
    let revoked = bench.tokens.revoke(P1, false).await.unwrap();
    assert_eq!(revoked.remote, RemoteRevocation::Failed);
    assert!(revoked.detail.unwrap().contains("503"));
    assert_eq!(bench.on_disk().await.tokens, None);

    let bench = Bench::granted().await;
    assert_eq!(bench.tokens.revoke(P1, true).await.unwrap().remote, RemoteRevocation::Skipped);
    assert_eq!(bench.server.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_waits_for_the_answer_that_is_on_its_way() {
    let bench = Bench::granted().await;
    bench.server.set_rotation(crate::oauth::fake::Rotation::Strict);
    bench.server.set_takes(s(3));
    let tokens = bench.tokens.clone();
    tokio::spawn(async move { tokens.refresh(P1, Forced::Operator, s(1)).await });
    bench.pass(s(1)).await;
    bench.tokens.revoke(P1, false).await.unwrap();
    let revoked = bench.server.seen().last().unwrap().with.clone().unwrap();
    assert_eq!(revoked, Secret::new("refresh-1"), "the new one, not the one before");
    assert!(!bench.server.is_live(&revoked));
}

fn adoption(answer: TokenAnswer, bench: &Bench) -> Adoption {
    Adoption {
        profile: P1,
        identity: identity(),
        answer,
        sent_at: bench.clock.wall(),
        changes: Vec::new(),
        events: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_token_overtakes_the_answer_that_is_on_its_way() {
    let bench = Bench::granted().await;
    bench.server.set_takes(s(3));
    let tokens = bench.tokens.clone();
    tokio::spawn(async move { tokens.refresh(P1, Forced::Operator, s(10)).await });
    bench.pass(s(1)).await;
    let granted = FakeServer::answer("granted", Some("refresh-9"));
    bench.tokens.adopt(adoption(granted, &bench)).await.unwrap();
    bench.pass(s(5)).await;
    let tokens = bench.on_disk().await.tokens.unwrap();
    assert_eq!((tokens.access_token, tokens.refresh_token), (Secret::new("granted"), Some(Secret::new("refresh-9"))));
    assert_eq!(bench.get(NOW).await.unwrap().access_token, Secret::new("granted"));
    assert_eq!(bench.state(), TokenState::Valid);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_token_ends_a_quarantine_and_its_probes() {
    let bench = Bench::granted().await;
    bench.server.end("refresh-0");
    bench.pass(s(4000)).await;
    assert_eq!(bench.state(), TokenState::NeedsGrant);
    let before = bench.refreshes();
    bench.server.know("refresh-9");
    bench.tokens.adopt(adoption(FakeServer::answer("granted", Some("refresh-9")), &bench)).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.state(), TokenState::Valid);
    assert_eq!(bench.on_disk().await.quarantined.len(), 0);
    bench.pass(s(2500)).await;
    assert_eq!(bench.refreshes(), before + 1, "by its schedule, with the new one");
    assert_eq!(bench.server.seen().last().unwrap().with, Some(Secret::new("refresh-9")));
}

#[tokio::test(start_paused = true)]
async fn a_grant_without_a_refresh_token_keeps_the_one_there_was_unless_another_account_signed_in() {
    let bench = Bench::granted().await;
    let answer = FakeServer::answer("granted", None);
    assert!(!bench.tokens.lacks_refresh_token(P1, &answer, &identity()));
    bench.tokens.adopt(adoption(answer, &bench)).await.unwrap();
    assert_eq!(bench.on_disk().await.tokens.unwrap().refresh_token, Some(Secret::new("refresh-0")));

    let clock = FakeClock::new();
    let mut of_a = slot(1, &clock, NOW);
    of_a.tokens.as_mut().unwrap().account = Some("a@example.org".to_owned());
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![of_a]).await;
    let answer = TokenAnswer { account: Some("b@example.org".to_owned()), ..FakeServer::answer("granted", None) };
    assert!(bench.tokens.lacks_refresh_token(P1, &answer, &identity()));
    bench.tokens.adopt(adoption(answer, &bench)).await.unwrap();
    bench.settle().await;
    let kept = bench.on_disk().await;
    assert_eq!(kept.tokens.unwrap().refresh_token, None);
    assert_eq!(kept.quarantined[0].tokens.refresh_token, Some(Secret::new("refresh-0")));
    let issued = bench.get(NOW).await.unwrap();
    assert!(issued.warnings[0].contains("a person must grant"), "{:?}", issued.warnings);
    bench.pass(s(4000)).await;
    assert_eq!((bench.state(), bench.refreshes()), (TokenState::NeedsGrant, 0));
    assert_eq!(bench.count(EventType::GrantRequired).await, 1, "told when it ended");
}

#[tokio::test(start_paused = true)]
async fn a_grant_for_another_identity_is_not_adopted() {
    let bench = Bench::granted().await;
    let mut foreign = adoption(FakeServer::answer("granted", Some("refresh-9")), &bench);
    foreign.identity.client_id = "other".to_owned();
    let refused = bench.tokens.adopt(foreign).await;
    assert!(matches!(refused, Err(AdoptError::IdentityChanged)), "{refused:?}");
    assert_eq!(bench.get(NOW).await.unwrap().access_token, Secret::new("access-0"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_will_end_is_told_of_once_for_each_warning() {
    let clock = FakeClock::new();
    let mut ending = slot(1, &clock, NOW);
    let tokens = ending.tokens.as_mut().unwrap();
    tokens.refresh_expires_at = Some(clock.wall() + SignedDuration::from_hours(24 * 30));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![ending]).await;
    for (days, told) in [(15, 0), (2, 1), (1, 1), (6, 2), (4, 3), (1, 4)] {
        bench.skip(s(days * 86_400 - 3600)).await;
        bench.skip(s(3600)).await;
        assert_eq!(bench.count(EventType::GrantExpiring).await, told, "{days}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_secret_that_will_end_is_told_of() {
    let bench = Bench::granted().await;
    let mut client = bench.registry.view().clients().next().unwrap().clone();
    client.revision = 2;
    let ends = bench.clock.wall() + SignedDuration::from_hours(24 * 8);
    client.client_secret.as_mut().unwrap().expires_at = Some(ends);
    let change = Change::PutClient { client: Box::new(client), expected: Some(1) };
    bench.registry.commit(vec![change], Vec::new()).await.unwrap();
    bench.skip(s(3600)).await;
    bench.skip(s(86_400)).await;
    let told: Vec<_> = bench.events().await;
    let told: Vec<_> = told
        .iter()
        .filter(|event| event.event_type == EventType::ClientSecretExpiring)
        .map(|event| &event.data)
        .collect();
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["within_days"], &told[1]["within_days"]), (&14.into(), &7.into()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_its_limit() {
    let bench = Bench::granted().await;
    bench.server.set_takes(s(100));
    let tokens = bench.tokens.clone();
    tokio::spawn(async move { tokens.refresh(P1, Forced::Operator, s(200)).await });
    bench.pass(s(1)).await;
    let began = bench.clock.now();
    bench.tokens.stop(s(10)).await;
    assert_eq!(bench.clock.now().since(began), s(10));
    bench.clock.sleep(s(1)).await;
}
