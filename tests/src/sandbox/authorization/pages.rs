//! The authorization endpoint: the pages that a person walks through, as plain HTML forms without scripts.
//!
//! `GET /authorize` shows a login form, `POST /login` a consent form, `POST /consent` sends the browser back with a code
//! or with `error=access_denied`. A request whose client or redirect URI is wrong never redirects (RFC 6749 §4.1.2.1).

use std::fmt::Write as _;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Bytes;
use jiff::Timestamp;
use url::Url;

use super::client::{Client, User};
use super::form::{Form, escape};
use super::ledger::{Code, end_of};
use super::strike::usual_headers;
use super::{Decided, State};

/// An authorization request that a person is deciding on.
#[derive(Clone, Debug)]
pub(super) struct Interaction {
    client_id: String,
    redirect_uri: String,
    state: Option<String>,
    challenge: Option<String>,
    nonce: Option<String>,
    scopes: Vec<String>,
    offline: bool,
    login_hint: String,
    user: Option<User>,
}

impl State {
    /// Decides a request to one of the pages.
    pub(super) fn page(&mut self, request: &Request<Bytes>, now: Timestamp) -> Decided {
        let text = match *request.method() {
            Method::GET => request.uri().query().unwrap_or_default().to_owned(),
            _ => String::from_utf8_lossy(request.body()).into_owned(),
        };
        let form = match Form::parse(&text) {
            Ok(form) => form,
            Err(error) => return refused_page(&error.to_string(), now),
        };
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::POST, "/authorize") => self.authorize(&form, now),
            (&Method::POST, "/login") => self.login(&form, now),
            (&Method::POST, "/consent") => self.consent(&form, now),
            _ => refused_page("there is no such page", now),
        }
    }

    fn authorize(&mut self, form: &Form, now: Timestamp) -> Decided {
        let Some(client) = form.one("client_id").and_then(|id| self.clients.get(id)).cloned() else {
            return refused_page("the client is not registered", now);
        };
        let Some(redirect_uri) = form.one("redirect_uri").filter(|uri| client.may_redirect_to(uri)) else {
            return refused_page("redirect_uri is not registered for this client", now);
        };
        let asked = form.one("scope").unwrap_or(&client.default_scope);
        let interaction = Interaction {
            client_id: client.id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: form.one("state").map(str::to_owned),
            challenge: form.one("code_challenge").map(str::to_owned),
            nonce: form.one("nonce").map(str::to_owned),
            scopes: asked.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
            offline: form.one("access_type") == Some("offline"),
            login_hint: form.one("login_hint").unwrap_or_default().to_owned(),
            user: None,
        };
        if let Err((error, why)) = acceptable(&client, &interaction, form) {
            return self.send_back(&interaction, &[("error", error), ("error_description", why)], now);
        }
        let number = self.ledger.mint("interaction", 0);
        let page = login_page(&number, &interaction, "");
        self.interactions.insert(number, interaction);
        html(200, &page, now)
    }

    fn login(&mut self, form: &Form, now: Timestamp) -> Decided {
        let Some((number, mut interaction)) = self.interaction(form) else {
            return refused_page("this sign-in is unknown or over", now);
        };
        if form.one("action") == Some("cancel") {
            return self.deny(&number, &interaction, now);
        }
        let user = form.one("login").and_then(|login| self.users.get(login));
        match user.filter(|user| form.one("password") == Some(user.password.as_str())) {
            None => html(200, &login_page(&number, &interaction, "The login or the password is wrong."), now),
            Some(user) => {
                interaction.user = Some(user.clone());
                let page = consent_page(&number, &interaction, user);
                self.interactions.insert(number, interaction);
                html(200, &page, now)
            }
        }
    }

    fn consent(&mut self, form: &Form, now: Timestamp) -> Decided {
        let Some((number, interaction)) = self.interaction(form) else {
            return refused_page("this sign-in is unknown or over", now);
        };
        let Some(user) = interaction.user.clone() else {
            return refused_page("nobody has signed in", now);
        };
        // A box that is not ticked is a scope that is not granted, as on Google's page.
        let ticked: Vec<&str> = form.names().filter_map(|name| name.strip_prefix("scope:")).collect();
        let scopes: Vec<String> =
            interaction.scopes.iter().filter(|scope| ticked.contains(&scope.as_str())).cloned().collect();
        if form.one("action") != Some("allow") || scopes.is_empty() {
            return self.deny(&number, &interaction, now);
        }
        self.interactions.remove(&number);
        let code = self.ledger.issue_code(Code {
            client_id: interaction.client_id.clone(),
            redirect_uri: interaction.redirect_uri.clone(),
            challenge: interaction.challenge.clone(),
            nonce: interaction.nonce.clone(),
            login: user.login,
            mailbox: user.mailbox,
            scopes,
            offline: interaction.offline,
            expires_at: end_of(self.code_life, now),
            family: None,
        });
        let decided = self.send_back(&interaction, &[("code", &code)], now);
        Decided { granted: true, ..decided }
    }

    fn deny(&mut self, number: &str, interaction: &Interaction, now: Timestamp) -> Decided {
        self.interactions.remove(number);
        self.send_back(interaction, &[("error", "access_denied"), ("error_description", "the user said no")], now)
    }

    fn interaction(&self, form: &Form) -> Option<(String, Interaction)> {
        let number = form.one("interaction")?;
        Some((number.to_owned(), self.interactions.get(number)?.clone()))
    }

    /// Redirects the browser with `answer`, the state and the issuer (RFC 6749 §4.1.2, RFC 9207 §2).
    fn send_back(&self, interaction: &Interaction, answer: &[(&str, &str)], now: Timestamp) -> Decided {
        let Ok(mut target) = Url::parse(&interaction.redirect_uri) else {
            return refused_page("redirect_uri is not a URI", now);
        };
        {
            let mut query = target.query_pairs_mut();
            query.extend_pairs(answer);
            if let Some(state) = &interaction.state {
                query.append_pair("state", state);
            }
            if self.sends_iss {
                query.append_pair("iss", &self.issuer);
            }
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        usual_headers(&mut response, "text/html; charset=utf-8", now);
        if let Ok(value) = HeaderValue::from_str(target.as_str()) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        let error = answer.iter().find(|(name, _)| *name == "error").map(|(_, error)| (*error).to_owned());
        Decided { error, ..Decided::of(response) }
    }
}

