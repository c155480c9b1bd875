//! Opens a session: name, connection, TLS, greeting, EHLO, AUTH, each within its time.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::ehlo::{Capabilities, is_name};
use super::reply::Reply;
use super::wire::{Wire, limit};
use super::{Connected, Smtp, claims, sasl};
use crate::clock::{ClockExt as _, Instant, SharedClock};
use crate::domain::Submission;
use crate::domain::delivery::{Fault, Login, SessionFacts, Stage, Timings, Trouble};
use frankd_proto::TlsMode;

/// Why no session came about, and what was seen until then.
#[derive(Clone, Debug)]
pub struct OpenFailure {
    /// What went wrong, and where.
    pub fault: Fault,
    /// The conversation, without credentials.
    pub transcript: Vec<String>,
    /// What the server showed of itself.
    pub facts: SessionFacts,
    /// How long the stages took, the failed one included.
    pub timings: Timings,
}

/// A connection to a mail server that is ready to take messages.
///
/// A future of one of its methods that is dropped half-way makes it unusable: [`Session::is_alive`] is false then.
#[derive(Debug)]
pub struct Session {
    pub(super) wire: Wire,
    pub(super) server: Capabilities,
    pub(super) facts: SessionFacts,
    pub(super) watch: Stopwatch,
    /// Whether every reply that was asked for has been read.
    pub(super) in_step: bool,
    /// Whether a mail transaction was begun and not ended.
    pub(super) needs_reset: bool,
    /// Messages for which the conversation of the transcript was begun.
    pub(super) messages: u64,
}

impl Smtp {
    /// Connects and logs in.
    pub async fn open(&self, to: &Submission, login: Login) -> Result<Session, OpenFailure> {
        let mut opening = Opening::new(self, to);
        match opening.run(&login).await {
            Ok((wire, server)) => Ok(Session {
                wire,
                server,
                facts: opening.facts,
                watch: opening.watch,
                in_step: true,
                needs_reset: false,
                messages: 0,
            }),
            Err(fault) => {
                opening.watch.lap(fault.stage);
                let transcript = opening.wire.map(|wire| wire.transcript.lines()).unwrap_or_default();
                Err(OpenFailure { fault, transcript, facts: opening.facts, timings: opening.watch.timings })
            }
        }
    }
}

impl Session {
    /// The conversation since the last message began, from the beginning of the session for the first one. No
    /// credentials, no message.
    pub fn transcript(&self) -> Vec<String> {
        self.wire.transcript.lines()
    }

    /// What the server showed of itself.
    pub fn facts(&self) -> &SessionFacts {
        &self.facts
    }

    /// How long the stages took, since the session or the last message began.
    pub fn timings(&self) -> &Timings {
        &self.watch.timings
    }

    /// How many messages were begun with it.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether it can take another message, as far as can be seen without a round trip: it is in step, and the server
    /// has neither closed it nor said something unasked, such as a 421.
    pub fn is_alive(&mut self) -> bool {
        if self.in_step && self.wire.unasked().is_some() {
            self.in_step = false;
        }
        self.in_step
    }

    /// Ends it politely, in a few seconds at most.
    pub async fn quit(mut self) {
        if self.is_alive() {
            self.wire.quit().await;
        }
    }
}

/// Measures stages.
#[derive(Debug)]
pub(super) struct Stopwatch {
    clock: SharedClock,
    since: Instant,
    pub(super) timings: Timings,
}

impl Stopwatch {
    fn new(clock: SharedClock) -> Self {
        Self { since: clock.now(), clock, timings: Timings::new() }
    }

    /// A stage ended.
    pub(super) fn lap(&mut self, stage: Stage) {
        let now = self.clock.now();
        self.timings.push((stage, now.since(self.since)));
        self.since = now;
    }

    /// Begins anew.
    pub(super) fn restart(&mut self) {
        self.since = self.clock.now();
        self.timings.clear();
    }
}

