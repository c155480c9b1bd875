//! Misbehaviour at every phase, and replies that are hard to read.

use std::time::Duration;

use super::*;
use crate::sandbox::clock::within;

/// How a session went: the last reply, or how it ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Reply(String),
    Closed,
    Silent,
}

/// A whole session without TLS, one letter, up to the first thing that goes wrong.
async fn session(server: &SmtpServer) -> End {
    let mut wire = connect(server, Start::Plain);
    let login = format!("AUTH XOAUTH2 {}", xoauth2("good"));
    let steps = [
        "",
        "EHLO client",
        &login,
        "NOOP",
        "MAIL FROM:<a@x.test>",
        "RCPT TO:<b@x.test>",
        "DATA",
        LETTER,
        "RSET",
        "QUIT",
    ];
    for step in steps {
        let asked = async {
            match step {
                "" => wire.reply().await,
                step => {
                    // A connection that was cut cannot be written to: its end is what counts.
                    let _ = wire.0.write_all(format!("{step}\r\n").as_bytes()).await;
                    wire.reply().await
                }
            }
        };
        match within(Duration::from_secs(600), asked).await {
            None => return End::Silent,
            Some(reply) if reply.is_empty() => return End::Closed,
            Some(reply) if reply.starts_with(['2', '3']) => {}
            Some(reply) => return End::Reply(reply),
        }
    }
    End::Done
}

/// The phases of [`session`] at which a command is answered.
const ANSWERED: [Phase; 11] = [
    Phase::Greeting,
    Phase::Ehlo,
    Phase::Auth,
    Phase::Login,
    Phase::Noop,
    Phase::Mail,
    Phase::Rcpt,
    Phase::Data,
    Phase::Body,
    Phase::FinalDot,
    Phase::Rset,
];

