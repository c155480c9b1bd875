//! What goes to standard output, in which format.

use frankd_proto::methods::event::Events;
use frankd_proto::methods::system::Health;
use frankd_proto::{HoldReason, MessageState, ProfileKind};
use serde_json::json;
use tokio::sync::mpsc;

use crate::daemon::{FakeDaemon, Reply};
use crate::harness::{Buffer, Run, run};
use crate::samples;

#[tokio::test]
async fn json_is_the_result_object_octet_by_octet() {
    let status = serde_json::to_string(&samples::status(Health::Ok)).unwrap();
    // Fields of a newer daemon, numbers and spaces as it wrote them.
    let newer = status.replacen('{', r#"{"from_the_future": [1.50, 1e3,  "é"],"#, 1);
    let message = serde_json::to_string(&samples::message(MessageState::Sent, None)).unwrap();
    for (line, text) in [
        (&["status"][..], newer.as_str()),
        (&["client", "list"], r#"{ "items":[] , "zz":1, "aa":2}"#),
        (&["profile", "list"], r#"{"items":[]}"#),
        (&["grant", "list"], r#"{"items":[]}"#),
        (&["grant", "-o", "json", "list"], r#"{"items":[]}"#),
        (&["queue", "list"], r#"{"items":[],"next_cursor":null}"#),
        (&["queue", "show", "msg_00000000000000000000000007"], message.as_str()),
        (&["queue", "summary"], r#"{"profiles":[],"waiting":0,"bytes":0}"#),
        (&["queue", "cat", "msg_00000000000000000000000007"], r#"{"raw_b64":"YQ=="}"#),
        (&["events"], r#"{"events":[],"next_seq":9,"lost":false}"#),
        (&["config", "show"], r#"{"settings":[{"key":"a","value":1.0,"origin":"default"}]}"#),
        (&["reload"], r#"{"changed":[],"needs_restart":[]}"#),
        (&["access", "whoami"], r#"{"uid":0,"gid":0,"socket":"control","capabilities":["observe"]}"#),
        (&["call", "no.such", "{}"], r#"{"any": "thing"}"#),
    ] {
        let daemon = FakeDaemon::answering(text);
        let mut arguments = line.to_vec();
        arguments.push("--json");
        let outcome = run(&daemon, &arguments).await;
        assert_eq!(outcome.stdout, format!("{text}\n"), "{line:?} {}", outcome.stderr);
    }
}

#[tokio::test]
async fn lists_come_item_by_item_as_jsonl_and_as_names() {
    let client = serde_json::to_string(&samples::client()).unwrap();
    let daemon = FakeDaemon::answering(format!(r#"{{"items":[{client}, {client}]}}"#));
    let lines = run(&daemon, &["client", "list", "-o", "jsonl"]).await.stdout;
    assert_eq!(lines, format!("{client}\n{client}\n"));
    let names = run(&daemon, &["client", "list", "-o", "name"]).await.stdout;
    assert_eq!(names, "m365\nm365\n");
}

#[tokio::test]
async fn status_tells_state_trouble_and_fix_in_one_glance() {
    let daemon = FakeDaemon::answering(serde_json::to_string(&samples::status(Health::Degraded)).unwrap());
    let page = run(&daemon, &["status"]).await.stdout;
    assert_eq!(
        page,
        "\
⚠ frankd 1.2.0  degraded  up 12 d 4 h  as of 2026-08-15 12:00:00Z
  ⚠ 1 of 1 profile in need of attention   queue 5 (oldest 3 h 12 min)   24 h: 412 sent, 2 failed

PROFILE  KIND         ACCOUNT             TOKEN          NEXT REFRESH  QUEUE  HELD
alerts   oauth2_smtp  alerts@example.org  ✗ needs grant  in 31 min     5      grant required

⚠ profile:alerts  the refresh token was refused (since 40 min ago)
  Fix: frankctl grant alerts
"
    );
}

#[tokio::test]
async fn a_token_that_lives_is_told_with_its_life() {
    let daemon = FakeDaemon::answering(serde_json::to_string(&samples::status(Health::Ok)).unwrap());
    let page = run(&daemon, &["status"]).await.stdout;
    assert!(page.starts_with("✓ frankd 1.2.0  ok  "), "{page}");
    assert!(page.contains("✓ valid 52 min"), "{page}");
}

#[tokio::test]
async fn foreign_text_does_not_reach_the_terminal_raw() {
    let message = samples::message(MessageState::Held, Some(HoldReason::GrantRequired));
    let daemon = FakeDaemon::answering(serde_json::to_string(&message).unwrap());
    let outcome = run(&daemon, &["queue", "show", "msg_00000000000000000000000007", "--transcript"]).await;
    assert!(!outcome.stdout.contains('\u{1b}'), "{:?}", outcome.stdout);
    assert!(outcome.stdout.contains("disk \u{fffd}[2Jfull"));
    assert!(outcome.stdout.contains("Fix: frankctl grant alerts"));
    assert!(outcome.stdout.contains("C: EHLO host"));
    let coloured = run(&daemon, &["queue", "show", "msg_00000000000000000000000007", "--color=always"]).await;
    assert!(coloured.stdout.contains("\u{1b}[33m⚠\u{1b}[0m held: grant required"), "{:?}", coloured.stdout);
    let list = FakeDaemon::answering(json!({"items": [message]}).to_string());
    let page = run(&list, &["queue", "list"]).await.stdout;
    assert!(page.contains("held   1    –     31 min  alerts@example.org → ops@example.org  grant required"), "{page}");
}

#[tokio::test]
async fn quiet_leaves_data_and_errors() {
    let text = json!({"items": [], "next_cursor": "msg_00000000000000000000000007"}).to_string();
    let daemon = FakeDaemon::answering(text);
    let talk = run(&daemon, &["queue", "list"]).await.stderr;
    assert!(talk.contains("--cursor msg_00000000000000000000000007"), "{talk}");
    assert_eq!(run(&daemon, &["queue", "list", "-q"]).await.stderr, "");
}

#[tokio::test]
async fn events_are_followed_until_the_daemon_ends() {
    let daemon = FakeDaemon::start(|call, _| match call.method.as_str() {
        "event.list" => Reply::value(&Events { events: vec![samples::event(8)], next_seq: 8, lost: false }),
        _ => Reply::Events(vec![samples::event(9)]),
    });
    let line = ["events", "-f", "--since", "7", "--type", "message.sent", "--profile", "alerts"];
    let outcome = run(&daemon, &line).await;
    assert_eq!(outcome.code, 10);
    assert_eq!(
        outcome.stdout.lines().next(),
        Some("     8  2026-08-15 12:00:00Z  message.sent            alerts  msg_00000000000000000000000007")
    );
    assert_eq!(outcome.stdout.lines().count(), 2);
    assert_eq!(
        daemon.params("event.subscribe"),
        json!({"since_seq": 8, "types": ["message.sent"], "profile": "alerts"})
    );
    assert_eq!(
        daemon.params("event.list"),
        json!({"since_seq": 7, "types": ["message.sent"], "profile": "alerts", "limit": 1000})
    );
    let mut jsonl = line.to_vec();
    jsonl.extend(["-o", "jsonl"]);
    let outcome = run(&daemon, &jsonl).await;
    let first: frankd_proto::methods::event::Event =
        serde_json::from_str(outcome.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first, samples::event(8));
}

#[tokio::test]
async fn events_are_the_latest_unless_it_is_said_since_when() {
    for (line, params) in [
        (&["events"][..], json!({"last": 20})),
        (&["events", "-n", "3", "--type", "message.sent"], json!({"last": 3, "types": ["message.sent"]})),
        (&["events", "--since", "7"], json!({"since_seq": 7, "limit": 1000})),
        (&["events", "--since", "2h", "--limit", "5"], json!({"since": "2026-08-15T10:00:00Z", "limit": 5})),
    ] {
        let daemon = FakeDaemon::answering(r#"{"events":[],"next_seq":9,"lost":false}"#);
        assert_eq!(run(&daemon, line).await.code, 0);
        assert_eq!(daemon.params("event.list"), params, "{line:?}");
    }
    let full = Events { events: vec![samples::event(8)], next_seq: 8, lost: true };
    let daemon = FakeDaemon::start(move |_, _| Reply::value(&full));
    let talk = run(&daemon, &["events", "--since", "7", "-n", "1"]).await.stderr;
    assert!(talk.contains("no longer kept") && talk.contains("--since 8"), "{talk}");
    let daemon = FakeDaemon::start(|_, _| Reply::Events(vec![samples::event(9)]));
    assert_eq!(run(&daemon, &["events", "-f", "-n", "0"]).await.stdout.lines().count(), 1);
    assert_eq!(daemon.params("event.subscribe"), json!({}), "only new ones");
}

#[tokio::test]
async fn a_wide_table_has_all_columns_and_cuts_nothing_short() {
    let mut message = samples::message(MessageState::Held, Some(HoldReason::GrantRequired));
    let mut second = message.recipients[0].clone();
    second.address = "second@example.org".to_owned();
    message.recipients.push(second);
    let daemon = FakeDaemon::answering(json!({"items": [message]}).to_string());
    let narrow = run(&daemon, &["queue", "list"]).await.stdout;
    let wide = run(&daemon, &["queue", "list", "-o", "wide"]).await.stdout;
    assert!(narrow.contains("(+1)") && !narrow.contains("second@example.org"), "{narrow}");
    for part in ["SUBJECT", "MESSAGE-ID", "ops@example.org, second@example.org", message.message_id.as_str()] {
        assert!(wide.contains(part) && !narrow.contains(part), "{part}: {wide}");
    }
    let client = samples::client();
    let daemon = FakeDaemon::answering(json!({"items": [client]}).to_string());
    let wide = run(&daemon, &["client", "list", "-o", "wide"]).await.stdout;
    assert!(wide.contains("TOKEN ENDPOINT") && wide.contains(&client.token_endpoint), "{wide}");
    let json = run(&daemon, &["client", "list", "-o", "wide", "--json"]).await.stdout;
    assert!(json.starts_with('{'), "{json}");
}

#[tokio::test]
async fn a_relay_without_a_login_has_no_password() {
    let mut status = samples::status(Health::Ok);
    status.profiles[0].kind = ProfileKind::Smtp;
    status.profiles[0].token = None;
    let with = run(&FakeDaemon::answering(serde_json::to_string(&status).unwrap()), &["status"]).await.stdout;
    assert!(with.contains("password"), "{with}");
    status.profiles[0].username = None;
    let without = run(&FakeDaemon::answering(serde_json::to_string(&status).unwrap()), &["status"]).await.stdout;
    assert!(!without.contains("password"), "{without}");
}

#[tokio::test(start_paused = true)]
async fn watching_shows_the_result_again_when_something_happens() {
    let (events, stream) = mpsc::unbounded_channel();
    let mut stream = Some(stream);
    let mut daemon = FakeDaemon::start(move |call, before| match call.method.as_str() {
        "event.subscribe" => Reply::Stream(stream.take().unwrap()),
        _ if before == 2 => Reply::Close,
        _ => Reply::Raw(format!(r#"{{"profiles":[],"waiting":{before},"bytes":0}}"#)),
    });
    let shown = Buffer::default();
    let watch = Run::new(&["queue", "summary", "--watch=0", "-o", "json"]).at(&daemon).stdout_is(shown.clone()).go();
    let happen = async {
        for seq in 1..=2 {
            daemon.called("queue.summary").await;
            events.send(samples::event(seq)).unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(watch, happen);
    assert_eq!(outcome.code, 10, "{}", outcome.stderr);
    assert_eq!(
        shown.text(),
        "{\"profiles\":[],\"waiting\":0,\"bytes\":0}\n{\"profiles\":[],\"waiting\":1,\"bytes\":0}\n"
    );
}
