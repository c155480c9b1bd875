//! The submission server, driven with octets as a client would send them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::sandbox::pki::{Flaw, Pki};

/// The client's side of a connection.
struct Wire<S>(S, Vec<u8>);

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next reply, its lines joined by `|`; empty at the end of the connection.
    async fn reply(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.1).into_owned();
            let mut taken = 0;
            let mut lines = Vec::new();
            for line in text.split_inclusive("\r\n") {
                if !line.ends_with("\r\n") {
                    break;
                }
                taken += line.len();
                lines.push(line.trim_end().to_owned());
                if line.as_bytes().get(3) != Some(&b'-') {
                    self.1.drain(..taken);
                    return lines.join("|");
                }
            }
            let mut more = vec![0; 4096];
            match self.0.read(&mut more).await {
                Ok(0) | Err(_) => return String::new(),
                Ok(read) => self.1.extend_from_slice(&more[..read]),
            }
        }
    }

    async fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.reply().await
    }
}

fn behaviour() -> Behaviour {
    Behaviour {
        token_check: Arc::new(|user, token| match (user, token) {
            ("a@sandbox.test", "good") => Verdict::Accepted,
            ("a@sandbox.test", "short") => Verdict::ExpiresSoon,
            ("a@sandbox.test", "broken") => Verdict::Unavailable,
            _ => Verdict::Refused,
        }),
        passwords: vec![("a@sandbox.test".into(), "pw".into())],
        auth_before_tls: Mechanism::ALL.to_vec(),
        ..Behaviour::default()
    }
}

fn server(behaviour: Behaviour) -> SmtpServer {
    SmtpServer::new(behaviour, Now::of_tokio("2026-11-23T12:00:00Z".parse().unwrap()))
}

fn connect(server: &SmtpServer, start: Start) -> Wire<DuplexStream> {
    let (client, far) = tokio::io::duplex(1 << 16);
    let server = server.clone();
    tokio::spawn(async move { server.serve(far, start).await });
    Wire(client, Vec::new())
}

/// A connection that has been greeted.
async fn greeted(server: &SmtpServer) -> Wire<DuplexStream> {
    let mut wire = connect(server, Start::Plain);
    assert!(wire.reply().await.starts_with("220 "));
    assert!(wire.ask("EHLO client.sandbox.test").await.starts_with("250-"));
    wire
}

fn xoauth2(token: &str) -> String {
    STANDARD.encode(format!("user=a@sandbox.test\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

/// A connection that is logged in.
async fn logged_in(server: &SmtpServer) -> Wire<DuplexStream> {
    let mut wire = greeted(server).await;
    assert!(
        wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good")))
            .await
            .starts_with("235 ")
    );
    wire
}

async fn over_tls(pki: &Pki, wire: Wire<DuplexStream>) -> std::io::Result<Wire<TlsStream<DuplexStream>>> {
    let connector = TlsConnector::from(pki.client_config().unwrap());
    Ok(Wire(
        connector
            .connect(ServerName::try_from("localhost").unwrap(), wire.0)
            .await?,
        Vec::new(),
    ))
}

#[tokio::test(start_paused = true)]
async fn a_mail_goes_through_starttls_and_xoauth2_as_it_was_sent() {
    let pki = Pki::new().unwrap();
    let tls = Some(pki.issue(Flaw::Sound).unwrap().config);
    let server = server(Behaviour {
        tls,
        auth_before_tls: Vec::new(),
        ..behaviour()
    });
    let mut wire = connect(&server, Start::Plain);
    assert_eq!(wire.reply().await, "220 mail.sandbox.test ESMTP sandbox");
    let hello = wire.ask("EHLO client.sandbox.test").await;
    assert!(
        hello.contains("|250-STARTTLS") || hello.ends_with("|250 STARTTLS"),
        "{hello}"
    );
    assert!(!hello.contains("AUTH"), "{hello}");
    assert_eq!(
        wire.ask("AUTH XOAUTH2").await,
        "530 5.7.0 Must issue a STARTTLS command first"
    );
    assert_eq!(wire.ask("STARTTLS").await, "220 2.0.0 Ready to start TLS");
    let mut wire = over_tls(&pki, wire).await.unwrap();
    let hello = wire.ask("EHLO client.sandbox.test").await;
    assert!(
        hello.ends_with("250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER") && !hello.contains("STARTTLS"),
        "{hello}"
    );
    assert!(wire.ask("MAIL FROM:<a@sandbox.test>").await.starts_with("530 5.7.57"));
    assert!(
        wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good")))
            .await
            .starts_with("235 2.7.0")
    );
    wire.send("MAIL FROM:<a@sandbox.test> SIZE=20\r\nRCPT TO:<b@sandbox.test>\r\nDATA\r\n")
        .await;
    for code in ["250 2.1.0", "250 2.1.5", "354 "] {
        assert!(wire.reply().await.starts_with(code));
    }
    assert_eq!(
        wire.ask("Subject: x\r\n\r\n..dot\r\n...\r\n.").await,
        "250 2.0.0 OK queued as 1"
    );
    assert_eq!(wire.ask("QUIT").await, "221 2.0.0 Bye");
    assert_eq!(wire.reply().await, "");
    let mail = server.delivered().remove(0);
    assert_eq!(mail.text(), "Subject: x\r\n\r\n.dot\r\n..\r\n");
    assert_eq!(
        (mail.from.as_str(), mail.to, mail.tls),
        ("a@sandbox.test", vec!["b@sandbox.test".to_owned()], true)
    );
    assert_eq!(
        (mail.login.as_deref(), mail.parameters),
        (Some("a@sandbox.test"), vec!["SIZE=20".to_owned()])
    );
    assert_eq!(server.offences(), ["AUTH XOAUTH2 is not offered"]);
}
