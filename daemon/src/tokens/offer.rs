//! What a snapshot has to offer to a caller: a token, the hope of one, or the reason why not.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::lane::Shown;
use super::{Issued, Unavailable};
use crate::domain::{Failure, SlotIdentity, TokenSet};
use crate::policy::life::{Boot, Fitness, Trouble};
use crate::policy::refresh::Obstacle;

/// When to ask again for a token that is on its way.
const SOON: Duration = Duration::from_secs(1);

/// How far the wall clock may be from where it was when a token came, before its end is told by the clock of now.
const STEP: Duration = Duration::from_secs(5);

/// What a snapshot has to offer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Offer {
    /// A token.
    Token(Box<Issued>),
    /// Nothing better than this yet: a new token is on its way.
    Wait(Box<Result<Issued, Unavailable>>),
    /// Nothing, and waiting does not help.
    Nothing(Unavailable),
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    /// What the tokens must have been issued to.
    pub(super) identity: &'a SlotIdentity,
    /// How long the token must still live; the minimum at use if absent.
    pub(super) min_valid: Option<Duration>,
    /// Now.
    pub(super) now: Boot,
    /// Now, by the wall clock.
    pub(super) wall: Timestamp,
}

/// What `shown` has to offer.
pub(super) fn offer(shown: &Shown, asking: &Asking<'_>) -> Offer {
    let tokens = shown.slot.tokens.as_ref().filter(|tokens| tokens.identity == *asking.identity);
    let Some((tokens, (life, remaining))) = tokens.zip(shown.remaining(asking.now)) else {
        return without(shown, None, asking.now);
    };
    if let Some(wanted) = asking.min_valid.filter(|wanted| *wanted > life.whole()) {
        tracing::debug!(wanted_s = wanted.as_secs(), "no token lives that long");
        return Offer::Nothing(Unavailable::ValidityUnreachable { longest: life.whole() });
    }
    let failing = shown.outlook.trouble.is_some() || !shown.is_renewable();
    match life.fitness(remaining, asking.min_valid) {
        Fitness::Good if !(shown.doubtful && asking.min_valid.is_some()) => {
            Offer::Token(Box::new(issued(shown, tokens, remaining, asking)))
        }
        Fitness::Stale if failing => Offer::Token(Box::new(issued(shown, tokens, remaining, asking))),
        Fitness::Stale => {
            let mut stale = issued(shown, tokens, remaining, asking);
            stale.warnings.push(format!("a new token is being fetched; this one ends in {} s", remaining.as_secs()));
            Offer::Wait(Box::new(Ok(stale)))
        }
        Fitness::Good | Fitness::Spent => without(shown, Some(remaining), asking.now),
    }
}

/// Why there is none, or that one comes.
fn without(shown: &Shown, remaining: Option<Duration>, now: Boot) -> Offer {
    let outlook = &shown.outlook;
    match (outlook.trouble, &outlook.fault) {
        (Some(Trouble::Misconfigured), Some(failure)) => {
            Offer::Nothing(Unavailable::Misconfigured { failure: Arc::clone(failure) })
        }
        (Some(Trouble::NeedsGrant), failure) => Offer::Nothing(Unavailable::NeedsGrant { failure: failure.clone() }),
        _ if !shown.is_renewable() => match remaining {
            Some(longest) if !longest.is_zero() => Offer::Nothing(Unavailable::ValidityUnreachable { longest }),
            _ => Offer::Nothing(Unavailable::NeedsGrant { failure: outlook.fault.clone() }),
        },
        (Some(Trouble::Retrying), Some(failure)) => {
            let retry_after = outlook.next.map_or(SOON, |next| next.saturating_sub(now).max(SOON));
            Offer::Wait(Box::new(Err(Unavailable::Failing { failure: Arc::clone(failure), retry_after })))
        }
        _ => Offer::Wait(Box::new(Err(Unavailable::Refreshing { retry_after: SOON }))),
    }
}

/// What an obstacle means for who asks.
pub(super) fn held(obstacle: Obstacle, shown: &Shown, now: Boot) -> Unavailable {
    match obstacle {
        Obstacle::NeedsGrant => Unavailable::NeedsGrant { failure: shown.outlook.fault.clone() },
        Obstacle::NotBefore(moment) => Unavailable::Held { retry_after: moment.saturating_sub(now) },
    }
}

fn issued(shown: &Shown, tokens: &TokenSet, remaining: Duration, asking: &Asking<'_>) -> Issued {
    let expires_at = expires_at(tokens, remaining, asking.wall);
    Issued {
        access_token: tokens.access_token.clone(),
        expires_at,
        remaining,
        scopes: tokens.scopes.clone(),
        account: tokens.account.clone(),
        generation: shown.slot.generation,
        obtained_at: tokens.obtained_at,
        warnings: warnings(shown, expires_at),
    }
}

/// The end that was written, unless somebody set the clock since: then by the clock of now.
fn expires_at(tokens: &TokenSet, remaining: Duration, wall: Timestamp) -> Timestamp {
    let written = tokens.expires_at();
    let by_now = SignedDuration::try_from(remaining).ok().and_then(|left| wall.checked_add(left).ok());
    match by_now {
        Some(by_now) if written.duration_since(by_now).unsigned_abs() > STEP => by_now,
        _ => written,
    }
}

fn warnings(shown: &Shown, expires_at: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    let failing = |failure: &Arc<Failure>| {
        format!("refreshing fails, and this token ends at {expires_at:.0}: {}", failure.message)
    };
    match (shown.outlook.trouble, &shown.outlook.fault) {
        (Some(_), Some(failure)) => warnings.push(failing(failure)),
        _ if !shown.is_renewable() => {
            warnings.push(format!("there is no refresh token: a person must grant before {expires_at:.0}"));
        }
        _ => {}
    }
    if shown.doubtful {
        warnings.push("the clock was set back: nobody knows when this token ends".to_owned());
    }
    if shown.unsaved {
        warnings.push("the disk fails: this token is in memory alone".to_owned());
    }
    warnings
}
