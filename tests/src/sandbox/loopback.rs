//! The sandbox on real loopback sockets: HTTPS, SMTP with STARTTLS, SMTP over TLS, and an open relay without either.
//!
//! Ports are chosen by the kernel. Everything ends when the [`Sandbox`] is stopped or dropped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::authorization::{AuthorizationServer, Client, MAIL_SCOPE, User};
use super::clock::Now;
use super::pki::{Flaw, Pki, PkiError};
use super::smtp::{Behaviour, SmtpServer, Start};
use super::token_check;

/// Most octets of a request body.
const BODY_LIMIT: usize = 1 << 20;

/// Id and secret of the interactive client (authorization code, PKCE, strict rotation).
pub const WEB_CLIENT: (&str, &str) = ("sandbox-web", "sandbox-web-secret");
/// Id and secret of the client credentials client.
pub const SERVICE_CLIENT: (&str, &str) = ("sandbox-service", "sandbox-service-secret");
/// The mailbox that the tokens of [`SERVICE_CLIENT`] open.
pub const SERVICE_MAILBOX: &str = "alerts@sandbox.test";
/// Login and password of the person on the login page.
pub const WEB_LOGIN: (&str, &str) = ("alice", "alice-password");
/// The mailbox that the tokens of [`WEB_LOGIN`] open.
pub const WEB_MAILBOX: &str = "alice@sandbox.test";
/// User and password of a classic SMTP login.
pub const PASSWORD_USER: (&str, &str) = (PASSWORD_MAILBOX, "bob-password");
/// The mailbox of [`PASSWORD_USER`].
pub const PASSWORD_MAILBOX: &str = "bob@sandbox.test";

/// Why the sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A loopback port could not be opened.
    #[error("listen on loopback")]
    Listen(#[from] io::Error),
    /// A certificate could not be made.
    #[error("make the sandbox's certificates")]
    Pki(#[from] PkiError),
}

/// Both servers, running.
pub struct Sandbox {
    /// The authorization server; its requests arrive over HTTPS at [`Sandbox::issuer`].
    pub authorization: AuthorizationServer,
    /// The submission server behind [`Sandbox::starttls_port`] and [`Sandbox::implicit_tls_port`].
    pub smtp: SmtpServer,
    /// The relay behind [`Sandbox::relay_port`]: no TLS, no login.
    pub relay: SmtpServer,
    /// The authority that signed the servers' certificate; can issue flawed ones.
    pub pki: Pki,
    /// The issuer, `https://localhost:PORT`.
    pub issuer: String,
    /// The CA certificate as PEM.
    pub ca_pem: String,
    /// Port of 127.0.0.1 that speaks SMTP with STARTTLS.
    pub starttls_port: u16,
    /// Port of 127.0.0.1 that speaks SMTP over TLS.
    pub implicit_tls_port: u16,
    /// Port of 127.0.0.1 that speaks plain SMTP.
    pub relay_port: u16,
    tasks: Vec<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts both servers on real time, with the clients, people and passwords that this module names.
    pub async fn start() -> Result<Self, SandboxError> {
        let now = Now::real();
        let pki = Pki::new()?;
        let certificate = pki.issue(Flaw::Sound)?.config;
        let https = TcpListener::bind("127.0.0.1:0").await?;
        let issuer = format!("https://localhost:{}", https.local_addr()?.port());
        let seed = now.read().as_nanosecond().unsigned_abs();
        let authorization =
            AuthorizationServer::new(&issuer, now.clone(), u64::try_from(seed & u128::from(u64::MAX)).unwrap_or(0));
        authorization.add_client(Client::interactive(WEB_CLIENT.0, WEB_CLIENT.1));
        authorization.add_client(Client::service(SERVICE_CLIENT.0, SERVICE_CLIENT.1, SERVICE_MAILBOX));
        authorization.add_user(User::new(WEB_LOGIN.0, WEB_LOGIN.1, WEB_MAILBOX));
        let smtp = SmtpServer::new(
            Behaviour {
                tls: Some(Arc::clone(&certificate)),
                passwords: vec![(PASSWORD_USER.0.into(), PASSWORD_USER.1.into())],
                token_check: token_check(authorization.registry(), MAIL_SCOPE, Duration::ZERO),
                ..Behaviour::default()
            },
            now.clone(),
        );
        let relay = SmtpServer::new(Behaviour { login_required: false, ..Behaviour::default() }, now);
        let mut sandbox = Self {
            authorization,
            smtp,
            relay,
            ca_pem: pki.ca_pem().to_owned(),
            pki,
            issuer,
            starttls_port: 0,
            implicit_tls_port: 0,
            relay_port: 0,
            tasks: Vec::new(),
        };
        sandbox.tasks.push(tokio::spawn(serve_https(https, certificate, sandbox.authorization.clone())));
        sandbox.starttls_port = sandbox.listen(sandbox.smtp.clone(), Start::Plain).await?;
        sandbox.implicit_tls_port = sandbox.listen(sandbox.smtp.clone(), Start::ImplicitTls).await?;
        sandbox.relay_port = sandbox.listen(sandbox.relay.clone(), Start::Plain).await?;
        Ok(sandbox)
    }

    /// Opens one more port for `server`, such as one with a flawed certificate; returns the port of 127.0.0.1.
    pub async fn listen(&mut self, server: SmtpServer, start: Start) -> Result<u16, SandboxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        self.tasks.push(tokio::spawn(serve_smtp(listener, server, start)));
        Ok(port)
    }

    /// Stops listening, cuts every connection and waits until all of it is gone.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // A task that was aborted says so; nothing else can come back.
            let _ = task.await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Accepts connections until it is aborted; theirs end with it.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                // Small answers must not wait for a delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve_smtp(listener: TcpListener, server: SmtpServer, start: Start) {
    accept(listener, |stream| {
        let server = server.clone();
        async move { server.serve(stream, start).await }
    })
    .await;
}

