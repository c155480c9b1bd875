//! What is known of mail servers' replies, and the words for it.
//!
//! Ids that begin with `sm.` are those of the error taxonomy; the others are frankd's own. In texts `{detail}` stands for
//! what happened in the server's own words, `{profile}`, `{username}`, `{host}`, `{port}` for the profile's values, and
//! `{account}`, `{audience}` for what the token says of itself.

use std::time::Duration;

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

const fn verdict(diagnosis: &'static str, scope: Scope, lasting: Lasting, kind: Kind, says: &'static str) -> Verdict {
    let hold = match scope {
        Scope::Recipient | Scope::Message => None,
        Scope::Profile => Some(HoldReason::AuthRefused),
        Scope::Client => Some(HoldReason::ClientFault),
        Scope::Host => Some(HoldReason::HostFault),
    };
    Verdict { diagnosis, scope, lasting, hold, refresh: Refresh::Never, kind, says, hint: None }
}

impl Verdict {
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
const fn refused(diagnosis: &'static str, says: &'static str) -> Verdict {
    verdict(diagnosis, Scope::Profile, Lasting::UntilPerson, Kind::SmtpAuthRejected, says).refresh(Refresh::Once)
}

/// A limit of the account.
const fn limit(diagnosis: &'static str, lasting: Lasting, kind: Kind, says: &'static str) -> Verdict {
    verdict(diagnosis, Scope::Profile, lasting, kind, says).hold(Some(HoldReason::AccountLimit))
}

/// A login that only a person can mend.
const fn login(diagnosis: &'static str, says: &'static str) -> Verdict {
    verdict(diagnosis, Scope::Profile, Lasting::UntilPerson, Kind::SmtpAuthRejected, says)
}

const fn host(diagnosis: &'static str, kind: Kind, says: &'static str) -> Verdict {
    verdict(diagnosis, Scope::Host, Lasting::Temporary, kind, says)
}

const fn host_until_person(diagnosis: &'static str, kind: Kind, says: &'static str) -> Verdict {
    verdict(diagnosis, Scope::Host, Lasting::UntilPerson, kind, says)
}

const fn message(diagnosis: &'static str, lasting: Lasting, kind: Kind, says: &'static str) -> Verdict {
    verdict(diagnosis, Scope::Message, lasting, kind, says)
}

// The way to the server.

pub(super) const UNRESOLVED: Verdict =
    host("smtp.dns", Kind::SmtpConnect, "the name {host} gives no address: {detail}")
        .hint("frankctl profile show {profile}");
pub(super) const UNREACHABLE: Verdict =
    host("smtp.unreachable", Kind::SmtpConnect, "{host} cannot be reached on port {port}: {detail}")
        .hint("check host, port and firewall: `frankctl profile show {profile}`");
pub(super) const TLS_FAILED: Verdict =
    host("smtp.tls_failed", Kind::SmtpTls, "TLS with {host} on port {port} failed: {detail}");
pub(super) const UNTRUSTED: Verdict =
    host_until_person("smtp.certificate", Kind::SmtpTls, "the certificate of {host} is not trusted: {detail}").hint(
        "if the server has a certificate of your own authority: `frankctl profile update {profile} --ca-bundle ca.pem`",
    );
pub(super) const NOT_IMPLICIT: Verdict = host_until_person(
    "smtp.tls_mode",
    Kind::SmtpTls,
    "port {port} of {host} begins in plaintext, and the profile begins with TLS: {detail}",
)
.hint("frankctl profile update {profile} --tls starttls --smtp-port 587");
pub(super) const NOT_STARTTLS: Verdict = host_until_person(
    "smtp.tls_mode",
    Kind::SmtpTls,
    "port {port} of {host} begins with TLS, and the profile begins in plaintext: {detail}",
)
.hint("frankctl profile update {profile} --tls implicit --smtp-port 465");
pub(super) const NO_STARTTLS: Verdict = host_until_person(
    "smtp.no_starttls",
    Kind::SmtpTls,
    "no TLS with {host}: {detail}",
)
.hint(
    "if the port speaks TLS from the first octet: `frankctl profile update {profile} --tls implicit --smtp-port 465`",
);
pub(super) const STARTTLS_REFUSED: Verdict =
    host("smtp.starttls_refused", Kind::SmtpTls, "{host} refused to begin TLS: {detail}");
pub(super) const INJECTED: Verdict =
    host_until_person("smtp.injected", Kind::SmtpTls, "the conversation with {host} was tampered with: {detail}");
pub(super) const GREETED_BADLY: Verdict =
    host("smtp.greeting", Kind::SmtpTempFailure, "{host} takes no mail now: {detail}");
pub(super) const EHLO_NAME: Verdict =
    host_until_person("smtp.ehlo_name", Kind::SmtpTempFailure, "{host} refused the name given in EHLO: {detail}")
        .hint("give a name that the DNS knows: `frankctl profile update {profile} --ehlo-name mail.example.org`");
pub(super) const CLOSING: Verdict =
    host("smtp.closing", Kind::SmtpTempFailure, "{host} is closing the connection: {detail}");
pub(super) const LOST: Verdict = host("smtp.lost", Kind::SmtpConnect, "{host} went away: {detail}");
pub(super) const PROTOCOL: Verdict =
    host("smtp.protocol", Kind::SmtpTempFailure, "{host} does not speak SMTP as it should: {detail}");

// The login.

pub(super) const TOKEN_REFUSED: Verdict =
    refused("smtp.token_refused", "{host} refused the token of {username}: {detail}")
        .hint("grant again, signed in as {username}: `frankctl grant {profile}`");
pub(super) const CHALLENGED: Verdict = refused("sm.334", "{host} refused the token of {username}: {detail}").hint(
    "the token is another user's, revoked, or lacks a scope; grant again as {username}: `frankctl grant {profile}`",
);
pub(super) const GOOGLE: Verdict = refused(
    "sm.535_5_7_8",
    "{host} refused the token: it is not for {username}, or lacks the scope https://mail.google.com/: {detail}",
)
.hint("frankctl grant {profile}");
pub(super) const EXCHANGE: Verdict = refused(
    "sm.535_5_7_3",
    "Exchange refused the token of {username}: wrong account, audience or scope, or SMTP AUTH is off: {detail}",
)
.hint("grant again, signed in as {username}, never as a shared mailbox: `frankctl grant {profile}`");
pub(super) const APP_NOT_REGISTERED: Verdict = refused(
    "smtp.app_not_registered",
    "Exchange does not let this app log in as {username}: {detail}",
)
.hint(
    "in Exchange: New-ServicePrincipal with the object id of the ENTERPRISE application (not of the app registration), \
     Add-MailboxPermission FullAccess and Add-RecipientPermission SendAs for {username}; it takes up to 30 minutes",
);
pub(super) const AUDIENCE: Verdict = login(
    "smtp.token_audience",
    "the token is for {audience}, and SMTP needs one for outlook.office.com: {detail}",
)
.hint(
    "bare scope names mean Graph: `frankctl profile update {profile} --scope https://outlook.office.com/SMTP.Send \
     --scope offline_access --confirm`, then `frankctl grant {profile}`",
);
pub(super) const ACCOUNT: Verdict = login(
    "smtp.token_account",
    "the token belongs to {account}, and the profile logs in as {username}: {detail}",
)
.hint("grant again, signed in as {username}: `frankctl grant {profile}`; or `frankctl profile update {profile} --username {account}`");
pub(super) const APP_ROLE: Verdict = verdict(
    "smtp.app_role",
    Scope::Client,
    Lasting::UntilPerson,
    Kind::SmtpAuthRejected,
    "the app's token has no role SMTP.SendAsApp: {detail}",
)
.hint("in Entra: add the application permission SMTP.SendAsApp of Office 365 Exchange Online, and grant admin consent");
pub(super) const TOKEN_MARGIN: Verdict = verdict(
    "sm.501_hve",
    Scope::Profile,
    Lasting::Temporary,
    Kind::SmtpAuthRejected,
    "{host} wants a token that lives longer: {detail}",
)
.refresh(Refresh::Once)
.hint("frankctl profile update {profile} --min-valid 11m");
pub(super) const TOO_LONG: Verdict =
    login("sm.12288", "the credentials are longer than {host} reads in one line: {detail}");
pub(super) const PASSWORD_REFUSED: Verdict =
    login("smtp.password_refused", "{host} refused user name or password of {username}: {detail}")
        .hint("frankctl profile update {profile} --password-stdin");
pub(super) const APP_PASSWORD: Verdict =
    login("smtp.app_password", "{host} wants an app password, or OAuth2, for {username}: {detail}")
        .hint("frankctl profile update {profile} --password-stdin");
pub(super) const PASSWORDS_OFF: Verdict = login("sm.550_5_7_30", "{host} takes no passwords any more: {detail}")
    .hint("make it an OAuth2 profile, by the name of your client: `frankctl profile update {profile} --kind oauth2_smtp --client m365`");
pub(super) const SMTP_AUTH_OFF: Verdict = limit(
    "sm.535_5_7_139",
    Lasting::For(HOUR),
    Kind::SmtpAuthRejected,
    "sending by SMTP is switched off for {username}, although the login is right: {detail}",
)
.hint("in Exchange: Set-CASMailbox {username} -SmtpClientAuthenticationDisabled $false, or the switch of the tenant");
pub(super) const BLOCKED_BY_POLICY: Verdict = limit(
    "sm.535_sd",
    Lasting::For(HOUR),
    Kind::SmtpAuthRejected,
    "the organization's security defaults or Conditional Access block this login: {detail}",
)
.hint("use an OAuth2 profile, or have an administrator use Conditional Access in place of security defaults");
pub(super) const TLS_REQUIRED: Verdict = login("smtp.tls_required", "{host} takes no login without TLS: {detail}")
    .hint("frankctl profile update {profile} --tls starttls --smtp-port 587");
pub(super) const MECHANISM_REFUSED: Verdict =
    login("smtp.mechanism", "{host} does not take this way of logging in: {detail}")
        .hint("frankctl profile show {profile}");
pub(super) const MECHANISM: Verdict =
    login("smtp.mechanism", "no way to log in to {host}: {detail}").hint("frankctl profile show {profile}");
pub(super) const PLAINTEXT: Verdict = login("smtp.plaintext", "no login to {host}: {detail}")
    .hint("frankctl profile update {profile} --tls starttls --smtp-port 587");
pub(super) const LOGIN_RATE: Verdict = limit(
    "smtp.login_rate",
    Lasting::For(Duration::from_secs(15 * 60)),
    Kind::SmtpTempFailure,
    "{host} limits logins, not messages: {detail}",
);
pub(super) const LOGIN_LATER: Verdict = verdict(
    "sm.454",
    Scope::Profile,
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} cannot check the login now: {detail}",
)
.refresh(Refresh::NearItsEnd);
pub(super) const NOT_LOGGED_IN: Verdict = refused("smtp.not_logged_in", "{host} says that nobody logged in: {detail}")
    .hint("frankctl profile show {profile}");

