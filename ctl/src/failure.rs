//! Why a command did not do what it was asked, and how that is told.
//!
//! Every report says what failed, the server's or provider's own words, the likely cause, what mends it, and the kind
//! for `frankctl explain`. Commands in texts stand in backticks: a test parses each of them.

use std::fmt::Write as _;
use std::io;

use frankd_proto::error::{ErrorData, ErrorKind, ProviderError, SmtpReply};
use frankd_proto::{ConnectError, Kind, Name, RpcError};

use crate::human;

/// Exit status of the cases that have no kind (the others are in `proto/errors.json`).
pub(crate) mod exit {
    /// All is well.
    pub(crate) const OK: u8 = 0;
    /// Failed for another reason; for `status`, something needs attention.
    pub(crate) const FAILED: u8 = 1;
    /// The command line is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// There is no such thing.
    pub(crate) const NOT_FOUND: u8 = 3;
    /// The daemon's policy or the socket's mode forbids it.
    pub(crate) const DENIED: u8 = 4;
    /// The daemon cannot be reached.
    pub(crate) const UNREACHABLE: u8 = 5;
    /// A person must act.
    pub(crate) const INTERACTION: u8 = 6;
    /// It exists, is in use, or is in a state that does not allow this.
    pub(crate) const CONFLICT: u8 = 7;
    /// Timed out, or still waiting.
    pub(crate) const PENDING: u8 = 8;
    /// Refused for good.
    pub(crate) const REJECTED: u8 = 9;
    /// Failed for now, or in doubt.
    pub(crate) const TEMPORARY: u8 = 10;
}

/// A command failed to do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was typed does not fit together.
    #[error("{0}")]
    Usage(String),
    /// There is no such word here.
    #[error("{0}")]
    Unknown(String),
    /// No socket let us in.
    #[error("reach the daemon")]
    Unreachable {
        /// Every socket that was tried, in order.
        tried: Vec<ConnectError>,
    },
    /// The daemon said no.
    #[error("{}", doing.what)]
    Refused {
        /// What was asked of it.
        doing: Doing,
        /// Its answer.
        #[source]
        error: Box<RpcError>,
    },
    /// The daemon's answer does not fit the contract.
    #[error("read the daemon's answer to {method}")]
    Answer {
        /// The method that was called.
        method: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A file or standard input cannot be used.
    #[error("read {what}")]
    Input {
        /// Which.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Standard output or standard error is gone.
    #[error("write the output")]
    Output(#[from] io::Error),
    /// No loopback port.
    #[error("listen on a loopback port")]
    Listen(#[source] io::Error),
    /// Something that is waited for did not come. Nothing is lost.
    #[error("{what}")]
    Pending {
        /// What was being done.
        what: String,
        /// What to type to go on.
        next: String,
    },
}

/// What was asked of the daemon, in words that fit "failed to …", and what it is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doing {
    what: String,
    profile: Option<Name>,
    client: Option<Name>,
}

impl Doing {
    /// Names the deed.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Names the deed and the profile that it is done to: `verb profile NAME`.
    pub(crate) fn profile(verb: &str, name: &Name) -> Self {
        Self::new(format!("{verb} profile {name}")).with_profile(name)
    }

    /// Names the deed and the client that it is done to: `verb client NAME`.
    pub(crate) fn client(verb: &str, name: &Name) -> Self {
        Self { client: Some(name.clone()), ..Self::new(format!("{verb} client {name}")) }
    }

    /// Says which profile it is about.
    pub(crate) fn with_profile(mut self, name: &Name) -> Self {
        self.profile = Some(name.clone());
        self
    }
}

impl Failure {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Unknown(_) => exit::NOT_FOUND,
            Self::Unreachable { tried } if tried.iter().any(denied) => exit::DENIED,
            Self::Unreachable { .. } => exit::UNREACHABLE,
            Self::Refused { error, .. } => error.data.kind.exit_code(error.data.retryable),
            Self::Answer { .. } | Self::Input { .. } | Self::Output(_) | Self::Listen(_) => exit::FAILED,
            Self::Pending { .. } => exit::PENDING,
        }
    }

    /// Whether the reader of our output went away, which is no failure of ours.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The report for a person, some lines, each ended.
    pub(crate) fn report(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Usage(message) | Self::Unknown(message) => line(&mut out, format_args!("error: {message}")),
            Self::Unreachable { tried } => unreachable(&mut out, tried),
            Self::Refused { doing, error } => refused(&mut out, doing, error),
            Self::Pending { what, next } => {
                line(&mut out, format_args!("{what}"));
                fact(&mut out, "next", next);
            }
            other => {
                line(&mut out, format_args!("error: failed to {other}"));
                let mut source = std::error::Error::source(other);
                while let Some(cause) = source {
                    fact(&mut out, "cause", &cause.to_string());
                    source = cause.source();
                }
            }
        }
        out
    }

    /// The same for the page of a browser: what happened, and the words of others, in sentences.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        match self {
            Self::Refused { error, .. } => {
                sentences.push(sentence(&error.message));
                let provider = error.data.provider.as_ref().map(provider_words).filter(|words| !words.is_empty());
                sentences.extend(provider.map(|words| format!("The provider said: {words}")));
                sentences.extend(error.data.hint.as_ref().map(|hint| format!("What to do: {hint}")));
            }
            Self::Unreachable { .. } => sentences.push("frankd cannot be reached.".to_owned()),
            Self::Usage(what) | Self::Unknown(what) | Self::Pending { what, .. } => sentences.push(sentence(what)),
            other => sentences.push(format!("It was not possible to {other}.")),
        }
        sentences
    }
}

