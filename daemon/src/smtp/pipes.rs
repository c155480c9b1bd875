//! The fake network: each connection is a pipe to a server in the same process. For tests alone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::DuplexStream;

use super::session::fault;
use super::{Connected, Network};
use crate::domain::delivery::{Fault, Stage, Trouble};

/// Octets that a pipe holds before its writer waits.
const BUFFER: usize = 64 * 1024;

/// Takes the server's end of each new connection. `false` refuses it.
type Accept = dyn Fn(SocketAddr, DuplexStream) -> bool + Send + Sync;

/// Connects to servers in this process.
#[derive(Clone)]
pub struct Pipes {
    accept: Arc<Accept>,
}

impl Pipes {
    /// A network on which `accept` serves every connection, in a task of its own.
    pub fn new(accept: impl Fn(SocketAddr, DuplexStream) -> bool + Send + Sync + 'static) -> Self {
        Self { accept: Arc::new(accept) }
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes").finish_non_exhaustive()
    }
}

impl Network for Pipes {
    /// Names that end in `.invalid` have no address; every other name has 127.0.0.1.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'_, Result<Vec<SocketAddr>, Fault>> {
        let found = if host.ends_with(".invalid") {
            Err(fault(Stage::Dns, Trouble::Unresolved(format!("{host} has no address"))))
        } else {
            let address = host.parse().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
            Ok(vec![SocketAddr::new(address, port)])
        };
        Box::pin(std::future::ready(found))
    }

    fn connect(&self, addresses: Vec<SocketAddr>) -> BoxFuture<'_, Result<Connected, Fault>> {
        let connected = addresses.into_iter().find_map(|peer| {
            let (near, far) = tokio::io::duplex(BUFFER);
            (self.accept)(peer, far).then(|| Connected { stream: Box::new(near), peer })
        });
        let refused = || fault(Stage::Connect, Trouble::Unreachable("connection refused".to_owned()));
        Box::pin(std::future::ready(connected.ok_or_else(refused)))
    }
}
