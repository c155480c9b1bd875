//! Commands one by one: what they ask of the daemon, and what they say.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use frankd_proto::methods::client::{ClientView, Deleted};
use frankd_proto::methods::test::{EmailReport, Stage, StageName};
use frankd_proto::methods::token::{RemoteRevocation, Revoked, Token};
use frankd_proto::{Kind, RpcError, Secret, TokenState};
use serde_json::json;

use crate::daemon::{FakeDaemon, Reply};
use crate::harness::{Run, run};
use crate::samples;

#[tokio::test]
async fn what_cannot_be_undone_wants_a_yes() {
    let daemon = FakeDaemon::start(|_, _| Reply::value(&Deleted { name: samples::name("m365") }));
    let line = ["client", "delete", "m365"];
    let refused = run(&daemon, &line).await;
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let no = Run::new(&line).stdin("\n").at_terminal().at(&daemon).go().await;
    assert_eq!(no.code, 2);
    assert!(no.stderr.starts_with("delete client m365? [y/N] "), "{}", no.stderr);
    let mute = Run::new(&["client", "delete", "m365", "--no-input"]).stdin("y\n").at_terminal();
    assert_eq!(mute.at(&daemon).go().await.code, 2);
    assert!(daemon.calls().is_empty());

    let yes = Run::new(&line).stdin("y\n").at_terminal().at(&daemon).go().await;
    assert_eq!((yes.code, yes.stdout.as_str()), (0, "m365 is deleted\n"));
    assert_eq!(run(&daemon, &["client", "delete", "m365", "--yes"]).await.code, 0);
    for line in [&["profile", "delete", "a"][..], &["token", "revoke", "a"], &["queue", "cancel", "--profile", "a"]] {
        assert_eq!(run(&daemon, line).await.code, 2, "{line:?}");
    }
}

