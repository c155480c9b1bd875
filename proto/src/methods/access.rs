//! `access.whoami`: who the daemon takes the caller for.

use serde::{Deserialize, Serialize};

use super::Empty;
use crate::method::Need;
use crate::name::Name;
use crate::vocabulary::Capability;

method!(
    /// Says who the caller is and what it may do.
    WhoAmI = "access.whoami", Empty => Identity, Need::Nobody
);

/// The caller, as the socket's peer credentials and the access rules see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process id, if the kernel told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Login name, if the account database has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `control` or `submit`: the socket that was used.
    pub socket: String,
    /// What the caller may do.
    pub capabilities: Vec<Capability>,
    /// Profiles that the caller is limited to; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<Vec<Name>>,
    /// From addresses that the caller is limited to (`*@example.org` allowed); absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
    /// Messages that the caller may queue in an hour; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_hour: Option<u32>,
}
