//! TLS: both kinds, flawed certificates, and octets that do not belong.

use super::*;
use crate::sandbox::pki::Flaw;

#[tokio::test(start_paused = true)]
async fn a_mail_goes_through_starttls_and_xoauth2_as_it_was_sent() {
    let pki = Pki::new().unwrap();
    let tls = Some(pki.issue(Flaw::Sound).unwrap().config);
    let server = server(Behaviour { tls, auth_before_tls: Vec::new(), ..behaviour() });
    let mut wire = connect(&server, Start::Plain);
    assert_eq!(wire.reply().await, "220 mail.sandbox.test ESMTP sandbox");
    let hello = wire.ask("EHLO client.sandbox.test").await;
    assert!(hello.contains("|250-STARTTLS") || hello.ends_with("|250 STARTTLS"), "{hello}");
    assert!(!hello.contains("AUTH"), "{hello}");
    assert_eq!(wire.ask("AUTH XOAUTH2").await, "530 5.7.0 Must issue a STARTTLS command first");
    assert_eq!(wire.ask("STARTTLS").await, "220 2.0.0 Ready to start TLS");
    let mut wire = over_tls(&pki, wire).await.unwrap();
    let hello = wire.ask("EHLO client.sandbox.test").await;
    assert!(hello.ends_with("250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER") && !hello.contains("STARTTLS"), "{hello}");
    assert!(wire.ask("MAIL FROM:<a@sandbox.test>").await.starts_with("530 5.7.57"));
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good"))).await.starts_with("235 2.7.0"));
    wire.send("MAIL FROM:<a@sandbox.test> SIZE=20\r\nRCPT TO:<b@sandbox.test>\r\nDATA\r\n").await;
    for code in ["250 2.1.0", "250 2.1.5", "354 "] {
        assert!(wire.reply().await.starts_with(code));
    }
    assert_eq!(wire.ask("Subject: x\r\n\r\n..dot\r\n...\r\n.").await, "250 2.0.0 OK queued as 1");
    assert_eq!(wire.ask("QUIT").await, "221 2.0.0 Bye");
    assert_eq!(wire.reply().await, "");
    let mail = server.delivered().remove(0);
    assert_eq!(mail.text(), "Subject: x\r\n\r\n.dot\r\n..\r\n");
    assert_eq!((mail.from.as_str(), mail.to, mail.tls), ("a@sandbox.test", vec!["b@sandbox.test".to_owned()], true));
    assert_eq!((mail.login.as_deref(), mail.parameters), (Some("a@sandbox.test"), vec!["SIZE=20".to_owned()]));
    assert_eq!(server.offences(), ["AUTH XOAUTH2 is not offered"]);
}

#[tokio::test(start_paused = true)]
async fn implicit_tls_begins_with_the_handshake() {
    let pki = Pki::new().unwrap();
    let server = server(Behaviour { tls: Some(pki.issue(Flaw::Sound).unwrap().config), ..behaviour() });
    let mut wire = over_tls(&pki, connect(&server, Start::ImplicitTls)).await.unwrap();
    assert!(wire.reply().await.starts_with("220 "));
    let hello = wire.ask("EHLO client").await;
    assert!(!hello.contains("STARTTLS") && hello.contains("AUTH PLAIN"), "{hello}");
}

#[tokio::test(start_paused = true)]
async fn a_flawed_certificate_fails_and_is_counted() {
    let pki = Pki::new().unwrap();
    let server = server(behaviour());
    for (number, flaw) in [Flaw::Expired, Flaw::WrongName, Flaw::OtherAuthority].into_iter().enumerate() {
        let tls = pki.issue(flaw).unwrap().config;
        server.set(|behaviour| behaviour.tls = Some(tls));
        let mut wire = greeted(&server).await;
        assert!(wire.ask("STARTTLS").await.starts_with("220 "));
        assert!(over_tls(&pki, wire).await.is_err(), "{flaw:?}");
        tokio::task::yield_now().await;
        assert_eq!(server.handshakes_failed(), number + 1, "{flaw:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn injected_octets_come_with_the_reply_to_starttls() {
    let pki = Pki::new().unwrap();
    let server = server(Behaviour { tls: Some(pki.issue(Flaw::Sound).unwrap().config), ..behaviour() });
    server.misbehave(Rule::once(Phase::StartTls, Fault::followed_by("250 fake\r\n")));
    let mut wire = greeted(&server).await;
    wire.send("STARTTLS\r\n").await;
    let mut octets = vec![0; 4096];
    let read = wire.0.read(&mut octets).await.unwrap();
    assert_eq!(&octets[..read], b"220 2.0.0 Ready to start TLS\r\n250 fake\r\n");
    let mut wire = over_tls(&pki, wire).await.unwrap();
    assert!(wire.ask("EHLO client").await.starts_with("250-"), "the server behind goes on");
}

#[tokio::test(start_paused = true)]
async fn plaintext_behind_starttls_is_thrown_away_and_noted() {
    let pki = Pki::new().unwrap();
    let server = server(Behaviour { tls: Some(pki.issue(Flaw::Sound).unwrap().config), ..behaviour() });
    let mut wire = greeted(&server).await;
    assert!(wire.ask("STARTTLS\r\nMAIL FROM:<evil@sandbox.test>").await.starts_with("220 "));
    let mut wire = over_tls(&pki, wire).await.unwrap();
    assert!(wire.ask("EHLO client").await.starts_with("250-mail.sandbox.test"));
    assert_eq!(server.offences(), ["STARTTLS is not the last command of its group", "plaintext behind STARTTLS"]);
}

#[tokio::test(start_paused = true)]
async fn tls_forgets_what_was_said_before() {
    let pki = Pki::new().unwrap();
    let server = server(Behaviour { tls: Some(pki.issue(Flaw::Sound).unwrap().config), ..behaviour() });
    let mut wire = logged_in(&server).await;
    assert!(wire.ask("STARTTLS").await.starts_with("220 "));
    let mut wire = over_tls(&pki, wire).await.unwrap();
    assert!(wire.ask("MAIL FROM:<a@sandbox.test>").await.starts_with("503 "));
    assert!(wire.ask("EHLO client").await.starts_with("250-"));
    assert!(wire.ask("MAIL FROM:<a@sandbox.test>").await.starts_with("530 "));
    assert!(wire.ask("STARTTLS").await.starts_with("502 "));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_certificate_does_not_offer_starttls() {
    let mut wire = greeted(&server(behaviour())).await;
    assert!(!wire.ask("EHLO client").await.contains("STARTTLS"));
    assert!(wire.ask("STARTTLS").await.starts_with("502 "));
}
