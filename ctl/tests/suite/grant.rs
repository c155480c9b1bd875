//! Granting access: by hand, and everything around the listener (see `listener.rs` for that).

use std::process::Stdio;
use std::sync::mpsc;

use frankd_proto::methods::grant::GrantError;
use frankd_proto::{GrantState, HoldReason, Kind, RpcError, TokenState};
use serde_json::json;

use crate::daemon::{Call, FakeDaemon, Reply};
use crate::harness::{Buffer, Run, run};
use crate::samples;

const ID: &str = "grt_0000000000000000000000001A";

/// What a daemon with a profile that needs a grant answers; `other` answers what is left.
pub(crate) fn answer(call: &Call, other: impl FnOnce() -> Reply) -> Reply {
    match call.method.as_str() {
        "profile.get" => Reply::value(&samples::profile()),
        "grant.start" => {
            let port = call.params["port"].as_u64().unwrap_or(7777);
            Reply::value(&samples::started(u16::try_from(port).unwrap()))
        }
        "grant.wait" => Reply::Silence,
        "queue.summary" => Reply::value(&samples::summary(3, vec![HoldReason::GrantRequired])),
        "token.info" => Reply::value(&samples::token(TokenState::Valid)),
        _ => other(),
    }
}

fn completing() -> FakeDaemon {
    FakeDaemon::start(|call, _| answer(call, || Reply::value(&samples::completed())))
}

#[tokio::test]
async fn an_address_is_pasted_and_the_token_told() {
    let daemon = completing();
    let line = ["grant", "alerts", "--paste"];
    let outcome = Run::new(&line).stdin("  http://localhost:7777/?state=S&code=C \n").at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(daemon.params("grant.start"), json!({"profile": "alerts", "via": "paste"}));
    assert_eq!(
        daemon.params("grant.complete"),
        json!({"id": ID, "redirect_url": "http://localhost:7777/?state=S&code=C"})
    );
    assert_eq!(
        outcome.stdout,
        "\
✓ Signed in as alerts@example.org
✓ Refresh token received; access token valid 52 min, next refresh in 31 min
  Scopes SMTP.Send offline_access
⚠ scope openid was not granted
"
    );
    for part in [
        "Profile alerts (alerts@example.org, client m365, scopes SMTP.Send)\n",
        "  https://login.example/authorize?state=S&x=$(reboot);'\n",
        "3 messages were waiting for this grant; sending now.\n",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}

#[tokio::test]
async fn as_json_a_grant_is_the_result_object() {
    let daemon = completing();
    let line = ["grant", "alerts", "--paste", "--json", "--quiet"];
    let outcome = Run::new(&line).stdin("x?state=S&code=C\n").at(&daemon).go().await;
    assert_eq!(outcome.stdout.trim_end(), serde_json::to_string(&samples::completed()).unwrap());
    assert!(outcome.stderr.contains("https://login.example/"), "the address is always printed");
}

#[tokio::test]
async fn without_a_display_or_over_ssh_the_address_is_pasted_and_why_is_said() {
    for (environment, why) in [
        (vec![], "There is no display here"),
        (vec![("DISPLAY", ":10"), ("SSH_CONNECTION", "a b")], "This is an SSH session"),
    ] {
        let daemon = completing();
        let run = Run::new(&["grant", "alerts"]).stdin("x?state=S&code=C\n").at(&daemon);
        let run = environment.iter().fold(run, |run, (name, value)| run.env(name, value));
        let outcome = run.go().await;
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        assert_eq!(daemon.params("grant.start")["via"], "paste");
    }
}

#[tokio::test]
async fn nothing_pasted_leaves_the_grant_pending() {
    let daemon = completing();
    for run in [
        Run::new(&["grant", "alerts", "--paste"]),
        Run::new(&["grant", "alerts", "--paste", "--no-input"]).at_terminal(),
    ] {
        let outcome = run.at(&daemon).go().await;
        assert_eq!(outcome.code, 8);
        assert!(outcome.stderr.contains(&format!("`frankctl grant complete {ID}`")), "{}", outcome.stderr);
    }
}

#[tokio::test]
async fn a_person_may_paste_again_while_the_grant_is_pending() {
    let daemon = FakeDaemon::start(|call, before| {
        answer(call, || match (call.method.as_str(), before) {
            ("grant.get", _) => Reply::value(&samples::grant(GrantState::Pending)),
            (_, 0) => Reply::error(RpcError::new(Kind::GrantStateMismatch, "that is another grant's address")),
            _ => Reply::value(&samples::completed()),
        })
    });
    let lines = "wrong?state=X&code=C\nright?state=S&code=C\n";
    let outcome = Run::new(&["grant", "alerts", "--paste"]).stdin(lines).at_terminal().at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("that is another grant's address"));
    let daemon = FakeDaemon::start(|call, _| {
        answer(call, || Reply::error(RpcError::new(Kind::GrantStateMismatch, "another grant's")))
    });
    let alone = Run::new(&["grant", "alerts", "--paste"]).stdin("wrong?state=X&code=C\n").at(&daemon);
    assert_eq!(alone.go().await.code, 9, "a script is not asked again");
}