async fn serve_https(listener: TcpListener, certificate: Arc<ServerConfig>, server: AuthorizationServer) {
    let acceptor = TlsAcceptor::from(certificate);
    accept(listener, |stream| {
        let (acceptor, server) = (acceptor.clone(), server.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| answer(server.clone(), request));
            // An error here is a client that left, or a fault that resets the connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
}

/// Reads a request whole and answers it; an error cuts the connection.
async fn answer(
    server: AuthorizationServer,
    request: http::Request<Incoming>,
) -> io::Result<http::Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(io::Error::other)?.to_bytes();
    let response = server.answer(http::Request::from_parts(parts, body)).await?;
    Ok(response.map(Full::new))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::{Request, Response, header};
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::super::authorization::{Browser, Decision, Endpoint, Fault};
    use super::*;

    async fn tls(sandbox: &Sandbox, stream: TcpStream) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(sandbox.pki.client_config().unwrap());
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }

    /// One HTTP/1.1 exchange in octets over TLS.
    async fn exchange(sandbox: &Sandbox, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let port = sandbox.issuer.rsplit(':').next().unwrap();
        let mut stream = tls(sandbox, TcpStream::connect(format!("127.0.0.1:{port}")).await?).await;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut head = vec![
            format!("{} {path} HTTP/1.1", request.method()),
            format!("Host: localhost:{port}"),
            "Connection: close".to_owned(),
            format!("Content-Length: {}", request.body().len()),
        ];
        head.extend(request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
        stream.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await?;
        stream.write_all(request.body()).await?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut lines = head.split("\r\n");
        let mut response = Response::builder().status(&lines.next().unwrap()[9..12]);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            response = response.header(name, value);
        }
        Ok(response.body(Bytes::from(body.to_owned())).unwrap())
    }

    async fn service_token(sandbox: &Sandbox) -> io::Result<String> {
        let basic = STANDARD.encode(format!("{}:{}", SERVICE_CLIENT.0, SERVICE_CLIENT.1));
        let request = Request::post("/token")
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from_static(b"grant_type=client_credentials"))
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(exchange(sandbox, request).await?.body()).unwrap();
        Ok(answer["access_token"].as_str().unwrap().to_owned())
    }

    /// Sends each step (an empty one sends nothing) and reads one reply for it.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(stream: S, steps: &[&str]) -> (BufReader<S>, Vec<String>) {
        let mut stream = BufReader::new(stream);
        let mut replies = Vec::new();
        for step in steps {
            if !step.is_empty() {
                stream.get_mut().write_all(format!("{step}\r\n").as_bytes()).await.unwrap();
            }
            let mut reply = String::new();
            loop {
                let before = reply.len();
                stream.read_line(&mut reply).await.unwrap();
                if reply.len() == before || reply.as_bytes().get(before + 3) != Some(&b'-') {
                    break;
                }
            }
            replies.push(reply);
        }
        (stream, replies)
    }

    #[tokio::test]
    async fn a_token_from_https_sends_a_mail_on_both_ports() {
        let sandbox = Sandbox::start().await.unwrap();
        let token = service_token(&sandbox).await.unwrap();
        let blob = STANDARD.encode(format!("user={SERVICE_MAILBOX}\u{1}auth=Bearer {token}\u{1}\u{1}"));
        let auth = format!("AUTH XOAUTH2 {blob}");
        let letter = ["EHLO me", &auth, "MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA", "hello\r\n.", "QUIT"];

        let plain = TcpStream::connect(("127.0.0.1", sandbox.starttls_port)).await.unwrap();
        let (plain, _) = speak(plain, &["", "EHLO me", "STARTTLS"]).await;
        let (_, replies) = speak(tls(&sandbox, plain.into_inner()).await, &letter).await;
        assert!(replies[5].starts_with("250 2.0.0") && replies[6].starts_with("221 "), "{replies:?}");

        let stream = TcpStream::connect(("127.0.0.1", sandbox.implicit_tls_port)).await.unwrap();
        let (stream, greeting) = speak(tls(&sandbox, stream).await, &[""]).await;
        assert!(greeting[0].starts_with("220 "));
        let (_, replies) = speak(stream.into_inner(), &letter).await;
        assert!(replies[5].starts_with("250 2.0.0"), "{replies:?}");
        assert_eq!(sandbox.smtp.delivered_to("b@x.test").len(), 2);

        let relay = TcpStream::connect(("127.0.0.1", sandbox.relay_port)).await.unwrap();
        let steps = ["", "EHLO me", "MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA", "hello\r\n."];
        speak(relay, &steps).await;
        assert_eq!(sandbox.relay.delivered_count(), 1);
    }

    #[tokio::test]
    async fn the_pages_can_be_walked_over_https() {
        let sandbox = Sandbox::start().await.unwrap();
        let url = format!(
            "{}/authorize?response_type=code&client_id={}&redirect_uri=http://127.0.0.1:1/callback&state=s\
             &code_challenge=0123456789012345678901234567890123456789012&code_challenge_method=S256",
            sandbox.issuer, WEB_CLIENT.0
        );
        let send = |request| -> Pin<Box<dyn Future<Output = _> + Send + '_>> { Box::pin(exchange(&sandbox, request)) };
        let back = Browser::via(send).grant(&url, WEB_LOGIN.0, WEB_LOGIN.1, &Decision::Allow).await.unwrap();
        assert!(back.starts_with("http://127.0.0.1:1/callback?code="), "{back}");
    }

    #[tokio::test]
    async fn a_lost_answer_is_a_cut_connection_and_stopping_closes_the_ports() {
        let sandbox = Sandbox::start().await.unwrap();
        sandbox.authorization.fail(Endpoint::Token, Fault::drop_response(), 1);
        assert!(service_token(&sandbox).await.is_err());
        assert!(sandbox.authorization.token_requests(SERVICE_CLIENT.0)[0].granted);
        assert!(service_token(&sandbox).await.is_ok());
        let ports = [sandbox.starttls_port, sandbox.implicit_tls_port, sandbox.relay_port];
        sandbox.stop().await;
        for port in ports {
            assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
        }
    }
}
