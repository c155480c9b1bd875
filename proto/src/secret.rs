//! Values that must not be seen.
//!
//! [`Secret`] is the one type for them: its `Debug` shows nothing, it has no `Display`, its memory is wiped when it goes,
//! and `expose()` is easy to search for. On the wire secrets are write-only: a caller gives a [`SecretInput`], and reads
//! a [`SecretView`].

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Text that must not be logged, shown or left in memory.
///
/// Equality takes the same time wherever two secrets of one length differ.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` into care.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Called only where a secret is used, sealed or handed out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no control character, as what a person gives as one line.
    #[must_use]
    pub fn is_one_line(&self) -> bool {
        !self.0.chars().any(char::is_control)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.bytes().zip(other.0.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// How a caller gives a secret. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretInput {
    /// The secret itself; kept sealed in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret>,
    /// Name of a systemd credential of the daemon, read at each use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Name of a file in `/etc/frankd/secrets/`, read at each use. A bare name, no path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When the provider says that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl SecretInput {
    /// A secret given by value.
    #[must_use]
    pub fn value(secret: Secret) -> Self {
        Self { value: Some(secret), ..Self::default() }
    }
}

/// What is told of a stored secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretView {
    /// Whether there is one.
    pub set: bool,
    /// First 12 hexadecimal digits of a keyed digest: tells whether two are the same, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// `value`, `credential:NAME` or `file:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was last set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// When it ends, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let input = SecretInput::value(Secret::new("hunter2"));
        assert!(!format!("{input:?}").contains("hunter2"));
    }

    #[test]
    fn equality_looks_at_content_and_length() {
        assert_eq!(Secret::new("abc"), Secret::new("abc"));
        assert_ne!(Secret::new("abc"), Secret::new("abd"));
        assert_ne!(Secret::new("abc"), Secret::new("abcd"));
    }
}
