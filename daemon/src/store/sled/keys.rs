//! Keys of the database: an octet for the kind, then big-endian parts, so that keys sort as their records do.

use frankd_proto::{ClientId, GrantId, HoldReason, MessageId, Priority, ProfileId};
use jiff::Timestamp;

/// The one record with the generation and the sums.
pub(super) const META: &[u8] = b"M";
/// The one record that says which small records there are.
pub(super) const ROSTER: &[u8] = b"R";

/// Kinds of small records.
pub(super) const CLIENT: u8 = b'c';
pub(super) const PROFILE: u8 = b'p';
pub(super) const SLOT: u8 = b's';
pub(super) const GRANT: u8 = b'g';
pub(super) const GATE: u8 = b'h';

/// A message as it was accepted, with its octets if they are few.
pub(super) const ACCEPTED: u8 = b'a';
/// A message since its first change.
pub(super) const MESSAGE: u8 = b'm';
/// What the seal of a body in a file is bound to; no record.
pub(super) const BODY: u8 = b'b';
/// An idempotency key.
pub(super) const SUBMITTED: u8 = b'k';
/// The events of one batch, by the first.
pub(super) const EVENTS: u8 = b'e';
/// Counts of a profile.
pub(super) const COUNT: u8 = b'n';
/// How many messages of a user are not final.
pub(super) const USER: u8 = b'u';
/// A body file that no message needs.
pub(super) const UNLINK: u8 = b'G';
/// A later part of a record over 4 KiB.
pub(super) const PART: u8 = b'P';

/// Messages that can be claimed, in their order.
pub(super) const DUE: u8 = b'D';
/// Messages that are not final, by profile.
pub(super) const OPEN: u8 = b'O';
/// Messages that are claimed.
pub(super) const CLAIMED: u8 = b'C';
/// Final messages with an idempotency key, by their end.
pub(super) const NAMED: u8 = b'K';
/// Final messages with a body, by their end.
pub(super) const WITH_BODY: u8 = b'B';

/// The kinds of index entries: each has an empty value, and follows from a message alone.
pub(super) const INDEXES: [u8; 5] = [DUE, OPEN, CLAIMED, NAMED, WITH_BODY];

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(super) fn client(id: ClientId) -> Vec<u8> {
    key(CLIENT, &[&id.bits().to_be_bytes()])
}

pub(super) fn profile(id: ProfileId) -> Vec<u8> {
    key(PROFILE, &[&id.bits().to_be_bytes()])
}

pub(super) fn slot(profile: ProfileId) -> Vec<u8> {
    key(SLOT, &[&profile.bits().to_be_bytes()])
}

pub(super) fn grant(id: GrantId) -> Vec<u8> {
    key(GRANT, &[&id.bits().to_be_bytes()])
}

pub(super) fn gate(profile: ProfileId, reason: HoldReason) -> Vec<u8> {
    key(GATE, &[&profile.bits().to_be_bytes(), reason.as_str().as_bytes()])
}

pub(super) fn message(id: MessageId) -> Vec<u8> {
    key(MESSAGE, &[&id.bits().to_be_bytes()])
}

pub(super) fn accepted(id: MessageId) -> Vec<u8> {
    key(ACCEPTED, &[&id.bits().to_be_bytes()])
}

pub(super) fn body(id: MessageId) -> Vec<u8> {
    key(BODY, &[&id.bits().to_be_bytes()])
}

pub(super) fn submitted(uid: u32, digest: &[u8]) -> Vec<u8> {
    key(SUBMITTED, &[&uid.to_be_bytes(), digest])
}

pub(super) fn events(first: u64) -> Vec<u8> {
    key(EVENTS, &[&first.to_be_bytes()])
}

pub(super) fn count(profile: ProfileId) -> Vec<u8> {
    key(COUNT, &[&profile.bits().to_be_bytes()])
}

pub(super) fn user(uid: u32) -> Vec<u8> {
    key(USER, &[&uid.to_be_bytes()])
}

