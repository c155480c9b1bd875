//! A person who signs in: real HTTPS to the provider's pages, and at the end a real request to frankctl's own port.

use std::io;

use http::{Request, Response};
use hyper::body::Bytes;

use super::DemoError;
use crate::sandbox::authorization::{Browser, Decision};
use crate::sandbox::pki::Pki;
use crate::sandbox::{SandboxError, WEB_LOGIN};

/// Alice and her browser.
#[derive(Clone, Debug)]
pub(super) struct Person {
    client: reqwest::Client,
}

impl Person {
    /// With a browser that trusts the sandbox's authority.
    pub(super) fn new(pki: &Pki) -> Result<Self, DemoError> {
        let tls = pki.client_config().map_err(SandboxError::from)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        let client = client.map_err(io::Error::other).map_err(DemoError::system("make an HTTP client"))?;
        Ok(Self { client })
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

    async fn fetch(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let request = reqwest::Request::try_from(request).map_err(io::Error::other)?;
        let answer = self.client.execute(request).await.map_err(io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let body = answer.bytes().await.map_err(io::Error::other)?;
        response.body(body).map_err(io::Error::other)
    }
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
