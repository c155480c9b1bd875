//! Reads what an access token says of itself, to explain refusals. Opaque tokens say nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frankd_proto::Secret;
use serde_json::Value;

use crate::domain::delivery::TokenClaims;

/// Most characters of one claim that are kept.
const LONGEST: usize = 200;

/// The claims of a JWT access token, `None` for an opaque one.
pub fn read(token: &Secret) -> Option<TokenClaims> {
    let mut parts = token.expose().split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let account = ["upn", "preferred_username", "unique_name", "email"];
    Some(TokenClaims {
        audience: words(claims.get("aud")?, ""),
        account: account.iter().find_map(|name| claims.get(*name)?.as_str()).map(clean),
        scopes: claims.get("scp").or_else(|| claims.get("scope")).map(|v| words(v, " ")).unwrap_or_default(),
        roles: claims.get("roles").map(|v| words(v, "")).unwrap_or_default(),
    })
}

/// A string, cut at `separator` unless that is empty, or the strings of an array.
fn words(value: &Value, separator: &str) -> Vec<String> {
    match value {
        Value::String(text) if separator.is_empty() => vec![clean(text)],
        Value::String(text) => text.split(separator).filter(|word| !word.is_empty()).map(clean).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(clean).collect(),
        _ => Vec::new(),
    }
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn the_claims_of_both_token_kinds_are_read() {
        let person = read(&jwt(
            r#"{"aud":"https://graph.microsoft.com","upn":"admin@x.example","scp":"User.Read SMTP.Send","ver":"1.0"}"#,
        ))
        .unwrap();
        assert_eq!(person.audience, ["https://graph.microsoft.com"]);
        assert_eq!(person.account.as_deref(), Some("admin@x.example"));
        assert_eq!(person.scopes, ["User.Read", "SMTP.Send"]);
        let app = read(&jwt(r#"{"aud":["a","b"],"roles":["SMTP.SendAsApp"]}"#)).unwrap();
        assert_eq!((app.audience.len(), app.account, app.roles), (2, None, vec!["SMTP.SendAsApp".to_owned()]));
    }

    #[test]
    fn opaque_tokens_say_nothing() {
        for token in ["ya29.a0ARrdaM", "a.b.c", "e30.e30.c2ln", "a.b.c.d", "", "EwBwA8l6BAAU"] {
            assert_eq!(read(&Secret::new(token)), None, "{token}");
        }
    }
}
