//! A submission server in the same process: it takes all mail, but for what it is told to do otherwise.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

use crate::clock::{ClockExt as _, FakeClock};
use crate::smtp::pipes::Pipes;

/// What the server does in place of what it always does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Says this.
    Say(&'static str),
    /// Ends the connection.
    Close,
    /// Takes the message, and ends the connection before it says so. For `DOT`.
    TakeAndClose,
    /// Waits, then does as always.
    Wait(Duration),
}

#[derive(Clone, Debug)]
struct Rule {
    /// What the line begins with; `GREETING` and `DOT` for what is no line.
    on: &'static str,
    act: Act,
    times: usize,
}

/// A message that the server took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// Without dot-stuffing.
    pub(super) octets: String,
}

#[derive(Debug, Default)]
pub(super) struct State {
    rules: Vec<Rule>,
    pub(super) taken: Vec<Taken>,
    /// Tokens that it lets in; everything if absent.
    pub(super) tokens: Option<BTreeSet<String>>,
    /// Every login that was tried: the token or password.
    pub(super) logins: Vec<String>,
    pub(super) connections: usize,
    pub(super) open: usize,
    pub(super) most_open: usize,
    pub(super) down: bool,
}

#[derive(Debug)]
pub(super) struct MailServer {
    clock: FakeClock,
    state: Mutex<State>,
}

