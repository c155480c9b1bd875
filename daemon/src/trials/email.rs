//! Test Email: one mail, now, outside the queue, stage by stage.
//!
//! The report ends at the stage that failed, with the server's own words and what to do. A token that the mail server
//! refuses is refreshed once and tried once more, as the queue does it; the report says so at the stage of the login.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use frankd_proto::error::ErrorKind;
use frankd_proto::methods::test::{EmailParams, EmailReport, Stage as StageReport, StageName};
use frankd_proto::{Kind, ProfileKind, RpcError};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, MessageId};

use super::{Found, Trials};
use crate::domain::delivery::{
    Delivery, Envelope, Fault, Login, RecipientResult, SessionFacts, Stage, Timings, Trouble, words,
};
use crate::domain::{Profile, Submission};
use crate::entropy::EntropyExt as _;
use crate::policy::classify::smtp::{Context, Judgement, Refresh, judge};
use crate::smtp::{InMemory, OpenFailure, Session};

impl Trials {
    /// Sends one mail and reports every stage. An error is about the parameters; what goes wrong later is in the report.
    pub async fn email(&self, profile: &Profile, params: EmailParams) -> Result<EmailReport, RpcError> {
        let to = submission(profile)?;
        let mail = self.compose(profile, &params)?;
        let mut trial = Trial { trials: self, profile, to, report: Report::default(), fresh_token: false };
        let outcome = trial.run(&mail).await;
        Ok(trial.report.end(outcome.err()))
    }

    fn compose(&self, profile: &Profile, params: &EmailParams) -> Result<Mail, RpcError> {
        let sender = profile.from.as_ref().or(profile.username.as_ref());
        let from: Mailbox = sender.and_then(|from| from.parse().ok()).ok_or_else(|| {
            RpcError::new(Kind::ObjectInvalid, "the profile has no From address, and its username is none")
                .field("profile")
                .hint(format!("frankctl profile update {} --from alerts@example.org", profile.name))
        })?;
        let to: Mailbox = params.to.parse().map_err(|error| {
            RpcError::new(Kind::MessageBadAddress, format!("{:?} is not an address: {error}", params.to)).field("to")
        })?;
        let subject = params.subject.clone().unwrap_or_else(|| format!("Test of {}", profile.name));
        if subject.chars().any(char::is_control) {
            return Err(RpcError::new(Kind::MessageInvalid, "the subject has control characters").field("subject"));
        }
        let text = params.text.clone().unwrap_or_else(|| {
            format!("This is a test of frankd's profile {}.\nIf you can read it, mail flows.\n", profile.name)
        });
        let (high, low) = (self.entropy.bits(), self.entropy.bits());
        let message_id = format!("<{high:016x}{low:016x}@{}>", from.email.domain());
        let envelope = Envelope {
            from: from.email.to_string(),
            recipients: vec![to.email.to_string()],
            eight_bit: false,
            smtputf8: !from.email.to_string().is_ascii() || !to.email.to_string().is_ascii(),
        };
        let now = u64::try_from(self.clock.wall().as_second()).unwrap_or_default();
        let body = lettre::Message::builder()
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(now))
            .from(from)
            .to(to)
            .subject(subject)
            .header(MessageId::from(message_id.clone()))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| RpcError::new(Kind::MessageInvalid, format!("the mail cannot be made: {error}")))?
            .formatted();
        Ok(Mail { envelope, body, message_id })
    }
}

struct Mail {
    envelope: Envelope,
    body: Vec<u8>,
    message_id: String,
}

fn submission(profile: &Profile) -> Result<&Submission, RpcError> {
    profile.smtp.as_ref().ok_or_else(|| {
        let text = format!("profile {} holds a token alone and sends no mail", profile.name);
        RpcError::new(Kind::ObjectInvalid, text).field("profile")
    })
}

/// Why a trial ended early, and what to do.
struct Ended {
    kind: ErrorKind,
    diagnosis: String,
    message: String,
    hint: Option<String>,
}

