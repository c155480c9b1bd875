//! Faults of deliveries and logins: who is at fault, for how long, and what a person should know and do.
//!
//! Scope comes before class. Many 5xx replies mean "not now for this account", so a reply to AUTH never condemns a
//! message, and an account's limit holds the profile. What may come back with every try of one message, from DATA on,
//! is that message's fault and uses up its time: no message holds the others, and none is tried for ever.
//!
//! Known replies are rows of `rows`, the first that fits counts; the rest is judged by stage and class of the reply.

mod rows;
#[cfg(test)]
mod tests;

use std::time::Duration;

use frankd_proto::error::SmtpReply;
use frankd_proto::{Flow, HoldReason, Kind, ProfileKind, TlsMode};

use crate::domain::Profile;
use crate::domain::delivery::{Fault, SessionFacts, Stage, TokenClaims, Trouble, leaves_doubt};

use rows::Verdict;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One recipient's.
    Recipient,
    /// The message's: its time runs.
    Message,
    /// The profile's: its account, its credentials. No message's time runs.
    Profile,
    /// The OAuth2 client's, with all its profiles.
    Client,
    /// The mail server's, or that of the way to it.
    Host,
}

/// How long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// For ever: trying again is useless.
    Permanent,
    /// Try again with growing waits.
    Temporary,
    /// Until somebody does something; try seldom, in case that they did.
    UntilPerson,
    /// About this long.
    For(Duration),
}

/// Whether another access token may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// No.
    Never,
    /// Yes: refresh once, log in again once.
    Once,
    /// Only if the token had less than its minimum life left.
    NearItsEnd,
}

/// What is known besides the fault.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The profile that was used.
    pub profile: &'a Profile,
    /// What the server showed of itself.
    pub facts: &'a SessionFacts,
    /// Whether the token was fetched because the one before was refused, or just now: then a refusal is not staleness.
    pub fresh_token: bool,
}

/// What a fault means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whose fault it is.
    pub scope: Scope,
    /// How long it lasts.
    pub lasting: Lasting,
    /// The gate to close, if one is; a fault of profile or host without one only puts this try off.
    pub hold: Option<HoldReason>,
    /// Whether another access token may help, before anything else is done.
    pub refresh: Refresh,
    /// The kind of error that a caller gets.
    pub kind: Kind,
    /// Id in the error taxonomy.
    pub diagnosis: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Judges a fault. A refused recipient is a fault of [`Stage::Rcpt`] with its reply.
pub fn judge(fault: &Fault, context: Context<'_>) -> Judgement {
    let stage = fault.stage;
    let verdict = match &fault.trouble {
        Trouble::Reply(reply) if stage == Stage::AfterDot && leaves_doubt(reply) => &rows::IN_DOUBT,
        Trouble::Reply(reply) => by_reply(stage, reply, "", context),
        Trouble::Challenged { reply, challenge } => by_reply(stage, reply, challenge, context),
        Trouble::TooLarge { .. } => &rows::OVER_SIZE,
        Trouble::Unresolved(_) => &rows::UNRESOLVED,
        Trouble::Unreachable(_) => &rows::UNREACHABLE,
        Trouble::Tls(_) => &rows::TLS_FAILED,
        Trouble::Untrusted(_) => &rows::UNTRUSTED,
        Trouble::Plaintext(_) => &rows::NOT_IMPLICIT,
        Trouble::TimedOut | Trouble::Closed => by_silence(stage, context),
        Trouble::Protocol(_) => by_protocol(stage, context),
        Trouble::Lacking(_) => by_lack(stage, context),
        Trouble::Aborted(_) => &rows::ABORTED,
    };
    verdict.judgement(&fault.trouble.to_string(), context)
}

impl Verdict {
    fn judgement(&self, detail: &str, context: Context<'_>) -> Judgement {
        let refresh = if context.fresh_token { Refresh::Never } else { self.refresh };
        Judgement {
            scope: self.scope,
            lasting: self.lasting,
            hold: self.hold,
            refresh,
            kind: self.kind,
            diagnosis: self.diagnosis,
            message: fill(self.says, detail, context),
            hint: self.hint.map(|hint| fill(hint, detail, context)),
        }
    }
}

fn by_reply(stage: Stage, reply: &SmtpReply, challenge: &str, context: Context<'_>) -> &'static Verdict {
    let who = Who::of(context.profile);
    let text = format!("{} {challenge}", reply.text).to_lowercase();
    let enhanced = reply.enhanced.as_deref().unwrap_or_default();
    let known = rows::ROWS.iter().find(|row| {
        row.stages.contains(&stage)
            && (row.codes.is_empty() || row.codes.contains(&reply.code))
            && (row.enhanced.is_empty() || row.enhanced == enhanced)
            && text.contains(row.text)
            && who.fits(row.who)
    });
    let verdict = known.map_or_else(|| by_class(stage, reply.code, !challenge.is_empty(), who), |row| row.verdict);
    // A token that says itself why it was refused tells more than the server.
    let explained = (verdict.refresh == Refresh::Once && stage == Stage::Auth)
        .then(|| context.facts.claims.as_ref().and_then(|claims| by_claims(claims, context.profile)))
        .flatten();
    explained.unwrap_or(verdict)
}

fn by_class(stage: Stage, code: u16, challenged: bool, who: Who) -> &'static Verdict {
    let later = code < 500;
    match stage {
        Stage::Dns | Stage::Connect | Stage::Greeting => &rows::GREETED_BADLY,
        Stage::Tls => &rows::STARTTLS_REFUSED,
        Stage::Ehlo if later => &rows::GREETED_BADLY,
        Stage::Ehlo => &rows::EHLO_NAME,
        Stage::Auth if later => &rows::LOGIN_LATER,
        Stage::Auth if who == Who::Password => &rows::PASSWORD_REFUSED,
        Stage::Auth if challenged => &rows::CHALLENGED,
        Stage::Auth => &rows::TOKEN_REFUSED,
        Stage::Rcpt if later => &rows::RECIPIENT_LATER,
        Stage::Rcpt => &rows::RECIPIENT_REFUSED,
        Stage::Mail | Stage::Data | Stage::AfterDot if later => &rows::MESSAGE_LATER,
        Stage::Mail => &rows::SENDER_REFUSED,
        Stage::Data | Stage::AfterDot => &rows::MESSAGE_REFUSED,
    }
}

