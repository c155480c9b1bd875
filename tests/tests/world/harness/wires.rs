//! The daemon's two wires, as pipes to servers in the same process, and the cut that goes through them in a crash.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use frankd::clock::{ClockExt as _, SharedClock};
use frankd::domain::answer::WireSettings;
use frankd::oauth::{Transport, TransportError};
use frankd::smtp::pipes::Pipes;
use frankd_tests::sandbox::authorization::AuthorizationServer;
use frankd_tests::sandbox::smtp::{SmtpServer, Start};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::watch;

/// Longest answer that the real transport reads, in octets.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Returns when the daemon's process is gone.
pub(super) async fn cut(gone: &mut watch::Receiver<bool>) {
    drop(gone.wait_for(|gone| *gone).await);
}

/// Requests to the authorization server.
pub(super) struct HttpPipe {
    server: AuthorizationServer,
    clock: SharedClock,
    reachable: watch::Receiver<bool>,
    gone: watch::Receiver<bool>,
}

impl HttpPipe {
    pub(super) fn new(
        server: AuthorizationServer,
        clock: SharedClock,
        reachable: watch::Receiver<bool>,
        gone: watch::Receiver<bool>,
    ) -> Self {
        Self { server, clock, reachable, gone }
    }

    /// One exchange of a daemon that lives.
    async fn exchange(
        &self,
        request: http::Request<Vec<u8>>,
        wire: WireSettings,
    ) -> Result<http::Response<Vec<u8>>, TransportError> {
        if !*self.reachable.borrow() {
            return Err(TransportError::Unreachable("connection refused".to_owned()));
        }
        let answer = self.server.answer(request.map(Into::into));
        match self.clock.deadline(wire.request_timeout, answer).await {
            Ok(Ok(response)) if response.body().len() > LONGEST_ANSWER => Err(TransportError::TooLarge),
            Ok(Ok(response)) => Ok(response.map(|body| body.to_vec())),
            Ok(Err(error)) => Err(TransportError::Ambiguous(error.to_string())),
            Err(_) => Err(TransportError::Ambiguous("no whole answer in time".to_owned())),
        }
    }
}

impl fmt::Debug for HttpPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpPipe")
    }
}

impl Transport for HttpPipe {
    fn send(
        &self,
        request: http::Request<Vec<u8>>,
        wire: WireSettings,
    ) -> BoxFuture<'_, Result<http::Response<Vec<u8>>, TransportError>> {
        async move {
            let mut gone = self.gone.clone();
            tokio::select! {
                biased;
                // A process that is gone neither asks nor hears.
                () = cut(&mut gone) => std::future::pending().await,
                answer = self.exchange(request, wire) => answer,
            }
        }
        .boxed()
    }
}

/// What clients wrote, each connection by itself.
#[derive(Clone, Default)]
pub(crate) struct Recording(Arc<Mutex<Vec<Vec<u8>>>>);

impl Recording {
    /// The octets of each connection, in their order.
    pub(crate) fn connections(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    fn begin(&self) -> usize {
        let mut connections = self.0.lock().unwrap();
        connections.push(Vec::new());
        connections.len() - 1
    }
}

/// Connections to the submission server: port 465 begins with TLS, every other one in plaintext.
pub(super) struct MailPipes {
    server: SmtpServer,
    reachable: watch::Receiver<bool>,
    gone: watch::Receiver<bool>,
    written: Recording,
}

impl MailPipes {
    pub(super) fn new(
        server: SmtpServer,
        reachable: watch::Receiver<bool>,
        gone: watch::Receiver<bool>,
        written: Recording,
    ) -> Self {
        Self { server, reachable, gone, written }
    }

    /// The network that the daemon opens connections on.
    pub(super) fn network(self) -> Pipes {
        Pipes::new(move |peer, far| {
            if !*self.reachable.borrow() || *self.gone.borrow() {
                return false;
            }
            let start = if peer.port() == 465 { Start::ImplicitTls } else { Start::Plain };
            let tap = Tap { far, number: self.written.begin(), written: self.written.clone() };
            let (server, mut gone) = (self.server.clone(), self.gone.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = server.serve(tap, start) => {}
                    // The peer's process is gone, and this connection with it.
                    () = cut(&mut gone) => {}
                }
            });
            true
        })
    }
}

/// The server's end of a connection; keeps what it reads.
struct Tap {
    far: DuplexStream,
    number: usize,
    written: Recording,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.far).poll_read(context, buffer);
        let number = self.number;
        self.written.0.lock().unwrap()[number].extend_from_slice(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.far).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.far).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.far).poll_shutdown(context)
    }
}
