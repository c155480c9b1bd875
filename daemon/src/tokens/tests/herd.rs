//! Many slots at once: limits, order, a server that cannot be reached.

use std::time::Duration;

use frankd_proto::{Flow, ProfileId, TokenState};

use super::*;
use crate::clock::{Clock as _, FakeClock};

fn id(number: u8) -> ProfileId {
    ProfileId::from_bits(u128::from(number))
}

/// A hundred interactive profiles whose tokens are all over.
async fn hundred() -> Bench {
    let clock = FakeClock::new();
    let profiles = (1..=100).map(|number| profile(number, Flow::Interactive)).collect();
    let mut slots: Vec<_> = (1..=100).map(|number| slot(number, &clock, s(4000))).collect();
    slots[59].handed_out_at = Some(clock.wall());
    Bench::start(clock, profiles, slots).await
}

#[tokio::test(start_paused = true)]
async fn a_hundred_expired_slots_are_no_herd_after_a_start() {
    let bench = hundred().await;
    let began = bench.clock.now();
    bench.server.set_takes(Duration::from_millis(200));
    bench.pass(s(100)).await;
    let seen = bench.server.seen();
    assert_eq!(seen.len(), 100);
    let at: Vec<Duration> = seen.iter().map(|seen| seen.at.since(began)).collect();
    assert!(at.windows(7).all(|window| window[6].saturating_sub(window[0]) >= Duration::from_millis(900)), "{at:?}");
    assert!(at[99] <= s(50), "and yet it ends: {:?}", at[99]);
    assert!(bench.server.most_at_once() <= 4);
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_first_then_what_was_used_lately() {
    let bench = hundred().await;
    bench.server.set_takes(s(1));
    bench.settle().await;
    let waited = bench.tokens.get(id(90), None, s(10)).await;
    assert!(waited.is_ok(), "{waited:?}");
    assert_eq!(bench.tokens.info(id(60)).unwrap().state, TokenState::Valid, "handed out today");
    let done = (1..=100).filter(|n| bench.tokens.info(id(*n)).unwrap().state == TokenState::Valid).count();
    assert!(done < 20, "{done}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_a_crash_may_have_lost_are_asked_for_before_and_past_all_limits() {
    let clock = FakeClock::new();
    let profiles = (1..=100).map(|number| profile(number, Flow::Interactive)).collect();
    let mut slots: Vec<_> = (1..=100).map(|number| slot(number, &clock, s(4000))).collect();
    for cut_short in &mut slots[90..] {
        cut_short.intent = record::intended(cut_short, "f".to_owned(), clock.wall()).intent;
    }
    let bench = Bench::start(clock, profiles, slots).await;
    bench.server.set_takes(s(1));
    bench.pass(Duration::from_millis(1100)).await;
    for number in 91..=100 {
        assert_eq!(bench.tokens.info(id(number)).unwrap().state, TokenState::Valid, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_down_is_one_fact() {
    let bench = hundred().await;
    bench.server.set_reachable(false);
    bench.pass(s(300)).await;
    let tries = bench.refreshes();
    assert!(tries < 25, "{tries} requests for 100 slots");
    let info = bench.tokens.info(id(100)).unwrap();
    assert_eq!(info.state, TokenState::Expired);
    assert!(info.failure.is_some(), "each slot tells why, although it was not tried itself");
    let refused = bench.tokens.get(id(100), None, NOW).await;
    assert!(matches!(refused, Err(Unavailable::Failing { .. })), "{refused:?}");
    bench.server.set_reachable(true);
    bench.pass(s(120)).await;
    let valid = (1..=100).filter(|n| bench.tokens.info(id(*n)).unwrap().state == TokenState::Valid).count();
    assert_eq!(valid, 100);
}

#[tokio::test(start_paused = true)]
async fn many_short_lived_tokens_stay_good() {
    let clock = FakeClock::new();
    let profiles = (1..=60).map(|number| profile(number, Flow::ClientCredentials)).collect();
    let bench = Bench::start(clock, profiles, Vec::new()).await;
    bench.server.set_life(Some(s(20)));
    bench.server.set_takes(Duration::from_millis(100));
    bench.pass(s(60)).await;
    for _ in 0..60 {
        bench.pass(s(1)).await;
        for number in 1..=60 {
            let issued = bench.tokens.get(id(number), None, NOW).await.unwrap();
            assert_eq!(issued.warnings, Vec::<String>::new());
        }
    }
}
