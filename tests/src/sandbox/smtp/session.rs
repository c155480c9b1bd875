//! One session: reads commands, keeps to the order that RFC 5321 asks for, and is the one place where faults strike.

use std::fmt::Write as _;

use tokio::io::{AsyncRead, AsyncWrite};

use super::behaviour::{Behaviour, Mechanism};
use super::fault::{Act, Alteration, Fault, Phase};
use super::mailbox::Command;
use super::reply::Reply;
use super::transaction::Transaction;
use super::wire::{Line, Over, Wire};
use super::{SmtpServer, Start};
use crate::sandbox::clock::wait;

/// Commands that must be the last of a pipelined group (RFC 2920 §3.1, RFC 3207 §4, RFC 4954 §4).
const LAST_IN_GROUP: [&str; 8] = ["EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "VRFY", "NOOP", "QUIT"];

/// Most octets of a reply that never ends.
const ENDLESS: usize = 64 << 20;

/// The state of one connection.
pub(super) struct Session<S> {
    pub(super) server: SmtpServer,
    pub(super) wire: Wire<S>,
    pub(super) number: usize,
    pub(super) login: Option<String>,
    pub(super) greeted: bool,
    pub(super) transaction: Option<Transaction>,
    pub(super) mails: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(server: SmtpServer, stream: S, number: usize) -> Self {
        let wire = Wire::new(stream);
        Self { server, wire, number, login: None, greeted: false, transaction: None, mails: 0 }
    }

    /// Speaks until either side has enough.
    pub(super) async fn run(mut self, start: Start) {
        if self.talk(start).await == Ok(()) {
            self.wire.close().await;
        }
    }

    async fn talk(&mut self, start: Start) -> Result<(), Over> {
        if start == Start::ImplicitTls {
            self.handshake().await?;
        }
        let open = self.server.open_connections();
        let crowded = self.server.behaviour().max_connections.is_some_and(|most| open > most);
        let mut code = self
            .answer(Phase::Greeting, None, |session| {
                if crowded {
                    Reply::of("421 4.7.0 Too many connections, try again later")
                } else {
                    Reply::of(format!("220 {} ESMTP sandbox", session.server.behaviour().name))
                }
            })
            .await?;
        while code != 421 && code != 221 {
            code = match self.next_line().await? {
                Some(line) => self.command(&line).await?,
                None => self.say(&Reply::of("421 4.4.2 Idle for too long, closing")).await?,
            };
        }
        Ok(())
    }

    /// The next command line; `None` when the client says nothing for too long.
    async fn next_line(&mut self) -> Result<Option<Line>, Over> {
        match self.server.behaviour().idle_limit {
            None => self.wire.line().await.map(Some),
            Some(limit) => tokio::select! {
                line = self.wire.line() => line.map(Some),
                () = wait(limit) => {
                    self.wire.forget_input();
                    Ok(None)
                }
            },
        }
    }

    /// Carries one command line out; returns the code of the reply.
    async fn command(&mut self, line: &Line) -> Result<u16, Over> {
        let behaviour = self.server.behaviour();
        let text = String::from_utf8_lossy(&line.octets).into_owned();
        self.note(&text);
        let (verb, argument) = text.split_once(' ').unwrap_or((&text, ""));
        let verb = verb.to_ascii_uppercase();
        self.check_pipelining(&behaviour, &verb);
        if line.bare {
            self.server.offence(format!("a line ends in a bare LF: {verb}"));
            if behaviour.refuses_bare_line_feed {
                return self.say(&Reply::of("500 5.5.2 Bare LF is not allowed")).await;
            }
        }
        let limit = if verb == "AUTH" { behaviour.auth_line_limit } else { behaviour.line_limit };
        if line.length > limit {
            return self.say(&Reply::of("500 5.5.2 Line too long")).await;
        }
        match verb.as_str() {
            "EHLO" | "HELO" => {
                let phase = if self.wire.is_tls() { Phase::EhloOverTls } else { Phase::Ehlo };
                let extended = verb == "EHLO";
                self.answer(phase, None, |session| session.hello(argument, extended)).await
            }
            "STARTTLS" => self.start_tls().await,
            "AUTH" => self.auth(argument).await,
            "MAIL" => self.mail(argument).await,
            "RCPT" => self.rcpt(argument).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.answer(Phase::Rset, None, |session| {
                    session.transaction = None;
                    Reply::of("250 2.0.0 OK")
                })
                .await
            }
            "NOOP" => self.answer(Phase::Noop, None, |_| Reply::of("250 2.0.0 OK")).await,
            "QUIT" => self.answer(Phase::Quit, None, |_| Reply::of("221 2.0.0 Bye")).await,
            "VRFY" => self.say(&Reply::of("252 2.1.5 Cannot verify, but will accept")).await,
            _ => {
                self.server.offence(format!("unknown command: {verb}"));
                self.say(&Reply::of("500 5.5.1 Unknown command")).await
            }
        }
    }

    /// Carries one step out, or lets a fault strike: a rule of the script, else what an address asks for.
    pub(super) async fn answer(
        &mut self,
        phase: Phase,
        asked: Option<Fault>,
        decide: impl FnOnce(&mut Self) -> Reply,
    ) -> Result<u16, Over> {
        let fault = self.server.strikes(phase).or(asked);
        self.answer_struck(fault, decide).await
    }

    /// The one place where faults strike.
    pub(super) async fn answer_struck(
        &mut self,
        fault: Option<Fault>,
        decide: impl FnOnce(&mut Self) -> Reply,
    ) -> Result<u16, Over> {
        match fault.map(|fault| fault.0) {
            None | Some(Act::RefuseToken | Act::Throttle(_)) => {
                let reply = decide(self);
                self.say(&reply).await
            }
            Some(Act::Reply(text)) => self.say(&Reply::of(text)).await,
            Some(Act::Drop) => self.cut().await,
            Some(Act::Silence) => Err(self.wire.deaf().await),
            Some(Act::LoseReply) => {
                decide(self);
                self.cut().await
            }
            Some(Act::LoseReplyAndHang) => {
                decide(self);
                Err(self.wire.deaf().await)
            }
            Some(Act::Late(time)) => {
                let reply = decide(self);
                self.wire.flush().await?;
                wait(time).await;
                self.say(&reply).await
            }
            Some(Act::Altered(alteration)) => {
                let reply = decide(self);
                self.say_altered(reply, alteration).await
            }
        }
    }

    /// Queues a reply.
    pub(super) async fn say(&mut self, reply: &Reply) -> Result<u16, Over> {
        let enhanced = self.server.behaviour().enhanced_status_codes;
        self.wire.put(&reply.octets(enhanced));
        if !self.wire.pending() {
            self.wire.flush().await?;
        }
        Ok(reply.code)
    }

    async fn say_altered(&mut self, mut reply: Reply, alteration: Alteration) -> Result<u16, Over> {
        match alteration {
            Alteration::Textless => reply.lines.iter_mut().for_each(Vec::clear),
            Alteration::LongLine(octets) => reply.lines = vec![vec![b'x'; octets.saturating_sub(6)]],
            Alteration::ManyLines(lines) => reply.lines.resize(lines.max(1), b"and so on".to_vec()),
            Alteration::Raw(octets) => {
                self.wire.put(&octets);
                self.wire.flush().await?;
                return Ok(reply.code);
            }
            Alteration::Followed(octets) => {
                self.wire.put(&[reply.octets(true), octets].concat());
                self.wire.flush().await?;
                return Ok(reply.code);
            }
            Alteration::Endless => {
                let line = format!("{}-and so on\r\n", reply.code).repeat(1000);
                for _ in 0..ENDLESS / line.len() {
                    self.wire.put(line.as_bytes());
                    self.wire.flush().await?;
                }
                return Err(Over);
            }
        }
        self.say(&reply).await
    }

    /// Cuts the connection, earlier replies sent.
    async fn cut(&mut self) -> Result<u16, Over> {
        self.wire.flush().await?;
        Err(Over)
    }

    async fn handshake(&mut self) -> Result<(), Over> {
        match self.server.strikes(Phase::Handshake).map(|fault| fault.0) {
            None => {}
            Some(Act::Late(time)) => wait(time).await,
            Some(Act::Silence) => return Err(self.wire.deaf().await),
            Some(_) => return Err(Over),
        }
        let config = self.server.behaviour().tls.clone().ok_or(Over)?;
        let shaken = self.wire.start_tls(config).await;
        if shaken.is_err() {
            self.server.mailbox().handshakes_failed += 1;
        }
        shaken
    }

    async fn start_tls(&mut self) -> Result<u16, Over> {
        let injected = self.wire.pending();
        let code = self
            .answer(Phase::StartTls, None, |session| {
                let behaviour = session.server.behaviour();
                if behaviour.starttls && behaviour.tls.is_some() && !session.wire.is_tls() {
                    Reply::of("220 2.0.0 Ready to start TLS")
                } else {
                    Reply::of("502 5.5.1 STARTTLS is not available here")
                }
            })
            .await?;
        if code != 220 {
            return Ok(code);
        }
        if injected {
            // RFC 3207 §4.2: what came in plaintext must not be taken for something said over TLS.
            self.server.offence("plaintext behind STARTTLS");
            self.wire.forget_input();
        }
        self.handshake().await?;
        (self.greeted, self.transaction) = (false, None);
        self.log_out();
        Ok(code)
    }

    fn hello(&mut self, name: &str, extended: bool) -> Reply {
        if name.trim().is_empty() {
            return Reply::of("501 5.5.4 A name is missing");
        }
        let behaviour = self.server.behaviour();
        (self.greeted, self.transaction) = (true, None);
        if behaviour.ehlo_forgets_login {
            self.log_out();
        }
        let mut text = format!("250 {}", behaviour.name);
        if extended {
            for line in self.extensions(&behaviour) {
                let _ = write!(text, "\n{line}");
            }
        }
        Reply::of(text)
    }

    fn extensions(&self, behaviour: &Behaviour) -> Vec<String> {
        let secure = self.wire.is_tls();
        let mut lines = Vec::new();
        lines.extend(behaviour.size.map(|size| format!("SIZE {size}")));
        for (offered, name) in [
            (behaviour.pipelining, "PIPELINING"),
            (behaviour.eight_bit_mime, "8BITMIME"),
            (behaviour.smtp_utf8, "SMTPUTF8"),
            (behaviour.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
            (behaviour.starttls && behaviour.tls.is_some() && !secure, "STARTTLS"),
        ] {
            lines.extend(offered.then(|| name.to_owned()));
        }
        let mechanisms: Vec<&str> = self.mechanisms(behaviour).iter().map(|known| known.name()).collect();
        if !mechanisms.is_empty() {
            lines.push(format!("AUTH {}", mechanisms.join(" ")));
        }
        lines
    }

    /// The mechanisms that are offered at this moment.
    pub(super) fn mechanisms<'b>(&self, behaviour: &'b Behaviour) -> &'b [Mechanism] {
        if self.wire.is_tls() { &behaviour.auth_over_tls } else { &behaviour.auth_before_tls }
    }

    /// Forgets who is logged in.
    pub(super) fn log_out(&mut self) {
        self.login = None;
        self.server.mailbox().session(self.number, None);
    }

    /// Writes a line of the client into the record.
    pub(super) fn note(&self, line: &str) {
        let at = self.server.0.now.read();
        self.server.mailbox().commands.push(Command { at, connection: self.number, line: line.to_owned() });
    }

    fn check_pipelining(&self, behaviour: &Behaviour, verb: &str) {
        if !self.wire.pending() {
            return;
        }
        if !behaviour.pipelining {
            self.server.offence(format!("pipelined behind {verb}, though PIPELINING is not offered"));
        } else if LAST_IN_GROUP.contains(&verb) {
            self.server.offence(format!("{verb} is not the last command of its group"));
        }
    }
}
