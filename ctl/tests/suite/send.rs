//! `send`: what is queued, and what waiting for it means.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use frankd_proto::{HoldReason, MessageState};
use serde_json::json;

use crate::daemon::{FakeDaemon, Reply};
use crate::harness::{Run, run};
use crate::samples;

#[tokio::test]
async fn a_mail_is_made_of_files_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.PDF");
    let html = dir.path().join("body.html");
    std::fs::write(&report, [0, 255, 7]).unwrap();
    std::fs::write(&html, "<p>hi</p>").unwrap();
    let (report, html) = (report.display().to_string(), html.display().to_string());
    let daemon = FakeDaemon::start(|_, _| Reply::value(&samples::receipt()));
    let line = [
        "send",
        "--profile",
        "alerts",
        "--from",
        "A <a@example.org>",
        "--to",
        "b@example.org",
        "--to",
        "c@example.org",
        "--bcc",
        "d@example.org",
        "-s",
        "disk full",
        "--text",
        "-",
        "--html",
        &html,
        "-a",
        &report,
        "--header",
        "X-Job: 7",
        "--at",
        "+2h",
        "--expires",
        "1d",
        "--priority",
        "high",
        "--on-doubt",
        "hold",
        "--idempotency-key",
        "job-7",
    ];
    let outcome = Run::new(&line).stdin("grün\n").at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with("Message     msg_00000000000000000000000007\n"), "{}", outcome.stdout);
    assert_eq!(
        daemon.params("message.send"),
        json!({
            "profile": "alerts",
            "message": {
                "from": "A <a@example.org>", "to": ["b@example.org", "c@example.org"], "bcc": ["d@example.org"],
                "subject": "disk full", "text": "grün\n", "html": "<p>hi</p>", "headers": {"X-Job": "7"},
                "attachments": [{"name": "report.PDF", "content_type": "application/pdf", "content_b64": "AP8H"}],
            },
            "send_in_s": 7200, "expires_in_s": 86400, "priority": "high", "on_doubt": "hold",
            "idempotency_key": "job-7",
        })
    );
}

#[tokio::test]
async fn a_time_to_send_at_goes_as_it_was_given_and_a_past_one_is_told() {
    for (at, params, told) in [
        ("2026-08-16", json!({"send_at": "2026-08-16T00:00:00Z"}), false),
        ("2026-08-15T11:00:00Z", json!({"send_at": "2026-08-15T11:00:00Z"}), true),
        ("+2h", json!({"send_in_s": 7200}), false),
    ] {
        let daemon = FakeDaemon::start(|_, _| Reply::value(&samples::receipt()));
        let outcome = run(&daemon, &["send", "--to", "a@b.example", "--at", at]).await;
        let mut sent = daemon.params("message.send");
        sent.as_object_mut().unwrap().remove("message");
        assert_eq!(sent, params, "{at}");
        assert_eq!(outcome.stderr.contains("is past"), told, "{at}: {}", outcome.stderr);
    }
}

#[tokio::test]
async fn a_whole_message_is_queued_with_an_envelope() {
    let raw = "From: a@b.example\r\n\r\n\u{1b}body\r\n";
    let daemon = FakeDaemon::start(|_, _| Reply::value(&samples::receipt()));
    let line = ["send", "--eml", "-", "--from", "", "--to", "c@d.example"];
    Run::new(&line).stdin(raw).at(&daemon).go().await;
    assert_eq!(
        daemon.params("message.send"),
        json!({"raw_b64": BASE64_STANDARD.encode(raw), "envelope": {"from": "", "to": ["c@d.example"]}})
    );
    let plain = FakeDaemon::start(|_, _| Reply::value(&samples::receipt()));
    Run::new(&["send", "--eml", "-"]).stdin(raw).at(&plain).go().await;
    assert_eq!(plain.params("message.send"), json!({"raw_b64": BASE64_STANDARD.encode(raw)}));
}

#[tokio::test]
async fn a_missing_file_queues_nothing() {
    let daemon = FakeDaemon::start(|_, _| Reply::value(&samples::receipt()));
    let outcome = run(&daemon, &["send", "--to", "a@b.example", "-a", "/nonexistent"]).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("failed to read /nonexistent"), "{}", outcome.stderr);
    assert!(daemon.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_status_of_the_message() {
    for (state, held, code) in [
        (MessageState::Sent, None, 0),
        (MessageState::Held, Some(HoldReason::GrantRequired), 6),
        (MessageState::Held, Some(HoldReason::Operator), 8),
        (MessageState::Held, Some(HoldReason::AuthRefused), 8),
        (MessageState::Deferred, None, 8),
        (MessageState::Queued, None, 8),
        (MessageState::InDoubt, None, 10),
        (MessageState::Partial, None, 9),
        (MessageState::Failed, None, 9),
        (MessageState::Expired, None, 9),
        (MessageState::Cancelled, None, 9),
    ] {
        let daemon = FakeDaemon::start(move |call, _| match call.method.as_str() {
            "message.send" => Reply::value(&samples::receipt()),
            _ => Reply::value(&samples::message(state, held)),
        });
        let line = ["send", "--to", "a@b.example", "--wait=150s"];
        let outcome = run(&daemon, &line).await;
        assert_eq!(outcome.code, code, "{state} {held:?}: {}", outcome.stdout);
        let waits: Vec<_> = daemon.calls().into_iter().filter(|c| c.method == "message.wait").collect();
        let moving = matches!(state, MessageState::Deferred | MessageState::Queued);
        let asked: Vec<_> = waits.iter().map(|call| call.params["timeout_s"].clone()).collect();
        let expected = if moving { json!([60, 60, 30]) } else { json!([60]) };
        assert_eq!(json!(asked), expected, "{state}");
        if code == 6 {
            assert!(outcome.stdout.contains("Fix: frankctl grant alerts"), "{}", outcome.stdout);
        }
    }
}

#[tokio::test]
async fn waiting_prints_the_result_of_the_waiting_as_json() {
    let message = serde_json::to_string(&samples::message(MessageState::Sent, None)).unwrap();
    let result = message.clone();
    let daemon = FakeDaemon::start(move |call, _| match call.method.as_str() {
        "message.send" => Reply::value(&samples::receipt()),
        _ => Reply::Raw(result.clone()),
    });
    let outcome = run(&daemon, &["send", "--to", "a@b.example", "--wait", "--json"]).await;
    assert_eq!((outcome.code, outcome.stdout), (0, format!("{message}\n")));
}