/// Whether the request may be shown to a person; else the error that the client gets.
fn acceptable(client: &Client, interaction: &Interaction, form: &Form) -> Result<(), (&'static str, &'static str)> {
    if form.one("response_type") != Some("code") {
        return Err(("unsupported_response_type", "only response_type=code is offered"));
    }
    if !client.grant_types.contains(&"authorization_code") {
        return Err(("unauthorized_client", "this client may not use authorization_code"));
    }
    match (form.one("code_challenge_method"), &interaction.challenge) {
        (Some("S256"), Some(challenge)) if challenge.len() == 43 => {}
        (None, None) if !client.pkce_required => {}
        (None, None) => return Err(("invalid_request", "code_challenge is missing")),
        _ => return Err(("invalid_request", "PKCE must be S256")),
    }
    if interaction.scopes.iter().any(|scope| !client.scopes.contains(scope)) {
        return Err(("invalid_scope", "a scope is not for this client"));
    }
    Ok(())
}

fn login_page(number: &str, interaction: &Interaction, problem: &str) -> String {
    let client = escape(&interaction.client_id);
    let hint = escape(&interaction.login_hint);
    let (number, problem) = (escape(number), escape(problem));
    page(&format!(
        "<h1>Sign in</h1><p><b>{client}</b> wants to send mail for you.</p><p role=\"alert\">{problem}</p>\
         <form method=\"post\" action=\"/login\"><input type=\"hidden\" name=\"interaction\" value=\"{number}\">\
         <p><label>Login <input name=\"login\" value=\"{hint}\" autofocus></label></p>\
         <p><label>Password <input type=\"password\" name=\"password\"></label></p>\
         <p><button name=\"action\" value=\"login\">Sign in</button> \
         <button name=\"action\" value=\"cancel\">Cancel</button></p></form>"
    ))
}

fn consent_page(number: &str, interaction: &Interaction, user: &User) -> String {
    let mut boxes = String::new();
    for scope in &interaction.scopes {
        let scope = escape(scope);
        let field = format!("<input type=\"checkbox\" name=\"scope:{scope}\" value=\"on\" checked>");
        let _ = write!(boxes, "<li><label>{field} {scope}</label></li>");
    }
    let (client, number) = (escape(&interaction.client_id), escape(number));
    let (login, mailbox) = (escape(&user.login), escape(&user.mailbox));
    page(&format!(
        "<h1>Allow {client}?</h1><p>You are <b>{login}</b> ({mailbox}). It asks for:</p>\
         <form method=\"post\" action=\"/consent\"><input type=\"hidden\" name=\"interaction\" value=\"{number}\">\
         <ul>{boxes}</ul><p><button name=\"action\" value=\"allow\">Allow</button> \
         <button name=\"action\" value=\"deny\">Deny</button></p></form>"
    ))
}

fn page(body: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>frankd sandbox</title>\
         <style>body{{font:16px sans-serif;max-width:32em;margin:3em auto}}</style>{body}</html>\n"
    )
}

fn html(status: u16, body: &str, now: Timestamp) -> Decided {
    let mut response = Response::new(Bytes::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    usual_headers(&mut response, "text/html; charset=utf-8", now);
    Decided::of(response)
}

/// A page that says what is wrong and sends the browser nowhere.
fn refused_page(why: &str, now: Timestamp) -> Decided {
    let decided =
        html(400, &page(&format!("<h1>This request is wrong</h1><p role=\"alert\">{}</p>", escape(why))), now);
    Decided { error: Some(why.to_owned()), ..decided }
}
