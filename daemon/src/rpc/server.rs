//! Accepts connections and finds out who calls and in which framing.
//!
//! The accepting task waits for nothing but connections: everything that may take time happens in the connection's own
//! task. A user with as many connections as it may have is told so and let go before anything is read.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{Kind, RpcError};
use jsonrpsee::types::Id;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::conversation::converse;
use super::gate::Session;
use super::house::{House, Parts, stopped};
use super::http;
use super::limits::User;
use super::line::Lines;
use super::peer::Peer;
use super::registrar::refusal;
use crate::clock::ClockExt as _;
use crate::domain::SocketKind;

/// Octets that are read at once.
const READ_BUFFER: usize = 16 * 1024;
/// How long to wait when the process has no descriptor left for another connection.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// The socket's server.
#[derive(Clone, Debug)]
pub struct Server {
    house: Arc<House>,
}

impl Server {
    /// A server of these parts.
    pub fn new(parts: Parts) -> Self {
        Self { house: Arc::new(House::new(parts)) }
    }

    /// Serves a socket until `stop` says true, and then until the last call in flight is answered.
    ///
    /// Dropping the future closes all connections at once; what their calls do goes on.
    pub async fn serve(self, socket: SocketKind, listener: UnixListener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    if let Ok(peer) = Peer::of(&stream) {
                        connections.spawn(self.clone().connection(stream, socket, peer, stop.clone()));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.house.clock.sleep(NO_DESCRIPTOR).await;
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// Serves one connection of a known peer, among the connections of its user. Dropping the future closes it.
    pub async fn connection<S>(self, io: S, socket: SocketKind, peer: Peer, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let house = self.house;
        let Some(permit) = house.users.connect(peer.uid, &house.settings().limits, house.clock.now()) else {
            return turn_away(io, house.settings().limits.connections_per_uid).await;
        };
        let caller = (peer, socket, Arc::clone(&permit.user));
        permit.user.lanes.run(talk(Arc::clone(&house), io, caller, stop)).await;
        house.users.leave(permit, house.clock.now());
    }
}

/// Waits for the first octet, and speaks the framing that it belongs to.
async fn talk<S>(
    house: Arc<House>,
    io: S,
    (peer, socket, user): (Peer, SocketKind, Arc<User>),
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let wait = user.wait(house.clock.now());
    if !wait.is_zero() {
        house.clock.sleep(wait).await;
    }
    let mut io = BufReader::with_capacity(READ_BUFFER, io);
    let first = tokio::select! {
        filled = io.fill_buf() => filled.ok().and_then(|octets| octets.first().copied()),
        () = stopped(&mut stop) => None,
    };
    let Some(first) = first else {
        return;
    };
    let session = Arc::new(Session::open(house, peer, socket, user).await);
    // A connection that breaks is the peer's own affair: its calls go on.
    if matches!(first, b'{' | b'[') || first.is_ascii_whitespace() {
        drop(converse(Arc::clone(&session), &mut Lines::new(io, session), stop).await);
    } else {
        let served = http::serve(Arc::clone(&session), io, stop).await;
        if served.is_err() {
            session.try_patience();
        }
    }
}

/// Tells a user with too many connections, as far as that takes no time.
async fn turn_away<S: AsyncWrite + Unpin>(mut io: S, most: u32) {
    let error = RpcError::new(Kind::RequestBusy, format!("this user has {most} connections, as many as it may"))
        .hint("close connections first; the limit is `limits.connections_per_uid`");
    let line = format!("{}\n", refusal(Id::Null, error).as_ref());
    // The buffer of a new connection is empty, so this is written or fails at once.
    drop(io.write_all(line.as_bytes()).await);
}
