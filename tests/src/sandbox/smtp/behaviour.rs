//! What a submission server offers and demands when it behaves: capabilities, limits, logins, texts.
//!
//! The defaults are a modern server without quirks. [`Behaviour::google`], [`Behaviour::microsoft`] and
//! [`Behaviour::dovecot`] have the capabilities, limits and refusal texts that those servers were seen to have.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The old two-question exchange.
    Login,
    /// Google's bearer mechanism.
    XOAuth2,
    /// RFC 7628.
    OAuthBearer,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// Every mechanism that the server knows.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Login, Self::XOAuth2, Self::OAuthBearer];
}

/// What the check of a bearer token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token opens the mailbox.
    Accepted,
    /// It does not.
    Refused,
    /// It does, but not for long enough: `501 5.5.127` (Exchange HVE).
    ExpiresSoon,
    /// The check itself failed: `454 4.7.0`.
    Unavailable,
}

/// Checks a bearer token: user, token.
pub type TokenCheck = Arc<dyn Fn(&str, &str) -> Verdict + Send + Sync>;

/// How a refused token is told.
#[derive(Clone, Debug)]
pub enum TokenRefusal {
    /// `334` with this JSON, then the reply (Google, Dovecot).
    Challenge {
        /// The JSON inside the challenge.
        json: String,
        /// The final reply; several lines are separated by `\n`.
        reply: String,
    },
    /// The reply at once (Microsoft).
    Direct(String),
}

/// The server's capabilities, limits and texts.
#[derive(Clone)]
pub struct Behaviour {
    /// The name in greeting and EHLO.
    pub name: String,
    /// `SIZE`, and the most octets a message may have; neither when `None`.
    pub size: Option<u64>,
    /// Whether `PIPELINING` is offered.
    pub pipelining: bool,
    /// Whether `8BITMIME` is offered.
    pub eight_bit_mime: bool,
    /// Whether `SMTPUTF8` is offered.
    pub smtp_utf8: bool,
    /// Whether `ENHANCEDSTATUSCODES` is offered and used.
    pub enhanced_status_codes: bool,
    /// Certificate and key; without them there is no TLS of either kind.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether `STARTTLS` is offered on a plain connection.
    pub starttls: bool,
    /// Mechanisms offered before TLS.
    pub auth_before_tls: Vec<Mechanism>,
    /// Mechanisms offered over TLS.
    pub auth_over_tls: Vec<Mechanism>,
    /// Whether MAIL needs a login.
    pub login_required: bool,
    /// Whether EHLO forgets the login.
    pub ehlo_forgets_login: bool,
    /// User names and passwords for PLAIN and LOGIN.
    pub passwords: Vec<(String, String)>,
    /// The check of bearer tokens.
    pub token_check: TokenCheck,
    /// How a refused token is told.
    pub token_refusal: TokenRefusal,
    /// The reply to a wrong password.
    pub password_refusal: String,
    /// Most octets of a command line, CR LF included.
    pub line_limit: usize,
    /// Most octets of an AUTH line, CR LF included.
    pub auth_line_limit: usize,
    /// Most octets of a line after a `334`, CR LF included.
    pub response_limit: usize,
    /// Connections beyond this many get `421` as a greeting.
    pub max_connections: Option<usize>,
    /// Sessions of one user beyond this many get `432` at their login.
    pub max_sessions_per_user: Option<usize>,
    /// A session that says nothing for this long hears `421` and is closed.
    pub idle_limit: Option<Duration>,
    /// MAIL commands of one connection beyond this many get `421`.
    pub max_messages: Option<usize>,
    /// Recipients of one message beyond this many are refused.
    pub max_recipients: Option<usize>,
    /// The reply to a recipient too many.
    pub too_many_recipients: String,
    /// Whether DATA without an accepted recipient is still answered `354` (RFC 2920 §3.1 allows it).
    pub data_without_recipients: bool,
    /// Whether a line that ends in a bare LF is refused.
    pub refuses_bare_line_feed: bool,
    /// How long a message for `slow…` takes.
    pub slow: Duration,
    /// The text of the reply to an accepted message; `{id}` becomes its number.
    pub accepted: String,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            name: "mail.sandbox.test".into(),
            size: Some(26_214_400),
            pipelining: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            enhanced_status_codes: true,
            tls: None,
            starttls: true,
            auth_before_tls: Vec::new(),
            auth_over_tls: Mechanism::ALL.to_vec(),
            login_required: true,
            ehlo_forgets_login: false,
            passwords: Vec::new(),
            token_check: Arc::new(|_, _| Verdict::Refused),
            token_refusal: TokenRefusal::Challenge {
                json: r#"{"status":"401","schemes":"bearer","scope":"smtp.send"}"#.into(),
                reply: "535 5.7.8 Authentication failed".into(),
            },
            password_refusal: "535 5.7.8 Authentication credentials invalid".into(),
            line_limit: 2048,
            auth_line_limit: 12_288,
            response_limit: 12_288,
            max_connections: None,
            max_sessions_per_user: None,
            idle_limit: None,
            max_messages: None,
            max_recipients: None,
            too_many_recipients: "452 4.5.3 Too many recipients".into(),
            data_without_recipients: false,
            refuses_bare_line_feed: true,
            slow: Duration::from_secs(3),
            accepted: "2.0.0 OK queued as {id}".into(),
        }
    }
}

impl Behaviour {
    /// As smtp.gmail.com: XOAUTH2 and OAUTHBEARER, a refused token by challenge, 100 recipients.
    #[must_use]
    pub fn google() -> Self {
        Self {
            size: Some(35_882_577),
            token_refusal: TokenRefusal::Challenge {
                json: r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#.into(),
                reply: "535-5.7.8 Username and Password not accepted. For more information, go to\n\
                        535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp"
                    .into(),
            },
            max_recipients: Some(100),
            accepted: "2.0.0 OK  {id} - gsmtp".into(),
            ..Self::default()
        }
    }

    /// As smtp.office365.com: LOGIN and XOAUTH2 only, a refused token by a direct 535, three sessions a mailbox.
    #[must_use]
    pub fn microsoft() -> Self {
        Self {
            size: Some(157_286_400),
            auth_over_tls: vec![Mechanism::Login, Mechanism::XOAuth2],
            token_refusal: TokenRefusal::Direct("535 5.7.3 Authentication unsuccessful [sandbox]".into()),
            password_refusal: "535 5.7.3 Authentication unsuccessful [sandbox]".into(),
            max_sessions_per_user: Some(3),
            max_recipients: Some(500),
            accepted: "2.0.0 OK <{id}@sandbox.prod.outlook.com> [Hostname=sandbox.prod.outlook.com]".into(),
            ..Self::default()
        }
    }

    /// As Dovecot's submission service: an AUTH line of 1,031 octets at most, 8,190 after a `334`.
    #[must_use]
    pub fn dovecot() -> Self {
        Self { auth_line_limit: 1031, response_limit: 8190, ..Self::default() }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("name", &self.name).finish_non_exhaustive()
    }
}
