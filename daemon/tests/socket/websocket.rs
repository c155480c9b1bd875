//! The WebSocket, spoken by a WebSocket library.

use std::time::Duration;

use frankd::clock::ClockExt as _;
use frankd::domain::SocketKind;
use frankd_proto::EventType;
use frankd_proto::methods::event;
use serde_json::{Value, json};
use soketto::handshake::{Client, ServerResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::rig::{ALICE, Rig, kind, request};

struct Socket {
    sender: soketto::Sender<Compat<DuplexStream>>,
    receiver: soketto::Receiver<Compat<DuplexStream>>,
}

impl Socket {
    async fn open(rig: &Rig) -> Self {
        let io = rig.connect(ALICE, SocketKind::Control).compat();
        let mut client = Client::new(io, "localhost", "/");
        let answer = client.handshake().await.unwrap();
        assert!(matches!(answer, ServerResponse::Accepted { .. }), "{answer:?}");
        let (sender, receiver) = client.into_builder().finish();
        Self { sender, receiver }
    }

    async fn write(&mut self, text: &str) {
        self.sender.send_text(text).await.unwrap();
        self.sender.flush().await.unwrap();
    }

    async fn read(&mut self) -> Option<Value> {
        let mut message = Vec::new();
        self.receiver.receive_data(&mut message).await.ok()?;
        Some(serde_json::from_slice(&message).unwrap())
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.write(request(method, params).trim_end()).await;
        self.read().await.unwrap()
    }
}

#[tokio::test]
async fn calls_batches_and_events_go_through_the_same_gate() {
    let rig = Rig::new();
    let mut socket = Socket::open(&rig).await;
    assert_eq!(socket.call("access.whoami", json!({})).await["result"]["uid"], ALICE);
    assert_eq!(kind(&socket.call("profile.pause", json!({})).await["error"]), "access.denied");
    assert_eq!(kind(&socket.call("system.ping", json!([1])).await["error"]), "invalid_params");
    socket.write("[{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"system.ping\"}]").await;
    assert_eq!(socket.read().await.unwrap()[0]["id"], 4);
    socket.write("\u{0}garbage").await;
    assert_eq!(kind(&socket.read().await.unwrap()["error"]), "parse");
    let subscription = socket.call("event.subscribe", json!({})).await["result"].clone();
    let event = event::Event {
        seq: 3,
        at: jiff::Timestamp::UNIX_EPOCH,
        event_type: EventType::MessageSent,
        profile: None,
        client: None,
        object: None,
        data: serde_json::Map::new(),
    };
    rig.events.send(event.clone()).unwrap();
    assert_eq!(socket.read().await.unwrap()["params"]["result"]["seq"], 3);
    assert_eq!(socket.call("event.unsubscribe", json!([subscription])).await["result"], true);
    socket.sender.close().await.unwrap();
    assert_eq!(socket.read().await, None);
}

#[tokio::test]
async fn the_call_over_the_limit_is_refused_at_once() {
    let rig = Rig::with(|settings| settings.limits.calls_in_flight = 2);
    let mut socket = Socket::open(&rig).await;
    for id in [10, 11, 12] {
        let text = request("message.retry", json!({"ids": []})).replace("\"id\":1", &format!("\"id\":{id}"));
        socket.write(text.trim_end()).await;
    }
    let refused = socket.read().await.unwrap();
    assert_eq!((refused["id"].as_i64(), refused["error"]["code"].as_i64()), (Some(12), Some(1002)));
    rig.go.send_replace(true);
    for _ in 0..2 {
        assert!(socket.read().await.unwrap()["result"].is_object());
    }
}

#[tokio::test]
async fn a_message_over_one_mib_is_refused_and_the_connection_ends() {
    let rig = Rig::new();
    let mut socket = Socket::open(&rig).await;
    let raw = "A".repeat(1_000_000);
    let sent = socket.call("message.send", json!({"profile": "shop", "raw_b64": raw})).await;
    assert_eq!(sent["result"]["message_id"], "<1000000@test>");
    let raw = "A".repeat(1_100_000);
    let text = request("message.send", json!({"profile": "shop", "raw_b64": raw}));
    _ = socket.sender.send_text(text.trim_end()).await;
    _ = socket.sender.flush().await;
    if let Some(answer) = socket.read().await {
        assert_eq!(kind(&answer["error"]), "request.too_large");
        assert_eq!(socket.read().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_message_and_silence_ends_and_a_quiet_connection_stays() {
    let rig = Rig::new();
    let mut quiet = Socket::open(&rig).await;
    let mut io = rig.connect(ALICE, SocketKind::Control);
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    io.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = io.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer[..read]));
    let began = rig.clock.now();
    io.write_all(&[0x81, 0x90, 1, 2, 3, 4, 5]).await.unwrap();
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rig.clock.now().since(began), Duration::from_secs(30));
    rig.clock.sleep(Duration::from_secs(3600)).await;
    assert!(quiet.call("system.ping", json!({})).await["result"].is_object());
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_says_goodbye() {
    let rig = Rig::new();
    let mut socket = Socket::open(&rig).await;
    socket.write(request("message.retry", json!({"ids": []})).trim_end()).await;
    socket.call("system.ping", json!({})).await;
    rig.stop.send_replace(true);
    tokio::task::yield_now().await;
    rig.go.send_replace(true);
    assert!(socket.read().await.unwrap()["result"].is_object());
    assert_eq!(socket.read().await, None);
}
