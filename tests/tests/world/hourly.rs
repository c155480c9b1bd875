//! `rate_per_hour`: what counts against it, and what an idempotent retry is told.

use frankd::domain::settings::{AccessRule, Subject};
use frankd_proto::methods::message::{Send, SendParams};
use frankd_proto::{Capability, Kind};

use super::harness::*;

const ALICE: u32 = 1000;

fn keyed(key: &str) -> SendParams {
    SendParams { idempotency_key: Some(key.to_owned()), ..mail("alerts") }
}

async fn limited(rate: u32) -> World {
    let world = World::with(service("alerts")).await;
    world.set(|settings| {
        settings.access.push(AccessRule {
            subject: Subject::Uid(ALICE),
            capabilities: vec![Capability::Submit],
            profiles: None,
            from: None,
            rate_per_hour: Some(rate),
        });
    });
    world
}

#[tokio::test(start_paused = true)]
async fn a_retry_with_the_same_key_counts_nothing_and_is_answered_at_the_limit() {
    let world = limited(2).await;
    let mut alice = world.connect(ALICE);
    let first = alice.call::<Send>(keyed("order-7")).await.unwrap();
    for _ in 0..5 {
        let again = alice.call::<Send>(keyed("order-7")).await.unwrap();
        assert_eq!((again.id, again.duplicate), (first.id, true));
    }
    alice.call::<Send>(keyed("order-8")).await.unwrap();
    let over = alice.call::<Send>(keyed("order-9")).await.unwrap_err();
    assert_eq!(over.kind(), Kind::AccessRateLimited);
    let wait = over.data.retry_after_s.unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert!(alice.call::<Send>(keyed("order-7")).await.unwrap().duplicate);
    world.pass(s(wait)).await;
    alice.call::<Send>(keyed("order-9")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_answered_whatever_became_of_the_profile_and_the_disk() {
    let world = limited(10).await;
    let mut alice = world.connect(ALICE);
    let first = alice.call::<Send>(keyed("order-7")).await.unwrap();
    world.sent(first.id).await;
    world.set(|settings| {
        settings.queue.min_free_bytes = u64::MAX;
        settings.access[0].profiles = Some(vec![named("other")]);
    });
    assert!(alice.call::<Send>(keyed("order-7")).await.unwrap().duplicate);
    assert_eq!(alice.call::<Send>(keyed("order-8")).await.unwrap_err().kind(), Kind::AccessSenderNotAllowed);
}
