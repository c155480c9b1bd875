//! The real transport: one request on one new TLS connection, by reqwest.
//!
//! A token request is rare and must not be repeated by accident, so there is no pool, no redirect, no retry and no
//! time-out but those of [`crate::clock`]. Whether the connection was made tells a request that was never sent from one
//! whose answer was lost.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Transport, TransportError};
use crate::clock::{ClockExt as _, SharedClock};
use crate::domain::answer::WireSettings;
use crate::tls::Tls;

/// Longest answer that is read, in octets.
const LONGEST_ANSWER: usize = 64 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// HTTPS by reqwest.
#[derive(Debug)]
pub struct Wire {
    tls: Arc<Tls>,
    clock: SharedClock,
}

impl Wire {
    /// Trusts as `tls` does.
    pub const fn new(tls: Arc<Tls>, clock: SharedClock) -> Self {
        Self { tls, clock }
    }

    async fn exchange(
        &self,
        request: http::Request<Vec<u8>>,
        wire: WireSettings,
    ) -> Result<http::Response<Vec<u8>>, TransportError> {
        let connected = Arc::new(AtomicBool::new(false));
        let client = self.client(&wire, Arc::clone(&connected))?;
        let request = reqwest::Request::try_from(request).map_err(|error| TransportError::Unreachable(told(&error)))?;
        let whole = async {
            let response = client.execute(request).await.map_err(|error| failed(&error, &connected))?;
            read(response).await
        };
        match self.clock.deadline(wire.request_timeout, whole).await {
            Ok(outcome) => outcome,
            Err(_) if connected.load(Ordering::Relaxed) => {
                Err(TransportError::Ambiguous(format!("no whole answer within {} s", wire.request_timeout.as_secs())))
            }
            Err(_) => {
                Err(TransportError::Unreachable(format!("no connection within {} s", wire.request_timeout.as_secs())))
            }
        }
    }

    fn client(&self, wire: &WireSettings, connected: Arc<AtomicBool>) -> Result<reqwest::Client, TransportError> {
        let tls = self
            .tls
            .client_config(wire.ca_bundle.as_deref(), wire.min_tls_version)
            .map_err(|error| TransportError::Tls(error.to_string()))?;
        let (clock, limit) = (Arc::clone(&self.clock), wire.connect_timeout);
        let bounded =
            move |inner| Bounded { inner, clock: Arc::clone(&clock), limit, connected: Arc::clone(&connected) };
        reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("frankd/", env!("CARGO_PKG_VERSION")))
            .connector_layer(tower::layer::layer_fn(bounded))
            .build()
            .map_err(|error| TransportError::Tls(told(&error)))
    }
}

impl Transport for Wire {
    fn send(
        &self,
        request: http::Request<Vec<u8>>,
        wire: WireSettings,
    ) -> BoxFuture<'_, Result<http::Response<Vec<u8>>, TransportError>> {
        Box::pin(self.exchange(request, wire))
    }
}

async fn read(mut response: reqwest::Response) -> Result<http::Response<Vec<u8>>, TransportError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| TransportError::Ambiguous(told(&error)))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(TransportError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut answer = http::Response::new(body);
    *answer.status_mut() = response.status();
    *answer.headers_mut() = response.headers().clone();
    Ok(answer)
}

/// What the connector says of a name that it cannot resolve. Its error has no type that says so.
const RESOLVING: &str = "dns error";

fn failed(error: &reqwest::Error, connected: &AtomicBool) -> TransportError {
    if connected.load(Ordering::Relaxed) {
        return TransportError::Ambiguous(told(error));
    }
    match tls_cause(error) {
        Some(cause) => TransportError::Tls(cause),
        None if told(error).contains(RESOLVING) => TransportError::Unresolved(told(error)),
        None => TransportError::Unreachable(told(error)),
    }
}

/// What rustls said, if it was rustls.
fn tls_cause(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = error.downcast_ref::<rustls::Error>() {
            return Some(cause.to_string());
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The causes of an error, without the URL, whose query may carry a secret.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = error.source().or(Some(error));
    while let Some(error) = next {
        causes.push(error.to_string());
        next = error.source();
    }
    causes.join(": ")
}

/// Bounds the connecting by our clock and notes that it was done.
#[derive(Clone)]
struct Bounded<S> {
    inner: S,
    clock: SharedClock,
    limit: Duration,
    connected: Arc<AtomicBool>,
}

impl<S, R> tower::Service<R> for Bounded<S>
where
    S: tower::Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.inner.call(request);
        let (clock, limit, connected) = (Arc::clone(&self.clock), self.limit, Arc::clone(&self.connected));
        Box::pin(async move {
            let connection = clock
                .deadline(limit, connecting)
                .await
                .map_err(|_| BoxError::from(format!("no connection within {} s", limit.as_secs())))??;
            connected.store(true, Ordering::Relaxed);
            Ok(connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::SystemClock;
    use crate::oauth::http::loopback_wire;

    fn wire() -> Wire {
        Wire::new(Arc::new(Tls::new(Arc::new(SystemClock), Vec::new())), Arc::new(SystemClock))
    }

    fn post(url: &str) -> http::Request<Vec<u8>> {
        http::Request::post(url).body(b"grant_type=x".to_vec()).unwrap()
    }

    /// Serves one connection with `answer` and closes it.
    async fn one_answer(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        });
        format!("http://{address}/token")
    }

    #[tokio::test]
    async fn an_answer_comes_whole_with_its_status() {
        let url = one_answer(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nretry-after: 5\r\n\r\n{}").await;
        let answer = wire().send(post(&url), loopback_wire()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (201, &b"{}"[..]));
        assert_eq!(answer.headers()["retry-after"], "5");
    }

    #[tokio::test]
    async fn what_was_never_sent_is_told_from_what_was_not_answered() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = wire().send(post(&format!("http://{closed}/")), loopback_wire()).await.unwrap_err();
        assert!(matches!(refused, TransportError::Unreachable(_)), "{refused:?}");
        let unknown = wire().send(post("http://frankd-test.invalid/"), loopback_wire()).await.unwrap_err();
        assert!(matches!(unknown, TransportError::Unresolved(_)), "{unknown:?}");
        let cut = wire().send(post(&one_answer(b"").await), loopback_wire()).await.unwrap_err();
        assert!(matches!(cut, TransportError::Ambiguous(_)), "{cut:?}");
        let plaintext = one_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.replace("http:", "https:");
        let no_tls = wire().send(post(&plaintext), loopback_wire()).await.unwrap_err();
        assert!(matches!(no_tls, TransportError::Tls(_)), "{no_tls:?}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_a_long_body_is_cut_off() {
        let url =
            one_answer(b"HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(wire().send(post(&url), loopback_wire()).await.unwrap().status(), 302);
        let long = Box::leak(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000)).into_boxed_str());
        let url = one_answer(long.as_bytes()).await;
        assert_eq!(wire().send(post(&url), loopback_wire()).await.unwrap_err(), TransportError::TooLarge);
    }
}
