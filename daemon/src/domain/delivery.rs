//! One delivery over SMTP: what is sent, and what is certain about it afterwards.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use frankd_proto::Secret;
use frankd_proto::error::SmtpReply;

/// How to log in to a mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    Anonymous,
    /// With an access token, by XOAUTH2.
    Token {
        /// SASL user name.
        username: String,
        /// The access token.
        token: Secret,
    },
    /// With a password, by PLAIN or LOGIN.
    Password {
        /// SASL user name.
        username: String,
        /// The password.
        password: Secret,
    },
}

/// What a message needs on the wire (RFC 5321 §2.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Sender; empty for the null sender.
    pub from: String,
    /// Recipients that are still to be served.
    pub recipients: Vec<String>,
    /// Whether the body has octets over 127.
    pub eight_bit: bool,
    /// Whether an address or header needs RFC 6531.
    pub smtputf8: bool,
}

/// A stage of an SMTP conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Resolving the host's name.
    Dns,
    /// Connecting.
    Connect,
    /// STARTTLS and the TLS handshake.
    Tls,
    /// The server's greeting.
    Greeting,
    /// EHLO.
    Ehlo,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA and the message, up to the final dot.
    Data,
    /// The final dot and the server's last word.
    AfterDot,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server said so.
    Reply(SmtpReply),
    /// The AUTH exchange was refused with a challenge before the reply (RFC 7628 §3.2.2 and XOAUTH2's 334).
    Challenged {
        /// The final reply.
        reply: SmtpReply,
        /// What the challenge's JSON says: status, schemes, scope. Never a secret. Empty if it is not JSON.
        challenge: String,
    },
    /// No address.
    Unresolved(String),
    /// No connection.
    Unreachable(String),
    /// No TLS. The text is that of the TLS library.
    Tls(String),
    /// The server's certificate is not trusted. The text says why.
    Untrusted(String),
    /// The server spoke plaintext where TLS has to begin.
    Plaintext(String),
    /// Silence for longer than the stage may take.
    TimedOut,
    /// The connection ended.
    Closed,
    /// The server broke the protocol. The text says how.
    Protocol(String),
    /// The server lacks what the message or profile needs, such as STARTTLS, XOAUTH2 or SMTPUTF8.
    Lacking(String),
    /// The message is over the server's SIZE.
    TooLarge {
        /// The message, in octets.
        size: u64,
        /// The server's limit, in octets.
        limit: u64,
    },
    /// frankd itself stopped before the final dot. The text says why.
    Aborted(String),
}

/// What happened, in the server's own words where it said something.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => f.write_str(&words(reply)),
            Self::Challenged { reply, challenge } if challenge.is_empty() => f.write_str(&words(reply)),
            Self::Challenged { reply, challenge } => write!(f, "{} ({challenge})", words(reply)),
            Self::Unresolved(text)
            | Self::Unreachable(text)
            | Self::Tls(text)
            | Self::Untrusted(text)
            | Self::Plaintext(text)
            | Self::Protocol(text)
            | Self::Lacking(text)
            | Self::Aborted(text) => f.write_str(text),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Closed => f.write_str("the connection ended"),
            Self::TooLarge { size, limit } => {
                write!(f, "the message has {size} octets, and the server takes {limit} octets")
            }
        }
    }
}

/// A reply in one line, cut to 400 characters.
pub fn words(reply: &SmtpReply) -> String {
    let enhanced = reply.enhanced.as_deref().unwrap_or_default();
    let all = format!("{} {enhanced} {}", reply.code, reply.text);
    let all = all.split_whitespace().collect::<Vec<_>>().join(" ");
    match all.char_indices().nth(400) {
        None => all,
        Some((at, _)) => format!("{}…", &all[..at]),
    }
}

/// Whether a refusal of the final dot leaves open if the message went on: the server relays while it answers, and lost
/// the next server then (RFC 3463 §3.5, X.4.x). Dovecot's submission does so.
pub fn leaves_doubt(reply: &SmtpReply) -> bool {
    reply.enhanced.as_deref().is_some_and(|code| code.starts_with("4.4."))
}

/// What went wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub stage: Stage,
    /// What.
    pub trouble: Trouble,
}

/// What is certain about one recipient after a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientResult {
    /// The server took the message for it. The reply is that to the final dot.
    Sent(SmtpReply),
    /// The server refused it at RCPT TO.
    Refused(SmtpReply),
    /// Surely not sent; the delivery's fault says why.
    NotSent,
    /// The final dot went out, and no answer came that settles it.
    InDoubt,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What is certain, in the order of the envelope's recipients.
    pub recipients: Vec<RecipientResult>,
    /// What ended it early, if something did. A refusal of single recipients is none.
    pub fault: Option<Fault>,
    /// Whether the connection can take another message.
    pub reusable: bool,
}

/// What a session showed of itself, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// Addresses of the host, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// The one that answered.
    pub peer: Option<SocketAddr>,
    /// Name and certificate facts of TLS, if there was any.
    pub tls: Option<String>,
    /// Capability lines of the last EHLO.
    pub capabilities: Vec<String>,
    /// SASL mechanism that was used.
    pub mechanism: Option<&'static str>,
    /// What the access token says of itself, if it was one and is not opaque.
    pub claims: Option<TokenClaims>,
}

/// What an access token says of itself (RFC 9068 §2.2 and Microsoft's names). Nothing of it is verified: it explains
/// refusals, and decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenClaims {
    /// `aud`: which resource it is for.
    pub audience: Vec<String>,
    /// `upn`, else `preferred_username`, `unique_name` or `email`: whose it is. None for a client's own token.
    pub account: Option<String>,
    /// `scp` or `scope`: what a person allowed.
    pub scopes: Vec<String>,
    /// `roles`: what an administrator allowed the client itself.
    pub roles: Vec<String>,
}

/// How long the stages of a conversation took, in the order in which they ended.
pub type Timings = Vec<(Stage, Duration)>;