// The account's limits.

pub(super) const CONNECTIONS: Verdict = verdict(
    "sm.432",
    Scope::Profile,
    Lasting::For(Duration::from_secs(30)),
    Kind::SmtpTempFailure,
    "{host} allows fewer connections for {username}; another program may use the account too: {detail}",
)
.hold(None)
.hint("frankctl profile update {profile} --max-connections 2");
pub(super) const QUOTA_GOOGLE: Verdict = limit(
    "sm.550_5_4_5",
    Lasting::For(HOUR),
    Kind::SmtpTempFailure,
    "{username} has sent as much as Google allows in 24 hours: {detail}",
);
pub(super) const QUOTA_EXCHANGE: Verdict = limit(
    "smtp.quota",
    Lasting::For(HOUR),
    Kind::SmtpTempFailure,
    "{username} has sent to as many recipients as Exchange allows in a day: {detail}",
);
pub(super) const OWN_MAILBOX: Verdict = limit(
    "smtp.mailbox_full",
    Lasting::For(HOUR),
    Kind::SmtpTempFailure,
    "the mailbox of {username} is full; some servers keep a copy of each sent mail there: {detail}",
)
.hint("empty the mailbox, or set a retention policy for its Sent Items");

// Sender, recipients, message.

pub(super) const SEND_AS: Verdict = message(
    "sm.sendas",
    Lasting::Permanent,
    Kind::SmtpSenderRejected,
    "{username} may not send as this From address: {detail}",
)
.hint("send from {username} with a Reply-To, or have SendAs granted at the provider");
pub(super) const SENDER_REFUSED: Verdict =
    message("smtp.sender_refused", Lasting::Permanent, Kind::SmtpSenderRejected, "{host} refused the sender: {detail}");
