//! One request to a token endpoint, from the intent on disk to the token in everybody's hands.
//!
//! # Invariants
//!
//! - It runs as a task of its own: who waits for it cannot cancel it.
//! - The order is fixed: intent on disk, request, answer on disk, snapshot. A crash between any two of them loses no
//!   grant that the server would not have ended anyway.
//! - The refresh token is read from the slot in the same breath as the intent is written.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::error::ProviderError;
use frankd_proto::{EventType, Flow, Name};
use jiff::Timestamp;

use super::lane::{self, Fresh, Lane};
use super::record::{self, Arrival, Consequence};
use super::{CallError, House, Prepared, call};
use crate::clock::ClockExt as _;
use crate::domain::answer::{FailureCause, TokenAnswer, TokenCall, TokenFailure, TokenGrant};
use crate::domain::{Failure, Intent, NewEvent, TokenSlot};
use crate::fail_point;
use crate::oauth::digest;
use crate::policy::life::{self, Boot};
use crate::policy::refresh::With;
use crate::store::StoreError;

/// Time that a request may take over what its client allows, before it is given up here.
const GRACE: Duration = Duration::from_secs(15);

/// How a flight ended.
#[derive(Debug)]
pub(super) enum Landing {
    /// The new token is in use.
    Arrived {
        /// Time from request to answer.
        took: Duration,
    },
    /// An answer came, and the slot had changed meanwhile: it was thrown away.
    Overtaken {
        /// Time from request to answer.
        took: Duration,
    },
    /// There was nothing to ask with, or nobody to ask for.
    Nothing,
    /// The request could not be put together. Nothing was sent.
    Unprepared(CallError),
    /// The intent could not be written. Nothing was sent.
    Unwritten(StoreError),
    /// The request failed.
    Failed {
        /// How.
        failure: Box<TokenFailure>,
        /// What is on disk of it.
        intent: Intent,
        /// Name of the client.
        client: Name,
        /// Time from request to failure.
        took: Duration,
    },
}

/// A request that may be sent: its intent is on disk.
struct Departure {
    call: TokenCall,
    ticket: Ticket,
}

/// What the answer will be told by.
struct Ticket {
    intent: Intent,
    with: With,
    sent: Boot,
    prepared: Prepared,
    flow: Flow,
}

/// Flies. The slot's wing is held the whole time, so there is no other.
pub(super) async fn fly(house: &Arc<House>, lane: &Arc<Lane>, with: With) -> Landing {
    let _alone = lane.wing.lock().await;
    let Departure { call, ticket } = match depart(house, lane, with).await {
        Ok(departure) => departure,
        Err(landing) => return landing,
    };
    fail_point::hit("token.after_intent").ok();
    let limit = call.wire.connect_timeout + call.wire.request_timeout + GRACE;
    let outcome = house.parts.clock.deadline(limit, house.parts.server.token(call)).await;
    let took = house.parts.now().saturating_sub(ticket.sent);
    match outcome.unwrap_or_else(|_| Err(no_answer(limit))) {
        Ok(answer) => {
            fail_point::hit("token.after_answer").ok();
            arrive(house, lane, ticket, answer, took).await
        }
        Err(failure) => {
            Landing::Failed { failure: Box::new(failure), intent: ticket.intent, client: ticket.prepared.client, took }
        }
    }
}

async fn depart(house: &Arc<House>, lane: &Arc<Lane>, with: With) -> Result<Departure, Landing> {
    fail_point::hit("token.before_intent").ok();
    let Some(mut slot) = lane.write().await else { return Err(Landing::Nothing) };
    let registry = &house.parts.registry;
    let (sent, wall) = (house.parts.now(), house.parts.clock.wall());
    let (identity, flow, grant, fingerprint) = {
        let view = registry.view();
        let Some((profile, _)) = call::parties(&view, lane.profile) else { return Err(Landing::Nothing) };
        let Some(identity) = view.identity(profile) else { return Err(Landing::Nothing) };
        if call::is_interactive(profile) {
            let Some(token) = record::refresh_token(&slot, with, &identity) else { return Err(Landing::Nothing) };
            let fingerprint = digest::fingerprint(token);
            (identity, Flow::Interactive, TokenGrant::RefreshToken(token.clone()), fingerprint)
        } else {
            (identity, Flow::ClientCredentials, TokenGrant::ClientCredentials, String::new())
        }
    };
    let prepared = call::prepare(registry, lane.profile, grant).map_err(Landing::Unprepared)?;
    if prepared.identity != identity {
        // The refresh token was chosen for the identity of a moment ago. It goes nowhere else.
        return Err(Landing::Nothing);
    }
    let next = record::intended(&slot, fingerprint, wall);
    let Some(intent) = next.intent.clone() else { return Err(Landing::Nothing) };
    lane.put(house, &mut slot, next, Vec::new()).await.map_err(Landing::Unwritten)?;
    let call = prepared.call.clone();
    Ok(Departure { call, ticket: Ticket { intent, with, sent, prepared, flow } })
}

