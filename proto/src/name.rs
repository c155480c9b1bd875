//! Names that people give to clients and profiles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A name: 1 to 63 octets, lower-case letters, digits, `.`, `_`, `-`, beginning with a letter or digit.
///
/// So a name is safe on a command line, in a file name, in a log and in a header.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// A string is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 lower-case letters, digits, '.', '_' or '-', and begins with a letter or digit")]
pub struct InvalidName;

impl Name {
    /// The longest name, in octets.
    pub const MAX: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let good = (1..=Self::MAX).contains(&bytes.len())
            && plain(bytes[0])
            && bytes.iter().all(|c| plain(*c) || matches!(c, b'.' | b'_' | b'-'));
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

impl From<crate::ids::ProfileId> for Name {
    /// The name that stands for a profile whose own name is gone with it: its id in lower case.
    fn from(id: crate::ids::ProfileId) -> Self {
        Self(id.to_string().to_ascii_lowercase())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_mistaken_for_something_else_are_refused() {
        for bad in ["", "-a", ".a", "A", "a b", "a/b", "a\n", "é", &"a".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(InvalidName), "{bad:?}");
        }
        for good in ["a", "alerts", "m365-app", "0.x_y", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good:?}");
        }
    }
}
