//! What follows from an attempt to deliver: who is served, who waits and how long, which gate closes.
//!
//! Only a fault of the message or of a recipient uses up a message's life, and only by the wait that follows it. A fault of
//! the profile, its client or the host costs the message nothing: it waits, behind a gate where the fault has one.

use std::time::Duration;

use frankd_proto::diagnosis;
use frankd_proto::error::SmtpReply;
use frankd_proto::{HoldReason, OnDoubt, RecipientState};
use jiff::{SignedDuration, Timestamp};

use super::classify::smtp::{Judgement, Lasting, Refresh, Scope};
use crate::domain::settings::RetrySettings;
use crate::domain::{Message, Phase, Recipient};

/// When a refused login is tried again, with AUTH alone; the last one repeats.
const AUTH_PROBES: [Duration; 4] = minutes([1, 5, 15, 60]);
/// When a host that failed is tried again; the last one repeats.
const HOST_PROBES: [Duration; 4] = minutes([1, 2, 5, 15]);
/// When an account over its limit, or a client that a mail server refuses, is tried again.
const HOURLY: [Duration; 1] = minutes([60]);

const fn minutes<const N: usize>(list: [u64; N]) -> [Duration; N] {
    let mut waits = [Duration::ZERO; N];
    let mut i = 0;
    while i < N {
        waits[i] = Duration::from_secs(60 * list[i]);
        i += 1;
    }
    waits
}

/// What is certain about one recipient, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server took the message for it.
    Sent(SmtpReply),
    /// The server refused it at RCPT TO.
    Refused(SmtpReply, Judgement),
    /// Surely not sent; the attempt's fault says why.
    NotSent,
    /// The final dot went out, and the answer did not come.
    InDoubt,
}

/// An attempt that ended.
#[derive(Clone, Debug)]
pub struct Attempted<'a> {
    /// The message as it was claimed.
    pub message: &'a Message,
    /// One outcome for each pending recipient, in their order.
    pub outcomes: &'a [Outcome],
    /// What ended the attempt early.
    pub fault: Option<&'a Judgement>,
    /// The server's word in that fault.
    pub reply: Option<&'a SmtpReply>,
}

/// What the rules depend on besides the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// First and longest wait.
    pub retry: &'a RetrySettings,
    /// Consumed age at which a message is given up.
    pub expires_after: Duration,
    /// When the attempt ended.
    pub now: Timestamp,
    /// From 0 to just under 1.
    pub jitter: f64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The message as it shall be, of the version that it had.
    pub message: Message,
    /// The gate to close.
    pub gate: Option<GatePlan>,
}

/// A gate to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatePlan {
    /// Why.
    pub reason: HoldReason,
    /// In words.
    pub detail: String,
    /// Id of the diagnosis.
    pub diagnosis: &'static str,
    /// When it opens by itself or is tried next.
    pub until: Option<Timestamp>,
}

/// What becomes of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    End(RecipientState),
    Doubt,
    /// Waits, at least so long; `ages` says whether the wait uses up the message's life.
    Again {
        ages: bool,
        least: Duration,
    },
}

