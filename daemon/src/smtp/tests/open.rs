//! From the name to EHLO: TLS in its modes, names, and what goes wrong there.

use frankd_proto::TlsMode;

use super::script::{Stage, envelope, password, token};
use crate::domain::delivery::{Login, RecipientResult, Stage as At, Trouble};
use crate::smtp::InMemory;

const STARTTLS: &str = "
    S: 220 mx.example ESMTP
    C: EHLO client.example
    S: 250-mx.example
    S: 250 STARTTLS
    C: STARTTLS
    S: 220 2.0.0 go
    !tls
    C: EHLO client.example
    S: 250-mx.example
    S: 250-SIZE 35882577
    S: 250-PIPELINING
    S: 250 AUTH LOGIN XOAUTH2
    C: AUTH XOAUTH2 dXNlcj1yZWxheUB4LmV4YW1wbGUBYXV0aD1CZWFyZXIgdDBrZW4tdDBrZW4tAQE=
    S: 235 2.7.0 Accepted
    C: MAIL FROM:<a@x.example> SIZE=19
    C: RCPT TO:<b@y.example>
    C: DATA
    S: 250 2.1.0 ok
    S: 250 2.1.5 ok
    S: 354 go
    B:
    S: 250 2.0.0 queued as 1
    C: QUIT
    S: 221 bye
";

#[tokio::test(start_paused = true)]
async fn a_mail_goes_out_by_starttls_and_xoauth2() {
    let stage = Stage::with_tls(&[STARTTLS], TlsMode::Starttls);
    let mut session = stage.open(token(12)).await.unwrap();
    let delivery = session
        .deliver(&envelope(&["b@y.example"]), &mut InMemory::new(b"Subject: hi\r\n\r\nyo\r\n"), async { Ok(()) })
        .await;
    assert_eq!(delivery.fault, None);
    let [RecipientResult::Sent(reply)] = &delivery.recipients[..] else {
        panic!("{delivery:?}");
    };
    assert_eq!(reply.text, "queued as 1");
    assert!(delivery.reusable && session.is_alive());
    let facts = session.facts().clone();
    assert_eq!(facts.peer, "127.0.0.1:587".parse().ok());
    assert_eq!(facts.addresses.len(), 1);
    assert_eq!(facts.mechanism, Some("XOAUTH2"));
    assert!(facts.tls.unwrap().starts_with("TLS 1.3, "));
    assert_eq!(facts.capabilities, ["SIZE 35882577", "PIPELINING", "AUTH LOGIN XOAUTH2"]);
    let transcript = session.transcript().join("\n");
    assert!(transcript.contains("C: AUTH XOAUTH2 [64 octets]\nS: 235 2.7.0 Accepted"), "{transcript}");
    assert!(!transcript.contains("dXNlcj") && !transcript.contains("t0ken"), "{transcript}");
    session.quit().await;
    let heard = stage.heard().await;
    assert_eq!(heard.bodies, [b"Subject: hi\r\n\r\nyo\r\n"]);
    assert_eq!(heard.rest, "");
}

fn script(lines: &[&str]) -> String {
    lines.join("\n")
}

async fn fails(stage: &Stage, login: Login) -> (At, Trouble) {
    let failure = stage.open(login).await.expect_err("the session opened");
    (failure.fault.stage, failure.fault.trouble)
}

#[tokio::test(start_paused = true)]
async fn implicit_tls_begins_at_once() {
    let server = script(&[
        "!tls",
        "S: 220 mx",
        "C: EHLO client.example",
        "S: 250-mx",
        "S: 250 AUTH PLAIN LOGIN",
        "C: AUTH PLAIN AHJlbGF5AGh1bnRlcjIhaHVudGVyMiE=",
        "S: 235 ok",
    ]);
    let stage = Stage::with_tls(&[&server], TlsMode::Implicit);
    let session = stage.open(password()).await.unwrap();
    let stages: Vec<_> = session.timings().iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [At::Dns, At::Connect, At::Tls, At::Greeting, At::Ehlo, At::Auth]);
    drop(session);
    assert_eq!(stage.heard().await.rest, "");
}

