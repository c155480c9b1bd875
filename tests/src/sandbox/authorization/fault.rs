//! How the authorization server can misbehave: every fault by name, and tables of odd answers.
//!
//! A fault is armed for an endpoint and a number of requests; the first armed fault of an endpoint strikes. What it does
//! falls into three: the request is swallowed, another answer is given *instead* (nothing is decided), or the request is
//! decided and the answer is lost, delayed or *altered*. The difference matters: a decided refresh has rotated the token.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::strike::{Act, Alteration, Canned};

/// One misbehaviour.
#[derive(Clone, Debug)]
pub struct Fault {
    name: &'static str,
    pub(super) act: Act,
}

const HTML: &str = "<!DOCTYPE html><title>Sign in to the guest network</title><p>Please accept the terms.</p>\n";

impl Fault {
    /// Never answers; the request is never decided.
    #[must_use]
    pub fn hang() -> Self {
        Self { name: "hang", act: Act::Hang }
    }

    /// Resets the connection; the request is never decided.
    #[must_use]
    pub fn reset() -> Self {
        Self { name: "reset", act: Act::Reset }
    }

    /// Decides, then loses the answer: a rotated refresh token is gone.
    #[must_use]
    pub fn drop_response() -> Self {
        Self { name: "drop_response", act: Act::DropResponse }
    }

    /// Waits before it decides; a caller that goes away meanwhile was never here.
    #[must_use]
    pub fn slow(time: Duration) -> Self {
        Self { name: "slow", act: Act::Slow(time) }
    }

    /// Decides, then waits before it answers.
    #[must_use]
    pub fn late(time: Duration) -> Self {
        Self { name: "late", act: Act::Late(time) }
    }

    /// Answers `status` with `body` and `headers` instead.
    #[must_use]
    pub fn status(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::instead("status", status, headers, body.to_owned())
    }

    /// 429 with `Retry-After` in seconds.
    #[must_use]
    pub fn too_many_requests(retry_after_s: u64) -> Self {
        let headers = vec![("retry-after", retry_after_s.to_string())];
        Self::instead("too_many_requests", 429, headers, String::new())
    }

