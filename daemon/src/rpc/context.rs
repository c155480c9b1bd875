//! What a method knows of its call: who calls, what it may do, when.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{Capability, Kind, Name, Need, RpcError};
use jiff::Timestamp;

use super::budget::Octets;
use super::limits::User;
use crate::clock::Instant;
use crate::domain::Caller;
use crate::policy::access::{Grant, Reach, SENDING};
use crate::queue::Quota;

/// A call, as a method sees it.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// What the caller may do, and how far this call reaches.
    pub access: Access,
    /// Number of the connection, for the audit.
    pub connection: u64,
    /// When the call came.
    pub now: Timestamp,
    pub(super) user: Arc<User>,
    /// Counts for the budget of large requests until the call is done.
    pub(super) octets: Option<Arc<Octets>>,
}

/// What a caller may do, and how far one call reaches.
#[derive(Clone, Debug)]
pub struct Access {
    /// The sum of all rules that match the caller.
    pub grant: Arc<Grant>,
    /// Whether the call reaches the caller's own objects or everybody's.
    pub reach: Reach,
}

impl CallContext {
    /// The caller's messages of the hour, if its rules limit them.
    pub fn quota(&self) -> Option<Arc<dyn Quota>> {
        let limit = self.access.grant.rate_per_hour()?;
        Some(Arc::new(HourOf { user: Arc::clone(&self.user), limit }))
    }
}

/// One user's hour, with the limit of its rules.
#[derive(Debug)]
struct HourOf {
    user: Arc<User>,
    limit: u32,
}

impl Quota for HourOf {
    fn take(&self, now: Instant) -> Result<(), Duration> {
        self.user.take_message(self.limit, now)
    }

    fn give_back(&self) {
        self.user.give_message_back();
    }
}

impl Access {
    /// Whether the caller is bound to its own share of the queue.
    pub fn is_limited(&self) -> bool {
        !self.grant.has(Capability::Operate)
    }

    /// Profiles that the caller may send with; `None` means all.
    pub fn sending_profiles(&self) -> Option<Vec<Name>> {
        self.grant.profiles(SENDING)
    }

    /// From addresses that the caller may send with; `None` means all.
    pub fn sending_from(&self) -> Option<Vec<String>> {
        self.grant.from(SENDING)
    }

    /// Refuses a profile that no rule of the caller covers for what the method needs.
    pub fn check_profile(&self, needs: Need, profile: &Name) -> Result<(), RpcError> {
        let any: &[Capability] = match needs {
            Need::Nobody => return Ok(()),
            Need::Any(any) => any,
            Need::OwnOr { own, all } => &[own, all],
        };
        if self.grant.covers(any, profile) {
            return Ok(());
        }
        let words: Vec<&str> = any.iter().map(|c| c.as_str()).collect();
        Err(RpcError::new(Kind::AccessDenied, format!("this user's rules do not cover the profile {profile}"))
            .field("profile")
            .hint(format!(
                "have `{profile}` added to `profiles` of the [[access]] rule that grants {}",
                words.join(" or ")
            )))
    }
}
