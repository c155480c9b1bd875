//! The loopback listener of one grant (RFC 8252 §7.3, §8.3).
//!
//! Bound to 127.0.0.1 and, where there is IPv6, to ::1 on the same port; alive only while the grant is waited for. Each
//! connection brings one request, at most 8 KiB within 5 s. Browsers open connections that they never use and ask for
//! icons, so several connections are served at once. A redirect is answered only after the exchange, with the truth.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::Secret;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::http::{self, Expected, MAX_HEAD, Page, Status, Verdict};
use crate::clock;

/// Time for a request to arrive.
const READ: Duration = Duration::from_secs(5);
/// Time for an answer to leave.
const WRITE: Duration = Duration::from_secs(5);
/// Most connections at once.
const CONNECTIONS: usize = 64;
/// Most ports to try until one is free on both addresses.
const PORTS: usize = 16;

/// A bound port.
#[derive(Debug)]
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    port: u16,
}

/// A listener at work. Dropping it closes the port.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Redirects as they come.
    pub(crate) redirects: mpsc::Receiver<Redirect>,
    _tasks: JoinSet<()>,
}

/// A redirect that waits for its answer.
#[derive(Debug)]
pub(crate) struct Redirect {
    /// The whole URL.
    pub(crate) url: Secret,
    answer: oneshot::Sender<Page>,
    written: oneshot::Receiver<()>,
}

impl Redirect {
    /// Answers the browser, and waits until it has the page.
    pub(crate) async fn answer(self, page: Page) {
        // A browser that went away misses its page; the grant is what it is.
        if self.answer.send(page).is_ok() {
            let _ = self.written.await;
        }
    }
}

impl Listener {
    /// Takes a free port of both loopback addresses.
    pub(crate) async fn bind() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PORTS {
            let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = four.local_addr()?.port();
            match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                Ok(six) => {
                    return Ok(Self { sockets: vec![four, six], port });
                }
                // Somebody else has it there, and would get the redirect of a browser that prefers IPv6.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                // No IPv6 here.
                Err(_) => {
                    return Ok(Self { sockets: vec![four], port });
                }
            }
        }
        Err(last)
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Begins to serve.
    pub(crate) fn serve(self, expected: Expected) -> Serving {
        let (sender, redirects) = mpsc::channel(4);
        let expected = Arc::new(expected);
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        let mut tasks = JoinSet::new();
        for socket in self.sockets {
            tasks.spawn(accept(socket, Arc::clone(&expected), sender.clone(), Arc::clone(&free)));
        }
        Serving { redirects, _tasks: tasks }
    }
}

async fn accept(socket: TcpListener, expected: Arc<Expected>, redirects: mpsc::Sender<Redirect>, free: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        match socket.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&expected), redirects.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // Out of files, most likely: not a reason to give the grant up.
            Err(_) => clock::sleep(Duration::from_millis(100)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection: one request, one answer.
async fn connection<S>(mut stream: S, expected: Arc<Expected>, redirects: mpsc::Sender<Redirect>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = match clock::deadline(READ, head(&mut stream)).await {
        Some(Ok(Some(head))) => head,
        Some(Ok(None)) => return write(&mut stream, &Page::refused(Status::TooLarge)).await,
        Some(Err(_)) | None => return,
    };
    let url = match http::judge(&head, &expected) {
        Verdict::Redirect(url) => url,
        Verdict::Refused(status) => return write(&mut stream, &Page::refused(status)).await,
    };
    let (answer, page) = oneshot::channel();
    let (done, written) = oneshot::channel();
    let redirect = Redirect { url, answer, written };
    let page = match redirects.try_send(redirect) {
        Ok(()) => page.await.unwrap_or_else(|_| Page::refused(Status::Busy)),
        Err(_) => Page::refused(Status::Busy),
    };
    write(&mut stream, &page).await;
    // Nobody may be waiting any more.
    let _ = done.send(());
}

/// Reads up to the empty line; nothing if that does not come within [`MAX_HEAD`].
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        let read = (&mut *stream).take((MAX_HEAD - head.len()) as u64).read_buf(&mut head).await?;
        if let Some(end) = head.windows(4).position(|octets| octets == b"\r\n\r\n") {
            head.truncate(end + 4);
            return Ok(Some(head));
        }
        if head.len() >= MAX_HEAD {
            return Ok(None);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, page: &Page) {
    let answer = page.to_http();
    let all = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    };
    // A peer that does not take its answer is left alone.
    let _ = clock::deadline(WRITE, all).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::net::TcpStream;

    use super::*;

    fn expected() -> Arc<Expected> {
        Arc::new(Expected::of("http://127.0.0.1:7000/", 7000).unwrap())
    }

    fn start() -> (DuplexStream, mpsc::Receiver<Redirect>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (sender, redirects) = mpsc::channel(4);
        tokio::spawn(connection(server, expected(), sender));
        (client, redirects)
    }

    async fn rest(mut client: DuplexStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_megabyte_is_refused_at_eight_kibibytes() {
        let (mut client, mut redirects) = start();
        client.write_all(b"GET /?state=s&code=").await.unwrap();
        // The server stops reading; the rest finds no reader.
        let _ = client.write_all(&vec![b'a'; 1024 * 1024]).await;
        assert!(rest(client).await.starts_with("HTTP/1.1 431 "));
        assert!(redirects.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_dropped_after_five_seconds() {
        let (mut client, _redirects) = start();
        client.write_all(b"GET /?state=s").await.unwrap();
        let almost = READ.checked_sub(Duration::from_millis(1)).unwrap();
        assert!(clock::deadline(almost, client.read_u8()).await.is_none());
        let dropped = clock::deadline(Duration::from_millis(2), client.read_u8()).await;
        assert!(dropped.unwrap().is_err(), "nothing is said to half a request");
    }

    #[tokio::test(start_paused = true)]
    async fn a_redirect_gets_its_page_only_when_it_is_given() {
        let (mut client, mut redirects) = start();
        let request = "GET /?state=s&code=c HTTP/1.1\r\nHost: 127.0.0.1:7000\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let redirect = redirects.recv().await.unwrap();
        assert_eq!(redirect.url, Secret::new("http://127.0.0.1:7000/?state=s&code=c"));
        let early = clock::deadline(Duration::from_secs(3600), client.read_u8()).await;
        assert!(early.is_none(), "answered before the exchange");
        let page = Page::new(Status::Ok, "granted", vec!["You can close this page.".to_owned()]);
        redirect.answer(page).await;
        let text = rest(client).await;
        assert!(text.contains("<h1>granted</h1>") && !text.contains("code=c"));
    }

    #[tokio::test]
    async fn both_loopback_addresses_listen_and_idle_connections_disturb_nobody() {
        let listener = Listener::bind().await.unwrap();
        let port = listener.port();
        let six = listener.sockets.len() == 2;
        let expected = Expected::of(&format!("http://localhost:{port}/"), port).unwrap();
        let mut serving = listener.serve(expected);
        let _idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let addresses = if six { vec!["127.0.0.1", "::1"] } else { vec!["127.0.0.1"] };
        for address in addresses {
            let mut client = TcpStream::connect((address, port)).await.unwrap();
            let request = format!("GET /?state=s&error=x HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let redirect = serving.redirects.recv().await.unwrap();
            let page = Page::refused(Status::Ok);
            let (mut text, ()) = (String::new(), redirect.answer(page).await);
            client.read_to_string(&mut text).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK"));
        }
        drop(serving);
        tokio::task::yield_now().await;
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
    }
}
