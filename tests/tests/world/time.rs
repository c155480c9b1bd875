//! Machines that sleep and clocks that somebody sets: an expired token is never served, whatever time does.

use frankd_proto::methods::token;
use frankd_tests::sandbox::authorization::Rotation;
use jiff::SignedDuration;

use super::harness::*;

async fn granted() -> World {
    let world = World::with(person("alice")).await;
    world.login.update_client(WEB.0, |client| client.rotation = Rotation::Strict);
    world.grant("alice").await;
    world
}

/// Whether the authorization server would still take a token.
fn is_good(world: &World, token: &token::Token) -> bool {
    // As it travels.
    let text = serde_json::to_value(&token.access_token).unwrap();
    world.login.registry().owner_of(text.as_str().unwrap()).is_some()
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_past_its_end_the_old_token_is_not_served_for_a_moment() {
    let world = granted().await;
    assert!(is_good(&world, &world.token("alice", 0).await.unwrap()));
    world.login.set_latency(s(2));
    world.clock.suspend(s(HOUR));
    let refused = world.token("alice", 0).await.unwrap_err();
    assert_eq!(refused.kind(), frankd_proto::Kind::TokenRefreshing);
    let fresh = world.token("alice", 30).await.unwrap();
    assert!(is_good(&world, &fresh));
    assert_eq!(world.login.token_requests(WEB.0).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_suspend_that_ends_before_the_token_does_is_followed_by_a_refresh_within_seconds() {
    let world = granted().await;
    world.clock.suspend(s(50 * 60));
    let served = world.token("alice", 0).await.unwrap();
    assert!(is_good(&world, &served), "ten minutes are left");
    world.pass(s(16)).await;
    assert_eq!(world.slot("alice").await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn no_jump_of_any_clock_makes_an_expired_token_be_served() {
    let world = granted().await;
    let steps: [i64; 8] = [7200, -7200, 86_400, -86_400, 1800, -1800, 60, -3600];
    let naps: [u64; 7] = [1, 3599, 1200, 3000, 2 * HOUR, 45, DAY];
    let mut served = 0;
    for round in 0..150_usize {
        if round % 3 == 0 {
            world.clock.step_wall(SignedDuration::from_secs(steps[round / 3 % steps.len()]));
        }
        if round % 2 == 0 {
            world.clock.suspend(s(naps[round / 2 % naps.len()]));
        } else {
            world.pass(s(naps[round % naps.len()].min(700))).await;
        }
        for wait in [0, 20] {
            if let Ok(token) = world.token("alice", wait).await {
                assert!(is_good(&world, &token), "round {round}");
                served += 1;
            }
        }
    }
    assert!(served > 250, "and a good one is nearly always there: {served}");
    assert!(world.login.journal().iter().all(|entry| entry.error.is_none()), "and no refresh token was burnt");
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_the_clock_was_set_back_trusts_no_token_that_it_cannot_date() {
    let world = granted().await;
    world.clock.step_wall(SignedDuration::from_secs(-86_400));
    world.clock.suspend(s(2 * HOUR));
    let world = world.crash().await;
    let token = world.token("alice", 30).await.unwrap();
    assert!(is_good(&world, &token));
    assert_eq!(world.slot("alice").await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_a_good_token_good_and_asks_nobody() {
    let world = granted().await;
    world.pass(s(600)).await;
    let world = world.crash().await;
    assert!(is_good(&world, &world.token("alice", 0).await.unwrap()));
    world.pass(s(600)).await;
    assert_eq!(world.login.token_requests(WEB.0).len(), 1);
}
