//! An OAuth2 authorization server for tests: strict towards clients, and able to misbehave on command.
//!
//! [`AuthorizationServer::answer`] is the whole server: one HTTP request in, one answer or a broken connection out, no
//! socket needed. Handles are cheap clones of one server. It decides in one step under one lock, so that a request whose
//! caller goes away was either decided or never was; waiting is done before or after, by a [`Fault`] or the latency.
//!
//! Secrets follow from a seed: two runs with one clock and one seed hand out the same octets.

mod browser;
mod client;
mod fault;
mod form;
mod journal;
mod ledger;
mod pages;
mod strike;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::json;

pub use browser::{Browser, Decision};
pub use client::{AuthMethod, Client, MAIL_SCOPE, RefreshTokens, Rotation, User};
pub use fault::Fault;
pub use journal::{Endpoint, Entry, Remark};
pub use ledger::TokenOwner;

use super::clock::{Now, wait};
use journal::Journal;
use ledger::Ledger;
use pages::Interaction;
use strike::Faults;

/// Everything that the rules read and write.
struct State {
    issuer: String,
    clients: BTreeMap<String, Client>,
    users: BTreeMap<String, User>,
    access_token_life: Duration,
    code_life: Duration,
    latency: Duration,
    sends_iss: bool,
    interactions: BTreeMap<String, Interaction>,
    ledger: Ledger,
    journal: Journal,
    faults: Faults,
}

/// What the rules decided on one request.
struct Decided {
    response: Response<Bytes>,
    granted: bool,
    error: Option<String>,
    remark: Option<Remark>,
}

impl Decided {
    fn of(response: Response<Bytes>) -> Self {
        Self { response, granted: false, error: None, remark: None }
    }
}

