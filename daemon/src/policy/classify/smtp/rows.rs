//! What is known of mail servers' replies, and the words for it.
//!
//! The words themselves are those of the diagnosis, unless a verdict needs more exact ones.

use std::time::Duration;

use frankd_proto::diagnosis::{self, Diagnosis};
use frankd_proto::{HoldReason, Kind};

use super::{Lasting, Refresh, Scope, Who};
use crate::domain::delivery::Stage;

/// What a fault means, before the names are filled in.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) diagnosis: &'static str,
    pub(super) scope: Scope,
    pub(super) lasting: Lasting,
    pub(super) hold: Option<HoldReason>,
    pub(super) refresh: Refresh,
    pub(super) kind: Kind,
    pub(super) says: &'static str,
    pub(super) hint: Option<&'static str>,
}

/// A reply that is known.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) stages: &'static [Stage],
    /// Any if empty.
    pub(super) codes: &'static [u16],
    /// Any if empty.
    pub(super) enhanced: &'static str,
    /// In lower case, somewhere in the text or challenge.
    pub(super) text: &'static str,
    pub(super) who: Who,
    pub(super) verdict: &'static Verdict,
}

const fn row(
    stages: &'static [Stage],
    codes: &'static [u16],
    enhanced: &'static str,
    text: &'static str,
    verdict: &'static Verdict,
) -> Row {
    Row { stages, codes, enhanced, text, who: Who::Any, verdict }
}

const fn only(who: Who, mut row: Row) -> Row {
    row.who = who;
    row
}

const ANY: &[Stage] =
    &[Stage::Greeting, Stage::Ehlo, Stage::Auth, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::AfterDot];
const HELLO: &[Stage] = &[Stage::Greeting, Stage::Ehlo, Stage::Mail];
const AUTH: &[Stage] = &[Stage::Auth];
const RCPT: &[Stage] = &[Stage::Rcpt];
/// Where a reply is about sender or message, not about one recipient.
const WHOLE: &[Stage] = &[Stage::Mail, Stage::Data, Stage::AfterDot];
const MAIL: &[Stage] = &[Stage::Mail, Stage::Rcpt, Stage::Data, Stage::AfterDot];
const UNDER_MESSAGE: &[Stage] = &[Stage::Data, Stage::AfterDot];

/// Known replies; the first that fits counts.
pub(super) const ROWS: &[Row] = &[
    row(HELLO, &[421, 450, 501, 550, 554], "", "(ehlo)", &EHLO_NAME),
    row(HELLO, &[421, 450, 501, 504, 550, 554], "", "helo command rejected", &EHLO_NAME),
    row(ANY, &[432], "", "", &CONNECTIONS),
    row(ANY, &[], "", "concurrent connections limit", &CONNECTIONS),
    row(ANY, &[], "", "sender thread limit", &CONNECTIONS),
    // AUTH.
    row(AUTH, &[], "", "too many login attempts", &LOGIN_RATE),
    row(AUTH, &[], "", "smtpclientauthentication is disabled", &SMTP_AUTH_OFF),
    row(AUTH, &[], "", "basic authentication is disabled", &PASSWORDS_OFF),
    row(AUTH, &[], "5.7.139", "", &BLOCKED_BY_POLICY),
    row(ANY, &[], "5.7.30", "", &PASSWORDS_OFF),
    only(Who::Password, row(AUTH, &[504], "5.7.4", "", &PASSWORDS_OFF)),
    only(Who::Password, row(AUTH, &[534], "5.7.9", "", &APP_PASSWORD)),
    row(AUTH, &[], "5.5.127", "", &TOKEN_MARGIN),
    row(AUTH, &[], "", "token will expire soon", &TOKEN_MARGIN),
    row(AUTH, &[500, 501], "", "too long", &TOO_LONG),
    row(AUTH, &[500], "5.5.2", "", &TOO_LONG),
    row(AUTH, &[530, 538], "", "", &TLS_REQUIRED),
    row(AUTH, &[502, 503, 504], "", "", &MECHANISM_REFUSED),
    only(Who::App, row(AUTH, &[430, 535], "", "mailbox logon", &APP_NOT_REGISTERED)),
    only(Who::App, row(AUTH, &[535], "5.7.3", "", &APP_NOT_REGISTERED)),
    only(Who::Token, row(AUTH, &[535], "5.7.3", "", &EXCHANGE)),
    only(Who::Token, row(AUTH, &[], "", "mail.google.com", &GOOGLE)),
    only(Who::Token, row(AUTH, &[535], "5.7.8", "username and password not accepted", &GOOGLE)),
    row(AUTH, &[421], "", "", &CLOSING),
    // The account, whatever the command was.
    row(MAIL, &[530], "", "", &NOT_LOGGED_IN),
    row(MAIL, &[], "5.7.60", "", &SEND_AS),
    row(MAIL, &[], "5.2.252", "", &SEND_AS),
    row(MAIL, &[], "", "sendasdenied", &SEND_AS),
    row(MAIL, &[], "", "not owned by user", &SEND_AS),
    row(MAIL, &[550], "5.4.5", "", &QUOTA_GOOGLE),
    row(MAIL, &[], "", "submissionquotaexceeded", &QUOTA_EXCHANGE),
    row(WHOLE, &[], "5.2.2", "", &OWN_MAILBOX),
    // One recipient too many is no refusal of the recipient (RFC 5321 §4.5.3.1.10).
    row(RCPT, &[552], "5.2.2", "", &RECIPIENT_REFUSED),
    row(RCPT, &[552], "", "", &TOO_MANY),
    row(RCPT, &[], "", "too many recipients", &TOO_MANY),
    row(WHOLE, &[552], "", "", &TOO_BIG),
    row(WHOLE, &[], "5.3.4", "", &TOO_BIG),
    row(WHOLE, &[], "5.2.3", "", &TOO_BIG),
    row(MAIL, &[503], "", "", &OUT_OF_STEP),
    row(UNDER_MESSAGE, &[421], "", "", &MESSAGE_LATER),
    row(ANY, &[421], "", "", &CLOSING),
];