pub(super) fn unlink(id: MessageId) -> Vec<u8> {
    key(UNLINK, &[&id.bits().to_be_bytes()])
}

/// Part `n` of a record, from 1.
pub(super) fn part(record: &[u8], n: u16) -> Vec<u8> {
    key(PART, &[record, &n.to_be_bytes()])
}

/// Beginning of the keys of messages of one profile and priority that can be claimed.
pub(super) fn lane(profile: ProfileId, priority: Priority) -> Vec<u8> {
    key(DUE, &[&profile.bits().to_be_bytes(), &[rank(priority)]])
}

/// The first key of a lane after everything that is due at `now`.
pub(super) fn lane_after(profile: ProfileId, priority: Priority, now: Timestamp) -> Vec<u8> {
    let mut key = lane(profile, priority);
    key.extend_from_slice(&moment(now));
    key.extend_from_slice(&[0xff; 17]);
    key
}

/// Beginning of the keys of messages of one profile that are not final.
pub(super) fn open(profile: ProfileId) -> Vec<u8> {
    key(OPEN, &[&profile.bits().to_be_bytes()])
}

/// The entry of a message that is not final.
pub(super) fn open_entry(profile: ProfileId, id: MessageId) -> Vec<u8> {
    key(OPEN, &[&profile.bits().to_be_bytes(), &id.bits().to_be_bytes()])
}

/// The entry of a message that can be claimed.
pub(super) fn due(profile: ProfileId, priority: Priority, at: Timestamp, id: MessageId) -> Vec<u8> {
    let (profile, id) = (profile.bits().to_be_bytes(), id.bits().to_be_bytes());
    key(DUE, &[&profile, &[rank(priority)], &moment(at), &id])
}

/// The entry of a message that is claimed.
pub(super) fn claimed(id: MessageId) -> Vec<u8> {
    key(CLAIMED, &[&id.bits().to_be_bytes()])
}

/// The entry of a final message in an index by end.
pub(super) fn by_end(kind: u8, ended: Timestamp, id: MessageId) -> Vec<u8> {
    key(kind, &[&moment(ended), &id.bits().to_be_bytes()])
}

/// The first key of `kind` at or after a moment.
pub(super) fn ended(kind: u8, at: Timestamp) -> Vec<u8> {
    key(kind, &[&moment(at)])
}

/// The id at the end of a key.
pub(super) fn last_id(key: &[u8]) -> Option<u128> {
    key.last_chunk().map(|octets| u128::from_be_bytes(*octets))
}

/// The due time in a key of a lane.
pub(super) fn due_at(key: &[u8]) -> Option<Timestamp> {
    let octets = key.get(18..30)?.first_chunk::<12>()?;
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(octets);
    Timestamp::from_nanosecond(i128::from_be_bytes(wide) - MOMENT_ZERO).ok()
}

/// Written on the disk: never change a number.
fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// Makes every moment of [`Timestamp`] a positive number of nanoseconds that fits into 12 octets.
const MOMENT_ZERO: i128 = 1 << 80;

fn moment(at: Timestamp) -> [u8; 12] {
    let octets = (at.as_nanosecond() + MOMENT_ZERO).to_be_bytes();
    let [_, _, _, _, rest @ ..] = octets;
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::sample;

    #[test]
    fn keys_sort_as_moments_do_and_give_them_back() {
        let moments = [Timestamp::MIN, Timestamp::UNIX_EPOCH, sample::at(0), sample::at(1), Timestamp::MAX];
        let keys = moments.map(|at| due(sample::profile_id(1), Priority::Normal, at, sample::message_id(1)));
        assert!(keys.is_sorted());
        for (key, at) in keys.iter().zip(moments) {
            assert_eq!(due_at(key), Some(at));
            assert_eq!(last_id(key), Some(1));
            let (from, to) = (
                lane(sample::profile_id(1), Priority::Normal),
                lane_after(sample::profile_id(1), Priority::Normal, at),
            );
            assert!(from <= *key && *key < to);
        }
    }
}
