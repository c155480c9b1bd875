//! The seam to mail servers, and the sessions above it.
//!
//! [`Network`] opens connections: over TCP ([`tcp::TcpNetwork`]), or to a server in the same process. Above it everything is
//! frankd's own: replies, AUTH, the envelope, the message, and what is certain afterwards. [`Smtp::open`] gives a
//! [`Session`] that is logged in; whoever owns it delivers one message at a time with it.
//!
//! # Invariants
//!
//! - Credentials go only to a server whose certificate was verified, or to a loopback address if the profile says so.
//! - What a server says in plaintext after STARTTLS is never taken for what it says under TLS.
//! - A session that has, or may have, an unread reply is never used again.
//! - Nothing is `Sent` without the server's 2xx reply to the final dot, and nothing is `NotSent` after the final dot
//!   without its 4xx or 5xx reply; one that tells of a lost next server leaves it in doubt.

pub mod claims;
mod content;
mod deliver;
mod ehlo;
#[cfg(any(test, feature = "fakes"))]
pub mod pipes;
mod redact;
mod reply;
mod sasl;
mod session;
pub mod tcp;
#[cfg(test)]
mod tests;
mod transcript;
mod wire;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock::SharedClock;
use crate::domain::delivery::Fault;
use crate::tls::Tls;

pub use content::{Content, InMemory};
pub use ehlo::host_name;
pub use session::{OpenFailure, Session};

/// A connection that octets go through.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections to mail servers.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// The host's addresses, in the order to try them. An address is its own answer.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'_, Result<Vec<std::net::SocketAddr>, Fault>>;

    /// Connects to the first address that answers.
    fn connect(&self, addresses: Vec<std::net::SocketAddr>) -> BoxFuture<'_, Result<Connected, Fault>>;
}

/// A connection that is open.
pub struct Connected {
    /// Its octets.
    pub stream: Box<dyn Stream>,
    /// Its other end.
    pub peer: std::net::SocketAddr,
}

/// Opens sessions with mail servers. A clone opens the same.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// How connections are made.
    pub network: Arc<dyn Network>,
    /// What is trusted.
    pub tls: Arc<Tls>,
    /// Time for the phases' limits.
    pub clock: SharedClock,
    /// Name for EHLO where a profile has none of its own; see [`host_name`].
    pub host_name: String,
}