#[tokio::test]
async fn creating_a_client_tells_what_is_left_to_do_at_the_provider() {
    let daemon = FakeDaemon::start(|call, _| match call.method.as_str() {
        "client.presets" => Reply::value(&samples::presets()),
        _ => Reply::value(&samples::client()),
    });
    let line = [
        "client",
        "create",
        "m365",
        "--preset",
        "microsoft365",
        "--tenant",
        "example.org",
        "--client-id",
        "4f0c",
        "--scope",
        "SMTP.Send",
        "--authorization-param",
        "prompt=consent",
        "--connect-timeout",
        "5s",
    ];
    let outcome = run(&daemon, &line).await;
    assert_eq!(
        daemon.params("client.create"),
        json!({
            "name": "m365", "preset": "microsoft365", "tenant": "example.org", "client_id": "4f0c",
            "scopes": ["SMTP.Send"], "authorization_params": {"prompt": "consent"}, "connect_timeout_s": 5,
        })
    );
    for part in ["1. Register an application", "2. Allow SMTP.Send", "http://localhost/  (any port"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    assert!(outcome.stdout.contains("Client secret             set, 1f3a\n"), "{}", outcome.stdout);

    let preset = run(&daemon, &["client", "presets", "microsoft365"]).await.stdout;
    assert!(preset.contains("2. Allow SMTP.Send"), "{preset}");
    let raw = run(&daemon, &["client", "presets", "microsoft365", "-o", "json"]).await.stdout;
    assert_eq!(raw.trim_end(), serde_json::to_string(&samples::presets()).unwrap(), "exactly the result object");
    let asked = daemon.calls().into_iter().filter(|call| call.method == "client.presets");
    assert!(asked.map(|call| call.params).all(|params| params == json!({"name": "microsoft365"})));
    let none = FakeDaemon::refusing(RpcError::new(Kind::ObjectNotFound, "there is no preset hotmail"));
    assert_eq!(run(&none, &["client", "presets", "hotmail"]).await.code, 3);
}

#[tokio::test]
async fn the_next_command_names_what_no_preset_has() {
    for (preset, named) in [(None, true), (Some("microsoft365".to_owned()), false)] {
        let client = ClientView { preset, ..samples::client() };
        let daemon = FakeDaemon::start(move |call, _| match call.method.as_str() {
            "client.presets" => Reply::value(&samples::presets()),
            _ => Reply::value(&client),
        });
        let outcome = run(&daemon, &["client", "create", "m365", "--client-id", "x"]).await;
        assert!(outcome.stderr.contains("--kind oauth2_smtp"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("--smtp-host HOST"), named, "{}", outcome.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_takes_long_is_told_and_has_an_end() {
    let daemon = FakeDaemon::start(|_, _| Reply::Silence);
    let outcome = run(&daemon, &["token", "refresh", "alerts"]).await;
    assert_eq!(outcome.code, 8);
    assert!(outcome.stderr.contains("Waiting for the authorization server, at most 2 min"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("frankctl token show alerts"), "{}", outcome.stderr);
    let short = run(&daemon, &["token", "refresh", "alerts", "--wait", "1s"]).await;
    assert_eq!(short.code, 8);
    assert!(!short.stderr.contains("Waiting"), "{}", short.stderr);
}

#[tokio::test]
async fn a_profile_is_made_and_changed_field_by_field() {
    let daemon = FakeDaemon::start(|_, _| Reply::value(&samples::profile()));
    let outcome = run(
        &daemon,
        &[
            "profile",
            "create",
            "alerts",
            "--kind",
            "oauth2_smtp",
            "--client",
            "m365",
            "--interactive",
            "--username",
            "alerts@example.org",
            "--tls",
            "starttls",
            "--smtp-host",
            "smtp.example",
            "--default",
            "--min-valid",
            "5m",
        ],
    )
    .await;
    assert!(outcome.stderr.contains("Next:  frankctl grant alerts"), "{}", outcome.stderr);
    assert_eq!(
        daemon.params("profile.create"),
        json!({
            "name": "alerts", "kind": "oauth2_smtp", "client": "m365", "interactive": true,
            "username": "alerts@example.org", "smtp": {"host": "smtp.example", "tls": "starttls"},
            "default": true, "min_valid_s": 300,
        })
    );
    run(
        &daemon,
        &[
            "profile",
            "update",
            "alerts",
            "--default=false",
            "--clear",
            "from",
            "--clear",
            "ehlo_name",
            "--if-revision",
            "4",
            "--messages-per-minute",
            "20",
        ],
    )
    .await;
    assert_eq!(
        daemon.params("profile.update"),
        json!({
            "name": "alerts", "if_revision": 4, "default": false, "from": null,
            "smtp": {"ehlo_name": null, "messages_per_minute": 20},
        })
    );
    run(&daemon, &["profile", "pause", "alerts", "--for", "1h", "--reason", "works"]).await;
    assert_eq!(daemon.params("profile.pause"), json!({"name": "alerts", "for_s": 3600, "reason": "works"}));
}

#[tokio::test]
async fn a_token_is_printed_as_it_is_wanted() {
    let token = Token {
        access_token: Secret::new("ya29.x"),
        token_type: "Bearer".to_owned(),
        expires_at: samples::at("2026-08-15T13:00:00Z"),
        username: Some("a@b.example".to_owned()),
        scopes: vec![],
        warnings: vec!["refreshing fails".to_owned()],
    };
    let text = serde_json::to_string(&token).unwrap();
    let daemon = FakeDaemon::answering(text.clone());
    let sasl = BASE64_STANDARD.encode("user=a@b.example\x01auth=Bearer ya29.x\x01\x01");
    for (format, expected) in
        [("raw", "ya29.x"), ("bearer", "Bearer ya29.x"), ("xoauth2", sasl.as_str()), ("json", text.as_str())]
    {
        let outcome = run(&daemon, &["token", "get", "alerts", "--format", format]).await;
        assert_eq!(outcome.stdout, format!("{expected}\n"));
        assert!(outcome.stderr.contains("refreshing fails") && !outcome.stderr.contains("ya29"));
    }
    assert_eq!(run(&daemon, &["token", "get", "alerts", "--json"]).await.stdout, format!("{text}\n"));

    let daemon = FakeDaemon::answering(text);
    run(&daemon, &["token", "get", "alerts", "--min-valid", "5m", "--wait", "0"]).await;
    assert_eq!(daemon.params("token.get"), json!({"profile": "alerts", "min_valid_s": 300, "wait_s": 0}));
    let nameless = FakeDaemon::start(move |_, _| Reply::value(&Token { username: None, ..token.clone() }));
    assert_eq!(run(&nameless, &["token", "get", "alerts", "--format", "xoauth2"]).await.code, 2);
}

#[tokio::test]
async fn a_revocation_that_the_provider_did_not_take_is_told() {
    let daemon = FakeDaemon::start(|_, _| {
        Reply::value(&Revoked {
            remote: RemoteRevocation::Failed,
            detail: Some("503 from the provider".to_owned()),
            token: samples::token(TokenState::NeedsGrant),
        })
    });
    let outcome = run(&daemon, &["token", "revoke", "alerts", "--yes"]).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains("503 from the provider"), "{}", outcome.stdout);
}

#[tokio::test]
async fn a_test_mail_stops_at_the_failing_stage_and_says_what_to_do() {
    let stage = |name, ok, detail: &str| Stage { name, ok, ms: 12, detail: detail.to_owned() };
    let mut report = EmailReport {
        ok: false,
        stages: vec![
            stage(StageName::Dns, true, "40.97.1.2"),
            stage(StageName::Auth, false, "535 5.7.139 SmtpClientAuthentication is disabled"),
        ],
        message_id: None,
        kind: Some(Kind::SmtpAuthRejected.into()),
        diagnosis: Some("smtp.auth.disabled".to_owned()),
        message: Some("SMTP AUTH is off for this mailbox".to_owned()),
        hint: Some("Set-CASMailbox -SmtpClientAuthenticationDisabled $false".to_owned()),
        transcript: vec!["S: 535 5.7.139".to_owned()],
    };
    let daemon = FakeDaemon::answering(serde_json::to_string(&report).unwrap());
    let outcome = run(&daemon, &["test", "email", "alerts", "--to", "ops@example.org"]).await;
    assert_eq!(outcome.code, 9);
    assert_eq!(
        outcome.stdout,
        "\
✓ DNS        12 ms  40.97.1.2
✗ AUTH       12 ms  535 5.7.139 SmtpClientAuthentication is disabled
  what       SMTP AUTH is off for this mailbox
  fix        Set-CASMailbox -SmtpClientAuthenticationDisabled $false
  diagnosis  smtp.auth.disabled
  kind       smtp.auth_rejected
✗ The mail was not sent.

The conversation, without credentials:
  S: 535 5.7.139
"
    );
    report.kind = Some(Kind::SmtpConnect.into());
    let daemon = FakeDaemon::answering(serde_json::to_string(&report).unwrap());
    assert_eq!(run(&daemon, &["test", "email", "alerts", "--to", "a@b.example"]).await.code, 10);
    report.ok = true;
    let daemon = FakeDaemon::answering(serde_json::to_string(&report).unwrap());
    assert_eq!(run(&daemon, &["test", "email", "alerts", "--to", "a@b.example"]).await.code, 0);
}

#[tokio::test]
async fn messages_are_changed_by_id_or_by_profile() {
    let id = "msg_00000000000000000000000007";
    let daemon = FakeDaemon::answering(json!({"changed": [id], "skipped": []}).to_string());
    run(&daemon, &["queue", "hold", id, "--reason", "wrong text"]).await;
    assert_eq!(daemon.params("message.hold"), json!({"ids": [id], "reason": "wrong text"}));
    run(&daemon, &["queue", "retry", "--profile", "alerts"]).await;
    assert_eq!(daemon.params("message.retry"), json!({"profile": "alerts"}));
    let outcome = run(&daemon, &["queue", "resolve", id, "--outcome", "retry"]).await;
    assert_eq!(daemon.params("message.resolve"), json!({"ids": [id], "outcome": "retry"}));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "1 message changed\n"));

    let (unknown, sent) = (
        json!({"id": id, "kind": "object.not_found", "reason": "there is no such message"}),
        json!({"id": id, "kind": "message.not_cancellable", "reason": "is final already"}),
    );
    for (changed, skipped, code) in [
        (json!([]), json!([unknown]), 3),
        (json!([id]), json!([unknown]), 3),
        (json!([]), json!([sent]), 7),
        (json!([]), json!([unknown, sent]), 7),
    ] {
        let daemon = FakeDaemon::answering(json!({"changed": changed, "skipped": skipped}).to_string());
        assert_eq!(run(&daemon, &["queue", "cancel", id, "--yes"]).await.code, code, "{skipped}");
        let all = run(&daemon, &["queue", "retry", "--profile", "alerts"]).await;
        assert_eq!(all.code, 0, "of a whole queue what can be changed is changed");
    }
}

#[tokio::test]
async fn the_queue_is_asked_with_moments_of_now() {
    let daemon = FakeDaemon::answering(r#"{"items":[]}"#);
    run(&daemon, &["queue", "list", "--since", "2h", "--state", "held", "--limit", "5"]).await;
    assert_eq!(daemon.params("message.list"), json!({"since": "2026-08-15T10:00:00Z", "state": "held", "limit": 5}));
}

#[tokio::test]
async fn a_message_is_printed_as_it_is() {
    let octets = b"Subject: a\r\n\r\nbody \x1b[2J\r\n";
    let daemon = FakeDaemon::answering(json!({"raw_b64": BASE64_STANDARD.encode(octets)}).to_string());
    let outcome = run(&daemon, &["queue", "cat", "msg_00000000000000000000000007"]).await;
    assert_eq!(outcome.stdout.as_bytes(), octets);
}

#[tokio::test]
async fn version_tells_its_own_even_without_a_daemon() {
    let own = env!("CARGO_PKG_VERSION");
    let absent = Run::new(&["version"]).at_path("/nonexistent".as_ref()).go().await;
    assert_eq!(absent.code, 5);
    assert!(absent.stdout.contains(own));
    let denied = FakeDaemon::refusing(RpcError::new(Kind::AccessDenied, "no"));
    assert_eq!(run(&denied, &["version"]).await.code, 4);
    let daemon = FakeDaemon::answering(
        r#"{"version":"9.9.9","api":"1.7","started_at":"2026-08-15T11:00:00Z","store":"sled","limits":{"request_bytes":1,
           "message_bytes":1,"batch":1,"calls_in_flight":1,"connections_per_uid":1,"subscriptions_per_uid":1,"queue_messages":1}}"#
            .replace('\n', ""),
    );
    let outcome = run(&daemon, &["version"]).await;
    assert!(outcome.stdout.contains("9.9.9  (contract 1.7)"), "{}", outcome.stdout);
    let client_only = Run::new(&["version", "--client"]).at_path("/nonexistent".as_ref()).go().await;
    assert_eq!(client_only.code, 0);
}

#[tokio::test]
async fn parameters_of_a_call_may_come_by_standard_input() {
    let daemon = FakeDaemon::answering(r#"{"now":"2026-08-15T12:00:00Z"}"#);
    let line = ["call", "token.info", "-"];
    let outcome = Run::new(&line).stdin("{\"profile\": \"alerts\"}\n").at(&daemon).go().await;
    assert_eq!(outcome.stdout, "{\"now\":\"2026-08-15T12:00:00Z\"}\n");
    assert_eq!(daemon.params("token.info"), json!({"profile": "alerts"}));
    run(&daemon, &["call", "system.ping"]).await;
    assert_eq!(daemon.params("system.ping"), json!({}));
}
