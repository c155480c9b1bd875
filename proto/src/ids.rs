//! Identifiers: a prefix that names the kind of thing, and a ULID.
//!
//! An id never changes and is never used again, unlike a name. The daemon makes them; here they are only checked and
//! carried.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {prefix:?} and 26 characters of a ULID")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from the 128 bits of a ULID.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits of the ULID; they sort as the ids do.
            #[must_use]
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// Milliseconds since 1970 at which the id was made.
            #[must_use]
            pub const fn unix_ms(self) -> u64 {
                (self.0 >> 80) as u64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                encode(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(decode)
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A client, through all its names.
    ClientId, "cli_"
);
id!(
    /// A profile, through all its names. Its token slot and its queue hang on it.
    ProfileId, "prf_"
);
id!(
    /// An authorization in progress, or one that ended.
    GrantId, "grt_"
);
id!(
    /// A queued message.
    MessageId, "msg_"
);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

fn encode(bits: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for position in (0..LENGTH).rev() {
        let digit = (bits >> (position * 5)) & 31;
        fmt::Write::write_char(f, char::from(ALPHABET[digit as usize]))?;
    }
    Ok(())
}

fn decode(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != LENGTH || bytes[0] > b'7' {
        return None;
    }
    bytes.iter().try_fold(0u128, |bits, byte| {
        let digit = ALPHABET.iter().position(|c| *c == byte.to_ascii_uppercase())?;
        Some(bits << 5 | digit as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_written() -> Result<(), InvalidId> {
        let id = MessageId::from_bits(0x0199_5f3e_7a10_1234_5678_9abc_def0_1122);
        let text = id.to_string();
        assert_eq!(text.len(), 30);
        assert_eq!(text.parse::<MessageId>()?, id);
        Ok(())
    }

    #[test]
    fn another_kind_a_short_or_an_overflowing_id_is_refused() {
        for text in [
            "grt_00000000000000000000000000",
            "msg_0000",
            "msg_80000000000000000000000000",
            "msg_0000000000000000000000000U",
        ] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }
}
