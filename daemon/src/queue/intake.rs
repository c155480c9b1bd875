//! The way in: from a caller's parameters to a message on disk and a receipt.
//!
//! Everything that can refuse a message is looked at before anything is kept. What the caller holds as a receipt is on
//! disk, and the same idempotency key gives the same receipt again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frankd_proto::methods::message::{Compose, EnvelopeInput, Receipt, SendParams};
use frankd_proto::{EventType, MessageId, Priority, RecipientState, RpcError};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use lettre::message::Mailbox;
use lettre::message::header::{Date, Headers};

use super::address;
use super::compose::{self, Parties, Stamp};
use super::error::SubmitError;
use super::normalise::{self, Malformed, Missing, Normal, Normaliser};
use super::sender::{self, Allowed};
use super::shared::Shared;
use crate::clock::Instant;
use crate::domain::{Message, NewEvent, Phase, Profile, Recipient, Settings};
use crate::entropy::EntropyExt as _;
use crate::registry::View;
use crate::store::{Accepted, IdempotencyKey, NewBody, NewMessage, Record, StoreError};

/// Most recipients of one message. Servers take 100 to 1,000 (RFC 5321 §4.5.3.1.8).
const RECIPIENTS_MAX: usize = 1000;
/// Longest idempotency key, in octets.
const KEY_MAX: usize = 128;

/// A message that somebody wants sent.
#[derive(Clone, Debug)]
pub struct Submit {
    /// User id of the caller.
    pub uid: u32,
    /// Whether the caller may fill the queue up: it has `operate`.
    pub unlimited: bool,
    /// What the caller may send with.
    pub allowed: Allowed,
    /// Its messages of the hour; absent without a limit.
    pub quota: Option<Arc<dyn Quota>>,
    /// What it asks for.
    pub params: SendParams,
}

/// Counts the messages that one caller queues.
pub trait Quota: fmt::Debug + Send + Sync {
    /// Counts one more, or says how long to wait until one fits.
    fn take(&self, now: Instant) -> Result<(), Duration>;

    /// Takes back one that was not queued.
    fn give_back(&self);
}

/// A place in the caller's hour: given back unless a message takes it.
struct Place(Option<Arc<dyn Quota>>);

impl Place {
    fn take(shared: &Shared, submit: &Submit) -> Result<Self, SubmitError> {
        if let Some(quota) = &submit.quota {
            quota.take(shared.clock.now()).map_err(|wait| SubmitError::RateLimited { wait })?;
        }
        Ok(Self(submit.quota.clone()))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(quota) = &self.0 {
            quota.give_back();
        }
    }
}

/// The octets of a message as they come, in pieces of any size.
pub type Pieces = BoxStream<'static, Result<Vec<u8>, RpcError>>;

/// How many octets of a message that comes in pieces are in memory, at least, before they go to the store.
const PIECE: usize = 64 * 1024;

/// A message that is ready to be kept, but for its profile's part.
struct Draft {
    normal: Normal,
    body: NewBody,
    recipients: Vec<String>,
    /// Where recipients come from, for an error that misses them.
    field: &'static str,
}

