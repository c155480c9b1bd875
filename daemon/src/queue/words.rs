//! Decodes encoded words of a header (RFC 2047), for people to read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text with its encoded words decoded. A word of an unknown charset or with an error in it stays as it is.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        let Some((decoded, length)) = encoded_word(word) else {
            out.push_str(before);
            out.push_str("=?");
            rest = &word[2..];
            after_word = false;
            continue;
        };
        // White space between two encoded words is not part of the text (§6.2).
        if !(after_word && before.chars().all(char::is_whitespace)) {
            out.push_str(before);
        }
        out.push_str(&decoded);
        rest = &word[length..];
        after_word = true;
    }
    out.push_str(rest);
    out
}

/// The word that `text` begins with, decoded, and its length.
fn encoded_word(text: &str) -> Option<(String, usize)> {
    let mut parts = text.strip_prefix("=?")?.splitn(4, '?');
    let (charset, encoding, content, tail) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if !tail.starts_with('=') || content.contains(char::is_whitespace) {
        return None;
    }
    let octets = match encoding {
        "B" | "b" => STANDARD.decode(content).ok()?,
        "Q" | "q" => quoted(content)?,
        _ => return None,
    };
    // RFC 2231 §5 lets a language follow the charset.
    let charset = charset.split('*').next().unwrap_or_default().to_ascii_lowercase();
    let decoded = match charset.as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(octets).ok()?,
        "iso-8859-1" => octets.into_iter().map(char::from).collect(),
        _ => return None,
    };
    Some((decoded, text.len() - tail.len() + 1))
}

fn quoted(content: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(content.len());
    let mut rest = content.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'_' => b' ',
            b'=' => {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_readable() {
        for (text, expected) in [
            ("plain = text ?= here", "plain = text ?= here"),
            ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
            ("=?UTF-8?q?a_b=C3=A9?= c", "a bé c"),
            ("=?utf-8?q?a?= \t =?iso-8859-1*de?q?=FC?=!", "aü!"),
            ("x =?utf-8?q?a?= y", "x a y"),
            ("=?koi8-r?b?0M8=?=", "=?koi8-r?b?0M8=?="),
            ("=?utf-8?q?=ZZ?= =?utf-8?b?", "=?utf-8?q?=ZZ?= =?utf-8?b?"),
            ("=?utf-8?b?/w==?=", "=?utf-8?b?/w==?="),
        ] {
            assert_eq!(decode(text), expected);
        }
    }
}
