//! HTTP/1.1, as `curl --unix-socket` speaks it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frankd::clock::ClockExt as _;
use frankd::domain::SocketKind;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

use crate::rig::{ALICE, BOB, ROOT, Rig, kind};

/// An HTTP client that writes what it is told.
struct Http {
    io: BufReader<DuplexStream>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.body))
    }
}

impl Http {
    fn new(rig: &Rig, uid: u32) -> Self {
        Self { io: BufReader::new(rig.connect(uid, SocketKind::Control)) }
    }

    async fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.io.write_all(octets.as_ref()).await.unwrap();
    }

    /// Reads an answer; `None` at the end.
    async fn read(&mut self) -> Option<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.io.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.io.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Answer { status, head, body })
    }

    async fn ask(&mut self, head: &str, body: &str) -> Answer {
        self.write(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        self.read().await.unwrap()
    }

    async fn post(&mut self, body: Value) -> Answer {
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        self.ask(head, &body.to_string()).await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "tests read better with the values in place")]
fn call(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

const MAIL: &str = "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: message/rfc822";

#[tokio::test]
async fn calls_and_batches_go_through_the_same_gate() {
    let rig = Rig::new();
    let mut http = Http::new(&rig, ALICE);
    let answer = http.post(call("access.whoami", json!({}))).await;
    assert_eq!((answer.status, answer.json()["result"]["uid"].as_u64()), (200, Some(u64::from(ALICE))));
    let answer = http.post(call("profile.pause", json!({}))).await;
    assert_eq!((answer.status, kind(&answer.json()["error"])), (200, "access.denied"));
    let answer = http.post(json!([call("system.ping", json!({})), call("client.delete", json!({}))])).await;
    assert!(answer.json()[0]["result"].is_object());
    assert_eq!(kind(&answer.json()[1]["error"]), "access.denied");
    let one = call("system.ping", json!({}));
    let answer = http.post(json!(vec![one; 10_000])).await;
    assert_eq!(kind(&answer.json()["error"]), "request.batch_too_large");
    let answer = http.post(call("event.subscribe", json!({}))).await;
    assert_eq!(kind(&answer.json()["error"]), "invalid_request");
    let notification = json!({"jsonrpc": "2.0", "method": "message.send", "params": {"profile": "shop"}});
    let answer = http.post(notification).await;
    assert_eq!((answer.status, rig.sent.load(Ordering::SeqCst)), (204, 1));
}

#[tokio::test]
async fn a_browser_or_another_host_is_refused() {
    let rig = Rig::new();
    for head in [
        "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/json",
        "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Type: application/json",
        "POST / HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json",
        "POST / HTTP/1.1\r\nHost: localhost\r\nHost: example.org\r\nContent-Type: application/json",
        "POST http://example.org/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: null",
        "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nConnection: upgrade\r\nUpgrade: websocket",
    ] {
        let answer = Http::new(&rig, ROOT).ask(head, "{}").await;
        assert_eq!(answer.status, 403, "{head}");
    }
}

#[tokio::test]
async fn routes_methods_and_media_types_are_as_documented() {
    let rig = Rig::new();
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost", 200),
        ("GET /readyz HTTP/1.1\r\nHost: LOCALHOST", 200),
        ("GET / HTTP/1.1\r\nHost: localhost", 405),
        ("DELETE /v1/messages HTTP/1.1\r\nHost: localhost", 405),
        ("POST /healthz HTTP/1.1\r\nHost: localhost", 405),
        ("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json", 404),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain", 415),
        ("POST / HTTP/1.1\r\nHost: localhost", 415),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost", 415),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket", 400),
    ] {
        let answer = Http::new(&rig, ROOT).ask(head, "").await;
        assert_eq!(answer.status, status, "{head}: {}", answer.body);
    }
}

/// The head of a message with parameters beside it.
#[expect(clippy::needless_pass_by_value, reason = "tests read better with the values in place")]
fn options(params: Value) -> String {
    format!("{MAIL}\r\nFrankd-Params: {}", URL_SAFE_NO_PAD.encode(params.to_string()))
}

