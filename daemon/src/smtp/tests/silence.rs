//! Time-outs, lost connections and late replies at every phase: what is certain then.

use std::time::Duration;

use super::script::{Stage, envelope, token};
use crate::clock::{Clock as _, ClockExt as _};
use crate::domain::delivery::{Fault, Login, RecipientResult, Stage as At, Trouble};
use crate::smtp::InMemory;

const MAIL: &[u8] = b"Subject: hi\r\n\r\nyo\r\n";

const WHOLE: [&str; 13] = [
    "S: 220 mx",
    "C: EHLO client.example",
    "S: 250 AUTH XOAUTH2",
    "C: AUTH XOAUTH2 *",
    "S: 235 ok",
    "C: MAIL FROM:<a@x.example>",
    "S: 250 ok",
    "C: RCPT TO:<b@y.example>",
    "S: 250 ok",
    "C: DATA",
    "S: 354 go",
    "B:",
    "S: 250 ok",
];

/// Opens and delivers; the fault, what is certain, and the seconds that it took.
async fn attempt(stage: &Stage) -> (Fault, Option<RecipientResult>, u64) {
    let began = stage.clock.now();
    let took = || stage.clock.now().since(began).as_secs();
    let mut session = match stage.open(token(12)).await {
        Ok(session) => session,
        Err(failure) => return (failure.fault, None, took()),
    };
    let delivery = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(MAIL), async { Ok(()) }).await;
    assert!(!delivery.reusable && !session.is_alive());
    (delivery.fault.expect("no fault"), delivery.recipients.first().cloned(), took())
}

fn script(until: usize, then: &str) -> String {
    // EHLO's reply needs a first line that names the server.
    let whole = WHOLE[..until].join("\n").replace("S: 250 AUTH", "S: 250-mx\nS: 250 AUTH");
    format!("{whole}\n{then}")
}

