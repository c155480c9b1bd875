//! A mail submission server for tests: strict towards clients, scripted in what it offers, and able to misbehave.
//!
//! [`SmtpServer::serve`] speaks one connection over any stream, plain, upgraded by STARTTLS, or TLS from the first
//! octet. Handles are cheap clones of one server; behaviour and rules may change while connections are open, and take
//! effect at the next command. What a client must not do is refused where a real server would, and noted as an offence.

mod auth;
mod behaviour;
mod fault;
mod mailbox;
mod reply;
mod session;
#[cfg(test)]
mod tests;
mod transaction;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

pub use behaviour::{Behaviour, Mechanism, TokenCheck, TokenRefusal, Verdict};
pub use fault::{Fault, Phase, Rule};
pub use mailbox::{Command, Delivered, Login};

use super::clock::Now;
use fault::Script;
use mailbox::Mailbox;
use session::Session;

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In plaintext, as on port 587.
    Plain,
    /// With a TLS handshake, as on port 465.
    ImplicitTls,
}

struct Shared {
    behaviour: Mutex<Arc<Behaviour>>,
    script: Mutex<Script>,
    mailbox: Mutex<Mailbox>,
    delivered: watch::Sender<usize>,
    now: Now,
}

/// A handle of the server.
#[derive(Clone)]
pub struct SmtpServer(Arc<Shared>);

impl SmtpServer {
    /// A server that behaves so.
    #[must_use]
    pub fn new(behaviour: Behaviour, now: Now) -> Self {
        Self(Arc::new(Shared {
            behaviour: Mutex::new(Arc::new(behaviour)),
            script: Mutex::default(),
            mailbox: Mutex::default(),
            delivered: watch::Sender::new(0),
            now,
        }))
    }

    /// Speaks one connection to its end.
    pub async fn serve<S>(&self, stream: S, start: Start)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let number = self.mailbox().connected();
        let _open = Connection { server: self.clone(), number };
        Session::new(self.clone(), stream, number).run(start).await;
    }

    /// Changes the behaviour from the next command on.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = lock(&self.0.behaviour);
        let mut changed = Behaviour::clone(&behaviour);
        change(&mut changed);
        *behaviour = Arc::new(changed);
    }

    /// Adds a rule of misbehaviour; of two that strike at one moment, the older one does.
    pub fn misbehave(&self, rule: Rule) {
        lock(&self.0.script).add(rule);
    }

    /// Forgets every rule.
    pub fn behave(&self) {
        lock(&self.0.script).clear();
    }

    /// The messages kept so far, in order.
    #[must_use]
    pub fn delivered(&self) -> Vec<Delivered> {
        self.mailbox().delivered.clone()
    }

    /// How many messages were kept so far.
    #[must_use]
    pub fn delivered_count(&self) -> usize {
        self.mailbox().delivered.len()
    }

    /// The messages kept for one recipient.
    #[must_use]
    pub fn delivered_to(&self, address: &str) -> Vec<Delivered> {
        let mut kept = self.delivered();
        kept.retain(|message| message.to.iter().any(|to| to.eq_ignore_ascii_case(address)));
        kept
    }

    /// Waits until at least so many messages were kept.
    pub async fn wait_for_delivered(&self, count: usize) {
        let mut delivered = self.0.delivered.subscribe();
        // The sender lives in `self`: waiting cannot fail.
        let _ = delivered.wait_for(|now| *now >= count).await;
    }

    /// The attempts to log in with complete credentials, in order.
    #[must_use]
    pub fn logins(&self) -> Vec<Login> {
        self.mailbox().logins.clone()
    }

    /// Every command line, in order; bodies left out, credentials included.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        self.mailbox().commands.clone()
    }

    /// What clients did that they must not do, in words.
    #[must_use]
    pub fn offences(&self) -> Vec<String> {
        self.mailbox().offences.clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.mailbox().counts().0
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.mailbox().counts().1
    }

    /// Most connections that were open at once.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.mailbox().counts().2
    }

    /// TLS handshakes that failed.
    #[must_use]
    pub fn handshakes_failed(&self) -> usize {
        self.mailbox().handshakes_failed
    }

    fn behaviour(&self) -> Arc<Behaviour> {
        Arc::clone(&lock(&self.0.behaviour))
    }

    fn strikes(&self, phase: Phase) -> Option<Fault> {
        lock(&self.0.script).strikes(phase)
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        lock(&self.0.mailbox)
    }

    fn offence(&self, what: impl Into<String>) {
        self.mailbox().offences.push(what.into());
    }

    /// Keeps a message; returns its number.
    fn keep(&self, mut message: Delivered) -> usize {
        let mut mailbox = self.mailbox();
        message.id = mailbox.delivered.len() + 1;
        message.at = self.0.now.read();
        mailbox.delivered.push(message);
        let count = mailbox.delivered.len();
        drop(mailbox);
        self.0.delivered.send_replace(count);
        count
    }
}

/// Counts a connection out, also when its task is cut off.
struct Connection {
    server: SmtpServer,
    number: usize,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.mailbox().disconnected(self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
