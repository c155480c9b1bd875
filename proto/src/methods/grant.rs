//! `grant.*`: authorizations in progress.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::token::TokenInfo;
use super::{OBSERVE, OPERATE};
use crate::error::RpcError;
use crate::ids::GrantId;
use crate::name::Name;
use crate::secret::Secret;
use crate::vocabulary::{GrantState, GrantVia};

method!(
    /// Begins a grant and gives the URL that the person opens.
    Start = "grant.start", StartParams => Started, OPERATE
);
method!(
    /// Ends a grant with the redirect that the browser got.
    Complete = "grant.complete", CompleteParams => Completed, OPERATE
);
method!(
    /// Waits until a grant is over, or the time-out.
    Wait = "grant.wait", WaitParams => GrantView, OPERATE
);
method!(
    /// Shows one grant.
    Get = "grant.get", ById => GrantView, OBSERVE
);
method!(
    /// Lists grants, the newest first.
    List = "grant.list", ListParams => Grants, OBSERVE
);
method!(
    /// Calls a pending grant off.
    Cancel = "grant.cancel", ById => GrantView, OPERATE
);

/// Parameters of `grant.start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartParams {
    /// The profile that needs a token.
    pub profile: Name,
    /// How the redirect comes back.
    pub via: GrantVia,
    /// Port of the caller's loopback listener; needed with `client_loopback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Answer of `grant.start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The grant.
    pub grant: GrantView,
    /// The URL that the person opens. It carries the one-use `state`.
    pub authorization_url: Secret,
    /// Where the browser ends up; the caller listens there with `client_loopback`.
    pub redirect_uri: String,
}

/// Parameters of `grant.complete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteParams {
    /// The grant; found by the redirect's `state` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<GrantId>,
    /// The whole URL of the redirect, or its query alone. At most 8 KiB.
    pub redirect_url: Secret,
}

/// Answer of `grant.complete`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    /// The grant.
    pub grant: GrantView,
    /// The token that it brought.
    pub token: TokenInfo,
}

/// Names one grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ById {
    /// Its id.
    pub id: GrantId,
}

/// Parameters of `grant.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// Which grant.
    pub id: GrantId,
    /// Longest wait in seconds, 0 to 120; 60 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
}

/// Parameters of `grant.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    /// Only those of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
}

/// Answer of `grant.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grants {
    /// The newest first.
    pub items: Vec<GrantView>,
}

/// A grant as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its id.
    pub id: GrantId,
    /// The profile that it is for.
    pub profile: Name,
    /// How the redirect comes back.
    pub via: GrantVia,
    /// How far it is.
    pub state: GrantState,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The account that signed in, if the server told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What may not work: another account than the profile's, fewer scopes, no refresh token.
    pub warnings: Vec<String>,
    /// Why it was not completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<GrantError>,
}

/// Why a grant was not completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantError {
    /// One sentence.
    pub message: String,
    /// The same data as an error answer carries.
    pub data: crate::error::ErrorData,
}

impl From<RpcError> for GrantError {
    fn from(error: RpcError) -> Self {
        Self { message: error.message, data: error.data }
    }
}
