//! What the refresh machine is told and what it says.

use std::time::Duration;

use super::super::classify::token::TokenClass;
use super::super::life::{Boot, Life};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Time after which a refused refresh token is no longer probed.
pub const QUARANTINE: Duration = Duration::from_secs(30 * 86_400);

/// How long after it was refused a refresh token is tried for the `probes + 1`-th time.
pub fn probe_after(probes: u32) -> Option<Duration> {
    let after = match probes {
        0 => HOUR,
        1 => 6 * HOUR,
        n => DAY.saturating_mul(n - 1),
    };
    (after <= QUARANTINE).then_some(after)
}

/// What a slot holds, as far as the schedule needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holding {
    /// Generation of the slot.
    pub generation: u64,
    /// Life of the access token.
    pub life: Life,
    /// When it ends.
    pub expires: Boot,
    /// When the provider would like it refreshed, after it was asked for.
    pub refresh_in: Option<Duration>,
    /// Time within which the refresh token must be used.
    pub refresh_life: Option<Duration>,
    /// Whether there is a refresh token.
    pub refresh_token: bool,
    /// Whether the refresh token before the last rotation is kept.
    pub previous: bool,
    /// Whether nobody knows how long it still lives: it is refreshed now.
    pub doubtful: bool,
}

/// What was found of a slot on disk, or is left of it after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// What it holds.
    pub holding: Option<Holding>,
    /// A refused refresh token: how often it was probed, and how long it is aside.
    pub refused: Option<(u32, Duration)>,
    /// Whether a request was on its way when the daemon ended.
    pub intent: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Whether the last failure waits for an operator.
    pub misconfigured: bool,
}

/// The token that a request asks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// The refresh token in use; the client's own credentials where the flow has none.
    Current,
    /// The refresh token before the last rotation.
    Previous,
    /// The refused one.
    Quarantined,
}

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it asks with.
    pub with: With,
    /// Whether it goes before all others, past the limits of the host: an answer may have been lost.
    pub at_once: bool,
    /// Whether it comes before the slot's own schedule.
    pub early: bool,
}

/// A failed request, as far as the schedule needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setback {
    /// Its class.
    pub class: TokenClass,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether the server refused with a 4xx other than 408, 425 and 429.
    pub refusal: bool,
    /// Whether it is no wonder: no network yet after a suspend. It does not count.
    pub excused: bool,
    /// Whether nothing was sent because of something on this machine: trying again costs nobody anything.
    pub local: bool,
}

/// What is to be written down of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: an adopted token overtook the request.
    Overtaken,
    /// Only that it failed.
    Failed,
    /// The refresh token is set aside, and a person is asked.
    Quarantine,
    /// The probe of a refused refresh token was refused again.
    RefusedAgain,
}

/// Why a refresh that somebody asks for does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is nothing to ask with: a person must grant.
    NeedsGrant,
    /// Not before then: the server said so, or too many were asked for.
    NotBefore(Boot),
}