const HOUR: Duration = Duration::from_secs(3600);

const fn verdict(diagnosis: &'static Diagnosis, scope: Scope, lasting: Lasting, kind: Kind) -> Verdict {
    let hold = match scope {
        Scope::Recipient | Scope::Message => None,
        Scope::Profile => Some(HoldReason::AuthRefused),
        Scope::Client => Some(HoldReason::ClientFault),
        Scope::Host => Some(HoldReason::HostFault),
    };
    let Diagnosis { id, says, fix, .. } = *diagnosis;
    Verdict { diagnosis: id, scope, lasting, hold, refresh: Refresh::Never, kind, says, hint: fix }
}

impl Verdict {
    const fn says(mut self, says: &'static str) -> Self {
        self.says = says;
        self
    }

    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    const fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    const fn hold(mut self, hold: Option<HoldReason>) -> Self {
        self.hold = hold;
        self
    }
}

/// A token that was refused.
const fn refused(diagnosis: &'static Diagnosis) -> Verdict {
    verdict(diagnosis, Scope::Profile, Lasting::UntilPerson, Kind::SmtpAuthRejected).refresh(Refresh::Once)
}

/// A limit of the account.
const fn limit(diagnosis: &'static Diagnosis, lasting: Lasting, kind: Kind) -> Verdict {
    verdict(diagnosis, Scope::Profile, lasting, kind).hold(Some(HoldReason::AccountLimit))
}

/// A login that only a person can mend.
const fn login(diagnosis: &'static Diagnosis) -> Verdict {
    verdict(diagnosis, Scope::Profile, Lasting::UntilPerson, Kind::SmtpAuthRejected)
}

const fn host(diagnosis: &'static Diagnosis, kind: Kind) -> Verdict {
    verdict(diagnosis, Scope::Host, Lasting::Temporary, kind)
}

const fn host_until_person(diagnosis: &'static Diagnosis, kind: Kind) -> Verdict {
    verdict(diagnosis, Scope::Host, Lasting::UntilPerson, kind)
}

const fn message(diagnosis: &'static Diagnosis, lasting: Lasting, kind: Kind) -> Verdict {
    verdict(diagnosis, Scope::Message, lasting, kind)
}

// The way to the server.

