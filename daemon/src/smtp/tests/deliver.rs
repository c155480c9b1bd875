//! Envelope, message and final dot: what goes out, and what is certain afterwards.

use proptest::prelude::*;

use super::script::{Heard, Stage, envelope};
use crate::domain::delivery::{Delivery, Fault, Login, RecipientResult, Stage as At, Trouble};
use crate::smtp::{InMemory, Session};

const MAIL: &[u8] = b"Subject: hi\r\n\r\nyo\r\n";

fn server(offers: &[&str], then: &[&str]) -> String {
    let mut script = "S: 220 mx\nC: EHLO client.example\nS: 250-mx\n".to_owned();
    for offer in offers {
        script = format!("{script}S: 250-{offer}\n");
    }
    format!("{script}S: 250 HELP\n{}", then.join("\n"))
}

async fn send(session: &mut Session, recipients: &[&str]) -> Delivery {
    session.deliver(&envelope(recipients), &mut InMemory::new(MAIL), async { Ok(()) }).await
}

/// One delivery of [`MAIL`] over a connection of its own.
async fn deliver(offers: &[&str], then: &[&str], recipients: &[&str]) -> (Delivery, Heard) {
    let stage = Stage::new(&[&server(offers, then)]);
    let mut session = stage.open(Login::Anonymous).await.unwrap();
    let delivery = send(&mut session, recipients).await;
    assert_eq!(delivery.reusable, session.is_alive());
    drop(session);
    (delivery, stage.heard().await)
}

fn codes(delivery: &Delivery) -> Vec<(&'static str, u16)> {
    let code = |result: &RecipientResult| match result {
        RecipientResult::Sent(reply) => ("sent", reply.code),
        RecipientResult::Refused(reply) => ("refused", reply.code),
        RecipientResult::NotSent => ("not sent", 0),
        RecipientResult::InDoubt => ("in doubt", 0),
    };
    delivery.recipients.iter().map(code).collect()
}

