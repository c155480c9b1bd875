//! Every change of a token slot, as a pure function from the slot before to the slot after.
//!
//! # Invariants
//!
//! - The version rises by one with each change, the generation with each new token set.
//! - A refresh token leaves the slot only when another of the same grant worked, when a new grant replaces it, when
//!   somebody revokes it, or 30 days after it was set aside.

use frankd_proto::{ProfileId, Secret};
use jiff::{SignedDuration, Timestamp};

use crate::domain::answer::TokenAnswer;
use crate::domain::{Failure, Intent, Quarantined, SlotIdentity, TokenSet, TokenSlot};
use crate::policy::life;
use crate::policy::refresh::{QUARANTINE, With, probe_after};

/// A slot that was never written.
pub(super) fn empty(profile: ProfileId) -> TokenSlot {
    TokenSlot {
        profile,
        version: 0,
        generation: 0,
        tokens: None,
        intent: None,
        quarantined: Vec::new(),
        failure: None,
        handed_out: 0,
        handed_out_at: None,
    }
}

/// The version that a write of this slot replaces: none if it was never written.
pub(super) fn expected(slot: &TokenSlot) -> Option<u64> {
    (slot.version > 0).then_some(slot.version)
}

fn next(slot: &TokenSlot) -> TokenSlot {
    TokenSlot { version: slot.version + 1, ..slot.clone() }
}

/// The refused refresh token that is probed: the newest of this identity.
pub(super) fn refused<'a>(slot: &'a TokenSlot, identity: &SlotIdentity) -> Option<&'a Quarantined> {
    slot.quarantined.iter().rfind(|aside| aside.refused && aside.tokens.identity == *identity)
}

/// The refresh token that a request carries.
pub(super) fn refresh_token<'a>(slot: &'a TokenSlot, with: With, identity: &SlotIdentity) -> Option<&'a Secret> {
    let tokens = slot.tokens.as_ref().filter(|tokens| tokens.identity == *identity);
    let current = tokens.and_then(|tokens| tokens.refresh_token.as_ref());
    match with {
        With::Current => current,
        With::Previous => tokens.and_then(|tokens| tokens.previous_refresh_token.as_ref()).or(current),
        With::Quarantined => refused(slot, identity).and_then(|aside| aside.tokens.refresh_token.as_ref()).or(current),
    }
}

/// A request is about to be sent.
pub(super) fn intended(slot: &TokenSlot, fingerprint: String, wall: Timestamp) -> TokenSlot {
    let attempt = slot.intent.as_ref().map_or(1, |before| before.attempt.saturating_add(1));
    TokenSlot {
        intent: Some(Intent {
            generation: slot.generation,
            refresh_token_fingerprint: fingerprint,
            sent_at: wall,
            attempt,
        }),
        ..next(slot)
    }
}

/// A token answer, and what it answers.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The answer.
    pub(super) answer: TokenAnswer,
    /// When the request was sent.
    pub(super) sent_at: Timestamp,
    /// What the tokens were issued to.
    pub(super) identity: SlotIdentity,
}

impl Arrival {
    fn tokens(&self, refresh_token: Option<Secret>) -> TokenSet {
        let answer = &self.answer;
        let after = |wait: std::time::Duration| {
            SignedDuration::try_from(wait).ok().and_then(|wait| self.sent_at.checked_add(wait).ok())
        };
        TokenSet {
            access_token: answer.access_token.clone(),
            obtained_at: self.sent_at,
            lifetime_s: life::lifetime_s(answer.expires_in),
            refresh_in_s: answer.refresh_in.and_then(|wish| u32::try_from(wish.as_secs()).ok()),
            scopes: answer.scopes.clone().unwrap_or_else(|| self.identity.scopes.clone()),
            refresh_obtained_at: refresh_token.as_ref().map(|_| self.sent_at),
            refresh_token,
            refresh_expires_at: answer.refresh_expires_in.and_then(after),
            previous_refresh_token: None,
            account: answer.account.clone(),
            identity: self.identity.clone(),
        }
    }
}

/// The answer of a client that needs no person. A refresh token in it is of no use (RFC 6749 §4.4.3).
pub(super) fn issued(slot: &TokenSlot, arrival: &Arrival) -> TokenSlot {
    in_use(slot, arrival.tokens(None))
}

/// The answer of a refresh (RFC 6749 §6): without a new refresh token, the one that was sent stays.
pub(super) fn refreshed(slot: &TokenSlot, arrival: &Arrival, with: With) -> TokenSlot {
    let identity = &arrival.identity;
    let before = match with {
        With::Quarantined => refused(slot, identity).map(|aside| &aside.tokens).or(slot.tokens.as_ref()),
        With::Current | With::Previous => slot.tokens.as_ref(),
    };
    let sent = refresh_token(slot, with, identity).cloned();
    let given = arrival.answer.refresh_token.clone().filter(|given| sent.as_ref() != Some(given));
    let rotated = given.is_some();
    let mut tokens = arrival.tokens(given.or_else(|| sent.clone()));
    if rotated {
        tokens.previous_refresh_token = sent;
    } else if let Some(before) = before {
        tokens.refresh_obtained_at = before.refresh_obtained_at.or(tokens.refresh_obtained_at);
        tokens.refresh_expires_at = tokens.refresh_expires_at.or(before.refresh_expires_at);
    }
    if let Some(before) = before {
        tokens.account = tokens.account.or_else(|| before.account.clone());
        if arrival.answer.scopes.is_none() {
            tokens.scopes.clone_from(&before.scopes);
        }
    }
    without_refused(in_use(slot, tokens), identity)
}

