//! Writes down what came of an attempt: message, gate and events in one commit.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::error::SmtpReply;
use frankd_proto::methods::message::Attempt;
use frankd_proto::{EventType, HoldReason, ProfileId};
use jiff::Timestamp;

use super::shared::{Shared, Stop};
use super::telling::{self, Told};
use crate::clock::ClockExt as _;
use crate::domain::message::OperatorHold;
use crate::domain::{Gate, Message, NewEvent, Phase};
use crate::entropy::EntropyExt as _;
use crate::fail_point;
use crate::policy::classify::smtp::Judgement;
use crate::policy::retry::{self, Attempted, GatePlan, Outcome, Rules, Verdict};
use crate::store::{Change, StoreError};

/// How long to wait before a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Lines of a conversation that are kept.
const TRANSCRIPT: usize = 200;

/// An attempt that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The message as it is on disk.
    pub(super) message: Message,
    /// One for each recipient that was pending.
    pub(super) outcomes: Vec<Outcome>,
    /// What ended the attempt early.
    pub(super) judgement: Option<Judgement>,
    /// The server's word in it.
    pub(super) reply: Option<SmtpReply>,
    /// When it began.
    pub(super) at: Timestamp,
    /// How long it took.
    pub(super) took: Duration,
    /// `host:port`.
    pub(super) server: String,
    /// The conversation.
    pub(super) transcript: Vec<String>,
}

/// Settles a message. `false` if it could not be written: then the next start of the daemon finds it as it was claimed.
pub(super) async fn settle(shared: &Shared, ended: Ended) -> bool {
    if fail_point::hit("queue.before_settle").is_err() {
        return false;
    }
    let settings = shared.settings();
    let now = shared.clock.wall();
    let rules = Rules {
        retry: &settings.retry,
        expires_after: settings.queue.expires_after,
        now,
        jitter: shared.entropy.unit(),
    };
    let attempted = Attempted {
        message: &ended.message,
        outcomes: &ended.outcomes,
        fault: ended.judgement.as_ref(),
        reply: ended.reply.as_ref(),
    };
    let Verdict { mut message, gate } = retry::decide(&attempted, &rules);
    let outcome = telling::outcome(&ended.outcomes, ended.judgement.as_ref().map(|fault| fault.message.as_str()));
    let diagnosis = diagnosis(&ended);
    let name = shared.profile_name(message.profile);
    let told = Told { profile: &name, outcome: &outcome, diagnosis, gated: gate.is_some() };
    let events = telling::events(&ended.message, &message, &ended.outcomes, &told, now);
    message.version = ended.message.version + 1;
    message.last_attempt = Some(Attempt {
        at: ended.at,
        ms: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
        server: ended.server,
        diagnosis: diagnosis.map(str::to_owned),
        outcome,
        transcript: shortened(ended.transcript),
    });
    let outcome = message.last_attempt.as_ref().map_or("none", |attempt| attempt.outcome.as_str());
    tracing::info!(id = %message.id, profile = %name, "an attempt of {} ended: {outcome}", message.id);
    let gate = gate.map(|plan| closed(message.profile, plan, now));
    write(shared, message, gate, events).await
}

/// The beginning and the end of a conversation: it is kept with the message.
fn shortened(mut transcript: Vec<String>) -> Vec<String> {
    if transcript.len() > TRANSCRIPT {
        let left_out = transcript.len() - TRANSCRIPT;
        let note = format!("({left_out} lines left out)");
        transcript.splice(TRANSCRIPT / 2..TRANSCRIPT / 2 + left_out, [note]);
    }
    transcript
}

fn diagnosis(ended: &Ended) -> Option<&'static str> {
    let refused = ended.outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Refused(_, judgement) => Some(judgement.diagnosis),
        _ => None,
    });
    ended.judgement.as_ref().map(|judgement| judgement.diagnosis).or(refused)
}

/// A gate that closes now.
pub(super) fn closed(profile: ProfileId, plan: GatePlan, now: Timestamp) -> Gate {
    Gate {
        profile,
        reason: plan.reason,
        detail: Some(plan.detail),
        diagnosis: Some(plan.diagnosis.to_owned()),
        since: now,
        until: plan.until,
        probes: 0,
    }
}

/// Gives a claimed message back as it was.
pub(super) async fn release(shared: &Shared, message: Message) {
    let mut free = message;
    free.claim = None;
    free.phase = Phase::BeforeDot;
    free.version += 1;
    write(shared, free, None, Vec::new()).await;
}

/// Holds a message whose octets cannot be read, until somebody looks at it.
pub(super) async fn hold(shared: &Shared, message: Message, why: String) {
    let now = shared.clock.wall();
    let event = NewEvent::new(now, EventType::MessageHeld)
        .profile(&shared.profile_name(message.profile))
        .object(message.id)
        .with("reason", HoldReason::Operator.as_str())
        .with("detail", why.as_str());
    tracing::error!(id = %message.id, %why, "message held");
    let mut held = message;
    held.claim = None;
    held.phase = Phase::BeforeDot;
    held.hold = Some(OperatorHold { since: now, reason: Some(why) });
    held.version += 1;
    write(shared, held, None, vec![event]).await;
}

/// Writes until it is written. Only this delivery writes a message that it claimed, so a conflict is an older write of its
/// own, of which it did not know that it had worked.
async fn write(shared: &Shared, mut message: Message, gate: Option<Gate>, events: Vec<NewEvent>) -> bool {
    loop {
        let expected = message.version - 1;
        let change = Change::PutMessage { message: Box::new(message.clone()), expected };
        let written = match gate.clone() {
            Some(gate) => {
                let name = shared.profile_name(message.profile);
                shared.gates.close(gate, &name, vec![change], events.clone()).await
            }
            None => shared.store.commit(vec![change], events.clone()).await.map(drop),
        };
        let error = match written {
            Ok(()) => return true,
            Err(error) => error,
        };
        match error {
            StoreError::Conflict(_) => match shared.store.message(message.id).await {
                Ok(Some(stored)) if stored.claim.is_some() && stored.version > expected => {
                    message.version = stored.version + 1;
                    continue;
                }
                _ => {}
            },
            StoreError::Full | StoreError::Failed(_) if *shared.stop.borrow() != Stop::Now => {
                tracing::warn!(id = %message.id, %error, "the attempt is not written yet");
                shared.clock.sleep(AGAIN).await;
                continue;
            }
            _ => {}
        }
        tracing::error!(id = %message.id, %error, "the attempt could not be written");
        return false;
    }
}

/// Settles beside the next delivery of the connection: it is on disk before that one's final dot goes out.
pub(super) fn settle_beside(shared: &Arc<Shared>, ended: Ended) -> tokio::task::JoinHandle<bool> {
    let (shared, aloft) = (Arc::clone(shared), shared.take_off());
    tokio::spawn(async move {
        let written = settle(&shared, ended).await;
        drop(aloft);
        written
    })
}
