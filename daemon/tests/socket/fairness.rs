//! One user's flood is that user's own trouble.

use std::sync::atomic::Ordering;
use std::time::Duration;

use frankd::domain::SocketKind;
use frankd::domain::settings::Subject;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{ALICE, BOB, Rig, request};

/// Calls of the flood that may be answered while another user's one call is.
const BETWEEN: u64 = 2_000;

#[tokio::test]
async fn calls_of_another_user_do_not_queue_behind_a_flood_of_connections() {
    let rig = Rig::with(|settings| settings.access[0].subject = Subject::Anyone);
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (mut reader, mut writer) = tokio::io::split(rig.connect(ALICE, SocketKind::Control));
        let calls = request("message.send", json!({"profile": "shop"})).repeat(600);
        flood.spawn(async move { while writer.write_all(calls.as_bytes()).await.is_ok() {} });
        flood.spawn(async move {
            let mut answers = vec![0; 65_536];
            while reader.read(&mut answers).await.is_ok_and(|octets| octets > 0) {}
        });
    }
    while rig.sent.load(Ordering::SeqCst) < 1_000 {
        tokio::task::yield_now().await;
    }
    let mut kept = rig.lines(BOB);
    for turn in 0..20 {
        let before = rig.sent.load(Ordering::SeqCst);
        kept.result("system.ping", json!({})).await;
        let on_kept = rig.sent.load(Ordering::SeqCst);
        rig.lines(BOB).result("system.ping", json!({})).await;
        let on_new = rig.sent.load(Ordering::SeqCst);
        assert!(on_kept - before < BETWEEN, "turn {turn}: {} calls came first", on_kept - before);
        assert!(on_new - on_kept < 2 * BETWEEN, "turn {turn}: {} calls came before a new one", on_new - on_kept);
    }
    assert!(rig.sent.load(Ordering::SeqCst) > 2_000, "the flood went on");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_again_and_again_is_heard_less_often_and_nobody_else_is() {
    let rig = Rig::with(|settings| settings.access[0].subject = Subject::Anyone);
    let began = rig.clock.now();
    for _ in 0..500 {
        let mut fresh = rig.lines(ALICE);
        assert_eq!(fresh.error("system.pong", json!({})).await["code"], -32_601);
    }
    let burst = rig.clock.now().since(began);
    assert!(burst < Duration::from_millis(10), "500 are spared: {burst:?}");
    let mut kept = rig.lines(ALICE);
    for _ in 0..500 {
        kept.error("system.ping", json!({"loud": true})).await;
        rig.lines(BOB).result("system.ping", json!({})).await;
    }
    let more = rig.clock.now().since(began);
    assert!((Duration::from_millis(900)..Duration::from_secs(2)).contains(&more), "500 in a second: {more:?}");
    kept.result("system.ping", json!({})).await;
    let before = rig.clock.now();
    rig.lines(BOB).result("system.ping", json!({})).await;
    assert_eq!(rig.clock.now(), before, "another user waits for nothing");
}
