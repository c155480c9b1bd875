//! Crashes, lost answers, a failing disk: no grant is lost where the server allows it.

use frankd_proto::{EventType, Flow, Secret, TokenState};

use super::*;
use crate::clock::FakeClock;
use crate::oauth::fake::{Rotation, Step};
use crate::store::StoreError;

/// One interactive profile whose token is due, with refresh tokens that rotate like this.
async fn due(rotation: Rotation) -> Bench {
    let clock = FakeClock::new();
    let old = slot(1, &clock, s(4000));
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![old]).await;
    bench.server.set_rotation(rotation);
    bench
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_on_disk_before_the_request_goes_out() {
    let bench = due(Rotation::Strict).await;
    bench.server.set_takes(s(3));
    bench.pass(s(1)).await;
    let slot = bench.on_disk().await;
    let intent = slot.intent.unwrap();
    assert_eq!((intent.generation, intent.attempt), (1, 1));
    assert_eq!(intent.refresh_token_fingerprint.len(), 16);
    assert_eq!(bench.refreshes(), 1);
    bench.pass(s(3)).await;
    let slot = bench.on_disk().await;
    assert_eq!((slot.intent, slot.generation), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_disk_nothing_is_sent() {
    let bench = due(Rotation::Strict).await;
    bench.store.set_read_only(Some("no sync"));
    bench.pass(s(100)).await;
    assert_eq!(bench.refreshes(), 0);
    assert_eq!(bench.state(), TokenState::Expired);
    bench.store.set_read_only(None);
    assert!(bench.get(s(120)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_server_acted_costs_nothing() {
    for rotation in [Rotation::None, Rotation::Grace, Rotation::Strict] {
        let bench = due(rotation).await;
        bench.server.then(Step::Unreachable);
        bench.server.set_takes(s(3));
        bench.pass(s(1)).await;
        let bench = bench.crash().await;
        bench.server.set_takes(NOW);
        assert!(bench.get(s(10)).await.is_ok(), "{rotation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_server_rotated_is_mended_within_its_grace() {
    for (rotation, survives) in [(Rotation::None, true), (Rotation::Grace, true), (Rotation::Strict, false)] {
        let bench = due(rotation).await;
        bench.server.then(Step::LoseAnswer);
        bench.server.then(Step::Slow(s(3600)));
        bench.settle().await;
        let bench = bench.crash().await;
        assert_eq!(bench.get(s(5)).await.is_ok(), survives, "{rotation:?}");
        let attempts = bench.server.seen();
        assert!(attempts[2].at.since(attempts[0].at) < s(1), "at once, not by a back-off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_answer_was_written_finds_the_new_token() {
    let bench = due(Rotation::Strict).await;
    bench.get(s(5)).await.unwrap();
    let bench = bench.crash().await;
    let issued = bench.get(NOW).await.unwrap();
    assert_eq!((issued.generation, bench.refreshes()), (2, 1));
    assert!(bench.server.is_live(&bench.on_disk().await.tokens.unwrap().refresh_token.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_with_the_old_token_within_two_seconds() {
    let bench = due(Rotation::Grace).await;
    bench.server.then(Step::LoseAnswer);
    bench.get(s(10)).await.unwrap();
    let seen = bench.server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].with, seen[1].with);
    assert!(seen[1].at.since(seen[0].at) <= s(2));
}

#[tokio::test(start_paused = true)]
async fn answers_that_stay_lost_are_backed_off_from_and_the_intent_stays() {
    let bench = due(Rotation::None).await;
    for _ in 0..3 {
        bench.server.then(Step::LoseAnswer);
    }
    bench.settle().await;
    assert_eq!(bench.refreshes(), 2, "one repeat at once");
    assert!(bench.on_disk().await.intent.is_some());
    assert!(bench.get(s(60)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_does_not_hold_a_flight_for_ever() {
    let bench = due(Rotation::Grace).await;
    bench.server.then(Step::Slow(s(100_000)));
    assert!(bench.get(s(120)).await.is_ok());
    assert_eq!(bench.refreshes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_after_the_answer_leaves_the_token_in_use_and_nothing_rotates() {
    let bench = due(Rotation::Strict).await;
    bench.server.set_takes(s(2));
    bench.pass(s(1)).await;
    bench.store.set_read_only(Some("no sync"));
    bench.pass(s(2)).await;
    let issued = bench.get(NOW).await.unwrap();
    assert_eq!(issued.generation, 2);
    assert!(issued.warnings.iter().any(|warning| warning.contains("memory")), "{:?}", issued.warnings);
    assert!(bench.info().unsaved);
    assert_eq!(bench.on_disk().await.generation, 1);

    let tokens = bench.tokens.clone();
    let forced = tokio::spawn(async move { tokens.refresh(P1, Forced::Operator, s(20)).await });
    bench.pass(s(30)).await;
    assert_eq!(bench.refreshes(), 1, "no rotation on top of one that is not written");
    assert!(forced.await.unwrap().is_err());

    bench.store.set_read_only(None);
    bench.pass(s(1)).await;
    assert!(!bench.info().unsaved);
    assert_eq!(bench.on_disk().await.generation, 2);
    assert_eq!(bench.count(EventType::TokenRefreshed).await, 1);
}

#[tokio::test(start_paused = true)]
async fn one_failed_write_is_made_good_a_second_later() {
    let bench = due(Rotation::Strict).await;
    bench.server.set_takes(s(2));
    bench.pass(s(1)).await;
    bench.store.fail_next(StoreError::Full);
    bench.pass(Duration::from_millis(1500)).await;
    assert!(bench.info().unsaved);
    bench.pass(s(1)).await;
    assert!(!bench.info().unsaved);
    assert_eq!(bench.on_disk().await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn the_token_before_a_rotation_is_kept_until_the_new_one_has_worked() {
    let bench = due(Rotation::Strict).await;
    bench.get(s(5)).await.unwrap();
    let tokens = bench.on_disk().await.tokens.unwrap();
    assert_eq!(tokens.previous_refresh_token, Some(Secret::new("refresh-0")));
    let first = tokens.refresh_token;
    bench.tokens.refresh(P1, Forced::Operator, s(5)).await.unwrap();
    let tokens = bench.on_disk().await.tokens.unwrap();
    assert_eq!(tokens.previous_refresh_token, first);
    bench.server.set_rotation(Rotation::None);
    bench.tokens.refresh(P1, Forced::Operator, s(5)).await.unwrap();
    assert_eq!(bench.on_disk().await.tokens.unwrap().previous_refresh_token, None);
}
