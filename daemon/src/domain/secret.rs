//! Secrets as they are kept: by value, or by reference to a file that an administrator owns.

use frankd_proto::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// Kept here, sealed.
    Value(Secret),
    /// A systemd credential of that name, read at each use.
    Credential(String),
    /// A file of that name in the secrets folder, read at each use.
    File(String),
}

/// A secret of a client or profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSecret {
    /// Where it comes from.
    pub source: SecretSource,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// When the provider says that it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}