/// Takes a message: from `params`, or in `pieces` as they come beside them.
pub(super) async fn submit(
    shared: &Shared,
    mut submit: Submit,
    pieces: Option<Pieces>,
) -> Result<Receipt, SubmitError> {
    if shared.is_stopping() {
        return Err(SubmitError::Stopping);
    }
    let settings = shared.settings();
    let now = shared.clock.wall();
    let mut named = named(&mut submit)?;
    let id = MessageId::from_bits(shared.entropy.ulid(now));
    let limit = settings.limits.message_bytes;
    // A message with a key is counted once it is known that it is not there yet.
    let unnamed = if named.is_none() { Some(Place::take(shared, &submit)?) } else { None };
    let source = match source(&mut submit.params, pieces)? {
        Source::Pieces(pieces) => {
            let coming = Coming { id, now, limit, named: named.as_mut(), recipients: wants_recipients(&submit) };
            streamed(shared, coming, pieces).await.map(|(normal, body)| Source::Normal(normal, body))
        }
        source => Ok(source),
    };
    let idempotency = named.map(Named::key);
    if let Some(key) = &idempotency
        && !matches!(source, Err(SubmitError::Broken(_)))
        && let Some(before) = shared.store.named(key.clone()).await?
    {
        return known(shared, before);
    }
    let source = source?;
    let place = match unnamed {
        Some(place) => place,
        None => Place::take(shared, &submit)?,
    };
    let view = shared.registry.view();
    let (draft, profile) = drafted(shared, &view, &submit, source, (id, limit))?;
    check_room(shared)?;
    let (message, body) = finish(&submit, draft, profile, id, now)?;
    let event = NewEvent::new(now, EventType::MessageQueued)
        .profile(&profile.name)
        .object(id)
        .with("uid", message.uid)
        .with("from", message.from.as_str())
        .with("recipients", message.recipients.len())
        .with("bytes", message.size_bytes);
    let max_messages = settings.queue.messages;
    let max_of_uid = share_of_uid(&settings, submit.unlimited);
    let kept = message.clone();
    let new = NewMessage { message, body, idempotency, max_messages, max_of_uid, event };
    let accepted = shared.store.accept(new).await.map_err(|error| match error {
        // It was deleted, or sends no more, since it was chosen.
        StoreError::Missing(Record::Profile(_)) => SubmitError::NoSuchProfile(profile.name.clone()),
        error => error.into(),
    })?;
    match accepted {
        Accepted::New => {
            place.keep();
            shared.accepted(&kept);
            Ok(receipt(shared, &kept, false))
        }
        Accepted::QueueFull { of_uid } => {
            Err(SubmitError::Full { of_uid, limit: if of_uid { max_of_uid } else { max_messages } })
        }
        before => known(shared, before),
    }
}

/// The answer to a key that was used before.
fn known(shared: &Shared, before: Accepted) -> Result<Receipt, SubmitError> {
    match before {
        Accepted::Duplicate(first) => Ok(receipt(shared, &first, true)),
        _ => Err(SubmitError::IdempotencyConflict),
    }
}

fn share_of_uid(settings: &Settings, unlimited: bool) -> u64 {
    if unlimited {
        return u64::MAX;
    }
    (settings.queue.messages.saturating_mul(u64::from(settings.queue.uid_percent)) / 100).max(1)
}

fn receipt(shared: &Shared, message: &Message, duplicate: bool) -> Receipt {
    Receipt {
        id: message.id,
        profile: shared.profile_name(message.profile),
        message_id: message.message_id.clone(),
        state: shared.state(message),
        queued_at: message.queued_at,
        duplicate,
    }
}

/// Brings a message into the form that is kept, and chooses its profile.
fn drafted<'a>(
    shared: &Shared,
    view: &'a View,
    submit: &Submit,
    source: Source,
    (id, limit): (MessageId, u64),
) -> Result<(Draft, &'a Profile), SubmitError> {
    let (draft, profile) = match source {
        Source::Parts(parts) => composed(shared, view, submit, &parts, (id, limit))?,
        Source::Raw(raw) => {
            if raw.len() as u64 > limit {
                return Err(SubmitError::TooLarge { size: raw.len() as u64, limit });
            }
            let (normal, octets) = normal("raw_b64", &raw, id, shared.clock.wall(), wants_recipients(submit))?;
            chosen(view, submit, normal, octets.into())?
        }
        Source::Normal(normal, body) => chosen(view, submit, normal, body)?,
        Source::Pieces(_) => return Err(no_message()),
    };
    let size = draft.normal.size;
    if size > limit { Err(SubmitError::TooLarge { size, limit }) } else { Ok((draft, profile)) }
}

fn check_room(shared: &Shared) -> Result<(), SubmitError> {
    let least = shared.settings().queue.min_free_bytes;
    match shared.store.health().free_bytes.filter(|free| *free < least) {
        Some(free) => Err(SubmitError::DiskFull { free, least }),
        None => Ok(()),
    }
}

enum Source {
    Parts(Box<Compose>),
    Raw(Vec<u8>),
    Pieces(Pieces),
    Normal(Normal, NewBody),
}