/// Decides.
pub fn decide(attempted: &Attempted<'_>, rules: &Rules<'_>) -> Verdict {
    let Attempted { message, outcomes, fault, reply } = *attempted;
    let mut next = message.clone();
    next.attempts = message.attempts.saturating_add(1);
    next.claim = None;
    next.phase = Phase::BeforeDot;
    let mut gate = fault.and_then(|fault| plan(fault, rules.now));
    let age = Duration::from_secs(message.consumed_age_s);
    let mut waits: Option<(bool, Duration)> = None;
    let served = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Sent(_)));
    let mut surplus = false;
    let pending = next.recipients.iter_mut().filter(|recipient| recipient.state == RecipientState::Pending);
    for (recipient, outcome) in pending.zip(outcomes) {
        if let Outcome::Refused(_, judgement) = outcome {
            gate = gate.or_else(|| plan(judgement, rules.now));
        }
        let fate = match fate(outcome, fault) {
            Fate::Again { .. } if served && is_surplus(outcome) => {
                surplus = true;
                keep_reply(recipient, outcome, reply);
                continue;
            }
            fate => fate,
        };
        keep_reply(recipient, outcome, reply);
        match fate {
            Fate::End(state) => end(recipient, state, rules.now),
            Fate::Doubt if message.on_doubt == OnDoubt::Hold => recipient.state = RecipientState::InDoubt,
            Fate::Again { ages: true, .. } if age >= rules.expires_after => {
                end(recipient, RecipientState::Expired, rules.now);
            }
            Fate::Doubt => waits = Some(longer(waits, false, Duration::ZERO)),
            Fate::Again { ages, least } => waits = Some(longer(waits, ages, least)),
        }
    }
    if message.expires_at.is_some_and(|at| at <= rules.now) {
        for recipient in next.recipients.iter_mut().filter(|r| r.state == RecipientState::Pending) {
            end(recipient, RecipientState::Expired, rules.now);
        }
    }
    if let Some((ages, least)) = waits {
        wait(&mut next, rules, (ages, least), gate.is_some());
    }
    if surplus {
        next.due_at = rules.now;
    }
    next.ended_at = next.is_final().then_some(rules.now);
    Verdict { message: next, gate }
}

/// Whether the server only had no place for this recipient beside the others (RFC 5321 §4.5.3.1.10): the rest goes next,
/// at once, as long as each attempt serves some.
fn is_surplus(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(_, judgement) if judgement.diagnosis == diagnosis::SMTP_TOO_MANY_RECIPIENTS.id)
}

fn longer(waits: Option<(bool, Duration)>, ages: bool, least: Duration) -> (bool, Duration) {
    waits.map_or((ages, least), |(a, l)| (a || ages, l.max(least)))
}

fn fate(outcome: &Outcome, fault: Option<&Judgement>) -> Fate {
    match (outcome, fault) {
        (Outcome::Sent(_), _) => Fate::End(RecipientState::Sent),
        (Outcome::InDoubt, _) => Fate::Doubt,
        (Outcome::Refused(_, judgement), _) | (Outcome::NotSent, Some(judgement)) => judged(judgement),
        (Outcome::NotSent, None) => Fate::Again { ages: false, least: Duration::ZERO },
    }
}

fn judged(judgement: &Judgement) -> Fate {
    let least = match judgement.lasting {
        Lasting::For(wait) => wait,
        Lasting::Permanent | Lasting::Temporary | Lasting::UntilPerson => Duration::ZERO,
    };
    match (judgement.scope, judgement.lasting) {
        (Scope::Recipient | Scope::Message, Lasting::Permanent) => Fate::End(RecipientState::Failed),
        (Scope::Recipient | Scope::Message, _) => Fate::Again { ages: true, least },
        (Scope::Profile | Scope::Client | Scope::Host, _) => Fate::Again { ages: false, least },
    }
}

fn end(recipient: &mut Recipient, state: RecipientState, now: Timestamp) {
    recipient.state = state;
    recipient.ended_at = Some(now);
}

/// A recipient shows what was last said of it: its own reply, else that to the whole message.
fn keep_reply(recipient: &mut Recipient, outcome: &Outcome, of_fault: Option<&SmtpReply>) {
    match outcome {
        Outcome::Sent(reply) | Outcome::Refused(reply, _) => recipient.reply = Some(reply.clone()),
        Outcome::NotSent => recipient.reply = of_fault.cloned().or_else(|| recipient.reply.take()),
        Outcome::InDoubt => recipient.reply = None,
    }
}

/// Sets when the message is due again. Behind a gate it is due at once: the gate says when.
fn wait(next: &mut Message, rules: &Rules<'_>, (ages, least): (bool, Duration), gated: bool) {
    let age = Duration::from_secs(next.consumed_age_s);
    let RetrySettings { first, longest, .. } = *rules.retry;
    let wait = if ages {
        // The age is the sum of the waits so far, so this doubles them.
        spread(age.saturating_add(first).min(longest), rules).max(least).min(rules.expires_after.saturating_sub(age))
    } else if gated {
        Duration::ZERO
    } else {
        let doublings = next.attempts.saturating_sub(1).min(16);
        spread(first.saturating_mul(1 << doublings).min(longest), rules).max(least)
    };
    if ages {
        next.consumed_age_s = next.consumed_age_s.saturating_add(wait.as_secs());
    }
    next.due_at = after(rules.now, wait);
}

