//! The authorization server, driven as a client would drive it: in this file what the tests share.

mod client_authentication;
mod faults;
mod grants;
mod pages;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, header};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use super::form::{Form, encode};
use super::token::s256;
use super::*;
use crate::sandbox::clock::within;

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const REDIRECT: &str = "http://127.0.0.1:4711/callback";

fn server() -> AuthorizationServer {
    let now = Now::of_tokio("2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap());
    let server = AuthorizationServer::new("https://login.sandbox.test", now, 7);
    server.add_client(Client::interactive("web", "s3cret"));
    server.add_client(Client::service("svc", "svc-secret", "svc@sandbox.test"));
    server.add_user(User::new("alice", "pw", "alice@sandbox.test"));
    server
}

fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| encode(&[(text, "")]).trim_end_matches('=').to_owned();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

fn post(path: &str, authorization: Option<&str>, fields: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(encode(fields).into()).unwrap()
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

async fn token(server: &AuthorizationServer, client: (&str, &str), fields: &[(&str, &str)]) -> (u16, Value) {
    let response = server.answer(post("/token", Some(&basic(client.0, client.1)), fields)).await.unwrap();
    (response.status().as_u16(), json(&response))
}

async fn service_token(server: &AuthorizationServer) -> (u16, Value) {
    token(server, ("svc", "svc-secret"), &[("grant_type", "client_credentials")]).await
}

fn authorize_url(server: &AuthorizationServer, scope: &str) -> String {
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", "web"),
        ("redirect_uri", REDIRECT),
        ("scope", scope),
        ("state", "st&te"),
        ("code_challenge", &s256(VERIFIER)),
        ("code_challenge_method", "S256"),
    ]);
    format!("{}?{query}", server.url("/authorize"))
}

/// Walks the pages; returns the query of the redirect.
async fn walk(server: &AuthorizationServer, scope: &str, decision: &Decision) -> Form {
    let url = authorize_url(server, scope);
    let back = Browser::of(server).grant(&url, "alice", "pw", decision).await.unwrap();
    Form::parse(back.strip_prefix(&format!("{REDIRECT}?")).unwrap()).unwrap()
}

async fn exchange(server: &AuthorizationServer, code: &str) -> (u16, Value) {
    let fields =
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    token(server, ("web", "s3cret"), &fields).await
}

/// A granted consent: access token, refresh token.
async fn consent(server: &AuthorizationServer) -> (String, String) {
    let back = walk(server, "smtp.send", &Decision::Allow).await;
    let (status, answer) = exchange(server, back.one("code").unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    (text(&answer, "access_token"), text(&answer, "refresh_token"))
}

async fn refresh(server: &AuthorizationServer, refresh_token: &str) -> (u16, Value) {
    token(server, ("web", "s3cret"), &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_default().to_owned()
}
