//! The token and revocation endpoints: strict readers of what RFC 6749, 7636 and 7009 ask of a client.
//!
//! A client must prove itself in exactly the way it is registered for, and in no second way beside it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Bytes;
use jiff::Timestamp;
use ring::{digest, hmac};
use serde_json::{Map, Value, json};

use super::client::{AuthMethod, Client, RefreshTokens};
use super::form::{Form, decode};
use super::journal::Remark;
use super::ledger::{TokenOwner, end_of};
use super::strike::usual_headers;
use super::{Decided, State};

/// A refusal of the token endpoint (RFC 6749 §5.2).
struct Refusal {
    error: &'static str,
    description: String,
    remark: Option<Remark>,
}

impl Refusal {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { error, description: description.into(), remark: None }
    }

    /// The same, with what the rules noticed.
    fn noting(mut self, remark: Option<Remark>) -> Self {
        self.remark = remark;
        self
    }
}

/// What a grant brings.
struct Granted {
    owner: TokenOwner,
    family: Option<usize>,
    refresh_token: Option<String>,
    id_token: Option<String>,
    remark: Option<Remark>,
}

impl State {
    /// Decides a token request.
    pub(super) fn token(&mut self, request: &Request<Bytes>, now: Timestamp) -> Decided {
        match self.grant(request, now) {
            Ok((client, granted)) => {
                let remark = granted.remark;
                let response = json_response(200, &self.token_answer(&client, granted, now), now);
                Decided { granted: true, remark, ..Decided::of(response) }
            }
            Err(refusal) => refused(&refusal, now),
        }
    }

    /// Decides a revocation request: 200 also for a token that nobody knows (RFC 7009 §2.2).
    pub(super) fn revocation(&mut self, request: &Request<Bytes>, now: Timestamp) -> Decided {
        let decided = body_of(request).and_then(|form| {
            let client = self.authenticate(request.headers(), &form)?;
            let token = form.one("token").ok_or_else(|| Refusal::new("invalid_request", "token is missing"))?;
            self.ledger.revoke(token, &client.id);
            Ok(())
        });
        match decided {
            Ok(()) => Decided::of(json_response(200, &json!({}), now)),
            Err(refusal) => refused(&refusal, now),
        }
    }

    fn grant(&mut self, request: &Request<Bytes>, now: Timestamp) -> Result<(Client, Granted), Refusal> {
        let form = body_of(request)?;
        let client = self.authenticate(request.headers(), &form)?;
        let grant_type =
            form.one("grant_type").ok_or_else(|| Refusal::new("invalid_request", "grant_type is missing"))?;
        if !["authorization_code", "refresh_token", "client_credentials"].contains(&grant_type) {
            return Err(Refusal::new("unsupported_grant_type", format!("{grant_type} is not offered")));
        }
        if !client.grant_types.contains(&grant_type) {
            return Err(Refusal::new("unauthorized_client", format!("this client may not use {grant_type}")));
        }
        let granted = match grant_type {
            "authorization_code" => self.by_code(&client, &form, now)?,
            "refresh_token" => self.by_refresh_token(&client, &form, now)?,
            _ => self.by_client_credentials(&client, &form, now)?,
        };
        Ok((client, granted))
    }

    /// Finds the client and checks its proof (RFC 6749 §2.3): the registered method, only that, form-decoded.
    fn authenticate(&self, headers: &HeaderMap, form: &Form) -> Result<Client, Refusal> {
        let basic = headers.get(header::AUTHORIZATION).map(basic_credentials);
        let posted = (form.one("client_id"), form.one("client_secret"));
        let (id, secret, method) = match (basic, posted) {
            (Some(_), (_, Some(_))) => {
                return Err(Refusal::new("invalid_request", "the client proves itself in two ways at once"));
            }
            (Some(Some((id, secret))), (posted_id, None)) => {
                if posted_id.is_some_and(|posted| posted != id) {
                    return Err(Refusal::new("invalid_request", "two different clients are named"));
                }
                (id, Some(secret), AuthMethod::Basic)
            }
            (Some(None), _) => return Err(Refusal::new("invalid_client", "the Authorization header is malformed")),
            (None, (Some(id), Some(secret))) => (id.to_owned(), Some(secret.to_owned()), AuthMethod::Post),
            (None, (Some(id), None)) => (id.to_owned(), None, AuthMethod::None),
            (None, (None, _)) => return Err(Refusal::new("invalid_client", "no client is named")),
        };
        let client =
            self.clients.get(&id).ok_or_else(|| Refusal::new("invalid_client", "the client is not registered"))?;
        if client.auth_method != method {
            let (used, wanted) = (method.name(), client.auth_method.name());
            return Err(Refusal::new("invalid_client", format!("the client used {used}, it must use {wanted}")));
        }
        if secret.is_some_and(|secret| !client.secrets.contains(&secret)) {
            return Err(Refusal::new("invalid_client", "the client secret is wrong"));
        }
        Ok(client.clone())
    }