fn said(delivery: &Delivery) -> Option<(At, u16)> {
    match &delivery.fault {
        Some(Fault { stage, trouble: Trouble::Reply(reply) }) => Some((*stage, reply.code)),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn without_pipelining_each_command_waits_for_its_reply() {
    let (delivery, heard) = deliver(
        &[],
        &[
            "C: MAIL FROM:<a@x.example>",
            "S: 250",
            "C: RCPT TO:<b@y.example>",
            "S: 550 5.1.1 unknown",
            "C: RCPT TO:<c@y.example>",
            "S: 251 forwarded",
            "C: DATA",
            "S: 354",
            "B:",
            "S: 250 2.6.0 <1@mx> queued",
        ],
        &["b@y.example", "c@y.example"],
    )
    .await;
    assert_eq!(codes(&delivery), [("refused", 550), ("sent", 250)]);
    assert_eq!(delivery.fault, None);
    assert!(delivery.reusable);
    assert_eq!(heard.bodies, [MAIL]);
}

#[tokio::test(start_paused = true)]
async fn recipients_have_their_own_results_in_one_pipeline() {
    let (delivery, heard) = deliver(
        &["PIPELINING", "SIZE 1000"],
        &[
            "C: MAIL FROM:<a@x.example> SIZE=19",
            "C: RCPT TO:<b@y.example>",
            "C: RCPT TO:<c@y.example>",
            "C: RCPT TO:<d@y.example>",
            "C: DATA",
            "S: 250 2.1.0 ok",
            "S: 550-5.1.1 no",
            "S: 550 5.1.1 such user",
            "S: 250 2.1.5 ok",
            "S: 452 4.5.3 too many recipients",
            "S: 354 go",
            "B:",
            "S: 250 2.0.0 queued",
        ],
        &["b@y.example", "c@y.example", "d@y.example"],
    )
    .await;
    assert_eq!(codes(&delivery), [("refused", 550), ("sent", 250), ("refused", 452)]);
    assert_eq!(delivery.fault, None);
    assert_eq!(heard.bodies, [MAIL]);
}

#[tokio::test(start_paused = true)]
async fn many_recipients_go_in_chunks_and_a_limit_mid_list_keeps_the_rest() {
    let recipients: Vec<String> = (0..130).map(|at| format!("r{at}@y.example")).collect();
    let mut then = vec!["C: MAIL FROM:<a@x.example>".to_owned()];
    let mut replies = vec!["S: 250 ok".to_owned()];
    let mut commands = 1;
    for (at, recipient) in recipients.iter().enumerate() {
        if commands == 50 {
            then.append(&mut replies);
            commands = 0;
        }
        then.push(format!("C: RCPT TO:<{recipient}>"));
        let reply = if at < 100 { "S: 250 ok" } else { "S: 452 4.5.3 too many" };
        replies.push(reply.to_owned());
        commands += 1;
    }
    then.push("C: DATA".to_owned());
    then.append(&mut replies);
    then.extend(["S: 354 go", "B:", "S: 250 ok"].map(str::to_owned));
    let then: Vec<&str> = then.iter().map(String::as_str).collect();
    let names: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let (delivery, _) = deliver(&["PIPELINING"], &then, &names).await;
    assert_eq!(codes(&delivery)[..100], [("sent", 250); 100]);
    assert_eq!(codes(&delivery)[100..], [("refused", 452); 30]);
    assert!(delivery.reusable && delivery.fault.is_none());
}

const ALL_REFUSED: [&str; 5] =
    ["C: MAIL FROM:<a@x.example>", "C: RCPT TO:<b@y.example>", "C: DATA", "S: 250 ok", "S: 550 5.1.1 unknown"];

const NEXT: [&str; 8] = [
    "C: MAIL FROM:<a@x.example>",
    "C: RCPT TO:<c@y.example>",
    "C: DATA",
    "S: 250 ok",
    "S: 250 ok",
    "S: 354 go",
    "B:",
    "S: 250 ok",
];

#[tokio::test(start_paused = true)]
async fn data_that_was_taken_for_nobody_gets_a_lone_dot() {
    let lone = ["S: 354 go", "C: .", "S: 554 5.5.1 no valid recipients"];
    let stage = Stage::new(&[&server(&["PIPELINING"], &[&ALL_REFUSED[..], &lone, &NEXT].concat())]);
    let mut session = stage.open(Login::Anonymous).await.unwrap();
    let first = send(&mut session, &["b@y.example"]).await;
    assert_eq!(codes(&first), [("refused", 550)]);
    assert!(first.fault.is_none() && first.reusable);
    let second = send(&mut session, &["c@y.example"]).await;
    assert_eq!(codes(&second), [("sent", 250)]);
    drop(session);
    assert_eq!(stage.heard().await.bodies, [MAIL]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_was_left_open_is_reset_before_the_next() {
    let refused = ["S: 503 5.5.1 no valid recipients", "C: RSET"];
    let next = [&NEXT[..3], &["S: 250 reset"], &NEXT[3..]].concat();
    let stage = Stage::new(&[&server(&["PIPELINING"], &[&ALL_REFUSED[..], &refused, &next].concat())]);
    let mut session = stage.open(Login::Anonymous).await.unwrap();
    let first = send(&mut session, &["b@y.example"]).await;
    assert_eq!(codes(&first), [("refused", 550)]);
    assert!(first.fault.is_none() && first.reusable);
    assert_eq!(codes(&send(&mut session, &["c@y.example"]).await), [("sent", 250)]);
    drop(session);
    assert_eq!(stage.heard().await.bodies, [MAIL]);
}

#[tokio::test(start_paused = true)]
async fn without_pipelining_nobody_means_no_data() {
    let (delivery, heard) = deliver(
        &[],
        &["C: MAIL FROM:<a@x.example>", "S: 250", "C: RCPT TO:<b@y.example>", "S: 450 4.2.0 later"],
        &["b@y.example"],
    )
    .await;
    assert_eq!(codes(&delivery), [("refused", 450)]);
    assert!(delivery.reusable);
    assert_eq!(heard.rest, "");
}

#[tokio::test(start_paused = true)]
async fn a_refused_sender_is_one_fault_and_no_recipients() {
    for (data, dot) in [("S: 503 5.5.1 no", &[][..]), ("S: 354 go", &["C: .", "S: 503 no"])] {
        let then = [
            "C: MAIL FROM:<a@x.example>",
            "C: RCPT TO:<b@y.example>",
            "C: DATA",
            "S: 550 5.7.60 may not send as this sender",
            "S: 503 5.5.1 need MAIL",
            data,
        ];
        let (delivery, heard) = deliver(&["PIPELINING"], &[&then, dot].concat(), &["b@y.example"]).await;
        assert_eq!(codes(&delivery), [("not sent", 0)]);
        assert_eq!(said(&delivery), Some((At::Mail, 550)));
        assert!(delivery.reusable);
        assert_eq!(heard.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_data_and_of_the_message_are_told_apart() {
    let begin = ["C: MAIL FROM:<a@x.example>", "S: 250", "C: RCPT TO:<b@y.example>", "S: 250", "C: DATA"];
    let (delivery, _) = deliver(&[], &[&begin[..], &["S: 451 4.3.0 later"]].concat(), &["b@y.example"]).await;
    assert_eq!((codes(&delivery), said(&delivery)), (vec![("not sent", 0)], Some((At::Data, 451))));
    for code in [554, 452] {
        let end = format!("S: {code} content");
        let (delivery, _) = deliver(&[], &[&begin[..], &["S: 354", "B:", &end]].concat(), &["b@y.example"]).await;
        assert_eq!((codes(&delivery), said(&delivery)), (vec![("not sent", 0)], Some((At::AfterDot, code))));
        assert!(delivery.reusable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_421_ends_the_connection_wherever_it_comes() {
    let begin =
        ["C: MAIL FROM:<a@x.example>", "S: 250", "C: RCPT TO:<b@y.example>", "S: 250", "C: DATA", "S: 354", "B:"];
    for (until, stage) in [(1, At::Mail), (3, At::Rcpt), (5, At::Data), (7, At::AfterDot)] {
        let (delivery, _) =
            deliver(&[], &[&begin[..until], &["S: 421 4.3.2 going down"]].concat(), &["b@y.example"]).await;
        assert_eq!(said(&delivery), Some((stage, 421)));
        assert_eq!(codes(&delivery), [("not sent", 0)]);
        assert!(!delivery.reusable);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_cannot_take_is_refused_here() {
    let mut eight_bit = envelope(&["b@y.example"]);
    eight_bit.eight_bit = true;
    let mut utf8 = envelope(&["ü@y.example"]);
    utf8.smtputf8 = true;
    let injected = envelope(&["b@y.example>\r\nRCPT TO:<c@y.example"]);
    let stage = Stage::new(&[&server(&["SIZE 18"], &[])]);
    let mut session = stage.open(Login::Anonymous).await.unwrap();
    let delivery = send(&mut session, &["b@y.example"]).await;
    let trouble = delivery.fault.unwrap().trouble;
    assert_eq!(trouble, Trouble::TooLarge { size: 19, limit: 18 });
    for envelope in [eight_bit, utf8, injected, envelope(&["ü@y.example"])] {
        let delivery = session.deliver(&envelope, &mut InMemory::new(b"x"), async { Ok(()) }).await;
        let fault = delivery.fault.unwrap();
        assert!(matches!(fault.trouble, Trouble::Lacking(_)), "{fault:?}");
        assert_eq!(delivery.recipients, [RecipientResult::NotSent]);
        assert!(delivery.reusable);
    }
    drop(session);
    assert_eq!(stage.heard().await.rest, "");
}

#[tokio::test(start_paused = true)]
async fn what_the_message_needs_is_declared() {
    let mail = "C: MAIL FROM:<a@x.example> SIZE=4 BODY=8BITMIME SMTPUTF8";
    let then = [mail, "S: 250", "C: RCPT TO:<ü@y.example>", "S: 250", "C: DATA", "S: 354", "B:", "S: 250"];
    let stage = Stage::new(&[&server(&["SIZE", "8BITMIME", "SMTPUTF8"], &then)]);
    let mut session = stage.open(Login::Anonymous).await.unwrap();
    let mut needs = envelope(&["ü@y.example"]);
    (needs.eight_bit, needs.smtputf8) = (true, true);
    let delivery = session.deliver(&needs, &mut InMemory::new("ü".as_bytes()), async { Ok(()) }).await;
    assert_eq!(codes(&delivery), [("sent", 250)]);
    drop(session);
    assert_eq!(stage.heard().await.bodies, ["ü\r\n".as_bytes()]);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_takes_more_and_its_end_is_seen() {
    for end in ["S: 421 4.4.2 idle too long", "!close"] {
        let then = [&NEXT[..], &NEXT, &["!wait 5", end]].concat();
        let stage = Stage::new(&[&server(&["PIPELINING"], &then)]);
        let mut session = stage.open(Login::Anonymous).await.unwrap();
        for _ in 0..2 {
            assert!(send(&mut session, &["c@y.example"]).await.reusable);
            assert!(session.is_alive());
        }
        assert_eq!(session.messages(), 2);
        let transcript = session.transcript();
        assert_eq!(transcript[..2], ["* message 2 of this connection", "C: MAIL FROM:<a@x.example>"]);
        crate::clock::ClockExt::sleep(&stage.clock, std::time::Duration::from_secs(6)).await;
        assert!(!session.is_alive(), "{end}");
        let late = send(&mut session, &["c@y.example"]).await;
        assert_eq!(codes(&late), [("not sent", 0)]);
        drop(session);
        assert_eq!(stage.heard().await.rest, "");
    }
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b".".to_vec()),
        Just(b"..".to_vec()),
        Just(Vec::new()),
        prop::collection::vec(prop_oneof![Just(b'.'), Just(b'a'), Just(0xe4)], 0..80),
        (60_000usize..70_000).prop_map(|length| vec![b'x'; length]),
    ];
    (prop::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, ended)| {
        let mut body = lines.join(&b"\r\n"[..]);
        if ended {
            body.extend_from_slice(b"\r\n");
        }
        body
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_arrives_as_it_was(body in lines()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let heard = runtime.block_on(async {
            let stage = Stage::new(&[&server(&["PIPELINING"], &NEXT)]);
            let mut session = stage.open(Login::Anonymous).await.unwrap();
            let delivery = session.deliver(&envelope(&["c@y.example"]), &mut InMemory::new(&body), async { Ok(()) }).await;
            assert_eq!(codes(&delivery), [("sent", 250)]);
            drop(session);
            stage.heard().await
        });
        let mut arrived = Vec::new();
        for line in heard.bodies[0].split_inclusive(|octet| *octet == b'\n') {
            arrived.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        let mut expected = body;
        if !expected.is_empty() && !expected.ends_with(b"\r\n") {
            expected.extend_from_slice(b"\r\n");
        }
        prop_assert!(arrived == expected);
        prop_assert_eq!(heard.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_sender_is_believed_whatever_the_rest_of_the_pipeline_says() {
    let (delivery, heard) = deliver(
        &["PIPELINING"],
        &[
            "C: MAIL FROM:<a@x.example>",
            "C: RCPT TO:<b@y.example>",
            "C: DATA",
            "S: 451 4.3.0 not now",
            "S: 250 2.1.5 ok",
            "S: 354 go",
            "B:",
            "S: 250 2.0.0 queued",
        ],
        &["b@y.example"],
    )
    .await;
    assert_eq!(codes(&delivery), [("not sent", 0)]);
    assert_eq!(said(&delivery), Some((At::Mail, 451)));
    assert_eq!(heard.bodies, [b""], "nothing of the message goes out");
    assert!(delivery.reusable);
}