/// A grant's answer. An old refresh token that it does not replace is kept in use, unless it is of another account.
pub(super) fn adopted(slot: &TokenSlot, arrival: &Arrival, wall: Timestamp) -> TokenSlot {
    let kept = kept_refresh_token(slot, arrival);
    let mut tokens = arrival.tokens(arrival.answer.refresh_token.clone().or_else(|| kept.cloned()));
    if kept.is_some()
        && let Some(before) = &slot.tokens
    {
        tokens.refresh_obtained_at = before.refresh_obtained_at;
        tokens.refresh_expires_at = tokens.refresh_expires_at.or(before.refresh_expires_at);
        tokens.previous_refresh_token.clone_from(&before.previous_refresh_token);
    }
    let lost = tokens.refresh_token.is_none();
    let adopted = without_refused(in_use(slot, tokens), &arrival.identity);
    match &slot.tokens {
        Some(before) if lost && before.refresh_token.is_some() => aside(adopted, before.clone(), wall),
        _ => adopted,
    }
}

/// The refresh token that stays in use when a grant brings none.
pub(super) fn kept_refresh_token<'a>(slot: &'a TokenSlot, arrival: &Arrival) -> Option<&'a Secret> {
    let before = slot.tokens.as_ref().filter(|before| before.identity == arrival.identity)?;
    let other = matches!((&before.account, &arrival.answer.account), (Some(old), Some(new)) if old != new);
    before.refresh_token.as_ref().filter(|_| arrival.answer.refresh_token.is_none() && !other)
}

fn in_use(slot: &TokenSlot, tokens: TokenSet) -> TokenSlot {
    TokenSlot { generation: slot.generation + 1, tokens: Some(tokens), intent: None, failure: None, ..next(slot) }
}

fn without_refused(mut slot: TokenSlot, identity: &SlotIdentity) -> TokenSlot {
    slot.quarantined.retain(|aside| !(aside.refused && aside.tokens.identity == *identity));
    slot
}

fn aside(mut slot: TokenSlot, tokens: TokenSet, since: Timestamp) -> TokenSlot {
    slot.quarantined.push(Quarantined { tokens, since, refused: false, probes: 0, next_probe_at: None });
    slot
}

/// What a failure does to the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing.
    Kept,
    /// The refresh token is set aside. The access token stays in use for the rest of its life.
    SetAside,
    /// The one that was set aside was refused again.
    RefusedAgain,
}

/// A request failed.
pub(super) fn failed(slot: &TokenSlot, failure: Failure, consequence: Consequence) -> TokenSlot {
    let wall = failure.at;
    let mut slot = TokenSlot { intent: None, failure: Some(failure), ..next(slot) };
    match consequence {
        Consequence::Kept => {}
        Consequence::SetAside => {
            if let Some(tokens) = &mut slot.tokens {
                let whole = tokens.clone();
                tokens.refresh_token = None;
                tokens.previous_refresh_token = None;
                slot.quarantined.push(Quarantined {
                    tokens: whole,
                    since: wall,
                    refused: true,
                    probes: 0,
                    next_probe_at: probe_at(wall, 0),
                });
            }
        }
        Consequence::RefusedAgain => {
            if let Some(aside) = slot.quarantined.iter_mut().rfind(|aside| aside.refused) {
                aside.probes = aside.probes.saturating_add(1);
                aside.next_probe_at = probe_at(aside.since, aside.probes);
            }
        }
    }
    slot
}

fn probe_at(since: Timestamp, probes: u32) -> Option<Timestamp> {
    let after = SignedDuration::try_from(probe_after(probes)?).ok()?;
    since.checked_add(after).ok()
}

/// The client or profile asks in another name now: tokens of another identity go aside, and those of this one come
/// back. `None` if nothing changes.
pub(super) fn identified(slot: &TokenSlot, identity: &SlotIdentity, wall: Timestamp) -> Option<TokenSlot> {
    let foreign = slot.tokens.as_ref().filter(|tokens| tokens.identity != *identity);
    let returns = |aside: &Quarantined| !aside.refused && aside.tokens.identity == *identity;
    if foreign.is_none() && (slot.tokens.is_some() || !slot.quarantined.iter().any(returns)) {
        return None;
    }
    let mut changed = TokenSlot { generation: slot.generation + 1, intent: None, failure: None, ..next(slot) };
    if let Some(tokens) = changed.tokens.take() {
        changed = aside(changed, tokens, wall);
    }
    if let Some(position) = changed.quarantined.iter().rposition(returns) {
        changed.tokens = Some(changed.quarantined.remove(position).tokens);
    }
    Some(changed)
}

/// Everything is revoked and forgotten.
pub(super) fn forgotten(slot: &TokenSlot) -> TokenSlot {
    TokenSlot {
        generation: slot.generation + 1,
        tokens: None,
        intent: None,
        quarantined: Vec::new(),
        failure: None,
        ..next(slot)
    }
}

/// The access token was handed out.
pub(super) fn handed_out(slot: &TokenSlot, times: u64, last: Timestamp) -> TokenSlot {
    TokenSlot { handed_out: slot.handed_out.saturating_add(times), handed_out_at: Some(last), ..next(slot) }
}

/// What was aside for 30 days goes. `None` if nothing is so old.
pub(super) fn swept(slot: &TokenSlot, wall: Timestamp) -> Option<TokenSlot> {
    let longest = SignedDuration::try_from(QUARANTINE).unwrap_or(SignedDuration::MAX);
    let old = |aside: &Quarantined| wall.duration_since(aside.since) > longest;
    if !slot.quarantined.iter().any(old) {
        return None;
    }
    let mut swept = next(slot);
    swept.quarantined.retain(|aside| !old(aside));
    Some(swept)
}

#[cfg(test)]
mod tests;
