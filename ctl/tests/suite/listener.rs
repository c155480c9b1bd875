//! The loopback listener of `grant`, with a browser, a hostile neighbour, and a browser that is opened.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use frankd_proto::error::ProviderError;
use frankd_proto::{GrantState, Kind, RpcError};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::daemon::{FakeDaemon, Reply};
use crate::grant::answer;
use crate::harness::{Outcome, Run};
use crate::samples;

async fn port(daemon: &mut FakeDaemon) -> u16 {
    let start = daemon.called("grant.start").await;
    assert_eq!(start.params["via"], "client_loopback");
    u16::try_from(start.params["port"].as_u64().unwrap()).unwrap()
}

/// Sends a request as it is and gives the whole answer.
async fn send(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // A refusal may come before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn get(port: u16, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/html\r\n\r\n")
}

async fn granting(daemon: &FakeDaemon) -> Outcome {
    Run::new(&["grant", "alerts", "--no-browser"]).at(daemon).go().await
}

/// Runs a grant beside a browser.
async fn beside<T>(
    daemon: FakeDaemon,
    browser: impl AsyncFnOnce(&mut FakeDaemon, u16) -> T,
) -> (Outcome, T, FakeDaemon) {
    let mut daemon = daemon;
    let path = daemon.path().to_owned();
    let run = Run::new(&["grant", "alerts", "--no-browser"]).at_path(&path).go();
    let drive = async {
        let port = port(&mut daemon).await;
        browser(&mut daemon, port).await
    };
    let (outcome, result) = tokio::join!(run, drive);
    (outcome, result, daemon)
}

#[tokio::test]
async fn the_browser_is_told_the_truth_after_the_exchange() {
    let exchanged = Arc::new(Notify::new());
    let release = Arc::clone(&exchanged);
    let daemon = FakeDaemon::start(move |call, _| {
        let release = Arc::clone(&release);
        answer(call, || Reply::Later(release, Box::new(Reply::value(&samples::completed()))))
    });
    let (outcome, page, daemon) = beside(daemon, async |daemon, port| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(get(port, "/?code=C%2F1&state=S").as_bytes()).await.unwrap();
        daemon.called("grant.complete").await;
        let early = stream.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "answered before the exchange");
        exchanged.notify_one();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    })
    .await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(
        daemon.params("grant.complete")["redirect_url"],
        format!("http://localhost:{}/?code=C%2F1&state=S", daemon.params("grant.start")["port"])
    );
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("access for profile alerts as alerts@example.org"), "{page}");
    assert!(!page.contains("C%2F1") && !page.contains("state"), "{page}");
    for header in ["no-referrer", "no-store", "default-src 'none'", "nosniff"] {
        assert!(page.contains(header), "{page}");
    }
    assert!(outcome.stdout.contains("✓ Signed in as alerts@example.org"));
    assert!(outcome.stderr.contains("Waiting for sign-in as alerts@example.org; the grant ends in 10 min"));
}

#[tokio::test]
async fn a_refusal_is_escaped_in_the_browser_and_whole_in_the_terminal() {
    let daemon = FakeDaemon::start(|call, _| {
        answer(call, || {
            if call.method == "grant.get" {
                return Reply::value(&samples::grant(GrantState::Denied));
            }
            let mut error = RpcError::new(Kind::GrantDeniedByUser, "the person said no");
            error.data.provider = Some(ProviderError {
                error: Some("access_denied".to_owned()),
                error_description: Some("<img src=x onerror=alert(1)>".to_owned()),
                ..ProviderError::default()
            });
            Reply::error(error)
        })
    });
    let (outcome, page, _) =
        beside(daemon, async |_, port| send(port, &get(port, "/?error=access_denied&state=S")).await).await;
    assert_eq!(outcome.code, 9);
    assert!(page.starts_with("HTTP/1.1 400 "), "{page}");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && !page.contains("<img"), "{page}");
    assert!(outcome.stderr.contains("access_denied: <img src=x"), "{}", outcome.stderr);
}