impl From<RpcError> for Ended {
    fn from(error: RpcError) -> Self {
        let diagnosis = error.data.diagnosis.unwrap_or_else(|| error.data.kind.to_string());
        Self { kind: error.data.kind, diagnosis, message: error.message, hint: error.data.hint }
    }
}

impl From<Judgement> for Ended {
    fn from(judgement: Judgement) -> Self {
        Self {
            kind: judgement.kind.into(),
            diagnosis: judgement.diagnosis.to_owned(),
            message: judgement.message,
            hint: judgement.hint,
        }
    }
}

struct Trial<'a> {
    trials: &'a Trials,
    profile: &'a Profile,
    to: &'a Submission,
    report: Report,
    fresh_token: bool,
}

impl Trial<'_> {
    async fn run(&mut self, mail: &Mail) -> Result<(), Ended> {
        let login = self.login(false).await?;
        let mut session = self.open(login).await?;
        self.report.message_id = Some(mail.message_id.clone());
        let delivery = session.deliver(&mail.envelope, &mut InMemory::new(&mail.body), async { Ok(()) }).await;
        let judged = self.delivered(mail, &session, delivery);
        session.quit().await;
        judged
    }

    /// Finds a login; the time counts for the token, or for AUTH after a refusal.
    async fn login(&mut self, refused: bool) -> Result<Login, Ended> {
        let began = self.trials.clock.now();
        let logins = &self.trials.logins;
        let found = if refused { logins.after_refusal(self.profile) } else { logins.login(self.profile) }.await;
        let took = self.trials.clock.now().since(began);
        let stage = if refused { StageName::Auth } else { StageName::Token };
        if self.profile.kind != ProfileKind::Smtp {
            self.report.took(stage, took);
        }
        let Found { login, fresh, detail } = found.map_err(|error| {
            self.report.failed = Some((stage, error.message.clone()));
            Ended::from(error)
        })?;
        self.fresh_token = fresh || refused;
        self.report.say(StageName::Token, &detail);
        Ok(login)
    }

    async fn open(&mut self, login: Login) -> Result<Session, Ended> {
        let first = match self.trials.smtp.open(self.to, login).await {
            Ok(session) => {
                self.report.facts(session.facts(), session.timings());
                return Ok(session);
            }
            Err(failure) => failure,
        };
        self.report.facts(&first.facts, &first.timings);
        let judgement = self.judge(&first.fault, &first.facts);
        if judgement.refresh != Refresh::Once {
            return Err(self.refused(first, judgement));
        }
        self.report.transcript.extend(first.transcript);
        self.report.transcript.push("* the token is refreshed, and tried once more".to_owned());
        self.report.say(StageName::Auth, &format!("refused ({})", first.fault.trouble));
        let login = self.login(true).await?;
        self.report.say(StageName::Auth, "token refreshed");
        match self.trials.smtp.open(self.to, login).await {
            Ok(session) => {
                self.report.login(session.facts(), session.timings());
                Ok(session)
            }
            Err(second) => {
                self.report.login(&second.facts, &second.timings);
                let judgement = self.judge(&second.fault, &second.facts);
                Err(self.refused(second, judgement))
            }
        }
    }

    fn judge(&self, fault: &Fault, facts: &SessionFacts) -> Judgement {
        judge(fault, Context { profile: self.profile, facts, fresh_token: self.fresh_token })
    }

    fn refused(&mut self, failure: OpenFailure, judgement: Judgement) -> Ended {
        self.report.transcript.extend(failure.transcript);
        self.report.fail(&failure.fault);
        judgement.into()
    }

    fn delivered(&mut self, mail: &Mail, session: &Session, delivery: Delivery) -> Result<(), Ended> {
        self.report.transcript.extend(session.transcript());
        let opening = |stage: &Stage| *stage < Stage::Mail;
        for (stage, took) in session.timings().iter().filter(|(stage, _)| !opening(stage)) {
            self.report.took(name(*stage), *took);
        }
        let recipient = delivery.recipients.into_iter().next().unwrap_or(RecipientResult::NotSent);
        let fault = match (delivery.fault, recipient) {
            (Some(fault), _) => fault,
            (None, RecipientResult::Sent(reply)) => {
                self.report.say(StageName::Mail, &format!("{} accepted", mail.envelope.from));
                self.report.say(StageName::Rcpt, &format!("{} accepted", mail.envelope.recipients.join(", ")));
                self.report.say(StageName::Data, &words(&reply));
                return Ok(());
            }
            (None, RecipientResult::Refused(reply)) => Fault { stage: Stage::Rcpt, trouble: Trouble::Reply(reply) },
            (None, RecipientResult::NotSent | RecipientResult::InDoubt) => {
                Fault { stage: Stage::Data, trouble: Trouble::Closed }
            }
        };
        self.report.fail(&fault);
        Err(self.judge(&fault, session.facts()).into())
    }
}