pub(super) const UNRESOLVED: Verdict = host(&diagnosis::SMTP_DNS, Kind::SmtpConnect);
pub(super) const UNREACHABLE: Verdict = host(&diagnosis::SMTP_UNREACHABLE, Kind::SmtpConnect);
pub(super) const TLS_FAILED: Verdict = host(&diagnosis::SMTP_TLS_FAILED, Kind::SmtpTls);
pub(super) const UNTRUSTED: Verdict = host_until_person(&diagnosis::SMTP_CERTIFICATE, Kind::SmtpTls);
pub(super) const NOT_IMPLICIT: Verdict = host_until_person(&diagnosis::SMTP_TLS_MODE, Kind::SmtpTls)
    .says("port {port} of {host} begins in plaintext, and the profile begins with TLS: {detail}")
    .hint("frankctl profile update {profile} --tls starttls --smtp-port 587");
pub(super) const NOT_STARTTLS: Verdict = host_until_person(&diagnosis::SMTP_TLS_MODE, Kind::SmtpTls)
    .says("port {port} of {host} begins with TLS, and the profile begins in plaintext: {detail}")
    .hint("frankctl profile update {profile} --tls implicit --smtp-port 465");
pub(super) const NO_STARTTLS: Verdict = host_until_person(&diagnosis::SMTP_NO_STARTTLS, Kind::SmtpTls);
pub(super) const STARTTLS_REFUSED: Verdict = host(&diagnosis::SMTP_STARTTLS_REFUSED, Kind::SmtpTls);
pub(super) const INJECTED: Verdict = host_until_person(&diagnosis::SMTP_INJECTED, Kind::SmtpTls);
pub(super) const GREETED_BADLY: Verdict = host(&diagnosis::SMTP_GREETING, Kind::SmtpTempFailure);
pub(super) const EHLO_NAME: Verdict = host_until_person(&diagnosis::SMTP_EHLO_NAME, Kind::SmtpTempFailure);
pub(super) const CLOSING: Verdict = host(&diagnosis::SMTP_CLOSING, Kind::SmtpTempFailure);
pub(super) const LOST: Verdict = host(&diagnosis::SMTP_LOST, Kind::SmtpConnect);
pub(super) const PROTOCOL: Verdict = host(&diagnosis::SMTP_PROTOCOL, Kind::SmtpTempFailure);

// The login.

pub(super) const TOKEN_REFUSED: Verdict = refused(&diagnosis::SMTP_TOKEN_REFUSED);
pub(super) const CHALLENGED: Verdict = refused(&diagnosis::SM_334);
pub(super) const GOOGLE: Verdict = refused(&diagnosis::SM_535_5_7_8);
pub(super) const EXCHANGE: Verdict = refused(&diagnosis::SM_535_5_7_3);
pub(super) const APP_NOT_REGISTERED: Verdict = refused(&diagnosis::SMTP_APP_NOT_REGISTERED);
pub(super) const AUDIENCE: Verdict = login(&diagnosis::SMTP_TOKEN_AUDIENCE);
pub(super) const ACCOUNT: Verdict = login(&diagnosis::SMTP_TOKEN_ACCOUNT);
pub(super) const APP_ROLE: Verdict =
    verdict(&diagnosis::SMTP_APP_ROLE, Scope::Client, Lasting::UntilPerson, Kind::SmtpAuthRejected);
pub(super) const TOKEN_MARGIN: Verdict =
    verdict(&diagnosis::SM_501_HVE, Scope::Profile, Lasting::Temporary, Kind::SmtpAuthRejected).refresh(Refresh::Once);
pub(super) const TOO_LONG: Verdict = login(&diagnosis::SM_12288);
pub(super) const PASSWORD_REFUSED: Verdict = login(&diagnosis::SMTP_PASSWORD_REFUSED);
pub(super) const APP_PASSWORD: Verdict = login(&diagnosis::SMTP_APP_PASSWORD);
pub(super) const PASSWORDS_OFF: Verdict = login(&diagnosis::SM_550_5_7_30);
pub(super) const SMTP_AUTH_OFF: Verdict = limit(&diagnosis::SM_535_5_7_139, Lasting::For(HOUR), Kind::SmtpAuthRejected);
pub(super) const BLOCKED_BY_POLICY: Verdict = limit(&diagnosis::SM_535_SD, Lasting::For(HOUR), Kind::SmtpAuthRejected);
pub(super) const TLS_REQUIRED: Verdict = login(&diagnosis::SMTP_TLS_REQUIRED);
pub(super) const MECHANISM_REFUSED: Verdict = login(&diagnosis::SMTP_MECHANISM);
pub(super) const MECHANISM: Verdict = login(&diagnosis::SMTP_MECHANISM).says("no way to log in to {host}: {detail}");
pub(super) const PLAINTEXT: Verdict = login(&diagnosis::SMTP_PLAINTEXT);
pub(super) const LOGIN_RATE: Verdict =
    limit(&diagnosis::SMTP_LOGIN_RATE, Lasting::For(Duration::from_secs(15 * 60)), Kind::SmtpTempFailure);