#[tokio::test]
async fn hostile_requests_are_refused_and_do_not_disturb_the_grant() {
    let daemon = FakeDaemon::start(|call, _| answer(call, || Reply::value(&samples::completed())));
    let (outcome, (), daemon) = beside(daemon, async |daemon, port| {
        let good = "/?code=C&state=S";
        let _preconnected = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        for (request, status) in [
            (get(port, good).replace("localhost", "rebound.example"), "421"),
            (get(port, good).replace("GET", "POST"), "405"),
            (get(port, "/favicon.ico"), "404"),
            (get(port, "/other?code=C&state=S"), "404"),
            (get(port, "/"), "400"),
            ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), "400"),
        ] {
            let answer = send(port, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?} got {answer:?}");
        }
        // A megabyte of query: the connection is cut at 8 KiB, and the answer may be lost on the way.
        let megabyte = send(port, &get(port, &format!("/?code={}&state=S", "a".repeat(1 << 20)))).await;
        assert!(megabyte.is_empty() || megabyte.starts_with("HTTP/1.1 431 "), "{megabyte:?}");
        assert!(daemon.calls().iter().all(|call| call.method != "grant.complete"));
        assert!(send(port, &get(port, good)).await.starts_with("HTTP/1.1 200 "));
    })
    .await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(daemon.params("grant.complete")["redirect_url"].as_str().unwrap().ends_with("/?code=C&state=S"));
}

#[tokio::test]
async fn a_forged_redirect_is_told_off_and_the_right_one_still_counts() {
    let daemon = FakeDaemon::start(|call, before| {
        answer(call, || match (call.method.as_str(), before) {
            ("grant.get", _) => Reply::value(&samples::grant(GrantState::Pending)),
            ("grant.complete", 0) => Reply::error(RpcError::new(Kind::GrantStateMismatch, "not of this grant")),
            _ => Reply::value(&samples::completed()),
        })
    });
    let (outcome, (), _) = beside(daemon, async |_, port| {
        assert!(send(port, &get(port, "/?code=evil&state=X")).await.starts_with("HTTP/1.1 400 "));
        assert!(send(port, &get(port, "/?code=C&state=S")).await.starts_with("HTTP/1.1 200 "));
    })
    .await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("not of this grant"));
}

#[tokio::test]
async fn a_redirect_uri_that_leads_elsewhere_is_not_waited_for() {
    let daemon = FakeDaemon::start(|call, _| match call.method.as_str() {
        "grant.start" => {
            let mut started = samples::started(1);
            started.redirect_uri = "https://mail.example.org/callback".to_owned();
            Reply::value(&started)
        }
        "grant.cancel" => Reply::value(&samples::grant(GrantState::Cancelled)),
        _ => answer(call, || Reply::Silence),
    });
    let outcome = granting(&daemon).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("frankctl grant alerts --paste"), "{}", outcome.stderr);
    assert_eq!(daemon.params("grant.cancel"), json!({"id": "grt_0000000000000000000000001A"}));
}

#[tokio::test]
async fn the_browser_is_opened_with_the_address_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("arguments");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let opener = dir.path().join("xdg-open");
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$#\" \"$1\" > {}\n", pipe.display());
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut daemon = FakeDaemon::start(|call, _| answer(call, || Reply::value(&samples::completed())));
    let run = Run::new(&["grant", "alerts"])
        .at_path(daemon.path())
        .env("DISPLAY", ":0")
        .env("PATH", &format!("relative:{}", dir.path().display()))
        .go();
    let person = async {
        let port = port(&mut daemon).await;
        let arguments = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe)).await.unwrap().unwrap();
        assert_eq!(arguments, "1\nhttps://login.example/authorize?state=S&x=$(reboot);'\n");
        send(port, &get(port, "/?code=C&state=S")).await
    };
    let (outcome, _) = tokio::join!(run, person);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Opening your browser"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_browser_that_cannot_be_opened_leaves_the_address() {
    let mut daemon = FakeDaemon::start(|call, _| answer(call, || Reply::value(&samples::completed())));
    let run = Run::new(&["grant", "alerts", "--browser"]).at_path(daemon.path()).go();
    let person = async {
        let port = port(&mut daemon).await;
        send(port, &get(port, "/?code=C&state=S")).await
    };
    let (outcome, _) = tokio::join!(run, person);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("xdg-open is not installed"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("https://login.example/authorize"));
}
