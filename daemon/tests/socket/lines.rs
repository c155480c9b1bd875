//! Newline-delimited JSON.

use std::sync::atomic::Ordering;
use std::time::Duration;

use frankd::clock::ClockExt as _;
use frankd::domain::SocketKind;
use frankd_proto::{Capability, EventType, methods::event};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::rig::{ALICE, BOB, Lines, ROOT, Rig, kind, request, settings};

#[tokio::test]
async fn a_call_is_answered_by_name_and_a_program_needs_no_library() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    let identity = lines.result("access.whoami", json!({})).await;
    assert_eq!(identity["uid"], ALICE);
    assert_eq!(identity["user"], "user1000");
    assert_eq!(identity["socket"], "control");
    assert_eq!(identity["capabilities"], json!(["observe", "submit", "read_token"]));
    lines.write("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"system.ping\"}\n").await;
    let answer = lines.read().await.unwrap();
    assert_eq!(answer["id"], "a");
    assert!(answer["result"]["now"].is_string());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_kind_field_and_hint() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    let unknown = lines.error("token.gte", json!({})).await;
    assert_eq!((unknown["code"].as_i64(), kind(&unknown)), (Some(-32601), "method_not_found"));
    assert_eq!(unknown["data"]["hint"], "did you mean `token.get`?");
    for (params, field) in [
        (json!({"profil": "a"}), "profil"),
        (json!({}), "profile"),
        (json!({"profile": "a", "wait_s": "long"}), "wait_s"),
        (json!({"profile": "A b"}), "profile"),
    ] {
        let error = lines.error("token.get", params).await;
        assert_eq!((error["code"].as_i64(), kind(&error)), (Some(-32602), "invalid_params"));
        assert_eq!(error["data"]["field"], field, "{error}");
    }
    let positional = lines.error("token.get", json!(["shop"])).await;
    assert_eq!(kind(&positional), "invalid_params");
    assert!(positional["message"].as_str().unwrap().contains("by name"));
}

#[tokio::test]
async fn garbage_is_answered_and_the_connection_goes_on() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    for (line, expected) in [
        (&b"{nonsense\n"[..], "parse"),
        (b"{\"a\":\xff\xfe}\n", "parse"),
        (b"{}\n", "invalid_request"),
        (b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"system.ping\"}\n", "invalid_request"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"system.ping\"}\n", "invalid_request"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}\n", "invalid_request"),
        (b"[]\n", "invalid_request"),
        (b"[1,2\n", "parse"),
        (b"17\n", "invalid_request"),
        (b"\x00\x01\x02\n", "parse"),
    ] {
        lines.write(line).await;
        let answer = lines.read().await.unwrap();
        assert_eq!(kind(&answer["error"]), expected, "{answer}");
    }
    lines.write("\n  \r\n").await;
    lines.result("system.ping", json!({})).await;
}

#[tokio::test]
async fn answers_come_when_they_are_ready_not_in_order() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    lines.write(request("message.retry", json!({"ids": []})).replace("\"id\":1", "\"id\":2")).await;
    lines.result("system.ping", json!({})).await;
    rig.go.send_replace(true);
    assert_eq!(lines.read().await.unwrap()["id"], 2);
}

#[tokio::test]
async fn a_batch_is_checked_call_by_call() {
    let rig = Rig::of(settings(&[Capability::Submit], |_| {}));
    let mut lines = rig.lines(ALICE);
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "system.ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "token.get", "params": {"profile": "shop"}},
        {"jsonrpc": "2.0", "id": 3, "method": "nothing.here"},
        {"jsonrpc": "2.0", "method": "system.ping"},
        {"id": 5},
        {"jsonrpc": "2.0", "id": 6, "method": "event.subscribe"},
    ]);
    lines.write(format!("{batch}\n")).await;
    let answers = lines.read().await.unwrap();
    let kinds: Vec<_> = answers.as_array().unwrap().iter().map(|a| (a["id"].as_i64(), kind(&a["error"]))).collect();
    assert_eq!(
        kinds,
        [
            (Some(1), "none"),
            (Some(2), "access.denied"),
            (Some(3), "method_not_found"),
            (Some(5), "invalid_request"),
            (Some(6), "access.denied"),
        ]
    );
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_refused_whole() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"profile": "shop"}});
    let batch = vec![one; 10_000];
    lines.write(format!("{}\n", json!(batch))).await;
    let answer = lines.read().await.unwrap();
    assert_eq!(kind(&answer["error"]), "request.batch_too_large");
    assert_eq!(rig.sent.load(Ordering::SeqCst), 0);
    lines.result("system.ping", json!({})).await;
}