    fn by_code(&mut self, client: &Client, form: &Form, now: Timestamp) -> Result<Granted, Refusal> {
        let text = form.one("code").ok_or_else(|| Refusal::new("invalid_request", "code is missing"))?;
        let denied = |why: &str| Refusal::new("invalid_grant", why);
        let code = self.ledger.codes.get(text).cloned().ok_or_else(|| denied("the code is unknown"))?;
        if code.client_id != client.id {
            return Err(denied("the code was given to another client"));
        }
        if let Some(family) = code.family {
            self.ledger.kill(family);
            return Err(denied("the code was used before").noting(Some(Remark::CodeReused)));
        }
        if code.expires_at <= now {
            return Err(denied("the code has expired"));
        }
        if form.one("redirect_uri") != Some(code.redirect_uri.as_str()) {
            return Err(denied("redirect_uri is not the one of the authorization request"));
        }
        match (&code.challenge, form.one("code_verifier")) {
            (Some(challenge), Some(verifier)) if *challenge == s256(verifier) => {}
            (Some(_), _) => return Err(denied("code_verifier does not match code_challenge")),
            (None, Some(_)) => return Err(denied("code_verifier without code_challenge")),
            (None, None) => {}
        }
        let family = self.ledger.start_family(&code, now);
        if let Some(known) = self.ledger.codes.get_mut(text) {
            known.family = Some(family);
        }
        let wants_refresh = match client.refresh_tokens {
            RefreshTokens::Always => true,
            RefreshTokens::OfflineAccess => code.scopes.iter().any(|scope| scope == "offline_access"),
            RefreshTokens::AccessType => code.offline,
            RefreshTokens::Never => false,
        };
        let refresh_token = wants_refresh.then(|| self.ledger.issue_refresh(family));
        let id_token = self.id_token(client, family, code.nonce.as_deref(), now);
        let owner = self.owner(client, code.mailbox, code.scopes, now);
        Ok(Granted { owner, family: Some(family), refresh_token, id_token, remark: None })
    }

    fn by_refresh_token(&mut self, client: &Client, form: &Form, now: Timestamp) -> Result<Granted, Refusal> {
        let token =
            form.one("refresh_token").ok_or_else(|| Refusal::new("invalid_request", "refresh_token is missing"))?;
        let refreshed = self.ledger.refresh(token, client, now).map_err(|remark| {
            Refusal::new("invalid_grant", "the refresh token is unknown, expired, revoked or replaced").noting(remark)
        })?;
        let Some(family) = self.ledger.family(refreshed.family).cloned() else {
            return Err(Refusal::new("invalid_grant", "the consent is gone"));
        };
        let scopes = match form.one("scope") {
            None => family.scopes.clone(),
            Some(asked) => asked.split(' ').map(str::to_owned).collect(),
        };
        if scopes.iter().any(|scope| !family.scopes.contains(scope)) {
            return Err(Refusal::new("invalid_scope", "the scope is wider than what was granted"));
        }
        let id_token = self.id_token(client, refreshed.family, None, now);
        let owner = self.owner(client, family.mailbox, scopes, now);
        Ok(Granted {
            owner,
            family: Some(refreshed.family),
            refresh_token: refreshed.replacement,
            id_token,
            remark: refreshed.remark,
        })
    }

    fn by_client_credentials(&self, client: &Client, form: &Form, now: Timestamp) -> Result<Granted, Refusal> {
        let asked = form.one("scope").unwrap_or(&client.default_scope);
        let scopes: Vec<String> = asked.split(' ').map(str::to_owned).collect();
        if let Some(scope) = scopes.iter().find(|scope| !client.scopes.contains(scope)) {
            return Err(Refusal::new("invalid_scope", format!("{scope} is not for this client")));
        }
        let Some(mailbox) = client.mailbox.clone() else {
            return Err(Refusal::new("unauthorized_client", "this client has no mailbox of its own"));
        };
        let owner = self.owner(client, mailbox, scopes, now);
        Ok(Granted { owner, family: None, refresh_token: None, id_token: None, remark: None })
    }

