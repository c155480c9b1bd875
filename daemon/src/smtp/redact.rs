//! Keeps credentials out of everything that a server may say back.
//!
//! Some servers quote the command that they refuse, cut anywhere. So every piece of [`PIECE`] octets of a credential is
//! known here by its hash, and text that has such a piece in it loses it. The credential itself is not kept.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Shortest piece of a credential that counts. A shorter credential counts whole.
const PIECE: usize = 12;

/// What stands in the place of a credential.
const HIDDEN: &str = "[hidden]";

/// The credentials of one session.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    known: Vec<(usize, HashSet<u64>)>,
}

impl Redactor {
    /// Learns a credential.
    pub(super) fn learn(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let length = secret.len().min(PIECE);
        let pieces = secret.as_bytes().windows(length).map(hash).collect();
        self.known.push((length, pieces));
    }

    /// The text without any piece of a credential.
    pub(super) fn clean(&self, text: String) -> String {
        let octets = text.as_bytes();
        let mut hidden = vec![false; octets.len()];
        for (length, pieces) in &self.known {
            for (at, piece) in octets.windows(*length).enumerate() {
                if pieces.contains(&hash(piece)) {
                    hidden[at..at + length].fill(true);
                }
            }
        }
        if !hidden.contains(&true) {
            return text;
        }
        let mut cleaned = String::with_capacity(text.len());
        let mut in_hidden = false;
        for (at, c) in text.char_indices() {
            let hide = hidden[at..at + c.len_utf8()].contains(&true);
            if !hide {
                cleaned.push(c);
            } else if !in_hidden {
                cleaned.push_str(HIDDEN);
            }
            in_hidden = hide;
        }
        cleaned
    }
}

fn hash(piece: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    piece.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_credential_is_hidden_wherever_it_is_cut() {
        let secret = "ya29.A0ARrdaM-abcdefghijklmnopqrstuvwxyz0123456789";
        let mut redactor = Redactor::default();
        redactor.learn(secret);
        redactor.learn("hunter2");
        for (from, to) in [(0, secret.len()), (0, 20), (17, 40), (3, 15)] {
            let said = redactor.clean(format!("unknown command: \"AUTH ü {}\"", &secret[from..to]));
            assert_eq!(said, "unknown command: \"AUTH ü [hidden]\"");
        }
        assert_eq!(redactor.clean("no hunter2 here".to_owned()), "no [hidden] here");
        assert_eq!(redactor.clean("5.7.8 bad credentials".to_owned()), "5.7.8 bad credentials");
    }
}