#[tokio::test(start_paused = true)]
async fn silence_ends_each_phase_in_its_time() {
    for (until, stage, seconds) in [
        (0, At::Greeting, 60),
        (2, At::Ehlo, 60),
        (4, At::Auth, 60),
        (6, At::Mail, 300),
        (8, At::Rcpt, 300),
        (10, At::Data, 300),
        (12, At::AfterDot, 600),
    ] {
        let world = Stage::new(&[&script(until, "!hold")]);
        let (fault, result, took) = attempt(&world).await;
        assert_eq!((fault.stage, fault.trouble, took), (stage, Trouble::TimedOut, seconds));
        let certain = (stage == At::AfterDot).then_some(RecipientResult::InDoubt);
        assert_eq!(result, (stage >= At::Mail).then(|| certain.unwrap_or(RecipientResult::NotSent)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_drips_counts_as_one() {
    let drip = "s: 2\n!wait 50\ns: 2\n!wait 50\ns: 0 mx";
    let (fault, _, took) = attempt(&Stage::new(&[drip])).await;
    assert_eq!((fault.stage, fault.trouble, took), (At::Greeting, Trouble::TimedOut, 60));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_not_sent_before_the_dot_and_in_doubt_after_it() {
    for (until, stage) in [
        (0, At::Greeting),
        (2, At::Ehlo),
        (4, At::Auth),
        (6, At::Mail),
        (8, At::Rcpt),
        (10, At::Data),
        (11, At::Data),
        (12, At::AfterDot),
    ] {
        let world = Stage::new(&[&script(until, "!close")]);
        let (fault, result, _) = attempt(&world).await;
        assert_eq!((fault.stage, fault.trouble), (stage, Trouble::Closed), "{until}");
        let certain = (stage == At::AfterDot).then_some(RecipientResult::InDoubt);
        assert_eq!(result, (stage >= At::Mail).then(|| certain.unwrap_or(RecipientResult::NotSent)));
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_after_the_dot_is_in_doubt() {
    for garbage in ["S: hello", "S: 354 go on", "S: 250-a\nS: 251 b", "s: 25\n!close"] {
        let (fault, result, _) = attempt(&Stage::new(&[&script(12, garbage)])).await;
        assert_eq!(fault.stage, At::AfterDot);
        assert_eq!(result, Some(RecipientResult::InDoubt), "{garbage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_lost_the_next_server_leaves_it_in_doubt() {
    let world = Stage::new(&[&script(12, "S: 451 4.4.2 lost connection to relay server")]);
    let mut session = world.open(token(12)).await.unwrap();
    let delivery = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(MAIL), async { Ok(()) }).await;
    assert_eq!(delivery.recipients, [RecipientResult::InDoubt]);
    assert!(matches!(delivery.fault, Some(Fault { stage: At::AfterDot, trouble: Trouble::Reply(_) })));
    assert!(delivery.reusable, "the reply was read");
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_never_taken_for_another() {
    // The refusal of the recipient comes after the time-out, with replies that would make a next message "sent".
    let late = "!wait 400\nS: 550 no\nS: 250 ok\nS: 354 go\nS: 250 queued";
    let world = Stage::new(&[&script(8, late)]);
    let mut session = world.open(token(12)).await.unwrap();
    let first = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(MAIL), async { Ok(()) }).await;
    assert_eq!(first.fault.map(|fault| fault.trouble), Some(Trouble::TimedOut));
    world.clock.sleep(Duration::from_secs(200)).await;
    assert!(!session.is_alive());
    let second = session.deliver(&envelope(&["c@y.example"]), &mut InMemory::new(MAIL), async { Ok(()) }).await;
    assert_eq!(second.recipients, [RecipientResult::NotSent]);
    assert_eq!(second.fault.map(|fault| fault.trouble), Some(Trouble::Closed));
    drop(session);
    assert_eq!(world.heard().await.rest, "");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_dropped_spoils_its_session() {
    let world = Stage::new(&[&script(8, "!wait 100\nS: 250 ok\n!hold")]);
    let mut session = world.open(token(12)).await.unwrap();
    let message = envelope(&["b@y.example"]);
    let mut content = InMemory::new(MAIL);
    let delivery = session.deliver(&message, &mut content, async { Ok(()) });
    assert!(world.clock.deadline(Duration::from_secs(50), delivery).await.is_err());
    assert!(!session.is_alive());
}

#[tokio::test(start_paused = true)]
async fn a_failed_mark_keeps_the_dot_back() {
    let world = Stage::new(&[&script(11, "!hold")]);
    let mut session = world.open(token(12)).await.unwrap();
    let mark = async { Err("the disk is full".to_owned()) };
    let delivery = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(MAIL), mark).await;
    assert_eq!(delivery.recipients, [RecipientResult::NotSent]);
    let fault = delivery.fault.unwrap();
    assert_eq!(fault.stage, At::Data);
    assert_eq!(fault.trouble, Trouble::Aborted("the disk is full".to_owned()));
    assert!(!delivery.reusable && !session.is_alive());
    session.quit().await;
    assert_eq!(world.heard().await.rest.as_bytes(), MAIL, "all of the message but the dot, and no QUIT");
}

#[tokio::test(start_paused = true)]
async fn a_reply_before_the_dot_answers_no_dot() {
    for (early, code) in [("S: 552 5.3.4 too big", Some(552)), ("S: 250 queued", None), ("s: 25", None)] {
        let world = Stage::new(&[&script(11, early)]);
        let mut session = world.open(token(12)).await.unwrap();
        let delivery = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(MAIL), async { Ok(()) }).await;
        assert_eq!(delivery.recipients, [RecipientResult::NotSent], "{early}");
        let fault = delivery.fault.unwrap();
        assert_eq!(fault.stage, At::Data);
        match (fault.trouble, code) {
            (Trouble::Reply(reply), Some(code)) => assert_eq!(reply.code, code),
            (Trouble::Protocol(_), None) => {}
            other => panic!("{other:?}"),
        }
        drop(session);
        assert_eq!(world.heard().await.rest.as_bytes(), MAIL, "no dot");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_no_further_and_one_that_hangs_up_under_the_message() {
    let body = b"0123456789abcde\r\n".repeat(20_000);
    for (then, trouble) in [("!wait 1000\n!close", Trouble::TimedOut), ("!wait 1\n!close", Trouble::Closed)] {
        let world = Stage::new(&[&script(11, then)]);
        let mut session = world.open(token(12)).await.unwrap();
        let delivery = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(&body), async { Ok(()) }).await;
        assert_eq!(delivery.recipients, [RecipientResult::NotSent]);
        assert_eq!(delivery.fault, Some(Fault { stage: At::Data, trouble }));
    }
    let world = Stage::new(&[&script(11, "!wait 1\nS: 552 5.3.4 enough\n!close")]);
    let mut session = world.open(token(12)).await.unwrap();
    let delivery = session.deliver(&envelope(&["b@y.example"]), &mut InMemory::new(&body), async { Ok(()) }).await;
    let fault = delivery.fault.unwrap();
    assert!(matches!(fault.trouble, Trouble::Reply(reply) if reply.code == 552));
}

#[tokio::test(start_paused = true)]
async fn goodbye_waits_for_nobody() {
    let world = Stage::new(&["S: 220 mx\nC: EHLO client.example\nS: 250 mx\nC: QUIT\n!hold"]);
    let session = world.open(Login::Anonymous).await.unwrap();
    let began = world.clock.now();
    session.quit().await;
    assert!(world.clock.now().since(began) <= Duration::from_secs(10));
}
