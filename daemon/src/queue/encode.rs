//! Encodes texts of a header so that every reader gets back what was given: encoded words (RFC 2047) and file names
//! (RFC 2231).
//!
//! A text is encoded as a whole or not at all. White space between two encoded words is no part of the text (§6.2), so a
//! word that ends at a space would swallow it; and a text that only looks like an encoded word would be read as one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest encoded word (RFC 2047 §2).
const WORD_MAX: usize = 75;
/// Longest line with an encoded word in it (§2), without the line end.
const LINE_MAX: usize = 76;
const BEFORE: &str = "=?utf-8?b?";
const AFTER: &str = "?=";
/// Longest piece of a file name on one line.
const PIECE_MAX: usize = 56;

/// Whether a text cannot stand in a header as it is.
pub(super) fn is_needed(text: &str) -> bool {
    !text.is_ascii() || text.contains("=?")
}

/// The text in encoded words, folded. `column` is where the first one begins.
pub(super) fn words(text: &str, column: usize) -> String {
    let mut encoded = String::new();
    let mut room = octets(LINE_MAX.saturating_sub(column));
    let mut word = String::new();
    for c in text.chars() {
        if !word.is_empty() && word.len() + c.len_utf8() > room {
            put(&mut encoded, &word);
            word.clear();
            room = octets(LINE_MAX - 1);
        }
        word.push(c);
    }
    put(&mut encoded, &word);
    encoded
}

fn put(encoded: &mut String, word: &str) {
    if !encoded.is_empty() {
        encoded.push_str("\r\n ");
    }
    encoded.push_str(BEFORE);
    STANDARD.encode_string(word, encoded);
    encoded.push_str(AFTER);
}

/// How many octets an encoded word in so much room holds.
fn octets(room: usize) -> usize {
    (room.min(WORD_MAX).saturating_sub(BEFORE.len() + AFTER.len())) / 4 * 3
}

/// A parameter with a file name in it, each piece on a line of its own (RFC 2231 §3, §4).
pub(super) fn parameter(name: &str, value: &str) -> String {
    let mut pieces = vec![String::new()];
    for octet in value.bytes() {
        let plain = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        let text = if plain { char::from(octet).to_string() } else { format!("%{octet:02X}") };
        match pieces.last_mut() {
            Some(piece) if piece.len() + text.len() <= PIECE_MAX => piece.push_str(&text),
            _ => pieces.push(text),
        }
    }
    match pieces.as_slice() {
        [whole] => format!("\r\n {name}*=utf-8''{whole}"),
        pieces => {
            let line = |(i, piece): (usize, &String)| {
                let charset = if i == 0 { "utf-8''" } else { "" };
                format!("\r\n {name}*{i}*={charset}{piece}")
            };
            pieces.iter().enumerate().map(line).collect::<Vec<_>>().join(";")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::words::decode;
    use super::*;

    #[test]
    fn a_file_name_is_one_parameter_or_several() {
        assert_eq!(parameter("filename", "=?utf-8?q?a?=.txt"), "\r\n filename*=utf-8''%3D%3Futf-8%3Fq%3Fa%3F%3D.txt");
        let long = parameter("filename", &"=?".repeat(60));
        assert!(long.starts_with("\r\n filename*0*=utf-8''%3D%3F") && long.contains(";\r\n filename*1*=%3"), "{long}");
        assert!(long.split("\r\n").all(|line| line.len() <= 78), "{long}");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_lines_of_76(text in "[ -~äß€😀]{1,200}", column in 0..60usize) {
            let encoded = words(&text, column);
            prop_assert!(encoded.is_ascii());
            let mut lines = encoded.split("\r\n");
            prop_assert!(column + lines.next().map_or(0, str::len) <= LINE_MAX || column > 40);
            for line in lines {
                prop_assert!(line.len() <= LINE_MAX, "{line}");
            }
            prop_assert_eq!(decode(&encoded.replace("\r\n", "")), text);
        }
    }
}