    fn owner(&self, client: &Client, mailbox: String, scopes: Vec<String>, now: Timestamp) -> TokenOwner {
        TokenOwner { client_id: client.id.clone(), mailbox, scopes, expires_at: end_of(self.life(client), now) }
    }

    fn life(&self, client: &Client) -> Duration {
        client.access_token_life.unwrap_or(self.access_token_life)
    }

    fn token_answer(&mut self, client: &Client, granted: Granted, now: Timestamp) -> Value {
        let scope = granted.owner.scopes.join(" ");
        let life = granted.owner.expires_at.duration_since(now).as_secs();
        let access_token = self.ledger.issue_access(granted.owner, granted.family, client.access_token_length);
        let mut answer = Map::new();
        answer.insert("access_token".into(), access_token.into());
        answer.insert("token_type".into(), "Bearer".into());
        answer.insert("expires_in".into(), life.into());
        answer.insert("scope".into(), scope.into());
        for (name, text) in [("refresh_token", granted.refresh_token), ("id_token", granted.id_token)] {
            if let Some(text) = text {
                answer.insert(name.into(), text.into());
            }
        }
        Value::Object(answer)
    }

    /// An id_token if `openid` was granted (OpenID Connect Core §3.1.3.3): HS256 with the secret, unsigned without one.
    fn id_token(&self, client: &Client, family: usize, nonce: Option<&str>, now: Timestamp) -> Option<String> {
        let family = self.ledger.family(family)?;
        if !family.scopes.iter().any(|scope| scope == "openid") {
            return None;
        }
        let secret = client.secrets.first();
        let mut claims = json!({
            "iss": self.issuer, "sub": family.login, "aud": client.id,
            "iat": now.as_second(), "exp": now.as_second() + 300,
            "email": family.mailbox, "email_verified": true, "preferred_username": family.login,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let header = json!({ "alg": if secret.is_some() { "HS256" } else { "none" }, "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = secret.map_or_else(String::new, |secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
        });
        Some(format!("{signed}.{signature}"))
    }
}

/// The PKCE challenge of a verifier (RFC 7636 §4.2).
pub(super) fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// The client and grant type that a request names, for the journal: unproven and leniently read.
pub(super) fn named_in(request: &Request<Bytes>) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(request.body());
    let form = Form::parse(&text).unwrap_or_default();
    let basic = request.headers().get(header::AUTHORIZATION).and_then(basic_credentials).map(|(id, _)| id);
    (basic.or_else(|| form.one("client_id").map(str::to_owned)), form.one("grant_type").map(str::to_owned))
}

/// Both halves of an HTTP Basic header, form-decoded (RFC 6749 §2.3.1); `None` if malformed.
fn basic_credentials(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decode(id)?, decode(secret)?))
}

/// The form in the body of a POST.
fn body_of(request: &Request<Bytes>) -> Result<Form, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::new("invalid_request", "the method must be POST"));
    }
    if request.uri().query().is_some() {
        return Err(Refusal::new("invalid_request", "parameters belong into the body"));
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::new("invalid_request", "the body must be application/x-www-form-urlencoded"));
    }
    let text = std::str::from_utf8(request.body()).map_err(|_| Refusal::new("invalid_request", "not UTF-8"))?;
    Form::parse(text).map_err(|error| Refusal::new("invalid_request", error.to_string()))
}

fn refused(refusal: &Refusal, now: Timestamp) -> Decided {
    let status = if refusal.error == "invalid_client" { 401 } else { 400 };
    let body = json!({ "error": refusal.error, "error_description": refusal.description });
    let mut response = json_response(status, &body, now);
    if status == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sandbox\""));
    }
    Decided { error: Some(refusal.error.to_owned()), remark: refusal.remark, ..Decided::of(response) }
}

/// A JSON answer with the headers of RFC 6749 §5.1.
pub(super) fn json_response(status: u16, body: &Value, now: Timestamp) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    usual_headers(&mut response, "application/json", now);
    response
}