#[tokio::test]
async fn mail_as_it_is_needs_no_base64_and_gets_the_same_receipt_and_errors() {
    let rig = Rig::new();
    let mut http = Http::new(&rig, ALICE);
    let answer = http.ask(&options(json!({"profile": "shop"})), "Subject: a\r\n\r\nb\r\n").await;
    assert_eq!((answer.status, answer.json()["message_id"].as_str()), (200, Some("<17@test>")));
    for (head, status, kind, field) in [
        (MAIL.to_owned(), 400, "message.invalid", "profile"),
        (options(json!({"profil": "shop"})), 400, "invalid_params", "profil"),
        (options(json!({"profile": "shop", "raw_b64": "QQ=="})), 400, "invalid_params", "Frankd-Params"),
        (format!("{MAIL}\r\nFrankd-Params: ***"), 400, "invalid_params", "Frankd-Params"),
    ] {
        let answer = http.ask(&head, "a").await;
        let error = answer.json();
        assert_eq!(answer.status, status, "{error}");
        assert_eq!((crate::rig::kind(&error), error["data"]["field"].as_str()), (kind, Some(field)));
    }
    let answer = Http::new(&rig, BOB).ask(&options(json!({"profile": "shop"})), "a").await;
    assert_eq!((answer.status, kind(&answer.json())), (403, "access.denied"));
    assert_eq!(rig.sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_rate_counts_mail_of_both_ways() {
    let rig = Rig::with(|settings| settings.access[0].rate_per_hour = Some(1));
    let mut http = Http::new(&rig, ALICE);
    http.ask(MAIL, "a").await;
    assert!(http.post(call("message.send", json!({"profile": "shop"}))).await.json()["result"].is_object());
    let answer = http.ask(&options(json!({"profile": "shop"})), "a").await;
    assert_eq!((answer.status, kind(&answer.json())), (429, "access.rate_limited"));
    assert!(answer.head.to_ascii_lowercase().contains("retry-after: "), "{}", answer.head);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let rig = Rig::with(|settings| {
        settings.limits.request_bytes = 2 << 20;
        settings.limits.message_bytes = 1000;
    });
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    let mut http = Http::new(&rig, ALICE);
    http.write(format!("{head}\r\nContent-Length: 3000000\r\n\r\n")).await;
    let answer = http.read().await.unwrap();
    assert_eq!((answer.status, kind(&answer.json()["error"])), (413, "request.too_large"));
    let mut http = Http::new(&rig, ALICE);
    http.write(format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    for _ in 0..40 {
        if http.io.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(http.read().await.unwrap().status, 413);
    let answer = Http::new(&rig, ALICE).ask(MAIL, &"a".repeat(1001)).await;
    assert_eq!((answer.status, kind(&answer.json())), (413, "message.too_large"));
}

#[tokio::test]
async fn a_large_body_is_read_whole() {
    let rig = Rig::new();
    let raw = "A".repeat(3 << 20);
    let mut http = Http::new(&rig, ALICE);
    let answer = http.post(call("message.send", json!({"profile": "shop", "raw_b64": raw}))).await;
    assert_eq!(answer.json()["result"]["message_id"], format!("<{}@test>", 3 << 20));
}

#[tokio::test(start_paused = true)]
async fn half_a_head_and_half_a_body_end_after_thirty_seconds() {
    let rig = Rig::new();
    let began = rig.clock.now();
    let mut http = Http::new(&rig, ALICE);
    http.write("POST / HTTP/1.1\r\nHost: loc").await;
    assert!(http.read().await.is_none());
    assert_eq!(rig.clock.now().since(began), Duration::from_secs(30));
    let began = rig.clock.now();
    let mut http = Http::new(&rig, ALICE);
    http.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
        .await;
    assert_eq!(http.read().await.unwrap().status, 408);
    assert!(http.read().await.is_none());
    assert_eq!(rig.clock.now().since(began), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_large_body_waits_for_its_users_share() {
    let rig = Rig::with(|settings| settings.limits.large_requests_bytes = 6 << 20);
    let large = |hold: bool| {
        let mut params = json!({"profile": "shop", "raw_b64": "A".repeat(2 << 20)});
        if hold {
            params["on_doubt"] = json!("hold");
        }
        call("message.send", params)
    };
    let mut first = Http::new(&rig, ALICE);
    let mut first = Box::pin(first.post(large(true)));
    assert!(rig.clock.deadline(Duration::from_secs(1), &mut first).await.is_err());
    let mut second = Http::new(&rig, ALICE);
    let mut second = Box::pin(second.post(large(false)));
    assert!(rig.clock.deadline(Duration::from_secs(600), &mut second).await.is_err(), "it waits");
    assert_eq!(Http::new(&rig, ROOT).post(large(false)).await.status, 200);
    rig.go.send_replace(true);
    assert!(first.await.json()["result"].is_object());
    assert!(second.await.json()["result"].is_object());
}

#[tokio::test]
async fn binary_garbage_is_answered_with_400_or_closed() {
    let rig = Rig::new();
    for garbage in
        [&b"\x00\x01\x02\x03\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", b"HELO there\r\n\r\n", &vec![0xff; 70_000]]
    {
        let mut http = Http::new(&rig, ALICE);
        _ = http.io.write_all(garbage).await;
        _ = http.io.shutdown().await;
        if let Some(answer) = http.read().await {
            assert!(matches!(answer.status, 400 | 431 | 414), "{}", answer.head);
        }
        assert!(http.read().await.is_none());
    }
    assert_eq!(Http::new(&rig, ALICE).post(call("system.ping", json!({}))).await.status, 200);
}

#[tokio::test]
async fn a_stop_answers_the_request_in_flight() {
    let rig = Rig::new();
    let mut http = Http::new(&rig, ALICE);
    let body = call("message.retry", json!({"ids": []})).to_string();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    http.write(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    rig.stop.send_replace(true);
    tokio::task::yield_now().await;
    rig.go.send_replace(true);
    assert!(http.read().await.unwrap().json()["result"].is_object());
    assert!(http.read().await.is_none());
}
