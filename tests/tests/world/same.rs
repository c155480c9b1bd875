//! One clock and one seed give one life: nothing reads another clock or another source of randomness.

use frankd_proto::methods::message::{Attachment, SendParams};
use frankd_proto::methods::{client, message, profile, queue, token};
use frankd_tests::sandbox::smtp::Mechanism;

use super::harness::*;

/// What a life leaves: the octets on the mail wire, the bodies of the token requests, the answers of the daemon.
#[derive(Debug, PartialEq)]
struct Life {
    wire: Vec<String>,
    requests: Vec<String>,
    answers: Vec<String>,
}

async fn live(seed: u64) -> Life {
    let world = World::with_seed(seed).await;
    world.mail.set(|mail| mail.auth_before_tls = Mechanism::ALL.to_vec());
    let mut caller = world.connect(ROOT);
    caller.call::<client::Create>(world.client(WEB.0, WEB.1)).await.unwrap();
    caller.call::<client::Create>(world.client(SERVICE.0, SERVICE.1)).await.unwrap();
    for params in [service("alerts"), person("alice"), classic("relay")] {
        let params = profile::CreateParams { smtp: Some(to_pipe()), ..params };
        caller.call::<profile::Create>(params).await.unwrap();
    }
    world.grant("alice").await;
    for name in ["alerts", "alice", "relay"] {
        let mut params = letter(name, &["tempfail-1@example.org", "ops@example.org"]);
        let file = Attachment { name: "log.txt".to_owned(), content_type: None, content_b64: "bG9n".to_owned() };
        if let Some(compose) = &mut params.message {
            compose.html = Some("<p>91 % full.</p>".to_owned());
            compose.attachments.push(file);
        }
        let params = SendParams { idempotency_key: Some(format!("first-{name}")), ..params };
        let id = caller.call::<message::Send>(params).await.unwrap().id;
        caller.call::<message::Wait>(message::WaitParams { id, timeout_s: Some(100) }).await.unwrap();
    }
    world.pass(s(2 * HOUR)).await;
    for name in ["alerts", "alice"] {
        let params = token::OfProfile { profile: named(name) };
        caller.call::<token::Info>(params.clone()).await.unwrap();
        caller.call::<token::Refresh>(params).await.unwrap();
        let params = token::GetParams { profile: named(name), min_valid_s: None, wait_s: None };
        caller.call::<token::Get>(params).await.unwrap();
    }
    caller.call::<queue::Summary>(frankd_proto::methods::Empty {}).await.unwrap();
    caller.call::<message::List>(message::ListParams::default()).await.unwrap();
    let events = frankd_proto::methods::event::ListParams { limit: Some(1000), ..Default::default() };
    caller.call::<frankd_proto::methods::event::List>(events).await.unwrap();
    let wire = world.written.connections();
    let requests = world.login.journal();
    Life {
        wire: wire.iter().map(|octets| String::from_utf8_lossy(octets).into_owned()).collect(),
        requests: requests.iter().map(|entry| format!("{} {:?}", entry.came_at, entry.body)).collect(),
        answers: caller.heard,
    }
}

#[tokio::test(start_paused = true)]
async fn two_daemons_with_one_clock_and_one_seed_say_the_same_octets() {
    let first = live(7).await;
    let second = live(7).await;
    assert!(first.wire.len() >= 6, "{first:#?}");
    for ((wire, again), number) in first.wire.iter().zip(&second.wire).zip(1..) {
        assert_eq!(wire, again, "connection {number}");
    }
    for (answer, again) in first.answers.iter().zip(&second.answers) {
        assert_eq!(answer, again);
    }
    assert_eq!(first, second);
    let third = live(8).await;
    assert_ne!(first.wire, third.wire, "another seed is another life");
}
