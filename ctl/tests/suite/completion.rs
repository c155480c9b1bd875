//! What a shell is offered: the program itself is run as the shell's script runs it.

use std::process::Stdio;

use frankd_proto::{GrantState, MessageState};
use serde_json::json;
use tokio::process::Command;

use crate::daemon::{FakeDaemon, Reply};
use crate::samples;

/// The words that fit in place of the last one. The script for fish hands words over without further variables.
async fn offered(socket: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_frankctl"))
        .arg("--")
        .args(words)
        .env_clear()
        .env("COMPLETE", "fish")
        .env("FRANKD_HOST", socket)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn names_and_ids_come_from_the_daemon() {
    let daemon = FakeDaemon::start(|call, _| match call.method.as_str() {
        "client.list" => Reply::Raw(json!({"items": [samples::client()]}).to_string()),
        "client.presets" => Reply::value(&samples::presets()),
        "profile.list" => Reply::Raw(json!({"items": [samples::profile()]}).to_string()),
        "grant.list" => Reply::Raw(json!({"items": [samples::grant(GrantState::Pending)]}).to_string()),
        "message.list" => Reply::Raw(json!({"items": [samples::message(MessageState::Sent, None)]}).to_string()),
        _ => Reply::Close,
    });
    let socket = format!("unix://{}", daemon.path().display());
    let grant = samples::grant(GrantState::Pending).id.to_string();
    let message = samples::message(MessageState::Sent, None).id.to_string();
    for (words, word) in [
        (&["client", "show", ""][..], "m365"),
        (&["client", "delete", "m"], "m365"),
        (&["client", "presets", ""], "microsoft365"),
        (&["client", "create", "new", "--preset", ""], "microsoft365"),
        (&["profile", "show", ""], "alerts"),
        (&["profile", "create", "new", "--client", ""], "m365"),
        (&["grant", "al"], "alerts"),
        (&["grant", "show", "grt"], &grant),
        (&["token", "get", ""], "alerts"),
        (&["send", "--profile", ""], "alerts"),
        (&["queue", "cat", "msg"], &message),
        (&["queue", "cancel", ""], &message),
        (&["events", "--profile", "a"], "alerts"),
        (&["call", "message.s"], "message.send"),
        (&["explain", "grant.r"], "grant.required"),
        (&["que"], "queue"),
        (&["client", "create", "a", "--client-secret-s"], "--client-secret-stdin"),
    ] {
        let mut line = vec!["frankctl"];
        line.extend(words);
        let offered = offered(&socket, &line).await;
        assert!(offered.iter().any(|one| one == word), "{words:?}: {offered:?}");
    }
    let named = offered("unix:///nonexistent", &["frankctl", "--host", &socket, "profile", "show", ""]).await;
    assert!(named.contains(&"alerts".to_owned()), "--host counts: {named:?}");
    assert!(offered(&socket, &["frankctl", "profile", "show", "x"]).await.is_empty(), "none begins with x");
    let new = offered(&socket, &["frankctl", "profile", "create", ""]).await;
    assert!(!new.contains(&"alerts".to_owned()), "a new name is nobody's yet: {new:?}");
}

#[tokio::test]
async fn a_daemon_that_is_away_or_silent_has_no_words_and_no_errors() {
    let silent = FakeDaemon::start(|_, _| Reply::Silence);
    let silent = format!("unix://{}", silent.path().display());
    for socket in ["unix:///nonexistent", "nonsense", &silent] {
        let words = offered(socket, &["frankctl", "profile", "show", ""]).await;
        assert!(!words.contains(&"alerts".to_owned()), "{words:?}");
        assert!(offered(socket, &["frankctl", "profile", "sh"]).await.contains(&"show".to_owned()));
    }
}