async fn arrive(house: &House, lane: &Lane, ticket: Ticket, answer: TokenAnswer, took: Duration) -> Landing {
    let Some(mut slot) = lane.write().await else { return Landing::Nothing };
    if slot.generation != ticket.intent.generation {
        // Not revoked: at some servers that would end the grant that overtook this answer, too.
        return Landing::Overtaken { took };
    }
    let life = Duration::from_secs(u64::from(life::lifetime_s(answer.expires_in)));
    let arrival = Arrival { answer, sent_at: ticket.intent.sent_at, identity: ticket.prepared.identity };
    let next = match ticket.flow {
        Flow::Interactive => record::refreshed(&slot, &arrival, ticket.with),
        Flow::ClientCredentials => record::issued(&slot, &arrival),
    };
    let event = NewEvent::new(house.parts.clock.wall(), EventType::TokenRefreshed)
        .profile(&ticket.prepared.profile)
        .client(&ticket.prepared.client);
    let event = lane::refreshed(&next, event);
    let fresh = Fresh { slot: next, expires: ticket.sent + life, changes: Vec::new(), events: vec![event] };
    match lane.keep(house, &mut slot, fresh).await {
        Ok(()) => {
            fail_point::hit("token.after_publish").ok();
            Landing::Arrived { took }
        }
        Err(error) => {
            tracing::warn!(profile = %lane.profile, %error, "a new token came for a slot that is gone");
            Landing::Nothing
        }
    }
}

fn no_answer(limit: Duration) -> TokenFailure {
    TokenFailure {
        cause: FailureCause::Ambiguous(format!("no answer within {} s", limit.as_secs())),
        retry_after: None,
        provider: ProviderError::default(),
    }
}

/// A failure that is to be written down.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) failure: Failure,
    /// The intent that ended with it; none if the request may have had an effect, so that a crash is followed by a retry.
    pub(super) intent: Option<Intent>,
    /// Generation that the request was made from.
    pub(super) generation: u64,
    pub(super) consequence: Consequence,
    pub(super) events: Vec<NewEvent>,
}

/// Writes a failure down. A disk that fails loses nothing but the note.
pub(super) async fn note(house: &House, lane: &Lane, note: Note) {
    let Some(mut slot) = lane.write().await else { return };
    if slot.generation != note.generation {
        return;
    }
    let mut next = record::failed(&slot, note.failure, note.consequence);
    next.intent = slot.intent.clone().filter(|now| Some(now) != note.intent.as_ref());
    if let Err(error) = lane.put(house, &mut slot, next, note.events).await {
        tracing::warn!(profile = %lane.profile, %error, "a failed refresh could not be written down");
    }
}

/// Puts tokens of another identity aside, and takes those of the present one back into use.
pub(super) async fn identify(house: &House, lane: &Lane) {
    let _alone = lane.wing.lock().await;
    change(house, lane, |slot, wall| {
        let view = house.parts.registry.view();
        let (profile, _) = call::parties(&view, lane.profile)?;
        record::identified(slot, &view.identity(profile)?, wall)
    })
    .await;
}

/// Drops what was set aside long ago.
pub(super) async fn sweep(house: &House, lane: &Lane) {
    change(house, lane, record::swept).await;
}

async fn change(house: &House, lane: &Lane, change: impl FnOnce(&TokenSlot, Timestamp) -> Option<TokenSlot>) {
    let Some(mut slot) = lane.write().await else { return };
    if let Some(next) = change(&slot, house.parts.clock.wall())
        && let Err(error) = lane.put(house, &mut slot, next, Vec::new()).await
    {
        tracing::warn!(profile = %lane.profile, %error, "a token slot could not be written");
    }
}