struct Shared {
    state: Mutex<State>,
    now: Now,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle of the server.
#[derive(Clone)]
pub struct AuthorizationServer(Arc<Shared>);

impl AuthorizationServer {
    /// A server without clients and users, known as `issuer` (such as `https://login.sandbox.test`).
    #[must_use]
    pub fn new(issuer: &str, now: Now, seed: u64) -> Self {
        let state = State {
            issuer: issuer.to_owned(),
            clients: BTreeMap::new(),
            users: BTreeMap::new(),
            access_token_life: Duration::from_secs(3600),
            code_life: Duration::from_secs(60),
            latency: Duration::ZERO,
            sends_iss: true,
            interactions: BTreeMap::new(),
            ledger: Ledger::new(seed),
            journal: Journal::default(),
            faults: Faults::default(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), now }))
    }

    /// Registers a client, or replaces the one with its id.
    pub fn add_client(&self, client: Client) {
        self.0.state().clients.insert(client.id.clone(), client);
    }

    /// Changes a registered client: a new secret, another life.
    pub fn update_client(&self, id: &str, change: impl FnOnce(&mut Client)) {
        if let Some(client) = self.0.state().clients.get_mut(id) {
            change(client);
        }
    }

    /// Adds a person, or replaces the one with that login.
    pub fn add_user(&self, user: User) {
        self.0.state().users.insert(user.login.clone(), user);
    }

    /// Sets the life of access tokens to come (3600 s at first).
    pub fn set_access_token_life(&self, life: Duration) {
        self.0.state().access_token_life = life;
    }

    /// Sets the life of authorization codes to come (60 s at first).
    pub fn set_code_life(&self, life: Duration) {
        self.0.state().code_life = life;
    }

    /// Sets the time that every token request takes (none at first).
    pub fn set_latency(&self, latency: Duration) {
        self.0.state().latency = latency;
    }

    /// Leaves `iss` out of redirects and metadata, as older servers do.
    pub fn omit_iss(&self) {
        self.0.state().sends_iss = false;
    }

    /// Arms `fault` for the next `times` requests to `endpoint`, behind those armed before.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault, times: usize) {
        self.0.state().faults.arm(endpoint, fault, times);
    }

    /// Disarms every fault.
    pub fn behave(&self) {
        self.0.state().faults.clear();
    }

    /// The issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.0.state().issuer.clone()
    }

    /// The issuer with `path` behind it: `/authorize`, `/token`, `/revoke`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.state().issuer)
    }

    /// Everything seen so far, in order.
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        self.0.state().journal.entries.clone()
    }

    /// The entries of token requests that named `client_id`.
    #[must_use]
    pub fn token_requests(&self, client_id: &str) -> Vec<Entry> {
        let named = |entry: &Entry| entry.client_id.as_deref() == Some(client_id);
        self.journal().into_iter().filter(|entry| entry.endpoint == Endpoint::Token && named(entry)).collect()
    }

    /// Most token requests that were open at once, over all clients.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.0.state().journal.most_at_once(None)
    }

    /// Most token requests of one client that were open at once.
    #[must_use]
    pub fn max_concurrent_of(&self, client_id: &str) -> usize {
        self.0.state().journal.most_at_once(Some(client_id))
    }

    /// Every code, token and interaction handed out, and every client secret and password: what must be in no log.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let state = self.0.state();
        let clients = state.clients.values().flat_map(|client| client.secrets.clone());
        let users = state.users.values().map(|user| user.password.clone());
        state.ledger.minted().iter().cloned().chain(clients).chain(users).collect()
    }

    /// The handle by which a resource server, such as the sandbox mail server, checks access tokens.
    #[must_use]
    pub fn registry(&self) -> TokenRegistry {
        TokenRegistry(Arc::clone(&self.0))
    }

    /// Answers one request, or breaks as a connection does. A hanging answer never returns.
    pub async fn answer(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let endpoint = endpoint_of(request.uri().path());
        let came_at = self.0.now.read();
        let mut entry = Entry::new(came_at, endpoint, &request);
        (entry.client_id, entry.grant_type) = token::named_in(&request);
        let (fault, latency) = {
            let mut state = self.0.state();
            state.journal.enter(endpoint, entry.client_id.clone());
            let latency = if endpoint == Endpoint::Token { state.latency } else { Duration::ZERO };
            (state.faults.take(endpoint), latency)
        };
        let _open = Visit { shared: Arc::clone(&self.0), endpoint, client_id: entry.client_id.clone() };
        if !latency.is_zero() {
            wait(latency).await;
        }
        entry.fault = fault.as_ref().map(Fault::name);
        if let Some(fault) = fault.as_ref().filter(|fault| fault.swallows()) {
            entry.status = fault.status_instead();
            self.0.state().journal.entries.push(entry.clone());
        }
        strike::strike(fault, came_at, || self.decide(entry, &request)).await
    }

    fn decide(&self, mut entry: Entry, request: &Request<Bytes>) -> Response<Bytes> {
        let now = self.0.now.read();
        let mut state = self.0.state();
        let decided = match entry.endpoint {
            Endpoint::Authorization => state.page(request, now),
            Endpoint::Token => state.token(request, now),
            Endpoint::Revocation => state.revocation(request, now),
            Endpoint::Metadata => Decided::of(token::json_response(200, &state.metadata(), now)),
            Endpoint::Other => {
                let mut response = Response::new(Bytes::from_static(b"not found\n"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                Decided::of(response)
            }
        };
        entry.status = Some(decided.response.status().as_u16());
        entry.granted = decided.granted;
        entry.error = decided.error;
        entry.remark = decided.remark;
        state.journal.entries.push(entry);
        decided.response
    }
}

impl State {
    /// The server's metadata (RFC 8414 §2).
    fn metadata(&self) -> serde_json::Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "revocation_endpoint": at("/revoke"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.sends_iss,
            "scopes_supported": [MAIL_SCOPE, "openid", "email", "offline_access"],
        })
    }
}

/// The handle by which access tokens are checked and taken back.
#[derive(Clone)]
pub struct TokenRegistry(Arc<Shared>);

impl TokenRegistry {
    /// Whose access token that is, if it is good now.
    #[must_use]
    pub fn owner_of(&self, token: &str) -> Option<TokenOwner> {
        self.0.state().ledger.owner_of(token, self.0.now.read())
    }

    /// The present moment, as the server's clock has it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now.read()
    }

    /// Ends the access tokens that open `mailbox`, before their time; refresh tokens stay good.
    pub fn end_access(&self, mailbox: &str) {
        self.0.state().ledger.end_access(mailbox);
    }

    /// Takes back every consent and token that opens `mailbox`, as a person does at the provider.
    pub fn revoke_mailbox(&self, mailbox: &str) {
        self.0.state().ledger.revoke_mailbox(mailbox);
    }
}

/// Counts an open request out again, also when its caller goes away.
struct Visit {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    client_id: Option<String>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.shared.state().journal.leave(self.endpoint, self.client_id.take());
    }
}

fn endpoint_of(path: &str) -> Endpoint {
    match path {
        "/authorize" | "/login" | "/consent" => Endpoint::Authorization,
        "/token" => Endpoint::Token,
        "/revoke" => Endpoint::Revocation,
        "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration" => Endpoint::Metadata,
        _ => Endpoint::Other,
    }
}