/// A session on its way.
struct Opening<'a> {
    smtp: &'a Smtp,
    to: &'a Submission,
    facts: SessionFacts,
    watch: Stopwatch,
    wire: Option<Wire>,
}

impl<'a> Opening<'a> {
    fn new(smtp: &'a Smtp, to: &'a Submission) -> Self {
        Self { smtp, to, facts: SessionFacts::default(), watch: Stopwatch::new(Arc::clone(&smtp.clock)), wire: None }
    }

    async fn run(&mut self, login: &Login) -> Result<(Wire, Capabilities), Fault> {
        let needs_login = *login != Login::Anonymous;
        let plaintext = self.to.tls == TlsMode::None;
        if plaintext && needs_login && !self.to.plaintext_on_loopback {
            return Err(fault(Stage::Auth, in_the_clear("the profile uses no TLS")));
        }
        let connected = self.connect().await?;
        if plaintext && needs_login && !connected.peer.ip().is_loopback() {
            let peer = connected.peer.ip();
            return Err(fault(Stage::Auth, in_the_clear(&format!("{peer} is not a loopback address"))));
        }
        self.wire = Some(Wire::new(connected.stream, Arc::clone(&self.smtp.clock)));
        if self.to.tls == TlsMode::Implicit {
            self.handshake().await?;
        }
        self.greeting().await?;
        let mut server = self.hello().await?;
        if self.to.tls == TlsMode::Starttls {
            self.starttls(&server).await?;
            self.handshake().await?;
            server = self.hello().await?;
        }
        self.facts.capabilities.clone_from(&server.lines);
        if needs_login {
            self.log_in(&server, login).await?;
        }
        let wire = self.wire.take().ok_or_else(|| fault(Stage::Connect, Trouble::Closed))?;
        Ok((wire, server))
    }

    async fn connect(&mut self) -> Result<Connected, Fault> {
        let clock = &self.smtp.clock;
        let network = &self.smtp.network;
        let resolving = network.resolve(&self.to.host, self.to.port);
        let addresses =
            clock.deadline(limit::CONNECT, resolving).await.unwrap_or(Err(fault(Stage::Dns, Trouble::TimedOut)))?;
        self.watch.lap(Stage::Dns);
        self.facts.addresses.clone_from(&addresses);
        let connected = clock
            .deadline(limit::CONNECT, network.connect(addresses))
            .await
            .unwrap_or(Err(fault(Stage::Connect, Trouble::TimedOut)))?;
        self.watch.lap(Stage::Connect);
        self.facts.peer = Some(connected.peer);
        Ok(connected)
    }

    async fn greeting(&mut self) -> Result<(), Fault> {
        let wire = at(&mut self.wire, Stage::Greeting)?;
        let greeting = wire.reply(limit::GREETING).await;
        accept(Stage::Greeting, greeting)?;
        self.watch.lap(Stage::Greeting);
        Ok(())
    }

    async fn hello(&mut self) -> Result<Capabilities, Fault> {
        let given = self.to.ehlo_name.as_deref().filter(|name| is_name(name));
        let name = given.unwrap_or(&self.smtp.host_name);
        let wire = at(&mut self.wire, Stage::Ehlo)?;
        let reply = wire.ask(&format!("EHLO {name}"), limit::LOGIN).await;
        let reply = accept(Stage::Ehlo, reply)?;
        self.watch.lap(Stage::Ehlo);
        Ok(Capabilities::read(&reply))
    }

