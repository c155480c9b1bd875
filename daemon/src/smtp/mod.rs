//! The seam to mail servers.
//!
//! [`Network`] opens connections: over TCP, or to a server in the same process. Above it everything is frankd's own:
//! replies, AUTH, the envelope, the message, and what is certain afterwards.

use std::fmt;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::domain::delivery::Fault;

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
