//! Reading a token endpoint's answer: leniently in its form, strictly in what is used.
//!
//! Servers send `expires_in` as a string, `scope` as a list, `bearer` in lower case, JSON as `text/html`, errors with 200
//! and tokens with 201. All of that is read. What would be unsafe to use is refused: an access token goes into a SASL
//! string, so it is visible ASCII and of a sane length.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frankd_proto::Secret;
use frankd_proto::error::ProviderError;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::opaque::mask;
use crate::domain::answer::{FailureCause, TokenAnswer, TokenFailure};

/// Longest access or refresh token, in octets.
const LONGEST_TOKEN: usize = 16 * 1024;
/// Longest text of a server that is kept.
const LONGEST_TEXT: usize = 500;
/// Longest `Retry-After` that is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Longest life that is believed, so that no sum of times overflows.
const LONGEST_LIFE: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

/// What came back over HTTP.
#[derive(Debug)]
pub struct HttpAnswer<'a> {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: &'a http::HeaderMap,
    /// Body.
    pub body: &'a [u8],
}

/// Reads the answer to a token request. `sent` are the secrets that the request carried: no text of the server is kept
/// that repeats one.
pub fn token(answer: &HttpAnswer<'_>, sent: &[Secret], now: Timestamp) -> Result<TokenAnswer, TokenFailure> {
    let mut provider = ProviderError { status: Some(answer.status), ..ProviderError::default() };
    let retry_after = retry_after(answer.headers, now);
    let fail = |cause, provider: &ProviderError| TokenFailure { cause, retry_after, provider: provider.clone() };
    if (300..400).contains(&answer.status) {
        let location = answer.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        return Err(fail(FailureCause::Redirect(without_query(location.unwrap_or("another place"))), &provider));
    }
    let json = object(answer.body);
    if let Some(error) = json.as_ref().and_then(error_code) {
        let json = json.unwrap_or_default();
        provider.error = Some(scrub(&error, sent));
        provider.error_description =
            text_field(&json, &["error_description", "message"]).map(|text| scrub(&text, sent));
        provider.correlation_id = text_field(&json, &["correlation_id", "trace_id"]).map(|text| scrub(&text, sent));
        let error = provider.error.clone().unwrap_or_default();
        return Err(fail(FailureCause::Refused(error), &provider));
    }
    if !(200..300).contains(&answer.status) {
        return Err(fail(FailureCause::Status(answer.status), &provider));
    }
    let Some(json) = json else {
        let media_type = answer.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        return Err(fail(FailureCause::NotJson(clip(media_type.unwrap_or("of no media type"))), &provider));
    };
    usable(&json).map_err(|why| fail(FailureCause::Unusable(why), &provider))
}

/// Reads the answer to a revocation request (RFC 7009 §2.2).
pub fn revocation(answer: &HttpAnswer<'_>, sent: &[Secret], now: Timestamp) -> Result<(), TokenFailure> {
    if (200..300).contains(&answer.status) && object(answer.body).is_none_or(|json| error_code(&json).is_none()) {
        return Ok(());
    }
    match token(answer, sent, now) {
        Err(failure) => Err(failure),
        Ok(_) => Ok(()),
    }
}

