//! An authorization in progress (RFC 6749 §4.1 with RFC 7636).

use frankd_proto::methods::grant::GrantError;
use frankd_proto::{ClientId, GrantId, GrantState, GrantVia, ProfileId, Secret};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::token::SlotIdentity;

/// A grant as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The profile that it is for.
    pub profile: ProfileId,
    /// The client that asks.
    pub client: ClientId,
    /// What the tokens will be issued to; a change of it meanwhile fails the grant.
    pub identity: SlotIdentity,
    /// How the redirect comes back.
    pub via: GrantVia,
    /// How far it is.
    pub state: GrantState,
    /// SHA-256 of the one-use `state` parameter, base64url. The parameter itself is in the URL alone.
    pub state_digest: String,
    /// PKCE code verifier (RFC 7636 §4.1); wiped when the grant is over.
    pub code_verifier: Option<Secret>,
    /// Redirect URI, octet for octet as sent.
    pub redirect_uri: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The account that signed in.
    pub account: Option<String>,
    /// What may not work.
    pub warnings: Vec<String>,
    /// Why it was not completed.
    pub error: Option<GrantError>,
    /// User id of the caller that started it.
    pub uid: u32,
}
