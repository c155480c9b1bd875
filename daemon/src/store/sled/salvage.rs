//! What can still be read of a store that cannot be used.
//!
//! It works on a copy of the database, since the engine changes what it opens. A small record is believed only if the
//! generation, the roster and its own checksum say that it is the last version: an old token must never be used. Messages
//! are taken as they are: whoever asks for them holds them.

use std::collections::BTreeMap;
use std::path::Path;

use frankd_proto::MessageId;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::bodies::Bodies;
use super::kept::{Count, Meta, Roster};
use super::keys;
use super::messages::{self, BodyPlace, Kept};
use super::pages::{Pages, Plain as _};
use super::stamp::Stamp;
use super::start::open_engine;
use super::verify::verify;
use crate::store::seal::Sealer;

/// A damaged store.
pub(super) struct Salvage {
    /// What is wrong with it; nothing if it is whole.
    pub(super) findings: Vec<String>,
    /// The record of the generation, if it can be read.
    pub(super) meta: Option<Meta>,
    /// What is proven to be the last version of the small records.
    pub(super) proven: Option<Proven>,
    database: Option<(Pages, Bodies)>,
}

/// Small records in their last version.
#[derive(Default)]
pub(super) struct Proven {
    records: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>,
    /// Which there must be.
    roster: Roster,
    /// How many messages were not final.
    pub(super) waiting: u64,
}

impl Salvage {
    /// A store of which nothing can be read.
    pub(super) fn nothing(finding: &str) -> Self {
        Self { findings: vec![finding.to_owned()], meta: None, proven: None, database: None }
    }

    /// Opens the copy of a database. `reached` is the generation that the store had reached at least.
    pub(super) fn open(copy: &Path, sealer: Sealer, bodies: Bodies, stamp: Option<Stamp>, reached: u64) -> Self {
        let pages = match open_engine(copy) {
            Ok((tree, _)) => Pages { tree, sealer },
            Err(finding) => return Self::nothing(&finding),
        };
        let meta: Option<Meta> = pages.record(keys::META).ok().flatten();
        let mut findings = verify(&pages, &stamp.unwrap_or_default(), u64::MAX).err().unwrap_or_default();
        let current = meta.filter(|meta| meta.generation >= reached);
        if current.is_none() && findings.is_empty() {
            findings.push("the store went back in time: the mirror is newer".to_owned());
        }
        Self {
            findings,
            meta,
            proven: current.and_then(|meta| Proven::read(&pages, &meta)),
            database: Some((pages, bodies)),
        }
    }

    /// Messages that are not final and whose octets can be read; with those, if they are no file.
    pub(super) fn messages(&self) -> impl Iterator<Item = (Kept, Option<Vec<u8>>)> {
        self.database.iter().flat_map(|(pages, bodies)| {
            // A page that cannot be read ends the walk: what lies behind it counts as gone.
            let ids = messages::newest(pages, MessageId::from_bits(u128::MAX)).map_while(Result::ok);
            ids.filter_map(|id| {
                let kept = messages::kept(pages, id).ok().flatten().filter(|kept| !kept.message.is_final())?;
                match kept.body? {
                    BodyPlace::Record => {
                        let body = messages::body(pages, id).ok().flatten()?;
                        Some((kept, Some(body)))
                    }
                    BodyPlace::File => bodies.is_whole(id).then_some((kept, None)),
                }
            })
        })
    }
}

impl Proven {
    fn read(pages: &Pages, meta: &Meta) -> Option<Self> {
        let plain = pages.plain(keys::ROSTER).ok().flatten();
        let mark = plain.as_ref().map_or(0, |plain| crc32fast::hash(plain));
        if mark != meta.roster {
            return None;
        }
        let roster = plain.map_or_else(|| Some(Roster::default()), |plain| serde_json::from_slice(&plain).ok())?;
        let mut records = BTreeMap::new();
        for (key, entry) in &roster.0 {
            if let Ok(Some(plain)) = pages.plain(key)
                && crc32fast::hash(&plain) == entry.mark
            {
                records.insert(key.clone(), plain);
            }
        }
        let counts = pages.keys(&[keys::COUNT]).filter_map(Result::ok);
        let counts = counts.filter_map(|key| pages.record::<Count>(&key).ok().flatten());
        Some(Self { records, waiting: counts.map(|count| count.waiting).sum(), roster })
    }

    /// Keys of the records of one kind that there must be.
    pub(super) fn of_kind(&self, kind: u8) -> impl Iterator<Item = &Vec<u8>> {
        self.roster.of_kind(kind)
    }

    /// A record, if it can be read.
    pub(super) fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        serde_json::from_slice(self.records.get(key)?).ok()
    }

    /// A record in words.
    pub(super) fn describe(&self, key: &[u8]) -> String {
        self.roster.describe(key)
    }
}