/// Takes the message out of the parameters, so that no second copy of it stays.
fn source(params: &mut SendParams, pieces: Option<Pieces>) -> Result<Source, SubmitError> {
    match (params.message.take(), params.raw_b64.take(), pieces) {
        (Some(parts), None, None) => Ok(Source::Parts(Box::new(parts))),
        (None, Some(text), None) => STANDARD
            .decode(text)
            .map(Source::Raw)
            .map_err(|error| SubmitError::invalid("raw_b64", format!("is not base64: {error}"))),
        (None, None, Some(pieces)) => Ok(Source::Pieces(pieces)),
        _ => Err(no_message()),
    }
}

fn no_message() -> SubmitError {
    let reason = "a call carries exactly one of message and raw_b64".to_owned();
    SubmitError::Parameter { field: "message", reason }
}

/// A message that comes in pieces.
struct Coming<'a> {
    id: MessageId,
    now: Timestamp,
    limit: u64,
    named: Option<&'a mut Named>,
    recipients: bool,
}

impl Coming<'_> {
    /// Reads what is left of a message that is not kept: who sends reads the answer when everything is written, and the
    /// digest tells whether the message is there already.
    async fn rest(&mut self, mut given: u64, pieces: &mut Pieces) {
        while given <= self.limit
            && let Some(Ok(piece)) = pieces.next().await
        {
            given += piece.len() as u64;
            if let Some(named) = &mut self.named {
                named.digest.0.update(&piece);
            }
        }
    }
}

/// Takes a message as it comes: into the store, a piece at a time.
async fn streamed(
    shared: &Shared,
    mut coming: Coming<'_>,
    mut pieces: Pieces,
) -> Result<(Normal, NewBody), SubmitError> {
    let mut given = 0;
    let mut normaliser = Normaliser::new(missing(coming.id, coming.now), coming.recipients);
    let mut writer = shared.store.write_body(coming.id);
    let mut octets = Vec::with_capacity(PIECE);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| SubmitError::Broken(Box::new(error)))?;
        given += piece.len() as u64;
        if given > coming.limit {
            return Err(SubmitError::TooLarge { size: given, limit: coming.limit });
        }
        if let Some(named) = &mut coming.named {
            named.digest.0.update(&piece);
        }
        if let Err(error) = normaliser.push(&piece, &mut octets) {
            coming.rest(given, &mut pieces).await;
            return Err(malformed("raw_b64", error));
        }
        if octets.len() >= PIECE {
            if let Err(full) = check_room(shared) {
                coming.rest(given, &mut pieces).await;
                return Err(full);
            }
            writer.write(std::mem::replace(&mut octets, Vec::with_capacity(PIECE))).await?;
        }
    }
    let normal = normaliser.finish(&mut octets).map_err(|error| malformed("raw_b64", error))?;
    writer.write(octets).await?;
    Ok((normal, writer.finish().await?))
}

/// A message of parts: the profile gives the From address where the parts have none.
fn composed<'a>(
    shared: &Shared,
    view: &'a View,
    submit: &Submit,
    parts: &Compose,
    (id, limit): (MessageId, u64),
) -> Result<(Draft, &'a Profile), SubmitError> {
    let given: usize = parts.attachments.iter().map(|file| file.content_b64.len()).sum();
    if given as u64 > limit {
        return Err(SubmitError::TooLarge { size: given as u64, limit });
    }
    let parties = Parties::read(parts)?;
    let from = parts.from.as_deref().map(|from| compose::mailbox("message.from", from)).transpose()?;
    let address = from.as_ref().map(|from| from.email.to_string());
    let profile = sender::choose(view, &submit.allowed, submit.params.profile.as_ref(), address.as_deref())?;
    let from = match (from, sender::own_address(profile)) {
        (Some(from), _) => from,
        (None, Some(own)) => compose::mailbox("message.from", own)?,
        (None, None) => {
            let reason = format!("profile {} has no From address of its own: name one", profile.name);
            return Err(SubmitError::invalid("message.from", reason));
        }
    };
    let stamp = stamp(shared, id, &from);
    let octets = compose::compose(parts, from, &parties, &stamp)?;
    let (normal, octets) = normal("message", &octets, id, shared.clock.wall(), false)?;
    let draft = Draft { normal, body: octets.into(), recipients: parties.recipients(), field: "message.to" };
    Ok((draft, profile))
}

