//! Looks for secrets in what was written, in every form in which a program could have let one out.
//!
//! All work is on octets. Base64 is found wherever it begins inside of a longer text, so the blobs of SASL mechanisms
//! and `Authorization: Basic` need no form of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A secret shorter than this is found in too many places by chance.
const SHORTEST: usize = 6;

/// A secret that was found where it must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What the secret is.
    pub secret: String,
    /// The form in which it was found.
    pub form: &'static str,
    /// Where.
    pub place: String,
}

/// Secrets to look for.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    /// Names of the secrets by the texts to look for, and the form that each is.
    needles: BTreeMap<String, (String, &'static str)>,
}

impl Detector {
    /// Looks for one more secret in all its forms. Gives whether it is long enough to be told from chance.
    pub fn learn(&mut self, name: &str, secret: &[u8]) -> bool {
        if secret.len() < SHORTEST {
            return false;
        }
        for (form, text) in forms(secret) {
            self.needles.entry(text).or_insert_with(|| (name.to_owned(), form));
        }
        true
    }

    /// Every secret in `written`, each with the forms in which it is there.
    #[must_use]
    pub fn look(&self, place: &str, written: &[u8]) -> Vec<Leak> {
        let written = one_to_one(written);
        let found = self.needles.iter().filter(|(text, _)| written.contains(text.as_str()));
        found.map(|(_, (secret, form))| Leak { secret: secret.clone(), form, place: place.to_owned() }).collect()
    }
}

/// Text of the same length as the octets, so that octets which are not UTF-8 can be looked for too.
fn one_to_one(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(*octet)).collect()
}

/// The texts that give a secret away.
fn forms(secret: &[u8]) -> Vec<(&'static str, String)> {
    let text = String::from_utf8_lossy(secret);
    let hex = hex(secret);
    let decimal: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut forms = vec![
        ("raw", one_to_one(secret)),
        ("debug", one_to_one(text.escape_debug().to_string().as_bytes())),
        ("json", one_to_one(serde_json::Value::from(text.as_ref()).to_string().trim_matches('"').as_bytes())),
        ("hex", hex.to_ascii_uppercase()),
        ("hex", hex),
        ("list of octets", decimal.join(", ")),
        ("list of octets", decimal.join(",")),
    ];
    for space in ["%20", "+"] {
        let encoded = percent(secret, space);
        forms.push(("url", lower_hex(&encoded)));
        forms.push(("url", encoded));
    }
    for skip in 0..3 {
        forms.push(("base64", inside(&STANDARD.encode(shifted(secret, skip)), skip, secret.len())));
        forms.push(("base64url", inside(&URL_SAFE.encode(shifted(secret, skip)), skip, secret.len())));
    }
    forms
}

fn hex(secret: &[u8]) -> String {
    secret.iter().fold(String::new(), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

/// Everything but RFC 3986's unreserved characters percent-encoded.
fn percent(secret: &[u8], space: &str) -> String {
    secret.iter().fold(String::new(), |mut text, octet| {
        match octet {
            b' ' => text.push_str(space),
            b'-' | b'.' | b'_' | b'~' => text.push(char::from(*octet)),
            octet if octet.is_ascii_alphanumeric() => text.push(char::from(*octet)),
            octet => {
                let _ = write!(text, "%{octet:02X}");
            }
        }
        text
    })
}

/// The same with lower-case digits behind each percent sign.
fn lower_hex(encoded: &str) -> String {
    let mut left = 0_u8;
    let lower = |c: char| {
        let digit = left > 0;
        left = if c == '%' { 2 } else { left.saturating_sub(1) };
        if digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(lower).collect()
}

fn shifted(secret: &[u8], skip: usize) -> Vec<u8> {
    std::iter::repeat_n(0, skip).chain(secret.iter().copied()).collect()
}

/// The part of a base64 text that depends on nothing but the secret, whatever comes before and behind it.
fn inside(encoded: &str, skip: usize, length: usize) -> String {
    let first = (skip * 8).div_ceil(6);
    let end = (skip + length) * 8 / 6;
    encoded.chars().skip(first).take(end - first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that every encoding changes.
    const SECRET: &str = "hunter/2 &\"ü+?~~";

    fn found(written: &[u8]) -> Vec<&'static str> {
        let mut detector = Detector::default();
        assert!(detector.learn("it", SECRET.as_bytes()));
        detector.look("here", written).iter().map(|leak| leak.form).collect()
    }

    #[test]
    fn a_planted_secret_is_found_in_every_form() {
        assert_eq!(found(format!("password={SECRET}!").as_bytes()), ["raw"]);
        assert_eq!(found(format!("{:?}", Some(SECRET)).as_bytes()).len(), 1);
        assert_eq!(found(serde_json::json!({ "value": SECRET }).to_string().as_bytes()).len(), 1);
        assert_eq!(found(format!("x{}", hex(SECRET.as_bytes())).as_bytes()), ["hex"]);
        assert_eq!(found(hex(SECRET.as_bytes()).to_uppercase().as_bytes()), ["hex"]);
        assert_eq!(found(format!("{:?}", SECRET.as_bytes()).as_bytes()), ["list of octets"]);
        let form = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
        assert_eq!(found(form.replace("%7E", "~").as_bytes()), ["url"], "{form}");
        assert_eq!(found(b"hunter%2f2%20%26%22%c3%bc%2b%3f~~"), ["url"]);
        assert!(found(b"hunter 2 and nothing else").is_empty());
    }

    #[test]
    fn a_planted_secret_is_found_inside_of_sasl_blobs() {
        for user in ["a", "ab", "abc"] {
            for blob in [
                format!("user={user}\u{1}auth=Bearer {SECRET}\u{1}\u{1}"),
                format!("\0{user}\0{SECRET}"),
                format!("{user}:{SECRET}"),
                SECRET.to_owned(),
            ] {
                assert!(found(format!("AUTH X {}", STANDARD.encode(&blob)).as_bytes()).contains(&"base64"), "{blob:?}");
                assert!(found(URL_SAFE.encode(&blob).as_bytes()).contains(&"base64url"), "{blob:?}");
            }
        }
    }

    #[test]
    fn octets_that_are_no_text_are_found_too() {
        let mut detector = Detector::default();
        assert!(detector.learn("key", &[0xff, 0xfe, 0, 1, 2, 3, 0x80]));
        assert_eq!(detector.look("here", &[9, 0xff, 0xfe, 0, 1, 2, 3, 0x80, 9]).len(), 1);
        assert!(!detector.learn("short", b"12345"));
    }
}
