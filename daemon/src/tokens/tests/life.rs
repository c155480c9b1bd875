//! A slot's ordinary life: fetched, served, refreshed, waited for.

use frankd_proto::{EventType, Flow, ProfileKind, Secret, TokenState};

use super::*;
use crate::clock::{Clock as _, ClockExt as _, FakeClock};
use crate::domain::Profile;
use crate::store::Change;

#[tokio::test(start_paused = true)]
async fn a_client_of_its_own_has_a_token_before_anybody_asks() {
    let bench = Bench::serving_itself().await;
    bench.settle().await;
    assert_eq!(bench.state(), TokenState::Valid);
    let issued = bench.get(NOW).await.unwrap();
    assert_eq!((issued.remaining, issued.generation), (s(3600), 1));
    assert_eq!(issued.warnings, Vec::<String>::new());
    assert_eq!(bench.refreshes(), 1);
    assert_eq!(bench.on_disk().await.tokens.unwrap().access_token, issued.access_token);
    assert_eq!(bench.count(EventType::TokenRefreshed).await, 1);
}

#[tokio::test(start_paused = true)]
async fn two_callers_of_five_second_tokens_are_never_refused_nor_warned() {
    let bench = Bench::serving_itself().await;
    bench.server.set_life(Some(s(5)));
    bench.server.set_takes(Duration::from_millis(120));
    bench.pass(s(1)).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..160 {
        for _ in 0..2 {
            let issued = bench.get(NOW).await.unwrap();
            assert_eq!(issued.warnings, Vec::<String>::new());
            assert!(issued.remaining >= s(5) / 3);
            seen.insert(issued.generation);
        }
        bench.pass(Duration::from_millis(50)).await;
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert_eq!(bench.server.most_at_once(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_is_not_refreshed_at_the_start_and_an_expired_one_is() {
    let bench = Bench::granted().await;
    bench.pass(s(1900)).await;
    assert_eq!(bench.refreshes(), 0);
    bench.pass(s(600)).await;
    assert_eq!(bench.refreshes(), 1, "34 to 40 minutes after it came");

    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    let issued = bench.get(s(10)).await.unwrap();
    assert_eq!((bench.refreshes(), issued.generation), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn four_callers_share_one_flight() {
    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    bench.server.set_takes(s(2));
    let all = futures::future::join_all((0..4).map(|_| bench.get(s(10)))).await;
    let tokens: Vec<Secret> = all.into_iter().map(|issued| issued.unwrap().access_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(bench.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_nothing_with_it() {
    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    bench.server.set_takes(s(5));
    let left = bench.clock.deadline(s(1), bench.get(s(60))).await;
    assert!(left.is_err());
    bench.pass(s(5)).await;
    assert_eq!(bench.on_disk().await.generation, 2);
    assert_eq!(bench.get(NOW).await.unwrap().generation, 2);
    assert_eq!(bench.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_is_told_to_come_back_and_has_set_it_going() {
    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    bench.server.set_takes(s(1));
    assert_eq!(bench.get(NOW).await, Err(Unavailable::Refreshing { retry_after: s(1) }));
    bench.pass(s(2)).await;
    assert!(bench.get(NOW).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_longer_life_than_the_schedule_gives_is_fetched_and_an_impossible_one_refused() {
    let bench = Bench::granted().await;
    bench.pass(s(600)).await;
    let issued = bench.tokens.get(P1, Some(s(3500)), s(10)).await.unwrap();
    assert_eq!((issued.generation, issued.remaining), (2, s(3600)));
    let refused = bench.tokens.get(P1, Some(s(3601)), s(10)).await;
    assert_eq!(refused, Err(Unavailable::ValidityUnreachable { longest: s(3600) }));
    assert_eq!(bench.refreshes(), 1, "no request for what cannot be had");
    bench.server.set_life(Some(s(600)));
    bench.pass(s(200)).await;
    let refused = bench.tokens.get(P1, Some(s(3500)), s(10)).await;
    assert!(matches!(refused, Err(Unavailable::ValidityUnreachable { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_gets_a_new_token_although_the_old_one_is_good() {
    let bench = Bench::granted().await;
    let issued = bench.tokens.refresh(P1, Forced::Operator, s(10)).await.unwrap();
    assert_eq!((issued.generation, bench.refreshes()), (2, 1));
}

/// The keeper hears of the order before it hears that the request before has ended.
#[tokio::test(start_paused = true)]
async fn a_new_token_ordered_in_the_moment_one_comes_is_fetched_at_once() {
    let bench = Bench::serving_itself().await;
    bench.server.set_takes(s(1));
    let (tokens, began) = (bench.tokens.clone(), bench.clock.now());
    let ordering = tokio::spawn(async move {
        assert_eq!(tokens.get(P1, None, s(10)).await.unwrap().generation, 1);
        tokens.refresh(P1, Forced::Operator, s(60)).await
    });
    assert_eq!(ordering.await.unwrap().unwrap().generation, 2);
    assert_eq!(bench.clock.now().since(began), s(2));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_mail_server_refused_is_refreshed_once_in_five_minutes() {
    let bench = Bench::granted().await;
    let refused = Forced::RefusedBySmtp { generation: 1 };
    assert_eq!(bench.tokens.refresh(P1, refused, s(10)).await.unwrap().generation, 2);
    assert_eq!(bench.tokens.refresh(P1, refused, s(10)).await.unwrap().generation, 2, "it moved on already");
    assert_eq!(bench.refreshes(), 1);
    let again = Forced::RefusedBySmtp { generation: 2 };
    let answer = bench.tokens.refresh(P1, again, s(10)).await;
    assert!(matches!(answer, Err(Unavailable::RefusedRecently { .. })), "{answer:?}");
    bench.pass(s(301)).await;
    assert_eq!(bench.tokens.refresh(P1, again, s(10)).await.unwrap().generation, 3);
}

#[tokio::test(start_paused = true)]
async fn unknown_profiles_and_profiles_without_tokens_are_said_to_be_so() {
    let bench = Bench::granted().await;
    let unknown = bench.tokens.get(ProfileId::from_bits(99), None, NOW).await;
    assert_eq!(unknown, Err(Unavailable::NoProfile));
    let classic = Profile { flow: None, client: None, kind: ProfileKind::Smtp, ..profile(2, Flow::Interactive) };
    let id = classic.id;
    let change = Change::PutProfile { profile: Box::new(classic), expected: None };
    bench.registry.commit(vec![change], Vec::new()).await.unwrap();
    assert_eq!(bench.tokens.get(id, None, NOW).await, Err(Unavailable::NoTokens));
}

#[tokio::test(start_paused = true)]
async fn a_profile_made_now_is_served_and_one_deleted_is_gone_for_good() {
    let bench = Bench::granted().await;
    let made = profile(2, Flow::ClientCredentials);
    let id = made.id;
    let change = Change::PutProfile { profile: Box::new(made), expected: None };
    bench.registry.commit(vec![change], Vec::new()).await.unwrap();
    assert!(bench.tokens.get(id, None, s(10)).await.is_ok(), "asked for before the keeper heard of it");

    bench.server.set_takes(s(3));
    let tokens = bench.tokens.clone();
    let refreshing = tokio::spawn(async move { tokens.refresh(id, Forced::Operator, s(10)).await });
    bench.pass(s(1)).await;
    let frozen = bench.tokens.freeze(id).unwrap();
    let changes = vec![
        Change::DeleteProfile { id, expected: 1 },
        Change::DeleteSlot { profile: id, expected: frozen.version().unwrap() },
    ];
    bench.registry.commit(changes, Vec::new()).await.unwrap();
    bench.tokens.forget(id).await;
    drop(frozen);
    bench.pass(s(10)).await;
    assert!(refreshing.await.unwrap().is_err());
    assert_eq!(bench.tokens.get(id, None, NOW).await, Err(Unavailable::NoProfile));
    assert_eq!(bench.store.snapshot().await.unwrap().slots.len(), 1, "the late answer made no slot");
}

#[tokio::test(start_paused = true)]
async fn the_keeper_answers_and_stops_after_what_is_on_its_way() {
    let bench = Bench::granted().await;
    bench.tokens.ping().await;
    bench.server.set_takes(s(4));
    let tokens = bench.tokens.clone();
    tokio::spawn(async move { tokens.refresh(P1, Forced::Operator, s(10)).await });
    bench.pass(s(1)).await;
    let began = bench.clock.now();
    bench.tokens.stop(s(45)).await;
    assert_eq!(bench.clock.now().since(began), s(3), "it waited for the answer, and no longer");
    assert_eq!(bench.on_disk().await.generation, 2);
    bench.keeper.await.unwrap();
    assert!(bench.tokens.get(P1, None, NOW).await.is_ok(), "a good token is served to the end");
    assert_eq!(bench.tokens.get(P1, Some(s(3599)), NOW).await, Err(Unavailable::Stopping));
}