impl MailServer {
    pub(super) fn new(clock: FakeClock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn network(self: &Arc<Self>) -> Pipes {
        let server = Arc::clone(self);
        Pipes::new(move |_, stream| {
            if server.state().down {
                return false;
            }
            tokio::spawn(Arc::clone(&server).serve(stream));
            true
        })
    }

    /// The next `times` times that a line begins with `on`.
    pub(super) fn on(&self, on: &'static str, act: Act, times: usize) {
        self.state().rules.push(Rule { on, act, times });
    }

    pub(super) fn always(&self, on: &'static str, act: Act) {
        self.on(on, act, usize::MAX);
    }

    pub(super) fn forget_rules(&self) {
        self.state().rules.clear();
    }

    pub(super) fn taken(&self) -> Vec<Taken> {
        self.state().taken.clone()
    }

    fn rule(&self, line: &str) -> Option<Act> {
        let mut state = self.state();
        let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && line.starts_with(rule.on))?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.act.clone())
    }

    async fn serve(self: Arc<Self>, stream: DuplexStream) {
        {
            let mut state = self.state();
            state.connections += 1;
            state.open += 1;
            state.most_open = state.most_open.max(state.open);
        }
        self.converse(stream).await;
        self.state().open -= 1;
    }

    /// Ends when the client or a rule ends the connection.
    async fn converse(&self, stream: DuplexStream) -> Option<()> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut lines = BufReader::new(reader);
        let reply = self.answer("GREETING", || "220 mx.example ESMTP".to_owned()).await?;
        say(&mut writer, &reply).await?;
        let (mut from, mut to): (Option<String>, Vec<String>) = (None, Vec::new());
        loop {
            let line = read(&mut lines).await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            let reply = match verb.as_str() {
                "EHLO" => {
                    let hello = "250-mx.example\n250-PIPELINING\n250-8BITMIME\n250-SMTPUTF8\n250-SIZE 50000000\n\
                                 250-AUTH PLAIN XOAUTH2\n250 ENHANCEDSTATUSCODES";
                    self.answer(&line, || hello.replace('\n', "\r\n")).await?
                }
                "AUTH" => self.auth(&line, &mut lines, &mut writer).await?,
                "MAIL" => {
                    let reply = self.answer(&line, || "250 2.1.0 ok".to_owned()).await?;
                    (from, to) = (reply.starts_with('2').then(address), Vec::new());
                    reply
                }
                "RCPT" if from.is_none() => "503 5.5.1 MAIL first".to_owned(),
                "RCPT" => {
                    let reply = self.answer(&line, || "250 2.1.5 ok".to_owned()).await?;
                    if reply.starts_with('2') {
                        to.push(address());
                    }
                    reply
                }
                "DATA" if to.is_empty() => "554 5.5.1 no valid recipients".to_owned(),
                "DATA" => {
                    let reply = self.answer(&line, || "354 go".to_owned()).await?;
                    if reply.starts_with('3') {
                        say(&mut writer, &reply).await?;
                        self.message(&mut lines, from.clone().unwrap_or_default(), to.clone()).await?
                    } else {
                        reply
                    }
                }
                "QUIT" => {
                    say(&mut writer, "221 2.0.0 bye").await;
                    return None;
                }
                _ => self.answer(&line, || "250 2.0.0 ok".to_owned()).await?,
            };
            say(&mut writer, &reply).await?;
            if reply.starts_with("421") {
                return None;
            }
        }
    }

    async fn answer(&self, line: &str, usual: impl FnOnce() -> String) -> Option<String> {
        match self.rule(line) {
            None => Some(usual()),
            Some(Act::Say(reply)) => Some(reply.to_owned()),
            Some(Act::Wait(time)) => {
                self.clock.sleep(time).await;
                Some(usual())
            }
            Some(Act::Close | Act::TakeAndClose) => None,
        }
    }

    async fn auth(
        &self,
        line: &str,
        lines: &mut BufReader<tokio::io::ReadHalf<DuplexStream>>,
        writer: &mut tokio::io::WriteHalf<DuplexStream>,
    ) -> Option<String> {
        let mut words = line.split(' ').skip(1);
        let (mechanism, mut response) = (words.next()?.to_owned(), words.next().map(str::to_owned));
        if response.is_none() {
            say(writer, "334 ").await?;
            response = Some(read(lines).await?);
        }
        let text = String::from_utf8(STANDARD.decode(response?).ok()?).ok()?;
        let secret = match mechanism.as_str() {
            "XOAUTH2" => text.split("Bearer ").nth(1)?.trim_matches('\u{1}').to_owned(),
            _ => text.split('\0').nth(2)?.to_owned(),
        };
        let known = self.state().tokens.as_ref().is_none_or(|tokens| tokens.contains(&secret));
        self.state().logins.push(secret);
        let usual = if known { "235 2.7.0 welcome" } else { "535 5.7.3 Authentication unsuccessful" };
        self.answer(line, || usual.to_owned()).await
    }

    async fn message(
        &self,
        lines: &mut BufReader<tokio::io::ReadHalf<DuplexStream>>,
        from: String,
        to: Vec<String>,
    ) -> Option<String> {
        let mut octets = String::new();
        loop {
            let line = read(lines).await?;
            if line == "." {
                break;
            }
            octets.push_str(line.strip_prefix('.').unwrap_or(&line));
            octets.push_str("\r\n");
        }
        let act = self.rule("DOT");
        let take = || self.state().taken.push(Taken { from, to, octets });
        match act {
            Some(Act::Say(reply)) if !reply.starts_with('2') => return Some(reply.to_owned()),
            Some(Act::Close) => return None,
            Some(Act::TakeAndClose) => {
                take();
                return None;
            }
            Some(Act::Wait(time)) => self.clock.sleep(time).await,
            Some(Act::Say(_)) | None => {}
        }
        take();
        Some("250 2.0.0 queued".to_owned())
    }
}

async fn say(writer: &mut tokio::io::WriteHalf<DuplexStream>, reply: &str) -> Option<()> {
    writer.write_all(format!("{reply}\r\n").as_bytes()).await.ok()
}

async fn read(lines: &mut BufReader<tokio::io::ReadHalf<DuplexStream>>) -> Option<String> {
    let mut line = Vec::new();
    let length = lines.read_until(b'\n', &mut line).await.ok()?;
    if length == 0 {
        return None;
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    Some(line.trim_end_matches(['\r', '\n']).to_owned())
}
