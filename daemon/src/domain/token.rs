//! The token slot of a profile: the tokens in use, and everything that must survive a crash so that none is lost.

use frankd_proto::error::ErrorData;
use frankd_proto::{ProfileId, Secret};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a profile holds of tokens. One slot for each OAuth2 profile, keyed by the profile's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenSlot {
    /// The profile.
    pub profile: ProfileId,
    /// Rises by one with each write; compared and swapped by the store.
    pub version: u64,
    /// Rises by one with each new token set: a refresh, a grant, a revocation.
    pub generation: u64,
    /// The tokens in use.
    pub tokens: Option<TokenSet>,
    /// A token request that was begun and not ended: after a crash its answer is unknown.
    pub intent: Option<Intent>,
    /// Refresh tokens that were refused or put out of use. Kept and probed, never deleted on one answer.
    pub quarantined: Vec<Quarantined>,
    /// Why the last refresh failed, while it does.
    pub failure: Option<Failure>,
    /// How often the access token was handed out.
    pub handed_out: u64,
    /// When it was last handed out.
    pub handed_out_at: Option<Timestamp>,
}

/// The answer of a token endpoint, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenSet {
    /// The access token (RFC 6749 §1.4).
    pub access_token: Secret,
    /// When the request that brought it was sent. Its life counts from then.
    pub obtained_at: Timestamp,
    /// Its life in seconds, within 1 s and 30 d.
    pub lifetime_s: u32,
    /// When the provider would like it refreshed, in seconds after `obtained_at` (`refresh_in`).
    pub refresh_in_s: Option<u32>,
    /// Scopes as granted.
    pub scopes: Vec<String>,
    /// The refresh token (RFC 6749 §1.5).
    pub refresh_token: Option<Secret>,
    /// When this refresh token was first given.
    pub refresh_obtained_at: Option<Timestamp>,
    /// When the refresh token ends, if the provider says so.
    pub refresh_expires_at: Option<Timestamp>,
    /// The refresh token before the last rotation, until the new one has worked once.
    pub previous_refresh_token: Option<Secret>,
    /// The account that signed in, from the id_token.
    pub account: Option<String>,
    /// What the tokens were issued to.
    pub identity: SlotIdentity,
}

impl TokenSet {
    /// When the access token ends.
    pub fn expires_at(&self) -> Timestamp {
        self.obtained_at
            .checked_add(jiff::SignedDuration::from_secs(i64::from(self.lifetime_s)))
            .unwrap_or(Timestamp::MAX)
    }
}

/// What a token was issued to. Tokens of another identity are not used, and come back to use when the identity does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotIdentity {
    /// Where it was issued.
    pub token_endpoint: String,
    /// To which client.
    pub client_id: String,
    /// By which issuer, if the client names one.
    pub issuer: Option<String>,
    /// Scopes as asked for.
    pub scopes: Vec<String>,
    /// Mail server host that the tokens are shown to, of an interactive profile that sends mail: who consented did so for
    /// this server, and a changed host must not see the old tokens.
    #[serde(default)]
    pub audience_host: Option<String>,
}

/// A token request that is on its way. On disk before the request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Generation that the request was made from.
    pub generation: u64,
    /// First 8 octets of SHA-256 of the refresh token that it carries, hexadecimal; empty if it carries none.
    pub refresh_token_fingerprint: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Which try of this flight it is, from 1.
    pub attempt: u32,
}

/// A refresh token that is kept aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The tokens as they were.
    pub tokens: TokenSet,
    /// Since when.
    pub since: Timestamp,
    /// Whether the server refused it; otherwise the client or profile changed.
    pub refused: bool,
    /// How often it was tried since.
    pub probes: u32,
    /// When it is tried next.
    pub next_probe_at: Option<Timestamp>,
}

/// Why refreshing fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence.
    pub message: String,
    /// The same data as an error answer carries.
    pub data: ErrorData,
    /// When it last failed.
    pub at: Timestamp,
    /// How many times in a row.
    pub count: u32,
    /// Whether a person must grant before it can work again.
    pub needs_grant: bool,
    /// Whether an operator must correct something before it can work again.
    pub misconfigured: bool,
}
