//! What the authorization server saw, in order: for tests that count grants, overlaps and repeats.
//!
//! An entry is written when a request has been decided, and also when a fault swallowed it. Requests are kept whole,
//! secrets included: a journal belongs to a test, never to a log.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Request, Uri};
use hyper::body::Bytes;
use jiff::Timestamp;

/// A door of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `/authorize`, `/login` and `/consent`: the pages that a browser walks.
    Authorization,
    /// `/token`.
    Token,
    /// `/revoke` (RFC 7009).
    Revocation,
    /// `/.well-known/…` (RFC 8414).
    Metadata,
    /// Any other path.
    Other,
}

/// Something that the server's rules noticed while it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// A refresh token that had been replaced came again too late: its family is dead now.
    RefreshTokenReused,
    /// A replaced refresh token came again within its grace.
    GraceUsed,
    /// An authorization code came a second time: its tokens are dead now (RFC 6749 §4.1.2).
    CodeReused,
    /// A refresh token was replaced by a new one.
    Rotated,
}

/// One request and what was decided.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the request came.
    pub came_at: Timestamp,
    /// Where it went.
    pub endpoint: Endpoint,
    /// The client that it named, whether or not it could prove it.
    pub client_id: Option<String>,
    /// The `grant_type` that it named.
    pub grant_type: Option<String>,
    /// The status that was decided; `None` if the request was swallowed.
    pub status: Option<u16>,
    /// The OAuth2 error code that was decided.
    pub error: Option<String>,
    /// Whether tokens were granted (also when the answer was lost afterwards).
    pub granted: bool,
    /// What the rules noticed.
    pub remark: Option<Remark>,
    /// The name of the fault that struck it.
    pub fault: Option<&'static str>,
    /// The request's method.
    pub method: Method,
    /// The request's target.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
}

impl Entry {
    /// An entry for a request on which nothing is decided yet.
    pub(super) fn new(came_at: Timestamp, endpoint: Endpoint, request: &Request<Bytes>) -> Self {
        Self {
            came_at,
            endpoint,
            client_id: None,
            grant_type: None,
            status: None,
            error: None,
            granted: false,
            remark: None,
            fault: None,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        }
    }
}

/// Entries in order, and how many requests were open at once.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) entries: Vec<Entry>,
    open: BTreeMap<(Endpoint, Option<String>), Gauge>,
    token: Gauge,
}

impl Journal {
    /// Counts a request in.
    pub(super) fn enter(&mut self, endpoint: Endpoint, client_id: Option<String>) {
        self.open.entry((endpoint, client_id)).or_default().up();
        if endpoint == Endpoint::Token {
            self.token.up();
        }
    }

    /// Counts a request out, answered or not.
    pub(super) fn leave(&mut self, endpoint: Endpoint, client_id: Option<String>) {
        self.open.entry((endpoint, client_id)).or_default().down();
        if endpoint == Endpoint::Token {
            self.token.down();
        }
    }

    /// Most token requests open at once; of one client, or of all.
    pub(super) fn most_at_once(&self, client_id: Option<&str>) -> usize {
        match client_id {
            None => self.token.most,
            Some(id) => self.open.get(&(Endpoint::Token, Some(id.to_owned()))).map_or(0, |gauge| gauge.most),
        }
    }
}

/// A count and the most it ever was.
#[derive(Debug, Default)]
struct Gauge {
    now: usize,
    most: usize,
}

impl Gauge {
    fn up(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    fn down(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}