fn spread(wait: Duration, rules: &Rules<'_>) -> Duration {
    let share = rules.retry.jitter.clamp(0.0, 1.0);
    let rounded = wait.mul_f64(1.0 - share + 2.0 * share * rules.jitter.clamp(0.0, 1.0)).as_secs().max(1);
    Duration::from_secs(rounded)
}

/// The gate that a fault closes.
pub fn plan(judgement: &Judgement, now: Timestamp) -> Option<GatePlan> {
    let reason = judgement.hold?;
    let until = match judgement.lasting {
        Lasting::For(wait) => Some(after(now, wait)),
        Lasting::Permanent | Lasting::Temporary | Lasting::UntilPerson => probe_at(reason, 0, now),
    };
    let detail = match &judgement.hint {
        Some(hint) => format!("{}; {hint}", judgement.message),
        None => judgement.message.clone(),
    };
    Some(GatePlan { reason, detail, diagnosis: judgement.diagnosis, until })
}

/// When a gate that was tried `probes` times in vain is tried next; `None` for one that somebody opens.
pub fn probe_at(reason: HoldReason, probes: u32, now: Timestamp) -> Option<Timestamp> {
    let waits: &[Duration] = match reason {
        HoldReason::AuthRefused => &AUTH_PROBES,
        HoldReason::HostFault => &HOST_PROBES,
        HoldReason::AccountLimit | HoldReason::ClientFault => &HOURLY,
        HoldReason::Operator | HoldReason::Paused | HoldReason::GrantRequired | HoldReason::NoProfile => return None,
    };
    let last = waits.len() - 1;
    let nth = usize::try_from(probes).unwrap_or(last).min(last);
    Some(after(now, waits[nth]))
}

/// Whether a failed login is worth one new token and one more try, with a token that still lives `remaining`, and should
/// live `least` when it is used.
pub fn wants_new_token(judgement: &Judgement, remaining: Duration, least: Duration) -> bool {
    match judgement.refresh {
        Refresh::Never => false,
        Refresh::Once => true,
        Refresh::NearItsEnd => remaining < least,
    }
}

/// Whether a gate has been closed too long for a message: a pause never is.
pub fn outlasted(message: &Message, reason: HoldReason, since: Timestamp, longest: Duration, now: Timestamp) -> bool {
    let began = since.max(message.send_at.unwrap_or(message.queued_at)).max(message.queued_at);
    !matches!(reason, HoldReason::Paused | HoldReason::Operator) && after(began, longest) <= now
}