#[tokio::test]
async fn a_grant_is_completed_later() {
    let daemon = completing();
    let outcome = Run::new(&["grant", "complete", ID]).stdin("u?state=S&code=C\n").at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(daemon.params("grant.complete")["id"], ID);
    let daemon = completing();
    Run::new(&["grant", "complete"]).stdin("u?state=S&code=C\n").at(&daemon).go().await;
    assert_eq!(daemon.params("grant.complete"), json!({"redirect_url": "u?state=S&code=C"}));
    let empty = Run::new(&["grant", "complete"]).at(&daemon).go().await;
    assert_eq!(empty.code, 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_daemon_costs_nothing() {
    let daemon = FakeDaemon::start(|call, before| match (call.method.as_str(), before) {
        ("grant.wait" | "grant.complete", 0) => Reply::Close,
        ("grant.get", _) => Reply::value(&samples::grant(GrantState::Pending)),
        _ => answer(call, || Reply::value(&samples::completed())),
    });
    let outcome = Run::new(&["grant", "alerts", "--paste"]).stdin("u?state=S&code=C\n").at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_was_used_before_the_connection_broke_is_not_sent_again() {
    let daemon = FakeDaemon::start(|call, _| match call.method.as_str() {
        "grant.complete" => Reply::Close,
        "grant.get" | "grant.wait" => Reply::value(&samples::grant(GrantState::Completed)),
        _ => answer(call, || Reply::Close),
    });
    let line = ["grant", "complete", ID];
    let outcome = Run::new(&line).stdin("u?state=S&code=C\n").at(&daemon).go().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("✓ valid"), "{}", outcome.stdout);
    let completes = daemon.calls().iter().filter(|call| call.method == "grant.complete").count();
    assert_eq!(completes, 1);
}

#[tokio::test]
async fn a_grant_that_ends_elsewhere_ends_the_waiting() {
    for (state, code) in
        [(GrantState::Completed, 0), (GrantState::Expired, 8), (GrantState::Denied, 9), (GrantState::Cancelled, 8)]
    {
        let daemon = FakeDaemon::start(move |call, _| match call.method.as_str() {
            "grant.wait" => Reply::value(&samples::grant(state)),
            _ => answer(call, || Reply::Silence),
        });
        // Nobody pastes anything: the other end of the pipe stays open.
        let (_open, silent) = silence();
        let outcome = Run::new(&["grant", "alerts", "--paste"]).stdin_is(silent).at(&daemon).go().await;
        assert_eq!(outcome.code, code, "{state}: {}", outcome.stderr);
    }
    let mut failed = samples::grant(GrantState::Failed);
    failed.error = Some(GrantError::from(RpcError::new(Kind::OauthInvalidClient, "the secret is wrong")));
    let daemon = FakeDaemon::start(move |call, _| match call.method.as_str() {
        "grant.wait" => Reply::value(&failed),
        _ => answer(call, || Reply::Silence),
    });
    let (_open, silent) = silence();
    let outcome = Run::new(&["grant", "alerts", "--paste"]).stdin_is(silent).at(&daemon).go().await;
    assert_eq!(outcome.code, 9);
    assert!(outcome.stderr.contains("the secret is wrong"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_profile_named_like_a_command_is_reached_by_option() {
    let daemon = completing();
    Run::new(&["grant", "--profile", "list", "--paste"]).stdin("u?state=S&code=C\n").at(&daemon).go().await;
    assert_eq!(daemon.params("grant.start")["profile"], "list");
    let listed = FakeDaemon::answering(r#"{"items":[]}"#);
    run(&listed, &["grant", "-o", "json", "list"]).await;
    assert_eq!(listed.calls()[0].method, "grant.list");
}

#[tokio::test]
async fn ctrl_c_leaves_the_grant_pending_and_says_how_to_finish_it() {
    for way in ["--no-browser", "--paste"] {
        let mut daemon = completing();
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_frankctl"))
            .args(["grant", "alerts", way])
            .env("FRANKD_HOST", daemon.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().unwrap();
        // It waits for the grant and for a signal in one place.
        daemon.called("grant.wait").await;
        let kill = std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status();
        assert!(kill.unwrap().success());
        let output = wait(child).await;
        assert_eq!(output.status.code(), Some(8), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("stays pending"), "{stderr}");
        assert!(stderr.contains(&format!("frankctl grant complete {ID}")), "{stderr}");
    }
}

/// Waits for a process without closing its standard input, as a terminal stays open.
async fn wait(mut child: tokio::process::Child) -> std::process::Output {
    let stdin = child.stdin.take();
    let output = child.wait_with_output().await.unwrap();
    drop(stdin);
    output
}

/// A standard input on which nothing comes while the first half lives.
fn silence() -> (mpsc::Sender<()>, impl std::io::Read + Send + 'static) {
    struct Silent(mpsc::Receiver<()>);
    impl std::io::Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            // Ends when the sender goes.
            let _ = self.0.recv();
            Ok(0)
        }
    }
    let (open, silent) = mpsc::channel();
    (open, Silent(silent))
}

#[tokio::test]
async fn the_question_goes_to_standard_error() {
    let daemon = completing();
    let shown = Buffer::default();
    let outcome = Run::new(&["grant", "alerts", "--paste"])
        .stdin("u?state=S&code=C\n")
        .stdout_is(shown.clone())
        .at(&daemon)
        .go()
        .await;
    assert!(outcome.stderr.contains("Paste the whole address"));
    assert!(shown.text().starts_with("✓ Signed in"));
}