    /// RFC 3207. Whatever came in plaintext behind the server's 220 was put there by somebody in between (§6).
    async fn starttls(&mut self, server: &Capabilities) -> Result<(), Fault> {
        let wire = at(&mut self.wire, Stage::Tls)?;
        if !server.starttls {
            let lacking = "the server does not offer STARTTLS, or somebody in between took it away";
            return Err(fault(Stage::Tls, Trouble::Lacking(lacking.to_owned())));
        }
        let reply = wire.ask("STARTTLS", limit::TLS).await;
        accept(Stage::Tls, reply)?;
        if wire.has_leftover() {
            let injected = "plaintext came after the reply to STARTTLS: somebody in between may have put it there";
            return Err(fault(Stage::Tls, Trouble::Protocol(injected.to_owned())));
        }
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), Fault> {
        let tls = |trouble| fault(Stage::Tls, trouble);
        let config = self
            .smtp
            .tls
            .client_config(self.to.ca_bundle.as_deref(), self.to.min_tls_version)
            .map_err(|error| tls(Trouble::Tls(error.to_string())))?;
        let name = ServerName::try_from(self.to.host.clone())
            .map_err(|_| tls(Trouble::Tls(format!("{:?} is no name for a certificate", self.to.host))))?;
        let wire = self.wire.take().ok_or_else(|| tls(Trouble::Closed))?;
        let (stream, mut transcript) = wire.into_parts();
        let shaking = tokio_rustls::TlsConnector::from(config).connect(name, stream);
        let outcome = match self.smtp.clock.deadline(limit::TLS, shaking).await {
            Ok(Ok(stream)) => {
                let shown = describe(stream.get_ref().1, &self.to.host);
                transcript.note(&shown);
                self.facts.tls = Some(shown);
                let mut wire = Wire::new(Box::new(stream), Arc::clone(&self.smtp.clock));
                wire.transcript = transcript;
                self.wire = Some(wire);
                self.watch.lap(Stage::Tls);
                return Ok(());
            }
            Ok(Err(error)) => explain(&error),
            Err(_) => Trouble::TimedOut,
        };
        transcript.note("TLS failed");
        // The connection is gone; what was said on it is still told.
        let mut remains = Wire::new(Box::new(tokio::io::empty()), Arc::clone(&self.smtp.clock));
        remains.transcript = transcript;
        self.wire = Some(remains);
        Err(tls(outcome))
    }

    async fn log_in(&mut self, server: &Capabilities, login: &Login) -> Result<(), Fault> {
        if let Login::Token { token, .. } = login {
            self.facts.claims = claims::read(token);
        }
        let wire = at(&mut self.wire, Stage::Auth)?;
        self.facts.mechanism =
            sasl::log_in(wire, server, login).await.map_err(|trouble| fault(Stage::Auth, trouble))?;
        self.watch.lap(Stage::Auth);
        Ok(())
    }
}

pub(super) const fn fault(stage: Stage, trouble: Trouble) -> Fault {
    Fault { stage, trouble }
}

fn in_the_clear(why: &str) -> Trouble {
    Trouble::Lacking(format!("credentials do not go out in plaintext: {why}"))
}

fn at(wire: &mut Option<Wire>, stage: Stage) -> Result<&mut Wire, Fault> {
    wire.as_mut().ok_or(Fault { stage, trouble: Trouble::Closed })
}

/// A 2xx reply, or the fault that another one is.
fn accept(stage: Stage, reply: Result<Reply, Trouble>) -> Result<Reply, Fault> {
    match reply {
        Ok(reply) if reply.class() == 2 => Ok(reply),
        Ok(reply) => Err(fault(stage, Trouble::Reply(reply.to_smtp()))),
        Err(trouble) => Err(fault(stage, trouble)),
    }
}

fn describe(tls: &rustls::ClientConnection, host: &str) -> String {
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let suite =
        tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("an unknown cipher suite");
    format!("{version}, {suite}, certificate valid for {host}")
}

/// Why a handshake failed.
fn explain(error: &std::io::Error) -> Trouble {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_)) => Trouble::Untrusted(error.to_string()),
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            Trouble::Plaintext("the server answered in plaintext where TLS has to begin".to_owned())
        }
        Some(_) => Trouble::Tls(error.to_string()),
        None => Trouble::Closed,
    }
}