/// The moment `wait` after `at`, or the end of time.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| at.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use frankd_proto::{Kind, MessageId, Priority, ProfileId};
    use proptest::prelude::*;

    const DAY: u64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn message(recipients: usize) -> Message {
        let recipient = |i| Recipient {
            address: format!("r{i}@d.example"),
            state: RecipientState::Pending,
            reply: None,
            ended_at: None,
        };
        Message {
            id: MessageId::from_bits(1),
            version: 3,
            profile: ProfileId::from_bits(1),
            uid: 0,
            from: "a@b.example".to_owned(),
            recipients: (0..recipients).map(recipient).collect(),
            message_id: "<1@b.example>".to_owned(),
            subject: None,
            size_bytes: 1,
            eight_bit: false,
            smtputf8: false,
            priority: Priority::Normal,
            on_doubt: OnDoubt::Retry,
            queued_at: at(0),
            send_at: None,
            expires_at: None,
            due_at: at(0),
            attempts: 0,
            consumed_age_s: 0,
            phase: Phase::AfterDot,
            claim: Some(crate::domain::Claim { incarnation: 1, at: at(0) }),
            hold: None,
            ended_at: None,
            last_attempt: None,
        }
    }

    fn judgement(scope: Scope, lasting: Lasting, hold: Option<HoldReason>) -> Judgement {
        Judgement {
            scope,
            lasting,
            hold,
            refresh: Refresh::Never,
            kind: Kind::SmtpTempFailure,
            diagnosis: "test",
            message: "words".to_owned(),
            hint: None,
        }
    }

    fn reply(code: u16) -> SmtpReply {
        SmtpReply { code, enhanced: None, text: "said".to_owned() }
    }

    fn retry() -> RetrySettings {
        crate::domain::Settings::default().retry
    }

    fn rules(retry: &RetrySettings) -> Rules<'_> {
        Rules { retry, expires_after: Duration::from_secs(5 * DAY), now: at(0), jitter: 0.5 }
    }

    fn decided(message: &Message, outcomes: &[Outcome], fault: Option<&Judgement>) -> Verdict {
        decide(&Attempted { message, outcomes, fault, reply: None }, &rules(&retry()))
    }

    #[test]
    fn every_recipient_goes_its_own_way() {
        let message = message(4);
        let outcomes = [
            Outcome::Sent(reply(250)),
            Outcome::Refused(reply(550), judgement(Scope::Recipient, Lasting::Permanent, None)),
            Outcome::Refused(reply(450), judgement(Scope::Recipient, Lasting::Temporary, None)),
            Outcome::InDoubt,
        ];
        let next = decided(&message, &outcomes, None).message;
        let states: Vec<_> = next.recipients.iter().map(|r| r.state).collect();
        let [sent, failed, pending] = [RecipientState::Sent, RecipientState::Failed, RecipientState::Pending];
        assert_eq!(states, [sent, failed, pending, pending]);
        assert_eq!(next.recipients[1].reply, Some(reply(550)));
        assert_eq!((next.due_at, next.consumed_age_s, next.attempts), (at(60), 60, 1));
        assert_eq!((next.claim, next.phase, next.ended_at), (None, Phase::BeforeDot, None));
    }

    #[test]
    fn what_a_fault_costs_depends_on_whose_it_is() {
        use HoldReason::{AccountLimit, AuthRefused, ClientFault, HostFault};
        use RecipientState::{Failed, Pending};
        let hour = Duration::from_secs(3600);
        // scope, lasting, hold → state, due in, age, gate until
        for (scope, lasting, hold, state, due, age, until) in [
            (Scope::Message, Lasting::Permanent, None, Failed, 0, 0, None),
            (Scope::Message, Lasting::Temporary, None, Pending, 60, 60, None),
            (Scope::Message, Lasting::For(hour), None, Pending, 3600, 3600, None),
            (Scope::Recipient, Lasting::UntilPerson, None, Pending, 60, 60, None),
            (Scope::Host, Lasting::Temporary, None, Pending, 60, 0, None),
            (Scope::Host, Lasting::Permanent, None, Pending, 60, 0, None),
            (Scope::Host, Lasting::Temporary, Some(HostFault), Pending, 0, 0, Some(60)),
            (Scope::Profile, Lasting::UntilPerson, Some(AuthRefused), Pending, 0, 0, Some(60)),
            (Scope::Profile, Lasting::For(hour), Some(AccountLimit), Pending, 0, 0, Some(3600)),
            (Scope::Profile, Lasting::UntilPerson, Some(AccountLimit), Pending, 0, 0, Some(3600)),
            (Scope::Client, Lasting::UntilPerson, Some(ClientFault), Pending, 0, 0, Some(3600)),
            (Scope::Profile, Lasting::For(hour), None, Pending, 3600, 0, None),
        ] {
            let judgement = judgement(scope, lasting, hold);
            let Verdict { message, gate } = decided(&message(1), &[Outcome::NotSent], Some(&judgement));
            let case = format!("{scope:?} {lasting:?} {hold:?}");
            assert_eq!(message.recipients[0].state, state, "{case}");
            assert_eq!((message.due_at, message.consumed_age_s), (at(due), age), "{case}");
            assert_eq!(gate.as_ref().map(|gate| gate.reason), hold, "{case}");
            assert_eq!(gate.and_then(|gate| gate.until), until.map(at), "{case}");
        }
    }

    #[test]
    fn recipients_that_were_too_many_go_next_at_once() {
        let mut many = judgement(Scope::Recipient, Lasting::Temporary, None);
        many.diagnosis = "smtp.too_many_recipients";
        let surplus = Outcome::Refused(reply(452), many);
        let next = decided(&message(2), &[Outcome::Sent(reply(250)), surplus.clone()], None).message;
        assert_eq!((next.due_at, next.consumed_age_s), (at(0), 0));
        let next = decided(&message(1), &[surplus], None).message;
        assert_eq!((next.due_at, next.consumed_age_s), (at(60), 60), "no progress is a fault");
    }

    #[test]
    fn a_refusal_of_a_recipient_can_be_the_accounts_fault() {
        let quota = judgement(Scope::Profile, Lasting::For(Duration::from_secs(600)), Some(HoldReason::AccountLimit));
        let Verdict { message, gate } = decided(&message(1), &[Outcome::Refused(reply(550), quota)], None);
        assert_eq!(message.recipients[0].state, RecipientState::Pending);
        assert_eq!(message.consumed_age_s, 0);
        assert_eq!(gate.unwrap().until, Some(at(600)));
    }

    #[test]
    fn doubt_is_retried_or_held_as_the_message_says() {
        let mut message = message(2);
        let outcomes = [Outcome::InDoubt, Outcome::InDoubt];
        let next = decided(&message, &outcomes, None).message;
        assert!(next.recipients.iter().all(|r| r.state == RecipientState::Pending));
        assert_eq!(next.consumed_age_s, 0);
        message.on_doubt = OnDoubt::Hold;
        let next = decided(&message, &outcomes, None).message;
        assert!(next.recipients.iter().all(|r| r.state == RecipientState::InDoubt));
        assert!(!next.is_final());
    }

    #[test]
    fn waits_double_to_the_longest_and_end_with_the_life_of_the_message() {
        let busy = judgement(Scope::Message, Lasting::Temporary, None);
        let mut current = message(1);
        let (mut now, mut waits) = (at(0), Vec::new());
        let retry = retry();
        loop {
            let attempted =
                Attempted { message: &current, outcomes: &[Outcome::NotSent], fault: Some(&busy), reply: None };
            let next = decide(&attempted, &Rules { now, ..rules(&retry) }).message;
            if next.is_final() {
                assert_eq!(next.recipients[0].state, RecipientState::Expired);
                break;
            }
            waits.push(next.due_at.duration_since(now).as_secs());
            now = next.due_at;
            current = next;
        }
        assert_eq!(waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(waits.iter().sum::<i64>(), 5 * DAY.cast_signed());
    }

    #[test]
    fn an_expiry_of_the_caller_ends_what_waits_whatever_the_fault() {
        let mut message = message(2);
        message.expires_at = Some(at(0));
        let host = judgement(Scope::Host, Lasting::Temporary, Some(HoldReason::HostFault));
        let outcomes = [Outcome::Sent(reply(250)), Outcome::NotSent];
        let next = decided(&message, &outcomes, Some(&host)).message;
        assert_eq!(next.recipients[0].state, RecipientState::Sent);
        assert_eq!(next.recipients[1].state, RecipientState::Expired);
        assert_eq!(next.ended_at, Some(at(0)));
    }

    #[test]
    fn probes_of_a_gate_get_rarer() {
        let waits =
            |reason| (0..6).map(move |n| probe_at(reason, n, at(0)).map(|t| t.duration_since(at(0)).as_secs() / 60));
        assert_eq!(waits(HoldReason::AuthRefused).flatten().collect::<Vec<_>>(), [1, 5, 15, 60, 60, 60]);
        assert_eq!(waits(HoldReason::Paused).flatten().count(), 0);
        assert_eq!(waits(HoldReason::GrantRequired).flatten().count(), 0);
    }

    #[test]
    fn a_new_token_is_fetched_for_a_refused_one_but_not_for_a_limit_of_logins() {
        let with = |refresh| Judgement { refresh, ..judgement(Scope::Profile, Lasting::UntilPerson, None) };
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert!(wants_new_token(&with(Refresh::Once), hour, minute));
        assert!(!wants_new_token(&with(Refresh::Never), minute / 2, minute));
        assert!(!wants_new_token(&with(Refresh::NearItsEnd), hour, minute));
        assert!(wants_new_token(&with(Refresh::NearItsEnd), minute / 2, minute));
    }

    #[test]
    fn a_gate_outlasts_a_message_after_its_own_time_behind_it_and_a_pause_never() {
        let mut message = message(1);
        let longest = Duration::from_secs(14 * DAY);
        let end = 14 * DAY.cast_signed();
        assert!(outlasted(&message, HoldReason::GrantRequired, at(0), longest, at(end)));
        assert!(!outlasted(&message, HoldReason::GrantRequired, at(1), longest, at(end)));
        assert!(!outlasted(&message, HoldReason::Paused, at(0), longest, at(end)));
        message.queued_at = at(3600);
        assert!(!outlasted(&message, HoldReason::GrantRequired, at(0), longest, at(end)));
    }

    fn any_judgement() -> impl Strategy<Value = Judgement> {
        let scope = prop_oneof![
            Just(Scope::Recipient),
            Just(Scope::Message),
            Just(Scope::Profile),
            Just(Scope::Client),
            Just(Scope::Host)
        ];
        let lasting = prop_oneof![
            Just(Lasting::Permanent),
            Just(Lasting::Temporary),
            Just(Lasting::UntilPerson),
            (0u64..10_000_000).prop_map(|s| Lasting::For(Duration::from_secs(s)))
        ];
        let hold = prop_oneof![
            Just(None),
            Just(Some(HoldReason::HostFault)),
            Just(Some(HoldReason::AuthRefused)),
            Just(Some(HoldReason::AccountLimit))
        ];
        (scope, lasting, hold).prop_map(|(scope, lasting, hold)| judgement(scope, lasting, hold))
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Sent(reply(250))),
            any_judgement().prop_map(|j| Outcome::Refused(reply(500), j)),
            Just(Outcome::NotSent),
            Just(Outcome::InDoubt)
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_nobody_is_lost_and_only_own_faults_age(
            outcomes in proptest::collection::vec(any_outcome(), 1..5),
            fault in proptest::option::of(any_judgement()),
            age in 0u64..(6 * DAY),
            attempts in 0u32..1000,
            jitter in 0.0..1.0f64,
            hold in any::<bool>(),
        ) {
            let mut message = message(outcomes.len());
            message.consumed_age_s = age;
            message.attempts = attempts;
            message.on_doubt = if hold { OnDoubt::Hold } else { OnDoubt::Retry };
            let retry = retry();
            let attempted = Attempted { message: &message, outcomes: &outcomes, fault: fault.as_ref(), reply: None };
            let next = decide(&attempted, &Rules { jitter, ..rules(&retry) }).message;
            let own = |j: &Judgement| matches!(j.scope, Scope::Message | Scope::Recipient);
            let may_end = |outcome: &Outcome| match outcome {
                Outcome::Refused(_, j) => own(j),
                Outcome::NotSent => fault.as_ref().is_some_and(own),
                Outcome::Sent(_) | Outcome::InDoubt => false,
            };
            for (recipient, outcome) in next.recipients.iter().zip(&outcomes) {
                match recipient.state {
                    RecipientState::Sent => prop_assert!(matches!(outcome, Outcome::Sent(_))),
                    RecipientState::Failed | RecipientState::Expired => prop_assert!(may_end(outcome)),
                    RecipientState::InDoubt => prop_assert!(hold && *outcome == Outcome::InDoubt),
                    RecipientState::Pending => prop_assert!(!matches!(outcome, Outcome::Sent(_))),
                    RecipientState::Cancelled => prop_assert!(false),
                }
            }
            prop_assert!(next.consumed_age_s >= age);
            prop_assert!(next.consumed_age_s <= age.max(5 * DAY));
            if !outcomes.iter().any(may_end) {
                prop_assert_eq!(next.consumed_age_s, age);
            }
            prop_assert!(next.due_at >= rules(&retry).now);
            prop_assert_eq!(next.ended_at.is_some(), next.is_final());
        }
    }
}
