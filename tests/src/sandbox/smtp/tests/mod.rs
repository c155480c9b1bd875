//! The submission server, driven with octets as a client would send them: in this file what the tests share.

mod faults;
mod login;
mod mail;
mod tls;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::sandbox::pki::Pki;

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
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good"))).await.starts_with("235 "));
    wire
}

async fn over_tls(pki: &Pki, wire: Wire<DuplexStream>) -> std::io::Result<Wire<TlsStream<DuplexStream>>> {
    let connector = TlsConnector::from(pki.client_config().unwrap());
    Ok(Wire(connector.connect(ServerName::try_from("localhost").unwrap(), wire.0).await?, Vec::new()))
}

const LETTER: &str = "Subject: x\r\n\r\nhello\r\n.";

/// Sends a letter over a session that is logged in; the reply to each step, up to the first that is no success.
async fn send_letter(wire: &mut Wire<DuplexStream>, from: &str, to: &str) -> Vec<String> {
    let mut replies = Vec::new();
    for step in [&format!("MAIL FROM:<{from}>"), &format!("RCPT TO:<{to}>"), "DATA", LETTER] {
        replies.push(wire.ask(step).await);
        if !replies.last().is_some_and(|reply| reply.starts_with(['2', '3'])) {
            break;
        }
    }
    replies
}

/// The reply to the last step of [`send_letter`], over a new session.
async fn outcome(server: &SmtpServer, from: &str, to: &str) -> String {
    let mut wire = logged_in(server).await;
    send_letter(&mut wire, from, to).await.pop().unwrap()
}
