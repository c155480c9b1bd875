//! From the name to EHLO: TLS in its modes, names, and what goes wrong there.

use frankd_proto::TlsMode;

use super::script::{Stage, envelope, password, token};
use crate::domain::delivery::{Login, RecipientResult, Stage as At, Trouble};

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
        .deliver(&envelope(&["b@y.example"]), b"Subject: hi\r\n\r\nyo\r\n", async {
            Ok(())
        })
        .await;
    assert_eq!(delivery.fault, None);
    let [RecipientResult::Sent(reply)] = &delivery.recipients[..] else {
        panic!("{delivery:?}");
    };
    assert_eq!(reply.text, "queued as 1");
    assert!(delivery.reusable && session.is_alive());
    let facts = session.facts().clone();
    assert_eq!(facts.peer, "127.0.0.1:587");
    assert_eq!(facts.mechanism, Some("XOAUTH2"));
    assert!(facts.tls.unwrap().starts_with("TLS 1.3, "));
    assert_eq!(
        facts.capabilities,
        ["SIZE 35882577", "PIPELINING", "AUTH LOGIN XOAUTH2"]
    );
    let transcript = session.transcript().join("\n");
    assert!(
        transcript.contains("C: AUTH XOAUTH2 [64 octets]\nS: 235 2.7.0 Accepted"),
        "{transcript}"
    );
    assert!(
        !transcript.contains("dXNlcj") && !transcript.contains("t0ken"),
        "{transcript}"
    );
    session.quit().await;
    let heard = stage.heard().await;
    assert_eq!(heard.bodies, [b"Subject: hi\r\n\r\nyo\r\n"]);
    assert_eq!(heard.rest, "");
}
