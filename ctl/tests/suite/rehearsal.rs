//! `--dry-run`: every command that changes something shows its call, and none of them makes it.

use std::collections::BTreeSet;

use frankd_proto::methods::TABLE;
use serde_json::{Value, json};

use crate::daemon::FakeDaemon;
use crate::harness::Run;

const MESSAGE: &str = "msg_00000000000000000000000007";
const GRANT: &str = "grt_00000000000000000000000007";

/// Methods that change nothing, or that hand out what there is.
const READING: &[&str] = &[
    "access.whoami",
    "client.get",
    "client.list",
    "client.presets",
    "config.show",
    "event.list",
    "event.subscribe",
    "grant.get",
    "grant.list",
    "grant.wait",
    "message.get",
    "message.list",
    "message.raw",
    "message.wait",
    "profile.get",
    "profile.list",
    "queue.summary",
    "system.info",
    "system.ping",
    "system.status",
    "token.get",
    "token.info",
];

/// Runs a command with `--dry-run`; gives the call that it showed.
async fn shown(line: &[&str], stdin: &str) -> Value {
    let daemon = FakeDaemon::answering("{}");
    let mut line = line.to_vec();
    line.push("--dry-run");
    let outcome = Run::new(&line).stdin(stdin).at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{line:?}: {}", outcome.stderr);
    assert!(daemon.calls().is_empty(), "{line:?}");
    assert!(outcome.stderr.contains("Nothing was sent"), "{line:?}: {}", outcome.stderr);
    for text in [&outcome.stdout, &outcome.stderr] {
        assert!(!text.contains("hunter2"), "{line:?}: {text}");
    }
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[tokio::test]
async fn every_method_that_changes_something_is_shown_and_not_called() {
    let lines: &[(&[&str], &str)] = &[
        (&["client", "create", "a", "--client-id", "x", "--client-secret-stdin"], "hunter2\n"),
        (&["client", "update", "a", "--client-secret-file", "-"], "hunter2\n"),
        (&["client", "delete", "a"], ""),
        (&["profile", "create", "a", "--kind", "smtp", "--password-stdin"], "hunter2\n"),
        (&["profile", "update", "a", "--password-stdin"], "hunter2\n"),
        (&["profile", "delete", "a"], ""),
        (&["profile", "pause", "a"], ""),
        (&["profile", "resume", "a"], ""),
        (&["grant", "a", "--paste"], ""),
        (&["grant", "complete", GRANT], "http://localhost/?code=hunter2\n"),
        (&["grant", "cancel", GRANT], ""),
        (&["token", "refresh", "a"], ""),
        (&["token", "revoke", "a"], ""),
        (&["send", "--to", "a@b.example", "--text", "-"], "text"),
        (&["queue", "hold", MESSAGE], ""),
        (&["queue", "release", MESSAGE], ""),
        (&["queue", "retry", MESSAGE], ""),
        (&["queue", "cancel", MESSAGE], ""),
        (&["queue", "resolve", MESSAGE, "--outcome", "sent"], ""),
        (&["test", "email", "a", "--to", "a@b.example"], ""),
        (&["reload"], ""),
    ];
    let mut methods = BTreeSet::new();
    for (line, stdin) in lines {
        methods.insert(shown(line, stdin).await["method"].as_str().unwrap().to_owned());
    }
    let changing = TABLE.iter().map(|row| row.name).filter(|name| !READING.contains(name));
    assert_eq!(methods, changing.map(ToOwned::to_owned).collect());
}

#[tokio::test]
async fn what_is_shown_is_what_would_be_sent_but_for_secrets() {
    let line = ["client", "create", "a", "--client-id", "x", "--client-secret-stdin", "--scope", "mail"];
    assert_eq!(
        shown(&line, "hunter2").await,
        json!({"method": "client.create", "params": {
            "name": "a", "client_id": "x", "client_secret": {"value": "«set»"}, "scopes": ["mail"],
        }})
    );
    let line = ["client", "create", "a", "--client-id", "x", "--client-secret-ref-file", "idp"];
    assert_eq!(shown(&line, "").await["params"]["client_secret"], json!({"file": "idp"}));
    let params = r#"{"name":"a","password":{"value":"hunter2"}}"#;
    assert_eq!(
        shown(&["call", "profile.update", "-"], params).await,
        json!({"method": "profile.update", "params": {"name": "a", "password": {"value": "«set»"}}})
    );
    let started = shown(&["grant", "a", "--no-browser"], "").await;
    assert_eq!(started["params"]["via"], "client_loopback");
    assert!(started["params"]["port"].as_u64() > Some(0), "{started}");
}

#[tokio::test]
async fn what_is_wrong_here_is_refused_here_and_reading_reads() {
    let daemon = FakeDaemon::answering(r#"{"items":[]}"#);
    let wrong = Run::new(&["send", "-s", "nobody", "--dry-run"]).at(&daemon).go().await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""));
    let file = Run::new(&["send", "--to", "a@b.example", "-a", "/nonexistent", "--dry-run"]).at(&daemon).go().await;
    assert_eq!(file.code, 1);
    assert!(daemon.calls().is_empty());
    let list = Run::new(&["client", "list", "--dry-run", "-o", "json"]).at(&daemon).go().await;
    assert_eq!((list.code, list.stdout.as_str()), (0, "{\"items\":[]}\n"));
}