pub(super) const LOGIN_LATER: Verdict =
    verdict(&diagnosis::SM_454, Scope::Profile, Lasting::Temporary, Kind::SmtpTempFailure).refresh(Refresh::NearItsEnd);
pub(super) const NOT_LOGGED_IN: Verdict = refused(&diagnosis::SMTP_NOT_LOGGED_IN);

// The account's limits.

pub(super) const CONNECTIONS: Verdict =
    verdict(&diagnosis::SM_432, Scope::Profile, Lasting::For(Duration::from_secs(30)), Kind::SmtpTempFailure)
        .hold(None);
pub(super) const QUOTA_GOOGLE: Verdict = limit(&diagnosis::SM_550_5_4_5, Lasting::For(HOUR), Kind::SmtpTempFailure);
pub(super) const QUOTA_EXCHANGE: Verdict = limit(&diagnosis::SMTP_QUOTA, Lasting::For(HOUR), Kind::SmtpTempFailure);
pub(super) const OWN_MAILBOX: Verdict = limit(&diagnosis::SMTP_MAILBOX_FULL, Lasting::For(HOUR), Kind::SmtpTempFailure);

// Sender, recipients, message.

pub(super) const SEND_AS: Verdict = message(&diagnosis::SM_SENDAS, Lasting::Permanent, Kind::SmtpSenderRejected);
pub(super) const SENDER_REFUSED: Verdict =
    message(&diagnosis::SMTP_SENDER_REFUSED, Lasting::Permanent, Kind::SmtpSenderRejected);
pub(super) const RECIPIENT_REFUSED: Verdict =
    verdict(&diagnosis::SMTP_RECIPIENT_REFUSED, Scope::Recipient, Lasting::Permanent, Kind::SmtpRecipientRejected);
pub(super) const RECIPIENT_LATER: Verdict =
    verdict(&diagnosis::SMTP_RECIPIENT_LATER, Scope::Recipient, Lasting::Temporary, Kind::SmtpTempFailure);
pub(super) const TOO_MANY: Verdict =
    verdict(&diagnosis::SMTP_TOO_MANY_RECIPIENTS, Scope::Recipient, Lasting::Temporary, Kind::SmtpTempFailure);
pub(super) const TOO_BIG: Verdict = message(&diagnosis::SMTP_TOO_BIG, Lasting::Permanent, Kind::MessageTooLarge);
pub(super) const OVER_SIZE: Verdict = message(&diagnosis::SMTP_OVER_SIZE, Lasting::Permanent, Kind::MessageTooLarge);
pub(super) const NOT_OFFERED: Verdict =
    message(&diagnosis::SMTP_NOT_OFFERED, Lasting::Permanent, Kind::SmtpPermFailure);
pub(super) const MESSAGE_REFUSED: Verdict =
    message(&diagnosis::SMTP_MESSAGE_REFUSED, Lasting::Permanent, Kind::SmtpPermFailure);
pub(super) const MESSAGE_LATER: Verdict =
    message(&diagnosis::SMTP_MESSAGE_LATER, Lasting::Temporary, Kind::SmtpTempFailure);
pub(super) const OUT_OF_STEP: Verdict =
    message(&diagnosis::SMTP_OUT_OF_STEP, Lasting::Temporary, Kind::SmtpTempFailure);
pub(super) const LOST_UNDER_MESSAGE: Verdict =
    message(&diagnosis::SMTP_LOST_UNDER_MESSAGE, Lasting::Temporary, Kind::SmtpTempFailure);
pub(super) const PROTOCOL_UNDER_MESSAGE: Verdict =
    message(&diagnosis::SMTP_PROTOCOL, Lasting::Temporary, Kind::SmtpTempFailure);
pub(super) const IN_DOUBT: Verdict = message(&diagnosis::SMTP_LOST_AFTER_DOT, Lasting::Temporary, Kind::SmtpInDoubt);
pub(super) const ABORTED: Verdict = host(&diagnosis::SMTP_ABORTED, Kind::Internal).hold(None);