pub(super) const RECIPIENT_REFUSED: Verdict = verdict(
    "smtp.recipient_refused",
    Scope::Recipient,
    Lasting::Permanent,
    Kind::SmtpRecipientRejected,
    "{host} refused the recipient: {detail}",
);
pub(super) const RECIPIENT_LATER: Verdict = verdict(
    "smtp.recipient_later",
    Scope::Recipient,
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} does not take the recipient now: {detail}",
);
pub(super) const TOO_MANY: Verdict = verdict(
    "smtp.too_many_recipients",
    Scope::Recipient,
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} takes no more recipients at once; the rest goes next: {detail}",
);
pub(super) const TOO_BIG: Verdict =
    message("smtp.too_big", Lasting::Permanent, Kind::MessageTooLarge, "the message is too large for {host}: {detail}");
pub(super) const OVER_SIZE: Verdict = message(
    "smtp.over_size",
    Lasting::Permanent,
    Kind::MessageTooLarge,
    "the message is too large for {host}: {detail}",
);
pub(super) const NOT_OFFERED: Verdict =
    message("smtp.not_offered", Lasting::Permanent, Kind::SmtpPermFailure, "{host} cannot take the message: {detail}");
pub(super) const MESSAGE_REFUSED: Verdict =
    message("smtp.message_refused", Lasting::Permanent, Kind::SmtpPermFailure, "{host} refused the message: {detail}");
pub(super) const MESSAGE_LATER: Verdict = message(
    "smtp.message_later",
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} does not take the message now: {detail}",
);
pub(super) const OUT_OF_STEP: Verdict = message(
    "smtp.out_of_step",
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} lost track of the conversation: {detail}",
);
pub(super) const LOST_UNDER_MESSAGE: Verdict = message(
    "smtp.lost_under_message",
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} went away while it got the message, which was surely not sent: {detail}",
);
pub(super) const PROTOCOL_UNDER_MESSAGE: Verdict = message(
    "smtp.protocol",
    Lasting::Temporary,
    Kind::SmtpTempFailure,
    "{host} does not speak SMTP as it should: {detail}",
);
pub(super) const IN_DOUBT: Verdict = message(
    "smtp.lost_after_dot",
    Lasting::Temporary,
    Kind::SmtpInDoubt,
    "{host} may or may not have taken the message: {detail}",
);
pub(super) const ABORTED: Verdict =
    host("smtp.aborted", Kind::Internal, "frankd stopped before the message was sent: {detail}").hold(None);
