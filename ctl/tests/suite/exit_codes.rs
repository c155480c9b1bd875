//! Exit statuses, and what is said when something fails.

use std::io::{self, Write};

use frankd_proto::methods::system::Health;
use frankd_proto::{Kind, RpcError};

use crate::daemon::{FakeDaemon, Reply};
use crate::harness::{Run, run};
use crate::samples;

#[tokio::test]
async fn every_kind_of_error_has_its_exit_status_its_cause_and_its_name() {
    for kind in Kind::all() {
        let daemon = FakeDaemon::refusing(RpcError::new(kind, "no, for a reason of mine"));
        let outcome = run(&daemon, &["token", "show", "alerts"]).await;
        assert_eq!(outcome.code, kind.exit_code(), "{kind}");
        assert!(
            outcome.stderr.starts_with("error: failed to show the token of profile alerts: no, for a reason of mine\n"),
            "{}",
            outcome.stderr
        );
        for part in [kind.explanation(), &format!("frankctl explain {kind}")] {
            assert!(outcome.stderr.contains(part), "{kind}: {}", outcome.stderr);
        }
        assert_eq!(outcome.stdout, "");
    }
}

#[tokio::test]
async fn a_hint_of_the_daemon_is_printed() {
    let error = RpcError::new(Kind::ObjectInvalid, "port must be 1 to 65535").field("smtp.port").hint("use 587");
    let daemon = FakeDaemon::refusing(error);
    let stderr = run(&daemon, &["profile", "update", "alerts", "--smtp-port", "0"]).await.stderr;
    assert!(!stderr.contains("cause"), "the message has it: {stderr}");
    assert!(stderr.contains("field      smtp.port\n") && stderr.contains("fix        use 587\n"), "{stderr}");
}

#[tokio::test]
async fn an_absent_daemon_is_status_five() {
    let outcome = Run::new(&["status"]).at_path("/nonexistent/frankd.sock".as_ref()).go().await;
    assert_eq!(outcome.code, 5);
    assert!(outcome.stderr.contains("/nonexistent/frankd.sock"), "{}", outcome.stderr);
    let wrong = Run::new(&["status"]).env("FRANKD_HOST", "ssh://root@host").go().await;
    assert_eq!(wrong.code, 2);
}

#[tokio::test]
async fn a_daemon_that_goes_away_is_status_ten() {
    let daemon = FakeDaemon::start(|_, _| Reply::Close);
    assert_eq!(run(&daemon, &["status"]).await.code, 10);
}

#[tokio::test]
async fn an_answer_that_breaks_the_contract_is_status_one() {
    let daemon = FakeDaemon::answering(r#"{"items":7}"#);
    let outcome = run(&daemon, &["client", "list"]).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("client.list"), "{}", outcome.stderr);
}

#[tokio::test]
async fn status_is_one_unless_all_is_well() {
    for (health, code) in [(Health::Ok, 0), (Health::Degraded, 1), (Health::Critical, 1)] {
        let text = serde_json::to_string(&samples::status(health)).unwrap();
        let daemon = FakeDaemon::answering(text);
        assert_eq!(run(&daemon, &["status"]).await.code, code);
        assert_eq!(run(&daemon, &["status", "-o", "json"]).await.code, code);
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_status_two_and_asks_nothing() {
    let daemon = FakeDaemon::answering("{}");
    for line in [
        &["frobnicate"][..],
        &[],
        &["client", "show", "Not A Name"],
        &["grant", "alerts", "list"],
        &["send", "-s", "nobody"],
        &["send", "--to", "a@b.example", "--text", "-", "--html", "-"],
        &["client", "update", "m365", "--clear", "issuer", "--issuer", "https://a.example"],
        &["client", "update", "m365", "--client-secret-expires", "2027-01-01"],
        &["call", "system.ping", "[]"],
        &["call", "event.subscribe"],
    ] {
        let outcome = run(&daemon, line).await;
        assert_eq!(outcome.code, 2, "{line:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty(), "{line:?}");
    }
    assert!(daemon.calls().is_empty());
    assert_eq!(run(&daemon, &["explain", "no.such"]).await.code, 3);
    assert_eq!(run(&daemon, &["--help"]).await.code, 0);
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let daemon = FakeDaemon::answering(r#"{"items":[]}"#);
    let outcome = Run::new(&["client", "list"]).at(&daemon).stdout_is(Closed).go().await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}
