//! The records of the database that are not nouns: the sums that tell whether anything is lost, the roster of all small
//! records, idempotency keys, counts.
//!
//! Each is JSON inside a sealed value: a field is only ever added, with `#[serde(default)]`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frankd_proto::{ClientId, GrantId, HoldReason, MessageId, ProfileId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keys;
use crate::domain::Message;
use crate::store::{LaneCount, Record};

/// Names an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubmittedBy {
    pub(super) uid: u32,
    /// SHA-256 of the key.
    #[serde(with = "base64_text")]
    pub(super) key: Vec<u8>,
}

/// What was submitted under an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Submitted {
    /// SHA-256 of the parameters that made the message.
    #[serde(with = "base64_text")]
    pub(super) digest: Vec<u8>,
    pub(super) message: MessageId,
}

/// Tells whether a set of entries is whole: how many there are, and the sum of their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) count: u64,
    sum: u64,
}

impl Sum {
    pub(super) fn add(&mut self, entry: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(u64::from(crc32fast::hash(entry)));
    }

    pub(super) fn remove(&mut self, entry: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(u64::from(crc32fast::hash(entry)));
    }
}

/// The one record that is written with every change: the generation, and what must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Rises with every change: a store that went back in time has a lower one than its side file.
    pub(super) generation: u64,
    /// The run of the daemon.
    pub(super) incarnation: u64,
    /// Number of the last event.
    pub(super) seq: u64,
    /// How many of the last events are kept.
    pub(super) events: u64,
    /// In how many records they are.
    pub(super) event_records: u64,
    /// All index entries.
    pub(super) indexes: Sum,
    /// All messages, each by id and version.
    pub(super) messages: Sum,
    /// All counts.
    pub(super) counts: Sum,
    /// Checksum of the roster.
    pub(super) roster: u32,
}

/// What a message adds to [`Meta::messages`].
pub(super) fn mark_of_message(message: &Message) -> [u8; 24] {
    let mut mark = [0; 24];
    mark[..16].copy_from_slice(&message.id.bits().to_be_bytes());
    mark[16..].copy_from_slice(&message.version.to_be_bytes());
    mark
}

/// Counts of a profile as they are kept: those of a [`LaneCount`] but for what an index tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) waiting: u64,
    pub(super) sending: u64,
    pub(super) held: u64,
    pub(super) in_doubt: u64,
    pub(super) bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, one: &LaneCount) {
        self.waiting += one.waiting;
        self.sending += one.sending;
        self.held += one.held;
        self.in_doubt += one.in_doubt;
        self.bytes += one.bytes;
    }

    pub(super) fn remove(&mut self, one: &LaneCount) {
        self.waiting = self.waiting.saturating_sub(one.waiting);
        self.sending = self.sending.saturating_sub(one.sending);
        self.held = self.held.saturating_sub(one.held);
        self.in_doubt = self.in_doubt.saturating_sub(one.in_doubt);
        self.bytes = self.bytes.saturating_sub(one.bytes);
    }
}

/// Says which small records there are, and in which version: so what is lost or old has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roster(pub(super) BTreeMap<Vec<u8>, Entry>);

/// A record of the [`Roster`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Checksum of its content.
    pub(super) mark: u32,
    /// Its version, if it has one.
    pub(super) version: u64,
    /// Its name, if it has one.
    pub(super) name: Option<String>,
    /// Whether it is a profile that sends no mail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) no_mail: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it by reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Roster {
    /// Keys of all records of one kind.
    pub(super) fn of_kind(&self, kind: u8) -> impl Iterator<Item = &Vec<u8>> {
        self.0.keys().filter(move |key| key.first() == Some(&kind))
    }

    /// The record of another id that has this name.
    pub(super) fn named(&self, kind: u8, name: &str, but: &[u8]) -> Option<&[u8]> {
        let mut of_kind = self.0.iter().filter(|(key, _)| key.first() == Some(&kind) && key.as_slice() != but);
        of_kind.find(|(_, entry)| entry.name.as_deref() == Some(name)).map(|(key, _)| key.as_slice())
    }

    /// The profiles that have a token slot, with its version.
    pub(super) fn slots(&self) -> Vec<(ProfileId, u64)> {
        let slots = self.0.iter().filter(|(key, _)| key.first() == Some(&keys::SLOT));
        slots.filter_map(|(key, entry)| Some((ProfileId::from_bits(keys::last_id(key)?), entry.version))).collect()
    }

    /// A record in words.
    pub(super) fn describe(&self, key: &[u8]) -> String {
        let name = self.0.get(key).and_then(|entry| entry.name.as_ref());
        match (record(key), name) {
            (Some(record), Some(name)) => format!("{record} ({name})"),
            (Some(record), None) => record.to_string(),
            (None, _) => "a record of an unknown kind".to_owned(),
        }
    }
}

impl Serialize for Roster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, entry)| (URL_SAFE_NO_PAD.encode(key), entry)))
    }
}

impl<'de> Deserialize<'de> for Roster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, Entry>::deserialize(deserializer)?;
        let decoded =
            entries.into_iter().map(|(key, entry)| Ok((URL_SAFE_NO_PAD.decode(key).map_err(D::Error::custom)?, entry)));
        decoded.collect::<Result<_, _>>().map(Self)
    }
}

/// What a key of the database names.
pub(super) fn record(key: &[u8]) -> Option<Record> {
    let (kind, rest) = key.split_first()?;
    let id = rest.first_chunk().map(|octets| u128::from_be_bytes(*octets));
    Some(match *kind {
        keys::CLIENT => Record::Client(ClientId::from_bits(id?)),
        keys::PROFILE => Record::Profile(ProfileId::from_bits(id?)),
        keys::SLOT => Record::Slot(ProfileId::from_bits(id?)),
        keys::GRANT => Record::Grant(GrantId::from_bits(id?)),
        keys::GATE => {
            let reason = std::str::from_utf8(rest.get(16..)?).ok()?;
            Record::Gate(ProfileId::from_bits(id?), reason.parse::<HoldReason>().ok()?)
        }
        keys::MESSAGE | keys::ACCEPTED => Record::Message(MessageId::from_bits(id?)),
        keys::EVENTS => Record::Event(u64::from_be_bytes(rest.try_into().ok()?)),
        _ => return None,
    })
}

/// Names a key of the database in an error, whatever it is.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (record(self.0), self.0.first()) {
            (Some(record), _) => record.fmt(f),
            (None, Some(b'M')) => f.write_str("the record of the generation"),
            (None, Some(b'R')) => f.write_str("the roster"),
            (None, Some(kind)) => write!(f, "a record of kind {:?}", char::from(*kind)),
            (None, None) => f.write_str("a record without a key"),
        }
    }
}

mod base64_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(octets))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)
    }
}
