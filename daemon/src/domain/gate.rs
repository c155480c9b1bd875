//! A gate: one record that holds all mail of a profile.

use frankd_proto::{HoldReason, ProfileId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A closed gate. An open gate has no record. A profile has at most one gate of each reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The profile whose mail waits.
    pub profile: ProfileId,
    /// Why.
    pub reason: HoldReason,
    /// In words: the cause, or what the operator said.
    pub detail: Option<String>,
    /// Id of the diagnosis in the error taxonomy.
    pub diagnosis: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it opens by itself, or is tried next.
    pub until: Option<Timestamp>,
    /// How often it was tried in vain.
    #[serde(default)]
    pub probes: u32,
}