/// Why a token cannot be the right one, by what it says of itself.
fn by_claims(claims: &TokenClaims, profile: &Profile) -> Option<&'static Verdict> {
    let host = profile.smtp.as_ref().map(|smtp| smtp.host.to_ascii_lowercase()).unwrap_or_default();
    let microsoft =
        ["office365.com", "outlook.com", "mx.microsoft", "office365.us"].iter().any(|end| host.ends_with(end));
    let outlook = |audience: &String| audience.contains("outlook.office") || audience.contains("outlook.com");
    let exchange = "00000002-0000-0ff1-ce00-000000000000";
    if microsoft && !claims.audience.iter().any(|audience| outlook(audience) || audience == exchange) {
        return Some(&rows::AUDIENCE);
    }
    if profile.flow == Some(Flow::ClientCredentials) {
        let lacks = microsoft && !claims.roles.iter().any(|role| role == "SMTP.SendAsApp");
        return lacks.then_some(&rows::APP_ROLE);
    }
    let other = claims.account.as_ref().zip(profile.username.as_ref());
    other.is_some_and(|(account, username)| !account.eq_ignore_ascii_case(username)).then_some(&rows::ACCOUNT)
}

fn by_silence(stage: Stage, context: Context<'_>) -> &'static Verdict {
    match stage {
        Stage::Dns => &rows::UNRESOLVED,
        Stage::Connect => &rows::UNREACHABLE,
        Stage::Tls => &rows::TLS_FAILED,
        // A server that waits for a TLS handshake says nothing, or hangs up.
        Stage::Greeting if speaks_tls_at_once(context.profile) => &rows::NOT_STARTTLS,
        Stage::Greeting | Stage::Ehlo | Stage::Auth | Stage::Mail | Stage::Rcpt => &rows::LOST,
        Stage::Data => &rows::LOST_UNDER_MESSAGE,
        Stage::AfterDot => &rows::IN_DOUBT,
    }
}

fn by_protocol(stage: Stage, context: Context<'_>) -> &'static Verdict {
    match stage {
        Stage::Tls => &rows::INJECTED,
        Stage::Greeting if speaks_tls_at_once(context.profile) => &rows::NOT_STARTTLS,
        Stage::Data => &rows::PROTOCOL_UNDER_MESSAGE,
        Stage::AfterDot => &rows::IN_DOUBT,
        _ => &rows::PROTOCOL,
    }
}

fn by_lack(stage: Stage, context: Context<'_>) -> &'static Verdict {
    let plaintext = context.profile.smtp.as_ref().is_some_and(|smtp| smtp.tls == TlsMode::None);
    match stage {
        Stage::Auth if plaintext => &rows::PLAINTEXT,
        Stage::Auth => &rows::MECHANISM,
        Stage::Tls => &rows::NO_STARTTLS,
        Stage::Mail | Stage::Rcpt | Stage::Data | Stage::AfterDot => &rows::NOT_OFFERED,
        Stage::Dns | Stage::Connect | Stage::Greeting | Stage::Ehlo => &rows::PROTOCOL,
    }
}

fn speaks_tls_at_once(profile: &Profile) -> bool {
    profile.smtp.as_ref().is_some_and(|smtp| smtp.port == 465 && smtp.tls != TlsMode::Implicit)
}

/// How a profile logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Any way.
    Any,
    /// With a token.
    Token,
    /// With a token of the client's own.
    App,
    /// With a password, or not at all.
    Password,
}

impl Who {
    fn of(profile: &Profile) -> Self {
        match (profile.kind, profile.flow) {
            (ProfileKind::Smtp, _) => Self::Password,
            (_, Some(Flow::ClientCredentials)) => Self::App,
            _ => Self::Token,
        }
    }

    fn fits(self, row: Self) -> bool {
        row == Self::Any || row == self || row == Self::Token && self == Self::App
    }
}

/// Puts the names in the place of the marks of a text. What is filled in is not searched again.
fn fill(text: &str, detail: &str, context: Context<'_>) -> String {
    let profile = context.profile;
    let smtp = profile.smtp.as_ref();
    let claims = context.facts.claims.as_ref();
    let mut filled = String::with_capacity(text.len() + detail.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((mark, after)) = behind.split_once('}') else {
            break;
        };
        filled.push_str(before);
        let value = match mark {
            "detail" => detail.to_owned(),
            "profile" => profile.name.to_string(),
            "username" => profile.username.clone().unwrap_or_else(|| "the profile's user".to_owned()),
            "host" => smtp.map(|smtp| smtp.host.clone()).unwrap_or_default(),
            "port" => smtp.map(|smtp| smtp.port.to_string()).unwrap_or_default(),
            "account" => claims.and_then(|claims| claims.account.clone()).unwrap_or_default(),
            "audience" => claims.map(|claims| claims.audience.join(", ")).unwrap_or_default(),
            other => format!("{{{other}}}"),
        };
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}