fn usable(json: &Map<String, Value>) -> Result<TokenAnswer, String> {
    let mut warnings = Vec::new();
    let access_token = match json.get("access_token") {
        Some(Value::String(token)) => check_token("access_token", token)?,
        Some(_) => return Err("access_token is not a string".to_owned()),
        None => return Err("there is no access_token and no error in it".to_owned()),
    };
    match json.get("token_type") {
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(Value::String(kind)) if !kind.is_empty() => {
            return Err(format!("token_type is {:?}, and mail servers take only Bearer", clip(&mask(kind))));
        }
        _ => warnings.push("the answer has no token_type; Bearer is assumed".to_owned()),
    }
    let refresh_token = match json.get("refresh_token") {
        Some(Value::String(token)) if !token.is_empty() => Some(check_token("refresh_token", token)?),
        None | Some(Value::Null | Value::String(_)) => None,
        Some(_) => {
            warnings.push("refresh_token is not a string and is not used".to_owned());
            None
        }
    };
    let expires_in = seconds(json, "expires_in");
    if expires_in.is_none() && json.get("expires_in").is_some_and(|value| !value.is_null()) {
        warnings.push("expires_in cannot be read".to_owned());
    }
    let refresh_expires_in = ["refresh_expires_in", "refresh_token_expires_in", "refresh_token_timeout"]
        .iter()
        .find_map(|name| seconds(json, name));
    Ok(TokenAnswer {
        access_token,
        expires_in,
        refresh_in: seconds(json, "refresh_in"),
        refresh_token,
        refresh_expires_in,
        scopes: scopes(json.get("scope")),
        account: json.get("id_token").and_then(Value::as_str).and_then(account),
        warnings,
    })
}

fn check_token(field: &str, token: &str) -> Result<Secret, String> {
    if token.is_empty() || token.len() > LONGEST_TOKEN {
        return Err(format!("{field} has {} octets; 1 to {LONGEST_TOKEN} are acceptable", token.len()));
    }
    if !token.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(format!("{field} has characters that are not visible ASCII"));
    }
    Ok(Secret::new(token))
}

/// The body as a JSON object, whatever its media type says. Of a repeated key the last value counts.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// The error code: `error` as a string, or the code in an object of that name.
fn error_code(json: &Map<String, Value>) -> Option<String> {
    match json.get("error")? {
        Value::Null | Value::Bool(false) => None,
        Value::String(code) if code.is_empty() => None,
        Value::String(code) => Some(code.clone()),
        Value::Object(nested) => text_field(nested, &["code", "type", "status"]).or_else(|| Some("unknown".to_owned())),
        other => Some(other.to_string()),
    }
}

fn text_field(json: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| json.get(*name).and_then(Value::as_str)).map(str::to_owned)
}

/// A time in seconds, given as a number or a string. Nothing if it is not positive.
fn seconds(json: &Map<String, Value>, name: &str) -> Option<Duration> {
    let value = match json.get(name)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (value >= 1.0).then(|| Duration::from_secs_f64(value.min(LONGEST_LIFE)))
}

fn scopes(value: Option<&Value>) -> Option<Vec<String>> {
    let list: Vec<String> = match value? {
        Value::String(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return None,
    };
    (!list.is_empty()).then_some(list)
}

/// The account that an id_token names. It came over TLS from the token endpoint itself, so its signature proves nothing
/// more (OpenID Connect Core §3.1.3.7).
fn account(id_token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims = object(&payload)?;
    let name = text_field(&claims, &["email", "preferred_username", "upn"])?;
    (!name.is_empty() && !name.chars().any(char::is_control)).then(|| clip(&name))
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
fn retry_after(headers: &http::HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// A server's text without control characters, cut to length, without any secret that it repeats, and without what may
/// be one of another request.
fn scrub(text: &str, sent: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in sent.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret.expose(), "(secret)");
    }
    clip(&mask(&text))
}

fn clip(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_TEXT).collect()
}

