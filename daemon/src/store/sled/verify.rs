//! Whether the database is whole and not older than it was: said before anything relies on it.
//!
//! sled opens a damaged file in about half of the cases without a word, with some or all of it gone or old. So the record
//! of the generation says how much there must be, the roster names each small record with a checksum of its content, and
//! the side file says how far the store had come. Bodies in files are not
//! read.

use frankd_proto::{MessageId, ProfileId};

use super::draft::State;
use super::kept::{Meta, Roster, Shown, Sum, mark_of_message};
use super::keys;
use super::messages;
use super::pages::{Pages, Plain as _};
use super::stamp::Stamp;
use crate::domain::StoredEvent;
use crate::store::StoreError;

/// Up to this many messages are all read at the start. More are looked at when they are needed.
const MESSAGES: u64 = 20_000;

/// How many findings are told one by one.
const TOLD: usize = 20;

/// Reads what the writer must know, or says what is wrong.
pub(super) fn verify(pages: &Pages, stamp: &Stamp) -> Result<State, Vec<String>> {
    let mut findings = Vec::new();
    let state = read(pages, stamp, &mut findings).map_err(|error| vec![error.to_string()])?;
    if findings.is_empty() {
        return Ok(state);
    }
    if findings.len() > TOLD {
        let more = findings.len() - TOLD;
        findings.truncate(TOLD);
        findings.push(format!("{more} more"));
    }
    Err(findings)
}

fn read(pages: &Pages, stamp: &Stamp, findings: &mut Vec<String>) -> Result<State, StoreError> {
    let mut state = State::default();
    let Some(meta) = pages.record::<Meta>(keys::META)? else {
        findings.push("the record of the generation is missing, with everything else".to_owned());
        return Ok(state);
    };
    state.meta = meta;
    if meta.generation < stamp.generation {
        findings.push(format!(
            "the store went back in time: it is at generation {}, and was at {}",
            meta.generation, stamp.generation
        ));
    }
    let roster = pages.plain(keys::ROSTER)?;
    let mark = roster.as_ref().map_or(0, |plain| crc32fast::hash(plain));
    if mark == meta.roster {
        state.roster = pages.record(keys::ROSTER)?.unwrap_or_default();
        check_roster(pages, &state.roster, findings)?;
    } else {
        findings.push("the roster of clients, profiles and tokens is missing or old".to_owned());
    }
    check_indexes(pages, &meta, findings)?;
    check_messages(pages, &meta, findings)?;
    check_events(pages, &meta, findings)?;
    read_counts(pages, &mut state, findings)?;
    Ok(state)
}

/// Every small record must be there, open, and have the content that the roster says; none may be there besides.
fn check_roster(pages: &Pages, roster: &Roster, findings: &mut Vec<String>) -> Result<(), StoreError> {
    for (key, entry) in &roster.0 {
        let what = match pages.plain(key) {
            Ok(None) => "is missing",
            Ok(Some(plain)) if crc32fast::hash(&plain) != entry.mark => "is an old version",
            Ok(Some(_)) => continue,
            Err(StoreError::Damaged { .. }) => "is damaged",
            Err(error) => return Err(error),
        };
        findings.push(format!("{} {what}", roster.describe(key)));
    }
    for kind in [keys::CLIENT, keys::PROFILE, keys::SLOT, keys::GRANT, keys::GATE] {
        for key in pages.keys(&[kind]) {
            let key = key?;
            if !roster.0.contains_key(&*key) {
                findings.push(format!("{} was deleted and is there again", Shown(&key)));
            }
        }
    }
    Ok(())
}

/// The index entries are counted and summed: what is not in an index would never be sent.
fn check_indexes(pages: &Pages, meta: &Meta, findings: &mut Vec<String>) -> Result<(), StoreError> {
    let mut sum = Sum::default();
    for kind in keys::INDEXES {
        for key in pages.keys(&[kind]) {
            sum.add(&key?);
        }
    }
    if sum != meta.indexes {
        findings
            .push(format!("the indexes of the queue are not whole: {} entries of {}", sum.count, meta.indexes.count));
    }
    Ok(())
}

fn check_messages(pages: &Pages, meta: &Meta, findings: &mut Vec<String>) -> Result<(), StoreError> {
    if meta.messages.count > MESSAGES {
        return Ok(());
    }
    let mut sum = Sum::default();
    // Point reads: walking over the values would leave all of them in memory.
    for id in messages::newest(pages, MessageId::from_bits(u128::MAX)) {
        match messages::kept(pages, id?) {
            Ok(Some(kept)) => sum.add(&mark_of_message(&kept.message)),
            Ok(None) => {}
            Err(StoreError::Damaged { record, cause }) => findings.push(format!("{record}: {cause}")),
            Err(error) => return Err(error),
        }
    }
    if sum != meta.messages {
        findings.push(format!(
            "the messages are not whole: {} of {} are there in their last version",
            sum.count.min(meta.messages.count),
            meta.messages.count
        ));
    }
    Ok(())
}

fn check_events(pages: &Pages, meta: &Meta, findings: &mut Vec<String>) -> Result<(), StoreError> {
    let mut keys = pages.keys(&[keys::EVENTS]);
    let first = keys.next().transpose()?;
    let last = keys.next_back().transpose()?.or_else(|| first.clone());
    let seq = |key: &[u8]| key.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq));
    let oldest = meta.seq + 1 - meta.events.min(meta.seq);
    if meta.events > 0 && first.as_ref().map(|key| seq(key)) != Some(oldest) {
        findings.push(format!("event {oldest} is missing"));
    }
    if let Some(key) = last {
        let batch: Vec<StoredEvent> = pages.record(&key)?.unwrap_or_default();
        if batch.last().map(|event| event.seq) != Some(meta.seq) {
            findings.push(format!("event {} is missing", meta.seq));
        }
    }
    if meta.event_records > MESSAGES {
        return Ok(());
    }
    let found = pages.keys(&[keys::EVENTS]).try_fold(0, |found, key| key.map(|_| found + 1))?;
    if found != meta.event_records {
        findings.push(format!("the events are not whole: {found} of {} records", meta.event_records));
    }
    Ok(())
}

fn read_counts(pages: &Pages, state: &mut State, findings: &mut Vec<String>) -> Result<(), StoreError> {
    for key in pages.keys(&[keys::COUNT]) {
        let key = key?;
        let profile = keys::last_id(&key).map(ProfileId::from_bits);
        if let (Some(profile), Some(count)) = (profile, pages.record(&key)?) {
            state.counts.insert(profile, count);
        }
    }
    for key in pages.keys(&[keys::USER]) {
        let key = key?;
        let uid = key.last_chunk().map(|uid| u32::from_be_bytes(*uid));
        if let (Some(uid), Some(count)) = (uid, pages.record(&key)?) {
            state.users.insert(uid, count);
        }
    }
    state.waiting = state.counts.values().map(|count| count.waiting).sum();
    if state.sum_of_counts()? != state.meta.counts {
        findings.push("the counts of the queue are missing or old".to_owned());
    }
    Ok(())
}