#[tokio::test]
async fn a_notification_is_carried_out_and_not_answered() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    lines.write("{\"jsonrpc\":\"2.0\",\"method\":\"message.send\",\"params\":{\"profile\":\"shop\"}}\n").await;
    lines.write("{\"jsonrpc\":\"2.0\",\"method\":\"profile.pause\",\"params\":{}}\n").await;
    lines.result("system.ping", json!({})).await;
    assert_eq!(rig.sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_last_line_without_its_end_is_answered_too() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    lines.write(request("system.ping", json!({})).trim_end()).await;
    lines.io.shutdown().await.unwrap();
    assert!(lines.read().await.unwrap()["result"]["now"].is_string());
    assert_eq!(lines.read().await, None);
}

#[tokio::test]
async fn a_caller_that_goes_away_cuts_nothing_short() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    lines.write(request("message.send", json!({"profile": "shop", "on_doubt": "hold"}))).await;
    lines.result("system.ping", json!({})).await;
    drop(lines);
    tokio::task::yield_now().await;
    rig.go.send_replace(true);
    while rig.sent.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_panic_is_the_trouble_of_one_call() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    let error = lines.error("token.get", json!({"profile": "panic"})).await;
    assert_eq!(kind(&error), "internal");
    lines.result("token.get", json!({"profile": "shop"})).await;
}

#[tokio::test]
async fn a_line_over_the_limit_is_refused_and_the_connection_ends() {
    let rig = Rig::with(|settings| settings.limits.request_bytes = 2_000_000);
    let mut lines = rig.lines(ALICE);
    let raw = "A".repeat(1_900_000);
    let receipt = lines.result("message.send", json!({"profile": "shop", "raw_b64": raw})).await;
    assert_eq!(receipt["message_id"], "<1900000@test>");
    let long = "A".repeat(2_100_000);
    _ = lines.io.write_all(request("message.send", json!({"raw_b64": long})).as_bytes()).await;
    let answer = lines.read().await.unwrap();
    assert_eq!(kind(&answer["error"]), "request.too_large");
    assert_eq!(lines.read().await, None);
}