fn stamp(shared: &Shared, id: MessageId, from: &Mailbox) -> Stamp {
    let boundary = || format!("=_{}", shared.entropy.token_256());
    Stamp {
        date: system_time(shared.clock.wall()),
        message_id: format!("<{}@{}>", id_left(id), from.email.domain()),
        boundaries: [boundary(), boundary()],
    }
}

/// A message as given: its first author chooses the profile.
fn chosen<'a>(
    view: &'a View,
    submit: &Submit,
    mut normal: Normal,
    body: NewBody,
) -> Result<(Draft, &'a Profile), SubmitError> {
    let from = normal.authors.first().map(String::as_str);
    let profile = sender::choose(view, &submit.allowed, submit.params.profile.as_ref(), from)?;
    let recipients = std::mem::take(&mut normal.recipients);
    Ok((Draft { normal, body, recipients, field: "raw_b64" }, profile))
}

/// Whether the header says who gets the message.
fn wants_recipients(submit: &Submit) -> bool {
    submit.params.envelope.as_ref().is_none_or(|envelope| envelope.to.is_none())
}

fn normal(
    field: &str,
    raw: &[u8],
    id: MessageId,
    now: Timestamp,
    recipients: bool,
) -> Result<(Normal, Vec<u8>), SubmitError> {
    normalise::normalise(raw, missing(id, now), recipients).map_err(|error| malformed(field, error))
}

fn malformed(field: &str, error: Malformed) -> SubmitError {
    match error {
        Malformed::Address { .. } => SubmitError::BadAddress { field: field.to_owned(), reason: error.to_string() },
        other => SubmitError::invalid(field, other.to_string()),
    }
}

fn missing(id: MessageId, now: Timestamp) -> Missing {
    Missing { date: date(now), id_left: id_left(id) }
}

fn id_left(id: MessageId) -> String {
    id.to_string().trim_start_matches(MessageId::PREFIX).to_ascii_lowercase()
}

