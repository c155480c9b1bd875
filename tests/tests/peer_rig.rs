//! The rig itself: its servers give tokens, take mail with them, and its pages grant, with and without a browser.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frankd_tests::rig::{Fault, Peer, Rig};
use frankd_tests::skip;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Failure = Box<dyn Error>;

fn tls(rig: &Rig) -> Result<rustls::ClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(rig.ca_file())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

async fn access_token(rig: &Rig, client: &str) -> Result<String, Failure> {
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls(rig)?).build()?;
    let answer = http
        .post(rig.token_endpoint())
        .basic_auth(client, Some(rig.client_secret()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=smtp.send")
        .send()
        .await?;
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    Ok(answer["access_token"].as_str().ok_or_else(|| answer.to_string())?.to_owned())
}

/// Writes a line, if there is one, and gives the last line of the reply.
async fn reply<S: AsyncRead + AsyncWrite + Unpin>(smtp: &mut BufStream<S>, line: &str) -> Result<String, Failure> {
    if !line.is_empty() {
        smtp.write_all(format!("{line}\r\n").as_bytes()).await?;
        smtp.flush().await?;
    }
    loop {
        let mut answer = String::new();
        if smtp.read_line(&mut answer).await? == 0 {
            return Err("the connection ended".into());
        }
        if answer.as_bytes().get(3) != Some(&b'-') {
            return Ok(answer.trim_end().to_owned());
        }
    }
}

async fn deliver(rig: &Rig, token: &str) -> Result<String, Failure> {
    let plain = TcpStream::connect(("127.0.0.1", rig.submissions_port())).await?;
    let name = ServerName::try_from("localhost")?;
    let mut smtp = BufStream::new(TlsConnector::from(Arc::new(tls(rig)?)).connect(name, plain).await?);
    reply(&mut smtp, "").await?;
    reply(&mut smtp, "EHLO client.rig.test").await?;
    let blob = STANDARD.encode(format!("user=svc@rig.test\x01auth=Bearer {token}\x01\x01"));
    let answer = reply(&mut smtp, &format!("AUTH XOAUTH2 {blob}")).await?;
    if !answer.starts_with("235") {
        return Ok(answer);
    }
    for command in ["MAIL FROM:<svc@rig.test>", "RCPT TO:<carol@rig.test>", "DATA"] {
        reply(&mut smtp, command).await?;
    }
    reply(&mut smtp, "From: svc@rig.test\r\nSubject: by token\r\n\r\nhello\r\n.").await
}

#[tokio::test]
async fn a_token_of_the_authorization_server_opens_dovecot_and_the_mail_lands() -> Result<(), Failure> {
    let Some(rig) = Rig::start_or_skip(Peer::MAIL) else {
        return Ok(());
    };
    let token = access_token(&rig, "svc-basic").await?;

    let accepted = deliver(&rig, &token).await?;
    assert!(accepted.starts_with("250"), "{accepted}");
    let mails = rig.mailbox("carol@rig.test")?;
    assert_eq!(mails.len(), 1);
    assert!(String::from_utf8_lossy(&mails[0]).ends_with("Subject: by token\r\n\r\nhello\r\n"));

    let refused = deliver(&rig, "not-a-token").await?;
    assert!(refused.starts_with("334 "), "{refused}");
    assert_eq!(rig.mailbox("carol@rig.test")?.len(), 1);

    let requests = rig.token_requests()?;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].client.as_deref(), Some("svc-basic"));
    assert_eq!((requests[0].grant_type.as_deref(), requests[0].status), (Some("client_credentials"), 200));
    Ok(())
}

#[tokio::test]
async fn a_fault_takes_the_place_of_as_many_answers_as_asked() -> Result<(), Failure> {
    let Some(rig) = Rig::start_or_skip(&[Peer::AuthorizationServer]) else {
        return Ok(());
    };
    let status = Fault::Status { status: 503, body: r#"{"error":"busy"}"#.to_owned(), headers: Value::Null };
    rig.fault("/token", &status, 1)?;
    rig.fault("/token", &Fault::Reset, 1)?;
    let refused = access_token(&rig, "svc-basic").await.expect_err("503");
    assert_eq!(refused.to_string(), r#"{"error":"busy"}"#);
    access_token(&rig, "svc-basic").await.expect_err("connection cut");
    access_token(&rig, "svc-basic").await?;
    assert_eq!(rig.token_requests()?.len(), 1, "two never reached the server");

    rig.clear_events()?;
    rig.fault("/token", &Fault::DropResponse, 1)?;
    access_token(&rig, "svc-basic").await.expect_err("answer lost");
    assert_eq!(rig.token_requests()?[0].status, 200, "the server has committed");
    Ok(())
}

fn authorization_url(rig: &Rig, port: u16) -> String {
    format!(
        "{}?response_type=code&client_id=web-basic&scope=openid%20offline_access%20smtp.send&prompt=consent&state=s1\
         &redirect_uri=http://127.0.0.1:{port}/callback",
        rig.authorization_endpoint()
    )
}

#[test]
fn a_person_grants_or_denies_by_following_the_forms() -> Result<(), Failure> {
    let Some(rig) = Rig::start_or_skip(&[Peer::AuthorizationServer]) else {
        return Ok(());
    };
    let url = authorization_url(&rig, 45678);
    let granted = rig.browserless_grant(&url, "alice")?;
    assert!(granted.starts_with("http://127.0.0.1:45678/callback?code="), "{granted}");
    assert!(granted.contains("&state=s1&iss=https%3A%2F%2Flocalhost%3A"), "{granted}");
    let denied = rig.browserless_denial(&url)?;
    assert!(denied.starts_with("http://127.0.0.1:45678/callback?error=access_denied"), "{denied}");
    let unknown = rig.browserless_grant(&url.replace("web-basic", "nobody"), "alice").expect_err("no such client");
    assert!(unknown.to_string().contains("invalid_client"), "{unknown}");
    Ok(())
}

#[test]
fn chromium_grants_and_follows_the_redirect() -> Result<(), Failure> {
    if !skip::available(&["chromium"]) {
        return Ok(());
    }
    let Some(rig) = Rig::start_or_skip(&[Peer::AuthorizationServer]) else {
        return Ok(());
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let request = thread::spawn(move || -> Option<String> {
        let (mut browser, _) = listener.accept().ok()?;
        let mut request = [0; 4096];
        let length = browser.read(&mut request).ok()?;
        browser.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>granted</h1>").ok()?;
        Some(String::from_utf8_lossy(&request[..length]).into_owned())
    });
    let page = rig.chromium_grant(&authorization_url(&rig, port), "alice")?;
    assert_eq!(page.text, "granted");
    let request = request.join().expect("the listener's thread").ok_or("nobody came")?;
    assert!(request.starts_with("GET /callback?code="), "{request}");
    assert!(page.url.contains("&state=s1"), "{}", page.url);
    Ok(())
}

#[tokio::test]
async fn smtp_sink_answers() -> Result<(), Failure> {
    let Some(rig) = Rig::start_or_skip(&[Peer::SmtpSink]) else {
        return Ok(());
    };
    let mut smtp = BufStream::new(TcpStream::connect(("127.0.0.1", rig.smtp_sink_port())).await?);
    let greeting = reply(&mut smtp, "").await?;
    assert!(greeting.starts_with("220 "), "{greeting}");
    Ok(())
}
