//! A person who signs in: real HTTPS to the provider's pages, and at the end a real request to frankctl's own port.

use std::io;
use std::sync::Arc;

use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::DemoError;
use crate::sandbox::authorization::{Browser, Decision};
use crate::sandbox::pki::Pki;
use crate::sandbox::{SandboxError, WEB_LOGIN};

/// Alice and her browser.
#[derive(Clone, Debug)]
pub(super) struct Person {
    tls: Arc<ClientConfig>,
}

impl Person {
    /// With a browser that trusts the sandbox's authority.
    pub(super) fn new(pki: &Pki) -> Result<Self, DemoError> {
        Ok(Self { tls: pki.client_config().map_err(SandboxError::from)? })
    }

    /// Opens the address, signs in, allows, and follows the last redirect; gives the words of the page where she ends.
    pub(super) async fn sign_in(&self, url: &str) -> Result<String, DemoError> {
        let walk = async {
            let browser = Browser::via(|request| Box::pin(self.fetch(request)));
            let back = browser.grant(url, WEB_LOGIN.0, WEB_LOGIN.1, &Decision::Allow).await?;
            let page = Request::get(&back).body(Bytes::new()).map_err(io::Error::other)?;
            let page = self.fetch(page).await?;
            Ok(words(&String::from_utf8_lossy(page.body())))
        };
        walk.await.map_err(DemoError::system("sign in at the authorization server"))
    }

    /// One request on a connection of its own; redirects are not followed.
    async fn fetch(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let uri = request.uri().clone();
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(io::Error::other(format!("{uri} names no host")));
        };
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(header::HOST, authority.as_str().parse().map_err(io::Error::other)?);
        parts.uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(io::Error::other)?;
        let request = Request::from_parts(parts, Full::new(body));
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        if uri.scheme_str() == Some("http") {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        exchange(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?, request).await
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let talk = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    };
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        // The server may close right behind its answer.
        _ = connection => talk.await,
    }
    .map_err(|error: hyper::Error| io::Error::other(error))
}

/// The text of a page, without head and tags.
fn words(page: &str) -> String {
    let body = page.split_once("<body>").map_or(page, |(_, body)| body);
    let mut text = String::new();
    let mut in_tag = false;
    for c in body.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_without_its_tags() {
        let page =
            "<html><head><title>x</title></head>\n<body><h1>Access granted</h1>\n<p>for alerts.</p></body></html>";
        assert_eq!(words(page), "Access granted for alerts.");
    }
}