/// A report as it grows.
#[derive(Default)]
struct Report {
    took: BTreeMap<StageName, Duration>,
    details: BTreeMap<StageName, String>,
    failed: Option<(StageName, String)>,
    message_id: Option<String>,
    transcript: Vec<String>,
}

impl Report {
    fn took(&mut self, stage: StageName, time: Duration) {
        *self.took.entry(stage).or_default() += time;
    }

    /// Adds to what is said of a stage.
    fn say(&mut self, stage: StageName, text: &str) {
        let detail = self.details.entry(stage).or_default();
        if !detail.is_empty() && !text.is_empty() {
            detail.push_str(", ");
        }
        detail.push_str(text);
    }

    /// What was seen up to the login.
    fn facts(&mut self, facts: &SessionFacts, timings: &Timings) {
        for (stage, took) in timings.iter().filter(|(stage, _)| *stage != Stage::Auth) {
            self.took(name(*stage), *took);
        }
        let addresses: Vec<_> = facts.addresses.iter().map(|address| address.ip().to_string()).collect();
        self.say(StageName::Dns, &addresses.join(", "));
        self.say(StageName::Tcp, &facts.peer.map(|peer| peer.to_string()).unwrap_or_default());
        self.say(StageName::Tls, facts.tls.as_deref().unwrap_or_default());
        self.say(StageName::Ehlo, &facts.capabilities.join(", "));
        self.login(facts, timings);
    }

    /// What was seen of the login.
    fn login(&mut self, facts: &SessionFacts, timings: &Timings) {
        for (_, took) in timings.iter().filter(|(stage, _)| *stage == Stage::Auth) {
            self.took(StageName::Auth, *took);
        }
        if let Some(mechanism) = facts.mechanism {
            self.say(StageName::Auth, &format!("accepted by {mechanism}"));
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.failed = Some((name(fault.stage), fault.trouble.to_string()));
    }

    fn end(mut self, ended: Option<Ended>) -> EmailReport {
        let failed = self.failed.take();
        if let Some((stage, said)) = &failed {
            self.took.entry(*stage).or_default();
            self.say(*stage, said);
        }
        let last = failed.map(|(stage, _)| stage);
        let reached = self.took.into_iter().filter(|(name, _)| last.is_none_or(|last| *name <= last));
        let stages = reached.map(|(name, took)| StageReport {
            name,
            ok: last != Some(name),
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            detail: self.details.remove(&name).unwrap_or_default(),
        });
        EmailReport {
            ok: last.is_none(),
            stages: stages.collect(),
            message_id: self.message_id,
            kind: ended.as_ref().map(|ended| ended.kind.clone()),
            diagnosis: ended.as_ref().map(|ended| ended.diagnosis.clone()),
            message: ended.as_ref().map(|ended| ended.message.clone()),
            hint: ended.and_then(|ended| ended.hint),
            transcript: self.transcript,
        }
    }
}

const fn name(stage: Stage) -> StageName {
    match stage {
        Stage::Dns => StageName::Dns,
        Stage::Connect => StageName::Tcp,
        Stage::Tls => StageName::Tls,
        Stage::Greeting | Stage::Ehlo => StageName::Ehlo,
        Stage::Auth => StageName::Auth,
        Stage::Mail => StageName::Mail,
        Stage::Rcpt => StageName::Rcpt,
        Stage::Data | Stage::AfterDot => StageName::Data,
    }
}
