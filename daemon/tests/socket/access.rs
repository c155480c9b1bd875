//! Who may do what, through the socket.

use std::sync::Arc;

use frankd::domain::SocketKind;
use frankd::domain::settings::{AccessRule, Subject};
use frankd_proto::Capability;
use frankd_proto::methods::TABLE;
use serde_json::json;

use crate::rig::{ALICE, BOB, Lines, ROOT, Rig, kind, request, settings};

#[tokio::test]
async fn a_user_without_a_rule_may_say_hello_and_nothing_else() {
    let rig = Rig::new();
    let mut lines = rig.lines(BOB);
    for row in TABLE.iter().filter(|row| !row.subscription) {
        let answer = lines.call(row.name, json!({})).await;
        let open = ["system.ping", "access.whoami"].contains(&row.name);
        assert_eq!(kind(&answer["error"]) == "access.denied", !open, "{}: {answer}", row.name);
    }
    let identity = lines.result("access.whoami", json!({})).await;
    assert_eq!(identity["capabilities"], json!([]));
}

#[tokio::test]
async fn root_may_call_whatever_there_is() {
    let rig = Rig::new();
    let mut lines = rig.lines(ROOT);
    for row in TABLE.iter().filter(|row| !row.subscription && row.name != "message.retry") {
        let answer = lines.call(row.name, json!({})).await;
        assert_ne!(kind(&answer["error"]), "access.denied", "{}: {answer}", row.name);
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_is_reported_once() {
    let rig = Rig::new();
    let mut lines = rig.lines(ALICE);
    for _ in 0..5 {
        let error = lines.error("profile.pause", json!({})).await;
        let hint = error["data"]["hint"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains("`operate`"), "{error}");
        assert!(hint.contains("group frankd") && hint.contains("user = \"user1000\""), "{hint}");
    }
    let denied = rig.denied.lock().unwrap();
    assert_eq!(denied.len(), 1);
    assert_eq!((denied[0].method, denied[0].caller.uid, denied[0].count), ("profile.pause", ALICE, 1));
    assert_eq!(denied[0].caller.pid, Some(4711));
}

#[tokio::test]
async fn the_submit_socket_offers_only_its_methods() {
    let rig = Rig::new();
    let mut lines = Lines::new(rig.connect(ROOT, SocketKind::Submit));
    let error = lines.error("client.list", json!({})).await;
    assert_eq!(kind(&error), "access.denied");
    assert!(error["data"]["hint"].as_str().unwrap().contains("control.sock"), "{error}");
    lines.result("message.send", json!({"profile": "shop"})).await;
}

#[tokio::test]
async fn a_hidden_user_is_refused_with_that_explanation() {
    let rig = Rig::of(settings(&[Capability::Submit], |settings| settings.access[0].subject = Subject::Anyone));
    let mut lines = rig.lines(65_534);
    for method in ["system.ping", "message.send"] {
        let error = lines.error(method, json!({})).await;
        assert_eq!(kind(&error), "access.denied");
        assert!(error["message"].as_str().unwrap().contains("65534"), "{error}");
    }
}

#[tokio::test]
async fn a_rule_for_one_profile_hands_out_that_ones_token_alone() {
    let rig = Rig::with(|settings| settings.access[0].profiles = Some(vec!["shop".parse().unwrap()]));
    let mut lines = rig.lines(ALICE);
    lines.result("token.get", json!({"profile": "shop"})).await;
    let error = lines.error("token.get", json!({"profile": "other"})).await;
    assert_eq!((kind(&error), error["data"]["field"].as_str()), ("access.denied", Some("profile")));
}

#[tokio::test(start_paused = true)]
async fn messages_of_an_hour_are_counted_by_user_and_a_refused_one_is_not() {
    let rig = Rig::with(|settings| settings.access[0].rate_per_hour = Some(2));
    let good = json!({"profile": "shop"});
    rig.lines(ALICE).error("message.send", json!({})).await;
    rig.lines(ALICE).result("message.send", good.clone()).await;
    rig.lines(ALICE).result("message.send", good.clone()).await;
    let error = rig.lines(ALICE).error("message.send", good.clone()).await;
    assert_eq!((error["code"].as_i64(), kind(&error)), (Some(1002), "access.rate_limited"));
    let wait = error["data"]["retry_after_s"].as_u64().unwrap();
    assert!((3500..3700).contains(&wait), "{wait}");
    rig.lines(ROOT).result("message.send", good.clone()).await;
    frankd::clock::ClockExt::sleep(&*rig.clock, std::time::Duration::from_secs(wait)).await;
    rig.lines(ALICE).result("message.send", good).await;
}

#[tokio::test]
async fn a_changed_rule_counts_for_the_next_call_of_an_open_connection() {
    let rig = Rig::new();
    let mut lines = rig.lines(BOB);
    assert_eq!(kind(&lines.error("message.send", json!({"profile": "shop"})).await), "access.denied");
    let rule = AccessRule {
        subject: Subject::Gid(BOB),
        capabilities: vec![Capability::Submit],
        profiles: None,
        from: None,
        rate_per_hour: None,
    };
    rig.settings.send_modify(|settings| Arc::make_mut(settings).access.push(rule));
    lines.result("message.send", json!({"profile": "shop"})).await;
    rig.settings.send_modify(|settings| Arc::make_mut(settings).access.clear());
    lines.write(request("message.send", json!({"profile": "shop"}))).await;
    assert_eq!(kind(&lines.read().await.unwrap()["error"]), "access.denied");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_group_loses_its_rights_on_an_open_connection_within_a_minute() {
    let rig = Rig::new();
    rig.members.are(&[BOB]);
    let mut lines = rig.lines(BOB);
    lines.result("message.send", json!({"profile": "shop"})).await;
    rig.members.are(&[]);
    lines.result("message.send", json!({"profile": "shop"})).await;
    frankd::clock::ClockExt::sleep(&*rig.clock, std::time::Duration::from_secs(60)).await;
    assert_eq!(kind(&lines.error("message.send", json!({"profile": "shop"})).await), "access.denied");
}