/// A clause with a capital at its begin and a stop at its end.
fn sentence(clause: &str) -> String {
    let mut characters = clause.trim_end_matches('.').chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// What the data of an error tells, line by line: the words of others, the field, the cause, the way out, the kind.
pub(crate) fn details(out: &mut String, data: &ErrorData, doing: &Doing) {
    if let Some(reply) = &data.smtp {
        fact(out, "server", &smtp_words(reply));
    }
    if let Some(provider) = &data.provider {
        fact(out, "provider", &provider_words(provider));
    }
    if let Some(field) = &data.field {
        fact(out, "field", field);
    }
    // What is invalid has its cause in the message, beside the field.
    let kind = data.kind.known();
    if let Some(kind) = kind.filter(|kind| *kind != Kind::ObjectInvalid || data.field.is_none()) {
        fact(out, "cause", kind.explanation());
    }
    match (&data.hint, kind.and_then(|kind| fix(kind, doing))) {
        (Some(hint), _) => fact(out, "fix", hint),
        (None, Some(fix)) => fact(out, "fix", &fix),
        (None, None) => {}
    }
    if let Some(seconds) = data.retry_after_s {
        let after = human::duration(std::time::Duration::from_secs(seconds));
        fact(out, "retry", &format!("after {after}"));
    }
    if let Some(diagnosis) = &data.diagnosis {
        fact(out, "diagnosis", diagnosis);
    }
    match &data.kind {
        ErrorKind::Known(kind) => fact(out, "kind", &format!("{kind}  (`frankctl explain {kind}`)")),
        ErrorKind::Unknown(name) => fact(out, "kind", &format!("{name}  (of a daemon newer than this frankctl)")),
    }
}

/// One indented line: a label and what it says.
pub(crate) fn fact(out: &mut String, label: &str, text: &str) {
    line(out, format_args!("  {label:<9}  {text}"));
}

/// A mail server's own words.
pub(crate) fn smtp_words(reply: &SmtpReply) -> String {
    match &reply.enhanced {
        Some(enhanced) => format!("{} {enhanced} {}", reply.code, reply.text),
        None => format!("{} {}", reply.code, reply.text),
    }
}

/// The commands that mend an error of this kind, where a hint of the daemon is missing.
pub(crate) fn fix(kind: Kind, doing: &Doing) -> Option<String> {
    let profile = doing.profile.as_ref().map_or("PROFILE", Name::as_str);
    let client = doing.client.as_ref().map_or("CLIENT", Name::as_str);
    let fix = match kind {
        Kind::GrantRequired | Kind::OauthInvalidGrant | Kind::GrantExpired | Kind::GrantStateMismatch => {
            format!("`frankctl grant {profile}`")
        }
        Kind::GrantPending => "`frankctl grant list`".to_owned(),
        Kind::OauthInvalidClient | Kind::OauthSecretExpired | Kind::ObjectSecretRequired => {
            format!("`frankctl client update {client} --client-secret-stdin`")
        }
        Kind::OauthInvalidScope => "`frankctl client presets`".to_owned(),
        Kind::OauthBadResponse | Kind::OauthMisconfigured => {
            format!("`frankctl client show {client}`")
        }
        Kind::AccessDenied => "`sudo usermod -aG frankd USER` and a new login, or an [[access]] rule; \
                               `frankctl access whoami` shows what you may do"
            .to_owned(),
        Kind::AccessSenderNotAllowed | Kind::AccessRateLimited => "`frankctl access whoami`".to_owned(),
        Kind::ObjectNotFound => {
            "`frankctl client list`, `frankctl profile list`, `frankctl grant list` or `frankctl queue list`".to_owned()
        }
        Kind::ObjectConfirmRequired => "the same command with --confirm".to_owned(),
        Kind::ObjectRevisionConflict => "read the object again, then the same command with its revision".to_owned(),
        Kind::MessageNoProfileForSender => format!("`frankctl profile update {profile} --default`"),
        Kind::SmtpConnect | Kind::SmtpTls | Kind::SmtpAuthRejected => {
            format!("`frankctl test email {profile} --to ADDRESS` shows where it stops")
        }
        Kind::SmtpInDoubt => "`frankctl queue resolve ID --outcome sent|retry|fail`".to_owned(),
        Kind::QueueFull => "`frankctl queue summary`".to_owned(),
        Kind::RequestBusy | Kind::RequestTooLarge => "`frankctl config show`".to_owned(),
        Kind::MethodNotFound => "`frankctl version`".to_owned(),
        Kind::DaemonShuttingDown => "`frankctl status` tells when it is back".to_owned(),
        Kind::Internal | Kind::StoreReadOnly | Kind::StoreUnavailable => {
            "`journalctl -u frankd` has the cause".to_owned()
        }
        _ => return None,
    };
    Some(fix)
}

fn refused(out: &mut String, doing: &Doing, error: &RpcError) {
    line(out, format_args!("error: failed to {}: {}", doing.what, error.message));
    details(out, &error.data, doing);
}

fn unreachable(out: &mut String, tried: &[ConnectError]) {
    line(out, format_args!("error: failed to reach the daemon"));
    for attempt in tried {
        fact(out, "tried", &format!("{}: {}", attempt.path.display(), attempt.source));
    }
    if tried.iter().any(denied) {
        fact(out, "cause", "The socket is there, and its mode does not let this user in.");
        fact(out, "fix", "`sudo usermod -aG frankd USER`, then log in again; members of group frankd may use it");
    } else {
        fact(out, "cause", "frankd does not run, or listens elsewhere.");
        fact(out, "fix", "`sudo systemctl start frankd`, or name the socket: `frankctl --host unix:///PATH status`");
    }
}

fn denied(attempt: &ConnectError) -> bool {
    attempt.source.kind() == io::ErrorKind::PermissionDenied
}

/// An authorization server's own words.
pub(crate) fn provider_words(provider: &ProviderError) -> String {
    let mut words = String::new();
    if let Some(error) = &provider.error {
        words.push_str(error);
    }
    if let Some(description) = &provider.error_description {
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(description);
    }
    let mut extra = Vec::new();
    if let Some(status) = provider.status {
        extra.push(format!("HTTP {status}"));
    }
    if let Some(id) = &provider.correlation_id {
        extra.push(format!("correlation id {id}"));
    }
    if !extra.is_empty() {
        let gap = if words.is_empty() { "" } else { " " };
        let _ = write!(words, "{gap}({})", extra.join(", "));
    }
    words
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{}", text.to_string().replace('\n', " "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_everything_it_knows() {
        let mut error = RpcError::new(Kind::SmtpAuthRejected, "the login was refused").retry_after_s(90);
        error.data.smtp = Some(SmtpReply {
            code: 535,
            enhanced: Some("5.7.139".to_owned()),
            text: "Authentication unsuccessful".to_owned(),
        });
        error.data.provider = Some(ProviderError {
            status: Some(400),
            error: Some("invalid_grant".to_owned()),
            error_description: Some("AADSTS50173".to_owned()),
            correlation_id: None,
        });
        let failure =
            Failure::Refused { doing: Doing::profile("test", &"alerts".parse().unwrap()), error: Box::new(error) };
        let report = failure.report();
        for part in [
            "error: failed to test profile alerts: the login was refused\n",
            "server     535 5.7.139 Authentication unsuccessful\n",
            "provider   invalid_grant: AADSTS50173 (HTTP 400)\n",
            "fix        `frankctl test email alerts --to ADDRESS`",
            "retry      after 1 min\n",
            "kind       smtp.auth_rejected  (`frankctl explain smtp.auth_rejected`)\n",
        ] {
            assert!(report.contains(part), "{part:?} is not in\n{report}");
        }
        assert_eq!(failure.exit_code(), 9);
    }

    #[test]
    fn a_hint_of_the_daemon_wins() {
        let error = RpcError::new(Kind::GrantRequired, "no grant").hint("ask Alice");
        let failure = Failure::Refused { doing: Doing::new("send"), error: Box::new(error) };
        assert!(failure.report().contains("fix        ask Alice\n"));
        assert!(!failure.report().contains("frankctl grant PROFILE`\n"));
    }

    #[test]
    fn a_forbidden_socket_names_the_group_and_is_no_absent_daemon() {
        let attempt =
            |kind: io::ErrorKind| ConnectError { path: "/run/frankd/control.sock".into(), source: kind.into() };
        let absent = Failure::Unreachable { tried: vec![attempt(io::ErrorKind::NotFound)] };
        let forbidden = Failure::Unreachable {
            tried: vec![attempt(io::ErrorKind::NotFound), attempt(io::ErrorKind::PermissionDenied)],
        };
        assert_eq!((absent.exit_code(), forbidden.exit_code()), (5, 4));
        assert!(forbidden.report().contains("usermod -aG frankd"));
        assert!(absent.report().contains("/run/frankd/control.sock"));
    }
}
