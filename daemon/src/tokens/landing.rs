//! What the keeper makes of a request that ended.

use std::sync::Arc;

use frankd_proto::diagnosis;
use frankd_proto::error::ProviderError;
use frankd_proto::{EventType, Kind, Name, ProfileId, RpcError};
use jiff::Timestamp;

use super::flight::{self, Landing, Note};
use super::keeper::Keeper;
use super::record::Consequence;
use super::slot::Entry;
use super::{House, call};
use crate::domain::answer::{FailureCause, TokenFailure};
use crate::domain::{Failure, Intent, NewEvent};
use crate::policy::classify::token::{self, AskedWith, Judgement, TokenClass};
use crate::policy::life::{Boot, Trouble};
use crate::policy::refresh::{Order, Setback, Verdict, With};
use crate::store::StoreError;

/// A failure on its way from the judgement into the slot.
struct Fault {
    setback: Setback,
    error: RpcError,
    intent: Option<Intent>,
    client: Option<Name>,
}

impl Keeper {
    /// Takes note of how a request ended.
    pub(super) fn landed(&mut self, profile: ProfileId, order: Order, generation: u64, landing: Landing) {
        let now = self.house.parts.now();
        let jitter = self.jitter();
        let excused = self.is_just_resumed(now);
        let Some(entry) = self.entries.get_mut(&profile) else { return };
        entry.outlook.ended += 1;
        let Some(host) = self.hosts.get_mut(&entry.host) else { return };
        let (was_open, lane, mut foreign) = (host.flow.is_open(), Arc::clone(&entry.lane), false);
        let fault = match landing {
            Landing::Arrived { took } => {
                host.flow.handle_answered(took);
                foreign = !entry.arrived(now, jitter);
                tracing::info!(%profile, took_ms = took.as_millis(), "a new token");
                None
            }
            Landing::Overtaken { took } => {
                host.flow.handle_answered(took);
                entry.machine.handle_overtaken();
                None
            }
            Landing::Nothing => {
                host.flow.handle_not_sent();
                entry.machine.handle_overtaken();
                entry.refound(&self.house, now, jitter);
                None
            }
            Landing::Unprepared(error) => {
                host.flow.handle_not_sent();
                Some(Fault::local(TokenClass::Misconfigured, error.error()))
            }
            Landing::Unwritten(error) => {
                host.flow.handle_not_sent();
                Some(Fault::local(TokenClass::Retry, unwritten(&error)))
            }
            Landing::Failed { failure, intent, client, took } => {
                if is_unreachable(&failure) {
                    host.flow.handle_unreachable(now, jitter, excused);
                } else {
                    host.flow.handle_answered(took);
                }
                Some(Fault::judged(&self.house, profile, &failure, intent, client, excused))
            }
        };
        if !host.flow.is_open() {
            host.fault = None;
        }
        match fault {
            Some(fault) => self.failed(profile, order, generation, fault),
            None => self.count_needs(),
        }
        if foreign {
            self.identify(lane);
        }
        self.show_all_if_turned(profile, was_open, now);
    }

    fn failed(&mut self, profile: ProfileId, order: Order, generation: u64, fault: Fault) {
        let (now, wall, jitter) = (self.house.parts.now(), self.house.parts.clock.wall(), self.jitter());
        let Some(entry) = self.entries.get_mut(&profile) else { return };
        let verdict = entry.machine.handle_failure(now, fault.setback, jitter);
        if verdict == Verdict::Overtaken {
            return;
        }
        let trouble = entry.machine.trouble();
        let failure = Failure {
            message: fault.error.message,
            data: fault.error.data,
            at: wall,
            count: entry.machine.failures().max(1),
            needs_grant: trouble == Some(Trouble::NeedsGrant),
            misconfigured: trouble == Some(Trouble::Misconfigured),
        };
        let (count, diagnosis) = (failure.count, failure.data.diagnosis.as_deref());
        tracing::warn!(%profile, ?trouble, count, diagnosis, "no new token: {}", failure.message);
        entry.fault = Some(Arc::new(failure.clone()));
        if let Some(host) = self.hosts.get_mut(&entry.host).filter(|host| host.flow.is_open()) {
            host.fault.clone_from(&entry.fault);
        }
        let events = entry.events(&self.house, &failure, verdict, (now, wall), fault.client.as_ref());
        let note = Note {
            failure,
            intent: fault.intent,
            generation,
            consequence: match verdict {
                Verdict::Quarantine => Consequence::SetAside,
                Verdict::RefusedAgain if order.with == With::Quarantined => Consequence::RefusedAgain,
                _ => Consequence::Kept,
            },
            events,
        };
        let lane = Arc::clone(&entry.lane);
        let house = Arc::clone(&self.house);
        self.detach(async move { flight::note(&house, &lane, note).await }, None);
    }

