//! Transactions: envelopes, bodies, limits, the addresses that ask for an answer, and the offences of clients.

use std::time::Duration;

use super::*;
use crate::sandbox::clock::within;

#[tokio::test(start_paused = true)]
async fn recipients_ask_for_answers_by_their_names() {
    let server = server(behaviour());
    for (to, reply) in [
        ("tempfail@sandbox.test", "451 4.3.2 Temporary server error. Please try again later"),
        ("full@sandbox.test", "452 4.2.2 Mailbox full"),
        ("reject-1@sandbox.test", "550 5.1.1 The email account that you tried to reach does not exist"),
        ("relay@elsewhere.test", "554 5.7.1 Relay access denied"),
        ("datatemp@sandbox.test", "451 4.3.0 Try again later"),
        ("datafail@sandbox.test", "554 5.6.0 Message content rejected"),
        ("greylist@sandbox.test", "451 4.7.1 Greylisted, please try again"),
        ("greylist@sandbox.test", "250 2.0.0 OK queued as 1"),
        ("dropbefore@sandbox.test", ""),
        ("dropafter@sandbox.test", ""),
        ("b@sandbox.test", "250 2.0.0 OK queued as 3"),
    ] {
        assert_eq!(outcome(&server, "a@sandbox.test", to).await, reply, "{to}");
    }
    let kept: Vec<String> = server.delivered().into_iter().map(|mail| mail.to[0].clone()).collect();
    assert_eq!(kept, ["greylist@sandbox.test", "dropafter@sandbox.test", "b@sandbox.test"]);
    assert!(outcome(&server, "badfrom@sandbox.test", "b@sandbox.test").await.starts_with("550 5.7.60"));
    assert_eq!(outcome(&server, "dropmail@sandbox.test", "b@sandbox.test").await, "");
}

#[tokio::test(start_paused = true)]
async fn a_slow_recipient_answers_late_with_the_mail_kept_at_once() {
    let server = server(behaviour());
    let mut wire = logged_in(&server).await;
    assert!(
        within(Duration::from_millis(2999), send_letter(&mut wire, "a@sandbox.test", "slow@sandbox.test"))
            .await
            .is_none()
    );
    assert_eq!(server.delivered_count(), 1);
    assert_eq!(wire.reply().await, "250 2.0.0 OK queued as 1");
}

#[tokio::test(start_paused = true)]
async fn some_recipients_can_be_refused_and_the_rest_get_the_mail() {
    let server = server(behaviour());
    let mut wire = logged_in(&server).await;
    wire.send("MAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<reject@x.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n").await;
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(wire.reply().await[..3].to_owned());
    }
    assert_eq!(codes, ["250", "250", "550", "250", "354"]);
    assert!(wire.ask(LETTER).await.starts_with("250 "));
    assert_eq!(server.delivered_to("C@x.test")[0].to, ["b@x.test", "c@x.test"]);
    assert!(server.delivered_to("reject@x.test").is_empty());
    assert_eq!(server.offences(), Vec::<String>::new());
    assert_eq!(server.delivered()[0].header("subject").as_deref(), Some("x"));
}

