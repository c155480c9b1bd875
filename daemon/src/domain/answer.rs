//! Token requests and what comes back, as the owners of tokens and grants see them.

use std::collections::BTreeMap;
use std::time::Duration;

use frankd_proto::error::ProviderError;
use frankd_proto::{Secret, TlsVersion, TokenEndpointAuthMethod};

/// How to reach a server and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WireSettings {
    /// Certificates that are trusted besides the system's, PEM.
    pub ca_bundle: Option<String>,
    /// Oldest TLS version.
    pub min_tls_version: TlsVersion,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole request.
    pub request_timeout: Duration,
}

/// One request to a token endpoint (RFC 6749 §3.2), with everything that it needs.
#[derive(Clone, Debug)]
pub struct TokenCall {
    /// RFC 8414 `token_endpoint`.
    pub token_endpoint: String,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`; absent or empty means none.
    pub client_secret: Option<Secret>,
    /// How the client proves itself.
    pub auth_method: TokenEndpointAuthMethod,
    /// What is asked for.
    pub grant: TokenGrant,
    /// `scope`; sent unless empty. A refresh sends none (RFC 6749 §6).
    pub scopes: Vec<String>,
    /// Extra parameters; reserved names were refused when they were set.
    pub params: BTreeMap<String, String>,
    /// How to reach the server.
    pub wire: WireSettings,
}

/// What a token request asks with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenGrant {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §6.
    RefreshToken(Secret),
    /// RFC 6749 §4.1.3 with RFC 7636 §4.5.
    AuthorizationCode {
        /// The code of the redirect.
        code: Secret,
        /// Octet for octet that of the authorization request.
        redirect_uri: String,
        /// PKCE verifier.
        code_verifier: Secret,
    },
}

/// A request to a revocation endpoint (RFC 7009 §2.1).
#[derive(Clone, Debug)]
pub struct RevocationCall {
    /// RFC 8414 `revocation_endpoint`.
    pub revocation_endpoint: String,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: Option<Secret>,
    /// How the client proves itself.
    pub auth_method: TokenEndpointAuthMethod,
    /// The token.
    pub token: Secret,
    /// `refresh_token` or `access_token`.
    pub token_type_hint: &'static str,
    /// How to reach the server.
    pub wire: WireSettings,
}

/// A token response (RFC 6749 §5.1), read leniently and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// `access_token`: 1 to 16,384 visible ASCII characters.
    pub access_token: Secret,
    /// `expires_in`, if it can be read.
    pub expires_in: Option<Duration>,
    /// `refresh_in` of Microsoft.
    pub refresh_in: Option<Duration>,
    /// `refresh_token`, unless empty.
    pub refresh_token: Option<Secret>,
    /// `refresh_expires_in`, `refresh_token_expires_in` or `refresh_token_timeout`.
    pub refresh_expires_in: Option<Duration>,
    /// `scope`, if there is one.
    pub scopes: Option<Vec<String>>,
    /// The account of the id_token: `email`, else `preferred_username`, else `upn`.
    pub account: Option<String>,
    /// What was odd about the answer. Never a secret.
    pub warnings: Vec<String>,
}

/// Why a token request brought no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct TokenFailure {
    /// What is certain about it.
    pub cause: FailureCause,
    /// `Retry-After`, at most one hour.
    pub retry_after: Option<Duration>,
    /// What the server said.
    pub provider: ProviderError,
}

/// What is certain about a failed request. The text never has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailureCause {
    /// The name cannot be resolved: the request was never sent.
    #[error("{0}")]
    Unresolved(String),
    /// No route, nothing listens, or no connection in time: the request was never sent.
    #[error("{0}")]
    Unreachable(String),
    /// The TLS handshake failed: the request was never sent.
    #[error("{0}")]
    Tls(String),
    /// The URL is not https and not loopback: the request was never sent.
    #[error("{0} is neither https nor loopback")]
    InsecureUrl(String),
    /// The request was sent and no whole answer came: the server may have acted.
    #[error("{0}")]
    Ambiguous(String),
    /// An HTTP redirect, which is never followed. The text is where to.
    #[error("the token endpoint redirects to {0}")]
    Redirect(String),
    /// An error of the protocol (RFC 6749 §5.2); `provider.error` is set.
    #[error("the server answered {}", .0)]
    Refused(String),
    /// An HTTP error without an OAuth2 error in it; `provider.status` is set.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// An answer that is not JSON. The text is its media type.
    #[error("the answer is {0}, not a token response")]
    NotJson(String),
    /// An answer over 64 KiB.
    #[error("the answer is longer than 64 KiB")]
    TooLarge,
    /// JSON that is not a usable token response. The text says why.
    #[error("the answer is not a usable token response: {0}")]
    Unusable(String),
}
