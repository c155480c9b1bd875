//! How a message lies in the database.
//!
//! As it is accepted it is one record, with its octets if they are few. Its first change puts its state into a record of
//! its own, which then counts; the first one stays for the octets as long as they are needed. So an acceptance writes
//! little, and no change writes the octets again.

use frankd_proto::MessageId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::kept::SubmittedBy;
use super::keys;
use super::pages::{Pages, Plain, damaged, decode, encode, failed};
use crate::domain::Message;
use crate::store::StoreError;
use crate::store::rules::{self, Place};

/// A message and what belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) message: Message,
    /// Where its octets are; nowhere once they are no longer needed.
    pub(super) body: Option<BodyPlace>,
    /// Its idempotency key, as long as that is kept.
    pub(super) submitted: Option<SubmittedBy>,
}

/// Where the octets of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BodyPlace {
    /// In the record of its acceptance.
    Record,
    /// In a file of their own.
    File,
}

/// The record of an acceptance: the length of the message's JSON, that, the octets.
pub(super) fn accepted(kept: &Kept, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let message = encode(kept)?;
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut plain = Zeroizing::new(Vec::with_capacity(length.len() + message.len() + body.len()));
    plain.extend_from_slice(&length);
    plain.extend_from_slice(&message);
    plain.extend_from_slice(body);
    Ok(plain)
}

/// The message and the octets in the record of an acceptance.
fn split_accepted<'a>(key: &[u8], plain: &'a [u8]) -> Result<(Kept, &'a [u8]), StoreError> {
    let split = plain.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    let (message, body) = split.ok_or_else(|| damaged(key, "it is cut short"))?;
    Ok((decode(key, message)?, body))
}

/// Reads a message with what belongs to it.
pub(super) fn kept(source: &impl Plain, id: MessageId) -> Result<Option<Kept>, StoreError> {
    let (changed, first) = (keys::message(id), keys::accepted(id));
    if let Some(plain) = source.plain(&changed)? {
        return decode(&changed, &plain).map(Some);
    }
    if let Some(plain) = source.plain(&first)? {
        return split_accepted(&first, &plain).map(|(kept, _)| Some(kept));
    }
    // Between the two reads its first change may have moved it.
    source.plain(&changed)?.map(|plain| decode(&changed, &plain)).transpose()
}

/// The octets of a message that are no file.
pub(super) fn body(source: &impl Plain, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
    let key = keys::accepted(id);
    let plain = source.plain(&key)?;
    plain.map(|plain| split_accepted(&key, &plain).map(|(_, body)| body.to_vec())).transpose()
}

/// Ids of all messages under `before`, the newest first.
pub(super) fn newest(pages: &Pages, before: MessageId) -> impl Iterator<Item = Result<MessageId, StoreError>> + use<> {
    let ids = |from: Vec<u8>, to: Vec<u8>| {
        let range = pages.tree.range(from..to).keys().rev();
        range.filter_map(|key| key.map(|key| keys::last_id(&key).map(MessageId::from_bits)).map_err(failed).transpose())
    };
    let mut changed = ids(vec![keys::MESSAGE], keys::message(before)).peekable();
    let mut accepted = ids(vec![keys::ACCEPTED], keys::accepted(before)).peekable();
    std::iter::from_fn(move || match (changed.peek(), accepted.peek()) {
        (Some(Ok(a)), Some(Ok(b))) if a == b => {
            accepted.next();
            changed.next()
        }
        (Some(Ok(a)), Some(Ok(b))) if a < b => accepted.next(),
        (None, Some(_)) => accepted.next(),
        _ => changed.next(),
    })
}

/// Which index entries a message has.
pub(super) fn indexes(kept: &Kept) -> Vec<Vec<u8>> {
    let message = &kept.message;
    let place = rules::place(message);
    let mut entries = Vec::with_capacity(2);
    if place == Place::Final {
        // When it ended; an owner that forgot to say so must not keep it for ever.
        let ended = message.ended_at.unwrap_or(message.queued_at);
        if kept.submitted.is_some() {
            entries.push(keys::by_end(keys::NAMED, ended, message.id));
        }
        if kept.body.is_some() {
            entries.push(keys::by_end(keys::WITH_BODY, ended, message.id));
        }
        return entries;
    }
    entries.push(keys::open_entry(message.profile, message.id));
    match place {
        Place::Due => entries.push(keys::due(message.profile, message.priority, message.due_at, message.id)),
        Place::Claimed => entries.push(keys::claimed(message.id)),
        Place::Held | Place::InDoubt | Place::Final => {}
    }
    entries
}