#[tokio::test(start_paused = true)]
async fn data_without_recipients_is_refused_at_once_or_after_a_lone_dot() {
    let server = server(behaviour());
    for (kind, replies) in [
        (false, vec!["554 5.5.1 No valid recipients"]),
        (true, vec!["354 Go ahead, end with a dot", "554 5.5.1 No valid recipients"]),
    ] {
        server.set(|behaviour| behaviour.data_without_recipients = kind);
        let mut wire = logged_in(&server).await;
        wire.ask("MAIL FROM:<a@x.test>").await;
        wire.ask("RCPT TO:<reject@x.test>").await;
        for (step, reply) in ["DATA", "."].into_iter().zip(replies) {
            assert_eq!(wire.ask(step).await, reply);
        }
    }
    assert_eq!(server.delivered_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_recipients_and_messages_are_told_in_the_middle() {
    let server = server(Behaviour { max_recipients: Some(2), max_messages: Some(1), ..behaviour() });
    let mut wire = logged_in(&server).await;
    wire.ask("MAIL FROM:<a@x.test>").await;
    let mut codes = Vec::new();
    for to in ["b", "c", "d"] {
        codes.push(wire.ask(&format!("RCPT TO:<{to}@x.test>")).await);
    }
    assert_eq!(codes, ["250 2.1.5 Recipient OK", "250 2.1.5 Recipient OK", "452 4.5.3 Too many recipients"]);
    assert!(wire.ask("RSET").await.starts_with("250 "));
    assert!(wire.ask("MAIL FROM:<a@x.test>").await.starts_with("421 "));
    assert_eq!(wire.reply().await, "");
    server.set(|behaviour| behaviour.too_many_recipients = "552 5.5.3 Too many recipients".into());
    let mut wire = logged_in(&server).await;
    wire.ask("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nRCPT TO:<d@x.test>").await;
    wire.reply().await;
    wire.reply().await;
    assert_eq!(wire.reply().await, "552 5.5.3 Too many recipients");
}

#[tokio::test(start_paused = true)]
async fn size_is_enforced_before_and_after_the_body() {
    let server = server(Behaviour { size: Some(100), ..behaviour() });
    let mut wire = logged_in(&server).await;
    assert!(wire.ask("MAIL FROM:<a@x.test> SIZE=101").await.starts_with("552 5.3.4"));
    for (octets, reply) in [(98, "250 "), (99, "552 5.3.4")] {
        wire.ask("MAIL FROM:<a@x.test> SIZE=100").await;
        wire.ask("RCPT TO:<b@x.test>").await;
        wire.ask("DATA").await;
        let body = format!("{}\r\n.", "x".repeat(octets));
        assert!(wire.ask(&body).await.starts_with(reply), "{octets}");
    }
    assert_eq!(server.delivered()[0].octets.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn parameters_that_are_not_offered_are_refused() {
    let server = server(Behaviour { eight_bit_mime: false, smtp_utf8: false, size: None, ..behaviour() });
    let mut wire = logged_in(&server).await;
    for parameter in ["BODY=8BITMIME", "SMTPUTF8", "SIZE=1", "RET=FULL"] {
        assert!(wire.ask(&format!("MAIL FROM:<a@x.test> {parameter}")).await.starts_with("555 5.5.4"), "{parameter}");
    }
    assert!(wire.ask("MAIL FROM:<\u{e9}@x.test>").await.starts_with("553 5.6.7"));
    assert_eq!(server.offences().len(), 5);
    for (step, code) in [
        ("MAIL FROM:<a@x.test>", "250"),
        ("RCPT TO:<b@x.test>", "250"),
        ("DATA", "354"),
        ("caf\u{e9}\r\n.", "554 5.6.3"),
    ] {
        assert!(wire.ask(step).await.starts_with(code), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn eight_bit_octets_need_their_parameter() {
    let server = server(behaviour());
    for (parameter, offences) in [(" BODY=8BITMIME", 0), ("", 1)] {
        let mut wire = logged_in(&server).await;
        for step in [&format!("MAIL FROM:<a@x.test>{parameter}"), "RCPT TO:<b@x.test>", "DATA", "caf\u{e9}\r\n."] {
            wire.ask(step).await;
        }
        assert_eq!(server.offences().len(), offences, "{parameter}");
    }
}

#[tokio::test(start_paused = true)]
async fn bare_line_ends_and_nul_are_refused() {
    let server = server(behaviour());
    let mut wire = logged_in(&server).await;
    wire.send("NOOP\n").await;
    assert_eq!(wire.reply().await, "500 5.5.2 Bare LF is not allowed");
    for (body, reply) in [
        ("a\nb\r\n.", "554 5.6.0 Bare CR or LF is not allowed"),
        ("a\n.\nMAIL FROM:<evil@x.test>\r\n.", "554 5.6.0 Bare CR or LF is not allowed"),
        ("a\rb\r\n.", "554 5.6.0 Bare CR or LF is not allowed"),
        ("a\0b\r\n.", "554 5.6.0 NUL is not allowed"),
    ] {
        for step in ["MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"] {
            wire.ask(step).await;
        }
        assert_eq!(wire.ask(body).await, reply, "{body:?}");
    }
    assert_eq!(server.offences().len(), 5);
    server.set(|behaviour| behaviour.refuses_bare_line_feed = false);
    for step in ["MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA", "a\n.\nb\r\n."] {
        wire.ask(step).await;
    }
    assert_eq!(server.delivered()[0].text(), "a\n.\nb\r\n");
}

#[tokio::test(start_paused = true)]
async fn commands_out_of_order_and_malformed_are_refused() {
    let server = server(behaviour());
    let mut wire = connect(&server, Start::Plain);
    wire.reply().await;
    assert!(wire.ask("MAIL FROM:<a@x.test>").await.starts_with("503 "));
    assert!(wire.ask("EHLO").await.starts_with("501 "));
    assert_eq!(wire.ask("HELO client").await, "250 mail.sandbox.test");
    let mut wire = logged_in(&server).await;
    for (step, code) in [
        ("RCPT TO:<tempfail@x.test>", "503 "),
        ("DATA", "503 "),
        ("MAIL FROM: <a@x.test>", "501 "),
        ("MAIL a@x.test", "501 "),
        ("MAIL FROM:<a@x.test>", "250 "),
        ("MAIL FROM:<a@x.test>", "503 "),
        ("RCPT TO:<nobody>", "501 "),
        ("RCPT TO:<b@x.test> NOTIFY=NEVER", "555 "),
        ("WHAT", "500 "),
        ("VRFY b", "252 "),
        ("rset", "250 "),
    ] {
        assert!(wire.ask(step).await.starts_with(code), "{step}");
    }
    assert_eq!(wire.ask(&"x".repeat(2047)).await, "500 5.5.2 Line too long");
}

#[tokio::test(start_paused = true)]
async fn pipelining_that_is_not_allowed_is_noted() {
    let server = server(behaviour());
    let mut wire = logged_in(&server).await;
    wire.ask("NOOP\r\nRSET").await;
    assert_eq!(server.offences(), ["NOOP is not the last command of its group"]);
    server.set(|behaviour| behaviour.pipelining = false);
    let mut wire = logged_in(&server).await;
    wire.ask("RSET\r\nRSET").await;
    assert_eq!(server.offences()[1], "pipelined behind RSET, though PIPELINING is not offered");
}

#[tokio::test(start_paused = true)]
async fn capabilities_can_be_switched_off() {
    let server = server(Behaviour {
        size: None,
        pipelining: false,
        eight_bit_mime: false,
        smtp_utf8: false,
        enhanced_status_codes: false,
        auth_before_tls: Vec::new(),
        login_required: false,
        ..behaviour()
    });
    let mut wire = connect(&server, Start::Plain);
    wire.reply().await;
    assert_eq!(wire.ask("EHLO client").await, "250 mail.sandbox.test");
    assert_eq!(wire.ask("MAIL FROM:<a@x.test>").await, "250 Sender OK");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_of_deliveries() {
    let server = server(behaviour());
    let (waited, reply) = tokio::join!(
        within(Duration::from_secs(1), server.wait_for_delivered(1)),
        outcome(&server, "a@sandbox.test", "b@sandbox.test")
    );
    assert!(waited.is_some() && reply.starts_with("250 "));
    assert!(within(Duration::from_secs(1), server.wait_for_delivered(2)).await.is_none());
}
