//! `token.*`: the token slot of a profile.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::is_false;
use super::{OPERATE, TOKEN_INFO};
use crate::method::Need;
use crate::name::Name;
use crate::secret::{Secret, SecretView};
use crate::vocabulary::{Capability, TokenState};

method!(
    /// Tells all about a token but the token.
    Info = "token.info", OfProfile => TokenInfo, TOKEN_INFO
);
method!(
    /// Hands out an access token.
    Get = "token.get", GetParams => Token, Need::Any(&[Capability::ReadToken])
);
method!(
    /// Fetches a new access token now.
    Refresh = "token.refresh", OfProfile => TokenInfo, OPERATE
);
method!(
    /// Revokes a token at the server where that is possible (RFC 7009), and forgets it.
    Revoke = "token.revoke", RevokeParams => Revoked, OPERATE
);

/// Names the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfProfile {
    /// The profile.
    pub profile: Name,
}

/// Parameters of `token.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetParams {
    /// The profile.
    pub profile: Name,
    /// Seconds that the token must still live; the profile's or provider's minimum if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_valid_s: Option<u32>,
    /// Longest wait for a fresh token in seconds, 0 to 120; 10 if absent, 0 never waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u32>,
}

/// Answer of `token.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The access token.
    pub access_token: Secret,
    /// Always `Bearer` (RFC 6750).
    pub token_type: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The account that it belongs to, where the profile has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Scopes as granted.
    pub scopes: Vec<String>,
    /// Set while refreshing fails although this token is still good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Parameters of `token.revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeParams {
    /// The profile.
    pub profile: Name,
    /// Only forgets it here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local_only: bool,
}

/// What became of a revocation at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteRevocation {
    /// The server took it.
    Done,
    /// The client has no revocation endpoint.
    Unsupported,
    /// The server could not be asked or refused.
    Failed,
    /// Nobody asked the server.
    Skipped,
}

/// Answer of `token.revoke`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revoked {
    /// What became of it at the server.
    pub remote: RemoteRevocation,
    /// Why not, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The slot as it is now.
    pub token: TokenInfo,
}

/// A token slot as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// The profile.
    pub profile: Name,
    /// How it is.
    pub state: TokenState,
    /// Whether a new token is being fetched now.
    pub refreshing: bool,
    /// What is told of the access token.
    pub access_token: SecretView,
    /// When it was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<Timestamp>,
    /// When the access token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the next refresh or attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_refresh_at: Option<Timestamp>,
    /// What is told of the refresh token.
    pub refresh_token: SecretView,
    /// Scopes as granted.
    pub scopes: Vec<String>,
    /// The account that signed in, if the server told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Rises by one with each new token set.
    pub generation: u64,
    /// Why the last refresh failed, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<TokenError>,
    /// Set while a refused refresh token is kept aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_at: Option<Timestamp>,
    /// How often the access token was handed out.
    pub handed_out: u64,
    /// When it was last handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_out_at: Option<Timestamp>,
}

/// Why a refresh failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenError {
    /// One sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// How many times in a row.
    pub failures: u32,
    /// The same data as an error answer carries.
    pub data: crate::error::ErrorData,
}