fn system_time(now: Timestamp) -> SystemTime {
    SystemTime::try_from(now).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The value of Date (RFC 5322 §3.3).
fn date(now: Timestamp) -> String {
    let mut headers = Headers::new();
    headers.set(Date::new(system_time(now)));
    headers.get_raw("Date").unwrap_or_default().to_owned()
}

/// The record to keep, and the octets.
fn finish(
    submit: &Submit,
    draft: Draft,
    profile: &Profile,
    id: MessageId,
    now: Timestamp,
) -> Result<(Message, NewBody), SubmitError> {
    let params = &submit.params;
    let Draft { normal, body, recipients, field } = draft;
    let envelope = params.envelope.clone().unwrap_or_default();
    let from = envelope_from(&envelope, &normal)?;
    for address in &normal.authors {
        submit.allowed.check_sender(if field == "raw_b64" { field } else { "message.from" }, address)?;
    }
    if !from.is_empty() {
        submit.allowed.check_sender("envelope.from", &from)?;
    }
    let recipients = envelope_to(&envelope, recipients, field)?;
    let (send_at, expires_at) = times(params, now)?;
    let smtputf8 = normal.utf8_header || !from.is_ascii() || recipients.iter().any(|to| !to.is_ascii());
    let message = Message {
        id,
        version: 1,
        profile: profile.id,
        uid: submit.uid,
        from,
        recipients: recipients
            .into_iter()
            .map(|address| Recipient { address, state: RecipientState::Pending, reply: None, ended_at: None })
            .collect(),
        message_id: normal.message_id,
        subject: normal.subject,
        size_bytes: normal.size,
        eight_bit: normal.eight_bit,
        smtputf8,
        priority: params.priority.unwrap_or(Priority::Normal),
        on_doubt: params.on_doubt.unwrap_or(profile.on_doubt),
        queued_at: now,
        send_at,
        expires_at,
        due_at: send_at.unwrap_or(now),
        attempts: 0,
        consumed_age_s: 0,
        phase: Phase::BeforeDot,
        claim: None,
        hold: None,
        ended_at: None,
        last_attempt: None,
    };
    Ok((message, body))
}

fn envelope_from(envelope: &EnvelopeInput, normal: &Normal) -> Result<String, SubmitError> {
    match envelope.from.as_deref() {
        Some("" | "<>") => Ok(String::new()),
        Some(from) => path("envelope.from", from),
        None => Ok(normal.authors.first().cloned().unwrap_or_default()),
    }
}

/// The recipients, each once.
fn envelope_to(
    envelope: &EnvelopeInput,
    of_message: Vec<String>,
    field: &'static str,
) -> Result<Vec<String>, SubmitError> {
    let all = match &envelope.to {
        Some(list) => {
            let one = |(i, text): (usize, &String)| path(&format!("envelope.to[{i}]"), text);
            list.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?
        }
        None => of_message,
    };
    let mut seen = std::collections::HashSet::new();
    let once: Vec<String> = all.into_iter().filter(|address| seen.insert(address.clone())).collect();
    let field = if envelope.to.is_some() { "envelope.to" } else { field };
    match once.len() {
        0 => Err(SubmitError::invalid(field, "the message has no recipient")),
        1..=RECIPIENTS_MAX => Ok(once),
        count => {
            let reason = format!("the message has {count} recipients, the limit is {RECIPIENTS_MAX}");
            Err(SubmitError::invalid(field, reason))
        }
    }
}

fn path(field: &str, text: &str) -> Result<String, SubmitError> {
    let bad =
        |error: address::BadAddress| SubmitError::BadAddress { field: field.to_owned(), reason: error.to_string() };
    address::path(text).map_err(bad)
}

/// When the message may be sent first, and when it is given up.
fn times(params: &SendParams, now: Timestamp) -> Result<(Option<Timestamp>, Option<Timestamp>), SubmitError> {
    let send_at = send_at(params, now)?.filter(|at| *at > now);
    let out_of_range = |reason: &str| SubmitError::Parameter { field: "expires_in_s", reason: reason.to_owned() };
    let expires_at = match params.expires_in_s {
        None => None,
        Some(0) => return Err(out_of_range("must be at least 1")),
        Some(seconds) => {
            let end = later(send_at.unwrap_or(now), seconds);
            Some(end.ok_or_else(|| out_of_range("is after the end of time"))?)
        }
    };
    Ok((send_at, expires_at))
}

/// The time that the caller gave, or that is as far from now as it said.
fn send_at(params: &SendParams, now: Timestamp) -> Result<Option<Timestamp>, SubmitError> {
    let refused = |reason: &str| SubmitError::Parameter { field: "send_in_s", reason: reason.to_owned() };
    match (params.send_at, params.send_in_s) {
        (Some(_), Some(_)) => Err(refused("is given in place of send_at, not beside it")),
        (at, None) => Ok(at),
        (None, Some(seconds)) => later(now, seconds).map(Some).ok_or_else(|| refused("is after the end of time")),
    }
}

fn later(from: Timestamp, seconds: u64) -> Option<Timestamp> {
    let distance = SignedDuration::from_secs(i64::try_from(seconds).ok()?);
    from.checked_add(distance).ok()
}

/// A submission that has a name, with the digest of what is known of it so far.
struct Named {
    uid: u32,
    key: String,
    digest: Digest,
}

impl Named {
    fn key(self) -> IdempotencyKey {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.0.finish().as_ref());
        IdempotencyKey { uid: self.uid, key: self.key, digest }
    }
}

/// The caller's key, with a digest of everything else among the parameters.
fn named(submit: &mut Submit) -> Result<Option<Named>, SubmitError> {
    let Some(key) = submit.params.idempotency_key.take() else { return Ok(None) };
    let refused = |reason: String| SubmitError::Parameter { field: "idempotency_key", reason };
    if !(1..=KEY_MAX).contains(&key.len()) || !key.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(refused(format!("must have 1 to {KEY_MAX} visible ASCII characters")));
    }
    let mut digest = Digest(ring::digest::Context::new(&ring::digest::SHA256));
    serde_json::to_writer(&mut digest, &submit.params).map_err(|error| refused(error.to_string()))?;
    Ok(Some(Named { uid: submit.uid, key, digest }))
}

struct Digest(ring::digest::Context);

impl std::io::Write for Digest {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