#[tokio::test(start_paused = true)]
async fn plaintext_behind_the_reply_to_starttls_is_an_attack() {
    let upgrade = ["S: 220 mx", "C: EHLO client.example", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go"];
    let injected = ["S: 250-mx", "S: 250 AUTH PLAIN XOAUTH2", "S: 235 ok", "S: 250 queued"];
    let stage = Stage::with_tls(&[&script(&[&upgrade[..], &injected[..]].concat())], TlsMode::Starttls);
    let (at, trouble) = fails(&stage, token(12)).await;
    assert_eq!(at, At::Tls);
    assert!(matches!(trouble, Trouble::Protocol(text) if text.contains("STARTTLS")));
    assert_eq!(stage.heard().await.rest, "", "nothing may follow");

    // In a segment of its own it meets the handshake.
    let later = script(&[&upgrade[..], &["!wait 1"], &injected[..]].concat());
    let stage = Stage::with_tls(&[&later], TlsMode::Starttls);
    let (at, trouble) = fails(&stage, token(12)).await;
    assert_eq!(at, At::Tls);
    assert!(matches!(trouble, Trouble::Plaintext(_)), "{trouble:?}");
    let heard = stage.heard().await;
    assert!(!heard.rest.contains("EHLO") && !heard.rest.contains("AUTH"));
}

#[tokio::test(start_paused = true)]
async fn without_starttls_nothing_more_is_said() {
    let server = script(&["S: 220 mx", "C: EHLO client.example", "S: 250-mx", "S: 250 AUTH PLAIN LOGIN"]);
    let stage = Stage::with_tls(&[&server], TlsMode::Starttls);
    let (at, trouble) = fails(&stage, password()).await;
    assert_eq!(at, At::Tls);
    assert!(matches!(trouble, Trouble::Lacking(_)));
    assert_eq!(stage.heard().await.rest, "");

    let server = script(&[
        "S: 220 mx",
        "C: EHLO client.example",
        "S: 250-mx",
        "S: 250 STARTTLS",
        "C: STARTTLS",
        "S: 454 4.7.0 TLS not available",
    ]);
    let stage = Stage::with_tls(&[&server], TlsMode::Starttls);
    let (at, trouble) = fails(&stage, password()).await;
    assert!(matches!((at, trouble), (At::Tls, Trouble::Reply(reply)) if reply.code == 454));
    assert_eq!(stage.heard().await.rest, "");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_trusted_gets_no_credentials() {
    let server = script(&["!tls", "S: 220 mx", "!hold"]);
    for (host, bundle, step) in [("other.example", true, 0), ("mx.example", false, 0), ("mx.example", true, 60 * 24)] {
        let mut stage = Stage::with_tls(&[&server], TlsMode::Implicit);
        stage.to.host = host.to_owned();
        if !bundle {
            stage.to.ca_bundle = Stage::new(&[]).to.ca_bundle;
        }
        stage.clock.step_wall(jiff::SignedDuration::from_hours(step));
        let (at, trouble) = fails(&stage, token(12)).await;
        assert_eq!(at, At::Tls);
        assert!(matches!(trouble, Trouble::Untrusted(_)), "{host} {bundle} {step}: {trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn implicit_tls_to_a_plaintext_port_is_named() {
    let stage = Stage::with_tls(&[&script(&["S: 220 mx.example ESMTP", "!hold"])], TlsMode::Implicit);
    let (at, trouble) = fails(&stage, token(12)).await;
    assert!(matches!((at, &trouble), (At::Tls, Trouble::Plaintext(_))), "{trouble:?}");
}

#[tokio::test(start_paused = true)]
async fn ehlo_gives_the_profiles_name_or_the_hosts() {
    for (given, name) in [
        (Some("gate.example.org"), "gate.example.org"),
        (Some("two\r\nlines"), "client.example"),
        (Some(""), "client.example"),
        (None, "client.example"),
    ] {
        let mut stage = Stage::new(&[&script(&["S: 220", &format!("C: EHLO {name}"), "S: 250"])]);
        stage.to.ehlo_name = given.map(str::to_owned);
        drop(stage.open(Login::Anonymous).await.unwrap());
        assert_eq!(stage.heard().await.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_greets_badly_is_told_by_its_own_words() {
    for (says, code) in [("554 5.3.2 no service here", 554), ("421 4.7.0 Try again later (EHLO)", 421)] {
        let stage = Stage::new(&[&format!("S: {says}")]);
        let (at, trouble) = fails(&stage, Login::Anonymous).await;
        assert!(matches!((at, trouble), (At::Greeting, Trouble::Reply(reply)) if reply.code == code));
        let stage = Stage::new(&[&script(&["S: 220 mx", "C: EHLO client.example", &format!("S: {says}")])]);
        let failure = stage.open(Login::Anonymous).await.unwrap_err();
        assert_eq!(failure.fault.stage, At::Ehlo);
        assert_eq!(failure.transcript[2], format!("S: {says}"));
    }
    let stage = Stage::new(&["S: SSH-2.0-OpenSSH_9.2"]);
    let (at, trouble) = fails(&stage, Login::Anonymous).await;
    assert!(matches!((at, trouble), (At::Greeting, Trouble::Protocol(text)) if text.contains("SSH-2.0")));
}

#[tokio::test(start_paused = true)]
async fn a_name_without_address_and_a_refused_connection_are_told_apart() {
    let mut stage = Stage::new(&[]);
    assert!(matches!(fails(&stage, Login::Anonymous).await, (At::Connect, Trouble::Unreachable(_))));
    stage.to.host = "mx.invalid".to_owned();
    assert!(matches!(fails(&stage, Login::Anonymous).await, (At::Dns, Trouble::Unresolved(_))));
}

#[tokio::test(start_paused = true)]
async fn an_endless_reply_ends_the_session() {
    for flood in [format!("s: 220-{}", "x".repeat(70_000)), "S: 220-x\n".repeat(12_000)] {
        let stage = Stage::new(&[&flood]);
        let (at, trouble) = fails(&stage, Login::Anonymous).await;
        assert_eq!(at, At::Greeting);
        assert!(matches!(trouble, Trouble::Protocol(text) if text.contains("longer")));
    }
}
