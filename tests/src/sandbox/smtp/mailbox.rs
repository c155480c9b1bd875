//! What the submission server saw: messages kept, logins, connections, and the offences of clients.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::behaviour::Mechanism;

/// A message that the server kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its number, from 1.
    pub id: usize,
    /// When its final dot was read.
    pub at: Timestamp,
    /// The number of its connection.
    pub connection: usize,
    /// Who was logged in.
    pub login: Option<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The envelope's sender.
    pub from: String,
    /// The envelope's accepted recipients.
    pub to: Vec<String>,
    /// The parameters of MAIL, such as `SIZE=1234`.
    pub parameters: Vec<String>,
    /// The octets as they came, dots unstuffed, the ending CR LF included.
    pub octets: Vec<u8>,
}

impl Delivered {
    /// The message as text, broken UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }

    /// The value of the first header called `name`, unfolded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
        head.split("\r\n").find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// One attempt to log in with complete credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// When.
    pub at: Timestamp,
    /// The number of its connection.
    pub connection: usize,
    /// The mechanism.
    pub mechanism: Mechanism,
    /// Whether the credentials came on the AUTH line.
    pub initial_response: bool,
    /// The user that was named.
    pub user: String,
    /// The token or password that was shown.
    pub secret: String,
    /// Whether it was let in.
    pub accepted: bool,
}

/// One command line of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// When.
    pub at: Timestamp,
    /// The number of its connection.
    pub connection: usize,
    /// The line without its end, credentials included.
    pub line: String,
}

/// Everything seen.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) delivered: Vec<Delivered>,
    pub(super) logins: Vec<Login>,
    pub(super) commands: Vec<Command>,
    pub(super) offences: Vec<String>,
    pub(super) handshakes_failed: usize,
    greylisted: BTreeSet<String>,
    connections: usize,
    open: BTreeSet<usize>,
    most_open: usize,
    sessions: BTreeMap<usize, String>,
}

impl Mailbox {
    /// Counts a connection in; returns its number, from 1.
    pub(super) fn connected(&mut self) -> usize {
        self.connections += 1;
        self.open.insert(self.connections);
        self.most_open = self.most_open.max(self.open.len());
        self.connections
    }

    /// Counts a connection out.
    pub(super) fn disconnected(&mut self, connection: usize) {
        self.open.remove(&connection);
        self.sessions.remove(&connection);
    }

    /// Connections so far, open now, most at once.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.connections, self.open.len(), self.most_open)
    }

    /// Sessions of `user` that are open now.
    pub(super) fn sessions_of(&self, user: &str) -> usize {
        self.sessions.values().filter(|known| *known == user).count()
    }

    /// Notes that a connection is logged in, or no longer.
    pub(super) fn session(&mut self, connection: usize, user: Option<&str>) {
        match user {
            Some(user) => self.sessions.insert(connection, user.to_owned()),
            None => self.sessions.remove(&connection),
        };
    }

    /// Whether a greylisted recipient comes for the first time.
    pub(super) fn first_time(&mut self, address: &str) -> bool {
        self.greylisted.insert(address.to_ascii_lowercase())
    }
}