#[tokio::test(start_paused = true)]
async fn half_a_line_and_silence_is_closed_after_thirty_seconds() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    let began = rig.clock.now();
    lines.write("{\"jsonrpc\":\"2.0\",").await;
    let answer = lines.read().await.unwrap();
    assert_eq!(kind(&answer["error"]), "invalid_request");
    assert_eq!(lines.read().await, None);
    assert_eq!(rig.clock.now().since(began), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn octets_one_by_one_do_not_prolong_it_and_a_quiet_connection_stays() {
    let rig = Rig::new();
    let mut quiet = rig.lines(ALICE);
    quiet.result("system.ping", json!({})).await;
    let mut lines = rig.lines(ALICE);
    lines.write("{").await;
    let began = rig.clock.now();
    while lines.io.write_all(b" ").await.is_ok() {
        rig.clock.sleep(Duration::from_secs(1)).await;
        assert!(rig.clock.now().since(began) < Duration::from_secs(40));
    }
    assert!(rig.clock.now().since(began) >= Duration::from_secs(30));
    rig.clock.sleep(Duration::from_secs(3600)).await;
    quiet.result("system.ping", json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_request_waits_for_its_users_share_and_the_wait_does_not_count() {
    let rig = Rig::with(|settings| {
        settings.limits.request_bytes = 4 << 20;
        settings.limits.large_requests_bytes = 8 << 20;
    });
    let large = "A".repeat(2 << 20);
    let held = json!({"profile": "shop", "raw_b64": large, "on_doubt": "hold"});
    let free = json!({"profile": "shop", "raw_b64": large});
    let mut first = rig.lines(ALICE);
    first.write(request("message.send", held)).await;
    let mut second = rig.lines(ALICE);
    let sending = async {
        second.write(request("message.send", free.clone())).await;
        second.read().await
    };
    let mut sending = Box::pin(sending);
    let waits = rig.clock.deadline(Duration::from_secs(3600), &mut sending).await;
    assert!(waits.is_err(), "the second request of one user waits");
    rig.lines(ROOT).result("message.send", free.clone()).await;
    rig.lines(ALICE).result("system.ping", json!({})).await;
    rig.go.send_replace(true);
    assert!(sending.await.unwrap()["result"].is_object());
    assert!(first.read().await.unwrap()["result"].is_object());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_calls_are_in_flight_and_the_next_is_not_read() {
    let rig = Rig::with(|settings| settings.limits.calls_in_flight = 3);
    let mut lines = rig.lines(ALICE);
    for _ in 0..3 {
        lines.write(request("message.retry", json!({"ids": []}))).await;
    }
    lines.write(request("system.ping", json!({}))).await;
    assert!(rig.clock.deadline(Duration::from_secs(60), lines.read()).await.is_err());
    rig.go.send_replace(true);
    for _ in 0..4 {
        assert!(lines.read().await.unwrap()["result"].is_object());
    }
}

#[tokio::test]
async fn more_connections_than_a_user_may_have_are_told_so_and_closed() {
    let rig = Rig::with(|settings| settings.limits.connections_per_uid = 2);
    let mut first = rig.lines(ALICE);
    first.result("system.ping", json!({})).await;
    let mut second = rig.lines(ALICE);
    second.result("system.ping", json!({})).await;
    let mut third = rig.lines(ALICE);
    assert_eq!(kind(&third.read().await.unwrap()["error"]), "request.busy");
    assert_eq!(third.read().await, None);
    rig.lines(BOB).result("system.ping", json!({})).await;
    drop(first);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    rig.lines(ALICE).result("system.ping", json!({})).await;
}

fn happened(seq: u64) -> event::Event {
    event::Event {
        seq,
        at: jiff::Timestamp::UNIX_EPOCH,
        event_type: EventType::MessageSent,
        profile: None,
        client: None,
        object: None,
        data: serde_json::Map::new(),
    }
}

#[tokio::test]
async fn events_come_until_the_subscription_is_ended_by_its_own_connection() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    let id = lines.result("event.subscribe", json!({})).await;
    rig.events.send(happened(7)).unwrap();
    let item = lines.read().await.unwrap();
    assert_eq!((&item["method"], &item["params"]["subscription"]), (&json!("event"), &id));
    assert_eq!(item["params"]["result"]["seq"], 7);
    let mut other = rig.lines(ALICE);
    assert_eq!(other.result("event.unsubscribe", json!([id])).await, false);
    rig.events.send(happened(8)).unwrap();
    assert_eq!(lines.read().await.unwrap()["params"]["result"]["seq"], 8);
    assert_eq!(kind(&lines.error("event.unsubscribe", json!({"id": id})).await), "invalid_params");
    assert_eq!(lines.result("event.unsubscribe", json!([id])).await, true);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(rig.events.send(happened(9)).is_err(), "nobody listens any more");
    lines.result("system.ping", json!({})).await;
}

#[tokio::test]
async fn subscriptions_end_with_the_input_are_counted_by_user_and_may_be_refused() {
    let rig = Rig::with(|settings| settings.limits.subscriptions_per_uid = 1);
    let mut lines = rig.lines(ALICE);
    let refused = lines.error("event.subscribe", json!({"since_seq": 0})).await;
    assert_eq!(kind(&refused), "object.invalid");
    let wrong = lines.error("event.subscribe", json!({"sinse_seq": 0})).await;
    assert_eq!(wrong["data"]["hint"], "did you mean `since_seq`?");
    lines.result("event.subscribe", json!({})).await;
    let mut other = rig.lines(ALICE);
    let error = other.error("event.subscribe", json!({})).await;
    assert_eq!(kind(&error), "request.too_many_subscriptions");
    lines.io.shutdown().await.unwrap();
    assert_eq!(lines.read().await, None);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    other.result("event.subscribe", json!({})).await;
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_ends() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    lines.result("event.subscribe", json!({})).await;
    lines.write(request("message.retry", json!({"ids": []}))).await;
    lines.result("system.ping", json!({})).await;
    rig.stop.send_replace(true);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(rig.events.send(happened(1)).is_err(), "the subscription ends while the call goes on");
    rig.go.send_replace(true);
    assert!(lines.read().await.unwrap()["result"].is_object());
    assert_eq!(lines.read().await, None);
}

#[tokio::test]
async fn the_kernel_says_who_connects_to_a_real_socket() {
    let rig = Rig::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("submit.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(rig.server.clone().serve(SocketKind::Submit, listener, rig.stop.subscribe()));
    let mut lines = Lines::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    let identity = lines.result("access.whoami", json!({})).await;
    assert_eq!(identity["uid"], rustix::process::getuid().as_raw());
    assert_eq!(identity["pid"], std::process::id());
    assert_eq!(identity["socket"], "submit");
    rig.stop.send_replace(true);
    serving.await.unwrap();
    assert_eq!(lines.read().await, None);
    assert!(tokio::net::UnixStream::connect(&path).await.is_err());
}
