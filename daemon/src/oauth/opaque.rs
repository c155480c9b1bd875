//! Keeps long opaque words out of a provider's texts: they may be a token or secret of any request.
//!
//! The secrets of the request itself are known and taken out whole; a server may also echo those of another one. So a run of
//! token characters (RFC 6750 §2.1) goes if enough of it reads like no word. What people look for stays: codes such as
//! AADSTS7000222, UUIDs, times, hosts and URLs.

/// Shortest run that may be a token.
const SHORTEST: usize = 20;
/// So many octets in parts that are no words make a run opaque.
const OPAQUE: usize = 16;
/// Longest code of letters and a number behind them.
const LONGEST_CODE: usize = 16;
/// What stands in its place.
const HIDDEN: &str = "(hidden)";

/// The text without opaque runs.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_token) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !is_of_token(c)).unwrap_or(from.len()));
        masked.push_str(before);
        masked.push_str(if is_opaque(run) { HIDDEN } else { run });
        rest = after;
    }
    masked.push_str(rest);
    masked
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=".contains(c)
}

fn is_opaque(run: &str) -> bool {
    let pieces = run.split(['.', '/', '=', '+', '~']).filter(|piece| !is_uuid(piece));
    let strange = pieces.flat_map(|piece| piece.split(['-', '_'])).filter(|part| !is_word(part));
    run.len() >= SHORTEST && strange.map(str::len).sum::<usize>() >= OPAQUE
}

/// Letters like those of a word or of a CamelCase name, a number, both (`oauth2`), or so short that it tells nothing.
fn is_word(part: &str) -> bool {
    let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let humps = stem.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    let mixed = !stem.is_empty() && stem.len() < part.len();
    let reads = stem.bytes().all(|c| c.is_ascii_alphabetic()) && humps.count() <= 1 + stem.len() / 6;
    part.len() <= 5 || reads && !(mixed && part.len() > LONGEST_CODE)
}

fn is_uuid(piece: &str) -> bool {
    let parts: Vec<&str> = piece.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_secrets_of_all_shapes_are_hidden() {
        for token in [
            "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhbGVydHMifQ.c2lnbmF0dXJlLW9mLWl0",
            "ya29.A0ARrdaM-abcdefghijklmnopqrstuvwxyz0123456789",
            "1//0gFh3kQ9vXzTpCgYIARAAGBASNwF-L9IrYq3m",
            "0.AXoAq8Yb7kQ1mUuH3nT5vRzLkE9aB2cD4eF6gH8i",
            "Ab18Q~mO7kLmnoPq2rstuV.xYz3_ABc4dEf5gHi6",
            "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",
            "8f14e45fceea167a5a36dedd4bea2543",
            "dGhpcyBpcyBhIHRva2VuIG9m+YW5vdGhlciByZXF1ZXN0/Pw==",
        ] {
            assert_eq!(mask(&format!("bad token '{token}', sorry")), "bad token '(hidden)', sorry");
            assert_eq!(mask(token), HIDDEN);
        }
    }

    #[test]
    fn what_people_look_for_stays() {
        for text in [
            "AADSTS7000222: The provided client secret keys for app 'd3590ed6-52b3-4102-aeff-aad2292ab01c' are expired. \
             Trace ID: 0e2a1f5c-7a67-4b0c-9a7f-3f1d8c6c1b00 Correlation ID: 5f1c8a9e-1111-2222-3333-444455556666 \
             Timestamp: 2026-05-01 10:11:12Z",
            "at 2026-05-01T10:11:12.1234567Z, or 2026-05-01T10:11:12+02:00",
            "see https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/oauth2/v2.0/token",
            "the scope https://outlook.office365.com/SMTP.SendAsApp or https://mail.google.com/ is not granted",
            "Token has been expired or revoked. (invalid_grant, unsupported_grant_type, InvalidAuthenticationTokenAudience)",
            "client smtp-relay-production-europe at idp.internal.example.org:8443/realms/master",
            "Größe 12345678901234567890123456789 ist zu groß",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_random_token_is_shown(token in "([A-Za-z0-9]{3}[0-9][a-z]){5,16}") {
            let shown = mask(&format!("no {token}!"));
            proptest::prop_assert!(!shown.contains(&token));
        }
    }
}
