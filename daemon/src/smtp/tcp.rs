//! The real network: the system's resolver and TCP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::TcpStream;

use super::session::fault;
use super::wire::limit;
use super::{Connected, Network};
use crate::clock::{ClockExt as _, SharedClock};
use crate::domain::delivery::{Fault, Stage, Trouble};

/// Idle time after which the kernel asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens TCP connections.
#[derive(Clone, Debug)]
pub struct TcpNetwork {
    clock: SharedClock,
}

impl TcpNetwork {
    /// A network that keeps time by `clock`.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock }
    }

    async fn try_each(&self, addresses: Vec<SocketAddr>) -> Result<Connected, Fault> {
        let up = self.clock.now() + limit::CONNECT;
        let mut causes = Vec::new();
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for peer in addresses {
            // An address that swallows packets leaves time for the others.
            let time = up.since(self.clock.now()) / left.max(1);
            left -= 1;
            match self.clock.deadline(time, TcpStream::connect(peer)).await {
                Ok(Ok(stream)) => {
                    let stream = tune(stream).map_err(|error| unreachable(&[format!("{peer}: {error}")]))?;
                    let stream = Box::new(stream);
                    return Ok(Connected { stream, peer });
                }
                Ok(Err(error)) => causes.push(format!("{peer}: {error}")),
                Err(_) => causes.push(format!("{peer}: no answer in {} s", time.as_secs())),
            }
        }
        Err(unreachable(&causes))
    }
}

impl Network for TcpNetwork {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'_, Result<Vec<SocketAddr>, Fault>> {
        let host = host.to_owned();
        Box::pin(async move {
            let literal = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(&host);
            if let Ok(address) = literal.parse::<IpAddr>() {
                return Ok(vec![SocketAddr::new(address, port)]);
            }
            let unresolved = |why: String| fault(Stage::Dns, Trouble::Unresolved(why));
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            let found: Vec<_> = found.map_err(|error| unresolved(format!("{host}: {error}")))?.collect();
            if found.is_empty() {
                return Err(unresolved(format!("{host} has no address")));
            }
            Ok(found)
        })
    }

    fn connect(&self, addresses: Vec<SocketAddr>) -> BoxFuture<'_, Result<Connected, Fault>> {
        Box::pin(self.try_each(addresses))
    }
}

fn unreachable(causes: &[String]) -> Fault {
    fault(Stage::Connect, Trouble::Unreachable(causes.join("; ")))
}

/// Small commands go out at once, and a peer that vanished is noticed.
fn tune(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::clock::SystemClock;

    fn network() -> TcpNetwork {
        TcpNetwork::new(Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        for (host, address) in [("127.0.0.1", "127.0.0.1:25"), ("::1", "[::1]:25"), ("[::1]", "[::1]:25")] {
            assert_eq!(network().resolve(host, 25).await, Ok(vec![address.parse().unwrap()]));
        }
    }

    #[tokio::test]
    async fn a_name_without_address_is_told_from_a_port_without_listener() {
        let name = network().resolve("nothing.invalid", 25).await.unwrap_err();
        assert_eq!(name.stage, Stage::Dns);
        assert!(matches!(name.trouble, Trouble::Unresolved(_)), "{name:?}");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = listener.local_addr().unwrap();
        drop(listener);
        let Err(port) = network().connect(vec![gone]).await else {
            panic!("connected to nothing");
        };
        assert_eq!(port.stage, Stage::Connect);
        assert!(matches!(port.trouble, Trouble::Unreachable(text) if text.contains(&gone.to_string())));
    }

    #[tokio::test]
    async fn the_next_address_is_tried() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let mut connected = network().connect(vec![gone, here]).await.unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(connected.peer, here);
        drop(listener.accept().await.unwrap());
        assert_eq!(connected.stream.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