    /// A server that turned reachable or unreachable changes the outlook of all slots that wait for it.
    fn show_all_if_turned(&mut self, profile: ProfileId, was_open: bool, now: Boot) {
        let Some(entry) = self.entries.get(&profile) else { return };
        let Some(host) = self.hosts.get(&entry.host).filter(|host| host.flow.is_open() != was_open) else { return };
        for (_, _, waiting) in host.waiting.clone() {
            self.show(waiting, now);
        }
    }
}

impl Entry {
    /// The new token is in use. False if the client or profile changed while the request was on its way.
    fn arrived(&mut self, now: Boot, jitter: f64) -> bool {
        self.fault = None;
        self.risk_told = false;
        let shown = self.lane.shown();
        let Some(holding) = self.holding(&shown) else {
            self.machine.handle_overtaken();
            return false;
        };
        self.machine.handle_answer(now, holding, jitter);
        true
    }

    /// What is told of a failure.
    fn events(
        &mut self,
        house: &House,
        failure: &Failure,
        verdict: Verdict,
        (now, wall): (Boot, Timestamp),
        client: Option<&Name>,
    ) -> Vec<NewEvent> {
        let view = house.parts.registry.view();
        let Some((profile, _)) = call::parties(&view, self.lane.profile) else { return Vec::new() };
        let event = |event_type| {
            let event = NewEvent::new(wall, event_type)
                .profile(&profile.name)
                .with("message", failure.message.clone())
                .with("kind", failure.data.kind.name())
                .with("diagnosis", failure.data.diagnosis.clone())
                .with("failures", failure.count);
            match client {
                Some(client) => event.client(client),
                None => event,
            }
        };
        let mut events = vec![event(EventType::TokenRefreshFailed)];
        if verdict == Verdict::Quarantine {
            events.push(event(EventType::TokenQuarantined));
            events.push(event(EventType::GrantRequired));
        }
        let near = self.machine.holding().is_some_and(|held| {
            let left = held.expires.saturating_sub(now);
            !left.is_zero() && left < held.life.lead() / 2
        });
        let lasting = failure.misconfigured || failure.needs_grant;
        if (near || lasting) && self.machine.holding().is_some() && !std::mem::replace(&mut self.risk_told, true) {
            events.push(event(EventType::TokenAtRisk));
        }
        events
    }
}

impl Fault {
    fn local(class: TokenClass, error: RpcError) -> Self {
        let setback = Setback { class, retry_after: None, refusal: false, excused: false, local: true };
        Self { setback, error, intent: None, client: None }
    }

    fn judged(
        house: &House,
        profile: ProfileId,
        failure: &TokenFailure,
        intent: Intent,
        client: Name,
        just_resumed: bool,
    ) -> Self {
        let view = house.parts.registry.view();
        let known = view.profile(profile);
        let asked_with = match known.map(call::is_interactive) {
            Some(true) => AskedWith::RefreshToken,
            _ => AskedWith::ClientCredentials,
        };
        let judgement = token::judge(failure, asked_with);
        let setback = Setback {
            class: judgement.class,
            retry_after: failure.retry_after,
            refusal: matches!(failure.provider.status, Some(status @ 400..500) if ![408, 425, 429].contains(&status)),
            excused: just_resumed && is_unreachable(failure),
            local: false,
        };
        let hint = known.and_then(|profile| judgement.hint_for(&profile.name, &client));
        let error = error(&judgement, hint, failure);
        // The answer may have been lost: a crash before the next one is followed by the same request at once.
        let over = judgement.class != TokenClass::RetryAtOnce;
        Self { setback, error, intent: over.then_some(intent), client: Some(client) }
    }
}

fn error(judgement: &Judgement, hint: Option<String>, failure: &TokenFailure) -> RpcError {
    let mut error = RpcError::new(judgement.kind, judgement.message.clone());
    error.data.diagnosis = Some(judgement.diagnosis.to_owned());
    error.data.hint = hint;
    error.data.retry_after_s = failure.retry_after.map(|wait| wait.as_secs());
    error.data.provider = (failure.provider != ProviderError::default()).then(|| failure.provider.clone());
    error
}

fn unwritten(error: &StoreError) -> RpcError {
    RpcError::new(
        Kind::StoreReadOnly,
        format!("nothing was sent, because it could not be written down before: {error}"),
    )
    .diagnosis(&diagnosis::LOCAL_STORE)
}

fn is_unreachable(failure: &TokenFailure) -> bool {
    matches!(
        failure.cause,
        FailureCause::Unresolved(_) | FailureCause::Unreachable(_) | FailureCause::Tls(_) | FailureCause::Ambiguous(_)
    )
}