    /// 503 without a word.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::instead("unavailable", 503, Vec::new(), String::new())
    }

    /// 500 with a page for people.
    #[must_use]
    pub fn html_500() -> Self {
        Self::instead("html_500", 500, html_type(), HTML.to_owned())
    }

    /// 200 with a page for people: a captive portal.
    #[must_use]
    pub fn html_200() -> Self {
        Self::instead("html_200", 200, html_type(), HTML.to_owned())
    }

    /// 302 to another place.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self::instead("redirect", 302, vec![("location", to.to_owned())], String::new())
    }

    /// The OAuth2 error `code`, with `status` (RFC 6749 §5.2 says 400, some servers say 200).
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        let description = format!("the sandbox was told to answer {code}");
        Self::error_object(status, &json!({ "error": code, "error_description": description }))
    }

    /// Any JSON object as an error answer: provider codes such as `error_codes`, `suberror`, `error_subtype`.
    #[must_use]
    pub fn error_object(status: u16, object: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::instead("error", status, headers, object.to_string())
    }

    /// `invalid_client` with 401.
    #[must_use]
    pub fn invalid_client() -> Self {
        Self::error(401, "invalid_client")
    }

    /// `invalid_grant` with 400, though the grant is good.
    #[must_use]
    pub fn invalid_grant() -> Self {
        Self::error(400, "invalid_grant")
    }

    /// Replaces one field of the JSON answer.
    #[must_use]
    pub fn field(name: &'static str, value: Value) -> Self {
        Self::altered("field", Alteration::Field(name, value))
    }

    /// Leaves one field of the JSON answer out.
    #[must_use]
    pub fn without(name: &'static str) -> Self {
        Self::altered("without", Alteration::Without(name))
    }

    /// Grants less than was asked for.
    #[must_use]
    pub fn scope(scope: &str) -> Self {
        Self::field("scope", json!(scope))
    }

    /// `scope` as an array of strings.
    #[must_use]
    pub fn scope_as_array() -> Self {
        Self::altered("scope_as_array", Alteration::ScopeAsArray)
    }

    /// Writes one field of the JSON answer twice, first with another value.
    #[must_use]
    pub fn repeated(name: &'static str) -> Self {
        Self::altered("repeated", Alteration::Repeated(name))
    }

    /// Sets the status of a proper answer, such as 201.
    #[must_use]
    pub fn status_of_answer(status: u16) -> Self {
        Self::altered("status_of_answer", Alteration::Status(status))
    }

    /// Sets a header of a proper answer, such as a JSON body called `text/html`.
    #[must_use]
    pub fn header(name: &'static str, value: &str) -> Self {
        Self::altered("header", Alteration::Header(name, value.to_owned()))
    }

    /// Leaves a header of a proper answer out.
    #[must_use]
    pub fn without_header(name: &'static str) -> Self {
        Self::altered("without_header", Alteration::WithoutHeader(name))
    }

    /// Skews the `Date` header by so many seconds.
    #[must_use]
    pub fn date_skewed(seconds: i64) -> Self {
        Self::altered("date_skewed", Alteration::DateSkewed(SignedDuration::from_secs(seconds)))
    }

    /// Begins the body with a byte order mark.
    #[must_use]
    pub fn bom() -> Self {
        Self::altered("bom", Alteration::Bom)
    }

    /// Pads the body with white space to `octets`.
    #[must_use]
    pub fn padded_to(octets: usize) -> Self {
        Self::altered("padded_to", Alteration::PaddedTo(octets))
    }

    /// The fault's name, as the journal shows it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Answers that differ from RFC 6749 §5.1 but mean a token all the same: a client should take each of them.
    #[must_use]
    pub fn lenient_answers() -> Vec<(&'static str, Self)> {
        vec![
            ("expires_in is a string", Self::field("expires_in", json!("3600"))),
            ("expires_in is a float", Self::field("expires_in", json!(3600.0))),
            ("expires_in is missing", Self::without("expires_in")),
            ("expires_in is null", Self::field("expires_in", Value::Null)),
            ("expires_in is negative", Self::field("expires_in", json!(-1))),
            ("expires_in is huge", Self::field("expires_in", json!(1e20))),
            ("expires_in is 2^63", Self::field("expires_in", json!(1_u64 << 63))),
            ("token_type is lower case", Self::field("token_type", json!("bearer"))),
            ("token_type is missing", Self::without("token_type")),
            ("token_type is null", Self::field("token_type", Value::Null)),
            ("scope is an array", Self::scope_as_array()),
            ("scope has spaces too many", Self::scope("smtp.send  openid ")),
            ("scope is comma-separated", Self::scope("smtp.send,openid")),
            ("scope is empty", Self::scope("")),
            ("a key comes twice", Self::repeated("access_token")),
            ("a byte order mark comes first", Self::bom()),
            ("the status is 201", Self::status_of_answer(201)),
            ("the type is text/html", Self::header("content-type", "text/html")),
            ("the type is text/javascript", Self::header("content-type", "text/javascript; charset=utf-8")),
            ("the type is text/plain", Self::header("content-type", "text/plain")),
            ("the type is application/vnd.example+json", Self::header("content-type", "application/vnd.example+json")),
            ("the type is missing", Self::without_header("content-type")),
            ("the refresh token is false", Self::field("refresh_token", json!(false))),
            ("the refresh token is empty", Self::field("refresh_token", json!(""))),
            ("the clock is an hour ahead", Self::date_skewed(3600)),
            ("the clock is an hour behind", Self::date_skewed(-3600)),
        ]
    }

    /// Answers in which there is no token to use: a client must refuse each of them, and keep what it has.
    #[must_use]
    pub fn useless_answers() -> Vec<(&'static str, Self)> {
        vec![
            ("access_token is empty", Self::field("access_token", json!(""))),
            ("access_token has CR LF", Self::field("access_token", json!("good\r\nMAIL FROM:<evil@example.org>"))),
            ("access_token has ^A", Self::field("access_token", json!("good\u{1}auth=Bearer other"))),
            ("access_token is missing", Self::without("access_token")),
            ("token_type is DPoP", Self::field("token_type", json!("DPoP"))),
            ("token_type is empty", Self::field("token_type", json!(""))),
            ("the body is a page", Self::html_200()),
            ("the body is empty", Self::status(200, "", &[])),
            ("the body is 1 MiB", Self::padded_to(1 << 20)),
            ("an error comes with 200", Self::error(200, "temporarily_unavailable")),
            ("a status 204", Self::status(204, "", &[])),
            ("a page with 500", Self::html_500()),
            ("a page with 404", Self::status(404, HTML, &[("content-type", "text/html")])),
            ("a redirect", Self::redirect("https://elsewhere.example/token")),
            ("429 for a minute", Self::too_many_requests(60)),
            ("503", Self::unavailable()),
            ("an unknown error", Self::error(400, "the_dog_ate_it")),
            ("the error is an object", Self::error_object(400, &json!({ "error": { "code": 400, "message": "no" } }))),
            ("the errors are a list", Self::error_object(400, &json!({ "errors": [{ "message": "no" }] }))),
            ("a page with 400", Self::status(400, HTML, &[("content-type", "text/html")])),
            ("invalid_client", Self::invalid_client()),
            ("the connection is reset", Self::reset()),
        ]
    }

    fn instead(name: &'static str, status: u16, headers: Vec<(&'static str, String)>, body: String) -> Self {
        Self { name, act: Act::Instead(Canned { status, headers, body: body.into() }) }
    }

    fn altered(name: &'static str, alteration: Alteration) -> Self {
        Self { name, act: Act::Altered(alteration) }
    }

    /// Whether the request is never decided.
    pub(super) fn swallows(&self) -> bool {
        matches!(self.act, Act::Hang | Act::Reset | Act::Instead(_))
    }

    /// The status of an answer that is given without deciding, for the journal.
    pub(super) fn status_instead(&self) -> Option<u16> {
        match &self.act {
            Act::Instead(canned) => Some(canned.status),
            _ => None,
        }
    }
}

fn html_type() -> Vec<(&'static str, String)> {
    vec![("content-type", "text/html; charset=utf-8".to_owned())]
}
