//! A mail server that speaks a script and notes what it hears.
//!
//! A script is a text of lines: `S: ` what the server says (lines in a row go out in one piece), `s: ` the same without
//! line end, `C: ` the line that it must hear (`*` at the end stands for anything), `B:` a message up to its dot, `!tls`
//! the handshake, `!hold` silence until the other end goes, `!wait N` silence for N seconds, `!close` the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use frankd_proto::{Secret, TlsMode, TlsVersion};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::clock::{ClockExt as _, FakeClock, SharedClock};
use crate::domain::Submission;
use crate::domain::delivery::{Envelope, Login};
use crate::smtp::pipes::Pipes;
use crate::smtp::{OpenFailure, Session, Smtp};
use crate::tls::Tls;

/// What a server heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The lines of `C:`.
    pub(super) lines: Vec<String>,
    /// The messages of `B:`, as they came, without the final dot.
    pub(super) bodies: Vec<Vec<u8>>,
    /// What came after the end of the script.
    pub(super) rest: String,
}

/// A host with servers, and the profile that reaches them.
pub(super) struct Stage {
    pub(super) smtp: Smtp,
    pub(super) to: Submission,
    pub(super) clock: FakeClock,
    servers: Arc<Mutex<VecDeque<JoinHandle<Heard>>>>,
}

impl Stage {
    /// One connection for each script, for a profile without TLS that lets credentials go to loopback.
    pub(super) fn new(scripts: &[&str]) -> Self {
        let clock = FakeClock::new();
        let shared: SharedClock = Arc::new(clock.clone());
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
        certificate.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = certificate.self_signed(&key).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let servers: Arc<Mutex<VecDeque<JoinHandle<Heard>>>> = Arc::default();
        let waiting: Mutex<VecDeque<String>> = Mutex::new(scripts.iter().map(|script| (*script).to_owned()).collect());
        let (begun, time) = (Arc::clone(&servers), Arc::clone(&shared));
        let network = Pipes::new(move |_, stream| {
            let Some(script) = waiting.lock().unwrap().pop_front() else {
                return false;
            };
            let server = tokio::spawn(play(Box::new(stream), script, acceptor.clone(), Arc::clone(&time)));
            begun.lock().unwrap().push_back(server);
            true
        });
        Self {
            smtp: Smtp {
                network: Arc::new(network),
                tls: Arc::new(Tls::new(Arc::clone(&shared), Vec::new())),
                clock: shared,
                host_name: "client.example".to_owned(),
            },
            to: Submission {
                host: "mx.example".to_owned(),
                port: 587,
                tls: TlsMode::None,
                ehlo_name: None,
                ca_bundle: Some(certificate.pem()),
                min_tls_version: TlsVersion::Tls12,
                plaintext_on_loopback: true,
                max_connections: 1,
                max_messages_per_connection: 100,
                messages_per_minute: None,
            },
            clock,
            servers,
        }
    }

    /// The same with TLS.
    pub(super) fn with_tls(scripts: &[&str], tls: TlsMode) -> Self {
        let mut stage = Self::new(scripts);
        stage.to.tls = tls;
        stage
    }

    pub(super) async fn open(&self, login: Login) -> Result<Session, OpenFailure> {
        self.smtp.open(&self.to, login).await
    }

    /// Waits for the end of the next server, which must have heard what its script says.
    pub(super) async fn heard(&self) -> Heard {
        let server = self.servers.lock().unwrap().pop_front().expect("no connection was made");
        server.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// A token of that many octets.
pub(super) fn token(length: usize) -> Login {
    Login::Token {
        username: "relay@x.example".to_owned(),
        token: Secret::new("t0ken-".chars().cycle().take(length).collect::<String>()),
    }
}

pub(super) fn password() -> Login {
    Login::Password { username: "relay".to_owned(), password: Secret::new("hunter2!hunter2!") }
}

/// An ASCII message from `a@x.example`.
pub(super) fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        from: "a@x.example".to_owned(),
        recipients: recipients.iter().map(|address| (*address).to_owned()).collect(),
        eight_bit: false,
        smtputf8: false,
    }
}

trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Octets for S {}

async fn play(mut stream: Box<dyn Octets>, script: String, acceptor: TlsAcceptor, clock: SharedClock) -> Heard {
    let mut heard = Heard::default();
    let mut say = Vec::new();
    for act in script.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let (kind, text) = act.split_at(act.len().min(2));
        let text = text.strip_prefix(' ').unwrap_or(text);
        match kind {
            "S:" => say.extend_from_slice(format!("{text}\r\n").as_bytes()),
            "s:" => say.extend_from_slice(text.as_bytes()),
            _ => flush(&mut stream, &mut say).await,
        }
        match (kind, act) {
            ("S:" | "s:", _) => {}
            ("C:", _) => {
                let line = read_line(&mut stream).await;
                match text.strip_suffix('*') {
                    Some(begin) => assert!(line.starts_with(begin), "heard {line:?}, not {text:?}"),
                    None => assert_eq!(line, text),
                }
                heard.lines.push(line);
            }
            ("B:", _) => heard.bodies.push(read_body(&mut stream).await),
            (_, "!tls") => match acceptor.accept(stream).await {
                Ok(secured) => stream = Box::new(secured),
                // The client says why.
                Err(_) => return heard,
            },
            (_, "!hold") => break,
            (_, "!close") => return heard,
            (_, wait) => {
                let seconds = wait.strip_prefix("!wait ").and_then(|s| s.parse().ok());
                clock.sleep(std::time::Duration::from_secs(seconds.expect("what act?"))).await;
            }
        }
    }
    flush(&mut stream, &mut say).await;
    let mut rest = Vec::new();
    let _reset = stream.read_to_end(&mut rest).await;
    heard.rest = String::from_utf8_lossy(&rest).into_owned();
    heard
}

async fn flush(stream: &mut Box<dyn Octets>, say: &mut Vec<u8>) {
    if !say.is_empty() {
        // A client that is gone is a fact to be seen in what was heard.
        let _gone = stream.write_all(say).await;
        let _gone = stream.flush().await;
        say.clear();
    }
}

async fn read_line(stream: &mut Box<dyn Octets>) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        match stream.read_u8().await {
            Ok(octet) => line.push(octet),
            Err(_) => return format!("{} (and the end)", String::from_utf8_lossy(&line)),
        }
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).expect("a command in UTF-8")
}

async fn read_body(stream: &mut Box<dyn Octets>) -> Vec<u8> {
    let mut body = b"\r\n".to_vec();
    while !body.ends_with(b"\r\n.\r\n") {
        body.push(stream.read_u8().await.expect("the message ended without its dot"));
    }
    body.drain(..2);
    body.truncate(body.len() - 3);
    body
}