fn without_query(url: &str) -> String {
    clip(&mask(url.split(['?', '#']).next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn read(status: u16, body: &str) -> Result<TokenAnswer, TokenFailure> {
        let headers = http::HeaderMap::new();
        token(&HttpAnswer { status, headers: &headers, body: body.as_bytes() }, &[Secret::new("s3cret-value")], NOW)
    }

    #[test]
    fn what_real_servers_send_is_read() {
        let hour = Some(Duration::from_secs(3600));
        for (status, body, expires_in) in [
            (200, r#"{"access_token":"a","token_type":"Bearer","expires_in":3600}"#, hour),
            (200, r#"{"access_token":"a","token_type":"bearer","expires_in":"3600"}"#, hour),
            (201, r#"{"access_token":"a","token_type":"BEARER","expires_in":3600.0}"#, hour),
            (200, r#"{"access_token":"a","token_type":"Bearer","expires_in":null}"#, None),
            (200, r#"{"access_token":"a","token_type":"Bearer"}"#, None),
            (200, r#"{"access_token":"a","expires_in":-1}"#, None),
            (200, "\u{feff}{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":3600}", hour),
            (200, r#"{"access_token":"b","access_token":"a","token_type":"Bearer","error":null}"#, None),
        ] {
            let answer = read(status, body).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!(answer.access_token, Secret::new("a"), "{body}");
            assert_eq!(answer.expires_in, expires_in, "{body}");
        }
    }

    #[test]
    fn scopes_come_as_text_or_list() {
        let scopes = |scope: &str| {
            read(200, &format!(r#"{{"access_token":"a","token_type":"Bearer","scope":{scope}}}"#)).unwrap().scopes
        };
        let two = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!((scopes(r#""a  b ""#), scopes(r#"["a","b"]"#), scopes(r#""""#)), (two.clone(), two, None));
    }

    #[test]
    fn what_is_unsafe_or_no_token_is_refused() {
        for (status, body, cause) in [
            (200, r#"{"access_token":"a\r\nMAIL FROM:<x>","token_type":"Bearer"}"#, "characters"),
            (200, r#"{"access_token":"","token_type":"Bearer"}"#, "0 octets"),
            (200, r#"{"access_token":"a","token_type":"DPoP"}"#, "token_type"),
            (200, r#"{"access_token":7,"token_type":"Bearer"}"#, "not a string"),
            (200, "{}", "no access_token"),
            (200, "<html>log in</html>", "not a token response"),
            (200, "[]", "not a token response"),
            (200, r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (400, r#"{"error":{"code":"invalid_client","message":"no"}}"#, "invalid_client"),
            (302, "", "redirects"),
            (503, "<html>busy</html>", "503"),
        ] {
            let failure = read(status, body).unwrap_err();
            assert!(failure.to_string().contains(cause), "{body}: {failure}");
        }
    }

    #[test]
    fn a_secret_that_the_server_repeats_is_not_kept() {
        let failure =
            read(400, r#"{"error":"invalid_client","error_description":"bad secret s3cret-value!\n"}"#).unwrap_err();
        assert_eq!(failure.provider.error_description.as_deref(), Some("bad secret (secret)! "));
    }

    #[test]
    fn a_token_of_another_request_is_not_kept_either() {
        let other = "ya29.A0ARrdaM-abcdefghijklmnopqrstuvwxyz0123456789";
        let body = format!(r#"{{"error":"invalid_grant","error_description":"AADSTS50173: {other} is revoked"}}"#);
        let failure = read(400, &body).unwrap_err();
        assert_eq!(failure.provider.error_description.as_deref(), Some("AADSTS50173: (hidden) is revoked"));
        let kind = read(200, &format!(r#"{{"access_token":"a","token_type":"{other}"}}"#)).unwrap_err();
        assert!(!kind.to_string().contains("ya29"), "{kind}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, seconds) in [("17", 17), ("Thu, 01 Jan 1970 00:02:00 GMT", 120), ("99999", 3600)] {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::RETRY_AFTER, text.parse().unwrap());
            let failure = token(&HttpAnswer { status: 429, headers: &headers, body: b"" }, &[], NOW).unwrap_err();
            assert_eq!(failure.retry_after, Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn the_account_is_that_of_the_id_token() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"preferred_username":"relay@example.org"}"#);
        let body = format!(r#"{{"access_token":"a","token_type":"Bearer","id_token":"e30.{claims}.x"}}"#);
        assert_eq!(read(200, &body).unwrap().account.as_deref(), Some("relay@example.org"));
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_no_token_has_a_control_character(status in 100u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let headers = http::HeaderMap::new();
            if let Ok(answer) = token(&HttpAnswer { status, headers: &headers, body: &body }, &[], NOW) {
                prop_assert!(answer.access_token.expose().bytes().all(|c| c.is_ascii_graphic()));
            }
        }
    }
}
