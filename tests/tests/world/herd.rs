//! Five hundred slots at one authorization server.

use frankd_proto::ProfileKind;
use frankd_proto::methods::profile;
use jiff::Timestamp;

use super::harness::*;

const SLOTS: usize = 500;

/// Profiles that hold tokens alone, made one after the other.
async fn make_slots(world: &World) {
    let mut caller = world.connect(ROOT);
    for number in 0..SLOTS {
        let params = profile::CreateParams {
            kind: ProfileKind::Token,
            smtp: None,
            username: None,
            ..service(&format!("slot-{number}"))
        };
        caller.call::<profile::Create>(params).await.unwrap();
    }
}

/// Moments of the token requests since `since`.
fn requests(world: &World, since: Timestamp) -> Vec<Timestamp> {
    let all = world.login.token_requests(SERVICE.0).into_iter();
    all.map(|entry| entry.came_at).filter(|at| *at >= since).collect()
}

/// Fails if more than a burst of four, and then two in a second, went out at any time.
fn assert_no_herd(moments: &[Timestamp], when: &str) {
    for (first, at) in moments.iter().enumerate() {
        for (more, later) in moments[first..].iter().enumerate() {
            let span = later.duration_since(*at).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let sent = (more + 1) as f64;
            assert!(sent <= 4.0 + 2.0 * span + 1.0, "{when}: {sent} requests within {span} s of {at}");
            if more > 100 {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_slots_are_no_herd_when_they_are_made_when_they_run_and_after_a_restart() {
    let world = World::with_clients().await;
    let began = frankd::clock::Clock::wall(&world.clock);
    world.login.set_latency(std::time::Duration::from_millis(200));
    make_slots(&world).await;
    world.pass(s(260)).await;
    let first = requests(&world, began);
    assert_eq!(first.len(), SLOTS, "each slot has its token");
    assert_no_herd(&first, "at the beginning");

    let settled = frankd::clock::Clock::wall(&world.clock);
    world.pass(s(HOUR)).await;
    let steady = requests(&world, settled);
    assert!((SLOTS..=SLOTS * 2).contains(&steady.len()), "{}", steady.len());
    assert_no_herd(&steady, "in the long run");

    let world = world.crash().await;
    let fresh = frankd::clock::Clock::wall(&world.clock);
    world.pass(s(30)).await;
    let asked = requests(&world, fresh).len();
    assert!(asked <= 30, "fresh tokens are not fetched again: {asked}");

    world.clock.suspend(s(2 * HOUR));
    let world = world.crash().await;
    let restarted = frankd::clock::Clock::wall(&world.clock);
    world.pass(s(260)).await;
    let expired = requests(&world, restarted);
    assert_eq!(expired.len(), SLOTS);
    assert_no_herd(&expired, "after a restart with nothing but expired tokens");
    assert!(world.login.max_concurrent() <= 4);
}
