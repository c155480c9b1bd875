//! A person with a browser, as far as the sandbox's own pages need one: follows the forms, never guesses a URL.
//!
//! It reads the HTML that it is given, so that a page which a real browser could not use fails here too.

use std::io;
use std::pin::Pin;

use http::{Method, Request, Response, header};
use hyper::body::Bytes;

use super::AuthorizationServer;
use super::form::{encode, unescape};

/// What the person does on the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Signs in and allows everything.
    Allow,
    /// Signs in and allows only these scopes.
    AllowOnly(Vec<String>),
    /// Signs in and presses "Deny".
    Deny,
    /// Presses "Cancel" instead of signing in.
    Cancel,
}

type Send<'a> = dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = io::Result<Response<Bytes>>> + std::marker::Send + 'a>>
    + std::marker::Send
    + Sync
    + 'a;

/// A person's browser, on any way to the server.
pub struct Browser<'a> {
    send: Box<Send<'a>>,
}

impl<'a> Browser<'a> {
    /// Reaches `server` in process.
    #[must_use]
    pub fn of(server: &'a AuthorizationServer) -> Self {
        Self::via(move |request| Box::pin(server.answer(request)))
    }

    /// Reaches a server by `send`, such as a real HTTP client that follows no redirects.
    #[must_use]
    pub fn via<F>(send: F) -> Self
    where
        F: Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = io::Result<Response<Bytes>>> + std::marker::Send + 'a>>
            + std::marker::Send
            + Sync
            + 'a,
    {
        Self { send: Box::new(send) }
    }

    /// Opens `url`, signs in and decides; returns the URL to which the server sends the browser at the end.
    ///
    /// Fails with the page's own words where the server shows a problem instead.
    pub async fn grant(&self, url: &str, login: &str, password: &str, decision: &Decision) -> io::Result<String> {
        let page = match self.open(Method::GET, url, String::new()).await? {
            Step::Back(location) => return Ok(location),
            Step::Page(page) => page,
        };
        let action = if *decision == Decision::Cancel { "cancel" } else { "login" };
        let page =
            match self.submit(url, &page, &[("login", login), ("password", password), ("action", action)]).await? {
                Step::Back(location) => return Ok(location),
                Step::Page(page) => page,
            };
        if !page.contains("action=\"/consent\"") {
            return Err(io::Error::other(problem_of(&page)));
        }
        let boxes = ticked(&page, decision);
        let mut fields: Vec<(&str, &str)> = boxes.iter().map(|name| (name.as_str(), "on")).collect();
        fields.push(("action", if *decision == Decision::Deny { "deny" } else { "allow" }));
        match self.submit(url, &page, &fields).await? {
            Step::Back(location) => Ok(location),
            Step::Page(page) => Err(io::Error::other(problem_of(&page))),
        }
    }

    /// Sends the form on `page` with what the person filled in.
    async fn submit(&self, base: &str, page: &str, fields: &[(&str, &str)]) -> io::Result<Step> {
        let missing = |what: &str| io::Error::other(format!("the page has no {what}: {}", problem_of(page)));
        let action = attribute(page, "<form ", "action").ok_or_else(|| missing("form"))?;
        let interaction = attribute(page, "name=\"interaction\"", "value").ok_or_else(|| missing("hidden field"))?;
        let url = url::Url::parse(base).and_then(|base| base.join(&action)).map_err(io::Error::other)?;
        let mut all = vec![("interaction", interaction.as_str())];
        all.extend_from_slice(fields);
        self.open(Method::POST, url.as_str(), encode(&all)).await
    }

    async fn open(&self, method: Method, url: &str, body: String) -> io::Result<Step> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(body))
            .map_err(io::Error::other)?;
        let response = (self.send)(request).await?;
        let page = String::from_utf8_lossy(response.body()).into_owned();
        match (response.status().as_u16(), response.headers().get(header::LOCATION)) {
            (302 | 303, Some(location)) => Ok(Step::Back(location.to_str().map_err(io::Error::other)?.to_owned())),
            (200, _) => Ok(Step::Page(page)),
            _ => Err(io::Error::other(problem_of(&page))),
        }
    }
}

/// Where a request leads.
enum Step {
    Back(String),
    Page(String),
}

/// The boxes that stay ticked.
fn ticked(page: &str, decision: &Decision) -> Vec<String> {
    page.split("name=\"scope:")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(unescape)
        .filter(|scope| match decision {
            Decision::AllowOnly(only) => only.contains(scope),
            _ => true,
        })
        .map(|scope| format!("scope:{scope}"))
        .collect()
}

/// The value of the attribute `name` in the tag text that follows `mark`.
fn attribute(page: &str, mark: &str, name: &str) -> Option<String> {
    let rest = page.split_once(mark)?.1;
    let tag = rest.split('>').next()?;
    let value = tag.split_once(&format!("{name}=\""))?.1.split('"').next()?;
    Some(unescape(value))
}

/// What the page says is wrong.
fn problem_of(page: &str) -> String {
    let text = page.split_once("role=\"alert\">").map_or(page, |(_, rest)| rest.split('<').next().unwrap_or_default());
    unescape(text)
}
