//! Gates that close and open without a delivery: by the state of a token, by the clock, and by a login that is tried.

use std::sync::Arc;

use frankd_proto::diagnosis;
use frankd_proto::{HoldReason, ProfileId, ProfileKind, TokenState};
use jiff::Timestamp;

use super::connection::{self, NoSession};
use super::settle;
use super::shared::Shared;
use crate::domain::{Gate, Profile};
use crate::policy::retry::{self, probe_at};
use crate::store::StoreError;
use crate::tokens::{SlotInfo, Unavailable};

/// Whether the gate is tried by logging in.
fn is_probed(gate: &Gate) -> bool {
    match gate.reason {
        HoldReason::AuthRefused | HoldReason::HostFault | HoldReason::AccountLimit => true,
        // One that a delivery closed; one of the token's state is opened by that state.
        HoldReason::ClientFault => gate.until.is_some(),
        HoldReason::Operator | HoldReason::Paused | HoldReason::GrantRequired | HoldReason::NoProfile => false,
    }
}

/// Tries what a gate waits for, once it is due: a pause ends, everything else by a login without mail.
pub(super) async fn probe(shared: &Arc<Shared>, gate: Gate, profile: Profile) -> Result<(), StoreError> {
    let now = shared.clock.wall();
    if !is_probed(&gate) {
        return shared.gates.open(gate.profile, gate.reason, Some(&profile.name), now).await.map(drop);
    }
    let Some(to) = profile.smtp.as_ref() else { return Ok(()) };
    let tried = connection::knock(shared, &profile, to).await;
    let now = shared.clock.wall();
    match tried {
        Ok(connection) => {
            connection.session.quit().await;
            for open in shared.gates.of(profile.id).iter().filter(|gate| is_probed(gate)) {
                if open.reason != HoldReason::AccountLimit || open.until.is_none_or(|until| until <= now) {
                    shared.gates.open(open.profile, open.reason, Some(&profile.name), now).await?;
                }
            }
            Ok(())
        }
        Err(NoSession::Fault(refused)) => {
            let plan = retry::plan(&refused.judgement, now);
            match plan.filter(|plan| plan.reason != gate.reason) {
                None => again(shared, &gate, refused.judgement.message, now).await,
                Some(plan) => {
                    let other = settle::closed(profile.id, plan, now);
                    shared.gates.close(other, &profile.name, Vec::new(), Vec::new()).await?;
                    shared.gates.open(gate.profile, gate.reason, Some(&profile.name), now).await.map(drop)
                }
            }
        }
        Err(NoSession::Secret(detail)) => again(shared, &gate, detail, now).await,
        Err(NoSession::Token(why)) => {
            if let Some(other) = token_gate(profile.id, &why, now) {
                shared.gates.close(other, &profile.name, Vec::new(), Vec::new()).await?;
            }
            again(shared, &gate, why.to_string(), now).await
        }
    }
}

/// In vain: the next try comes later than this one did.
async fn again(shared: &Shared, gate: &Gate, detail: String, now: Timestamp) -> Result<(), StoreError> {
    let tried = |gate: &mut Gate| {
        gate.probes = gate.probes.saturating_add(1);
        gate.until = probe_at(gate.reason, gate.probes, now);
        gate.detail = Some(detail);
    };
    shared.gates.put(gate.profile, gate.reason, tried).await
}

/// The gate of a profile whose password cannot be read: it is read again with each probe.
pub(super) fn secret_gate(profile: ProfileId, detail: String, now: Timestamp) -> Gate {
    Gate {
        profile,
        reason: HoldReason::AuthRefused,
        detail: Some(detail),
        diagnosis: Some(diagnosis::SMTP_SECRET.id.to_owned()),
        since: now,
        until: probe_at(HoldReason::AuthRefused, 0, now),
        probes: 0,
    }
}

/// The gate for a token that does not come by itself.
pub(super) fn token_gate(profile: ProfileId, why: &Unavailable, now: Timestamp) -> Option<Gate> {
    let (reason, failure) = match why {
        Unavailable::NeedsGrant { failure } => (HoldReason::GrantRequired, failure.as_ref()),
        Unavailable::Misconfigured { failure } => (HoldReason::ClientFault, Some(failure)),
        _ => return None,
    };
    let detail = failure.map_or_else(|| why.to_string(), |failure| failure.message.clone());
    let diagnosis = failure.and_then(|failure| failure.data.diagnosis.clone());
    Some(Gate { profile, reason, detail: Some(detail), diagnosis, since: now, until: None, probes: 0 })
}

/// Closes and opens the gates that follow from a profile's token.
pub(super) async fn follow_token(shared: &Shared, profile: &Profile, info: &SlotInfo) -> Result<(), StoreError> {
    let wanted = match info.state {
        TokenState::NeedsGrant => Some(Unavailable::NeedsGrant { failure: info.failure.clone() }),
        TokenState::Misconfigured => info.failure.clone().map(|failure| Unavailable::Misconfigured { failure }),
        TokenState::None | TokenState::Valid | TokenState::AtRisk | TokenState::Expired => None,
    };
    let now = shared.clock.wall();
    let wanted = wanted.and_then(|why| token_gate(profile.id, &why, now));
    for reason in [HoldReason::GrantRequired, HoldReason::ClientFault] {
        let closed = shared.gates.gate(profile.id, reason).filter(|gate| gate.until.is_none());
        if closed.is_some() && wanted.as_ref().is_none_or(|gate| gate.reason != reason) {
            shared.gates.open(profile.id, reason, Some(&profile.name), now).await?;
        }
    }
    match wanted {
        Some(gate) => shared.gates.close(gate, &profile.name, Vec::new(), Vec::new()).await,
        None => Ok(()),
    }
}

/// What a probe's outcome depends on: when it changes, a gate may be worth a try at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Basis {
    revision: u64,
    generation: u64,
}

/// Why a gate may be worth a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Somebody changed the profile, or asks for a try.
    Person,
    /// There is a new token.
    Token,
}

impl Basis {
    pub(super) fn of(profile: &Profile, info: Option<&SlotInfo>) -> Self {
        Self { revision: profile.revision, generation: info.map_or(0, |info| info.slot.generation) }
    }

    /// What changed since `before`.
    pub(super) fn since(self, before: Self) -> Option<Occasion> {
        if self.revision == before.revision {
            (self.generation != before.generation).then_some(Occasion::Token)
        } else {
            Some(Occasion::Person)
        }
    }
}

/// Whether the occasion may be what the gate waits for. A new token raises no limit of the account and mends no host.
const fn concerns(what: Occasion, gate: &Gate) -> bool {
    matches!(what, Occasion::Person) || matches!(gate.reason, HoldReason::AuthRefused | HoldReason::ClientFault)
}

/// Tries the gates of a profile at once that the occasion concerns: those that are closed since `closed_before`, or before.
pub(super) async fn hasten(
    shared: &Shared,
    profile: ProfileId,
    what: Occasion,
    closed_before: Timestamp,
) -> Result<(), StoreError> {
    let now = shared.clock.wall();
    let worth = |gate: &&Gate| is_probed(gate) && concerns(what, gate) && gate.since <= closed_before;
    for gate in shared.gates.of(profile).iter().filter(worth) {
        shared.gates.put(profile, gate.reason, |gate| gate.until = Some(now)).await?;
    }
    Ok(())
}

/// Whether a profile uses tokens for mail.
pub(super) fn uses_tokens(profile: &Profile) -> bool {
    profile.kind == ProfileKind::Oauth2Smtp
}