#[tokio::test(start_paused = true)]
async fn every_phase_can_refuse_close_or_fall_silent_and_then_behave_again() {
    for phase in ANSWERED {
        for (fault, end) in [
            (Fault::reply("421 4.3.2 Shutting down"), End::Reply("421 4.3.2 Shutting down".into())),
            (Fault::reply("451-4.3.0 Not\n451 4.3.0 now"), End::Reply("451-4.3.0 Not|451 4.3.0 now".into())),
            (Fault::drop(), End::Closed),
            (Fault::silence(), End::Silent),
        ] {
            let server = server(behaviour());
            let shown = format!("{phase:?} {fault:?}");
            server.misbehave(Rule::once(phase, fault));
            assert_eq!(session(&server).await, end, "{shown}");
            let kept = usize::from(phase == Phase::Rset);
            assert_eq!(server.delivered_count(), kept, "{shown}");
            assert_eq!(session(&server).await, End::Done, "{shown}");
            assert_eq!(server.delivered_count(), kept + 1, "{shown}");
            assert_eq!(server.offences(), Vec::<String>::new(), "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_421_closes_the_connection() {
    let server = server(behaviour());
    server.misbehave(Rule::once(Phase::Mail, Fault::reply("421 4.7.0 Try again later")));
    let mut wire = logged_in(&server).await;
    assert!(wire.ask("MAIL FROM:<a@x.test>").await.starts_with("421 "));
    assert_eq!(wire.reply().await, "");
}

#[tokio::test(start_paused = true)]
async fn the_tls_phases_misbehave_too() {
    let pki = Pki::new().unwrap();
    let tls = Some(pki.issue(crate::sandbox::pki::Flaw::Sound).unwrap().config);
    let server = server(Behaviour { tls, ..behaviour() });
    server.misbehave(Rule::once(Phase::StartTls, Fault::reply("454 4.7.0 TLS not available")));
    assert!(greeted(&server).await.ask("STARTTLS").await.starts_with("454 "));
    for (fault, silent) in [(Fault::silence(), true), (Fault::drop(), false)] {
        server.misbehave(Rule::once(Phase::Handshake, fault));
        let mut wire = greeted(&server).await;
        assert!(wire.ask("STARTTLS").await.starts_with("220 "));
        let shaken = within(Duration::from_secs(60), over_tls(&pki, wire)).await;
        assert_eq!(shaken.is_none(), silent);
        assert!(shaken.is_none_or(|shaken| shaken.is_err()));
    }
    server.misbehave(Rule::once(Phase::EhloOverTls, Fault::reply("502 no")));
    let mut wire = greeted(&server).await;
    wire.ask("STARTTLS").await;
    let mut wire = over_tls(&pki, wire).await.unwrap();
    assert_eq!(wire.ask("EHLO client").await, "502 no");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_after_the_final_dot_has_kept_the_mail() {
    for (fault, end, kept) in [
        (Fault::drop(), End::Closed, 0),
        (Fault::silence(), End::Silent, 0),
        (Fault::lose_reply(), End::Closed, 1),
        (Fault::lose_reply_and_hang(), End::Silent, 1),
    ] {
        let server = server(behaviour());
        server.misbehave(Rule::once(Phase::FinalDot, fault));
        assert_eq!((session(&server).await, server.delivered_count()), (end, kept));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_comes_when_the_client_has_stopped_waiting() {
    let server = server(behaviour());
    server.misbehave(Rule::once(Phase::Mail, Fault::late(Duration::from_secs(10))));
    let mut wire = logged_in(&server).await;
    assert!(within(Duration::from_secs(9), wire.ask("MAIL FROM:<a@x.test>")).await.is_none());
    assert!(wire.ask("NOOP").await.starts_with("250 2.1.0"), "the late reply is the first to be read");
    assert!(wire.reply().await.starts_with("250 2.0.0"));
}

#[tokio::test(start_paused = true)]
async fn a_server_can_say_goodbye_to_an_idle_connection() {
    let server = server(Behaviour { idle_limit: Some(Duration::from_secs(30)), ..behaviour() });
    let mut wire = logged_in(&server).await;
    assert!(within(Duration::from_secs(29), wire.reply()).await.is_none());
    assert_eq!(wire.reply().await, "421 4.4.2 Idle for too long, closing");
    assert_eq!(wire.reply().await, "");
}

/// The octets that answer NOOP when `fault` strikes it, up to `most`.
async fn octets(fault: Fault, most: usize) -> Vec<u8> {
    let server = server(behaviour());
    server.misbehave(Rule::once(Phase::Noop, fault));
    let mut wire = greeted(&server).await;
    wire.send("NOOP\r\n").await;
    let mut all = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match within(Duration::from_secs(1), wire.0.read(&mut all[filled..])).await {
            Some(Ok(read)) if read > 0 => filled += read,
            _ => break,
        }
    }
    all.truncate(filled);
    all
}

#[tokio::test(start_paused = true)]
async fn replies_can_be_hard_to_read() {
    assert_eq!(octets(Fault::textless(), 99).await, b"250\r\n");
    assert_eq!(octets(Fault::reply(b"250 caf\xe9"), 99).await, b"250 caf\xe9\r\n");
    assert_eq!(octets(Fault::raw("what?\r\n"), 99).await, b"what?\r\n");
    let long = octets(Fault::long_line(100_000), 200_000).await;
    assert!(long.len() == 100_000 && !long[..99_999].contains(&b'\n'));
    let many = String::from_utf8(octets(Fault::many_lines(500), 100_000).await).unwrap();
    assert_eq!((many.matches("250-").count(), many.matches("250 ").count()), (499, 1));
    let endless = octets(Fault::endless(), 1 << 20).await;
    assert_eq!(endless.len(), 1 << 20);
    assert!(!String::from_utf8(endless).unwrap().contains("250 "));
}

#[tokio::test(start_paused = true)]
async fn a_body_can_be_read_slowly() {
    let server = server(behaviour());
    server.misbehave(Rule::once(Phase::Body, Fault::throttle(1000)));
    let mut wire = logged_in(&server).await;
    for step in ["MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"] {
        wire.ask(step).await;
    }
    let body = format!("{}.", "0123456789012345678901234567890123456789\r\n".repeat(1000));
    assert!(within(Duration::from_secs(30), wire.ask(&body)).await.is_none());
    assert!(within(Duration::from_secs(30), wire.reply()).await.unwrap().starts_with("250 "));
    assert_eq!(server.delivered()[0].octets.len(), 42_000);
}

#[tokio::test(start_paused = true)]
async fn rules_can_be_forgotten() {
    let server = server(behaviour());
    server.misbehave(Rule::always(Phase::Mail, Fault::reply("550 5.4.5 Daily user sending limit exceeded")));
    for _ in 0..3 {
        assert_eq!(session(&server).await, End::Reply("550 5.4.5 Daily user sending limit exceeded".into()));
    }
    server.behave();
    assert_eq!(session(&server).await, End::Done);
}
