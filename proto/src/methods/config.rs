//! `config.show`: the daemon's settings and where each comes from.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ADMINISTER, Empty};

method!(
    /// Lists every setting, its value in force and its origin.
    Show = "config.show", Empty => Configuration, ADMINISTER
);

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Every setting, sorted by key.
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Dotted name, such as `limits.request_bytes`.
    pub key: String,
    /// Value in force.
    pub value: Value,
    /// `default`, or the file that set it.
    pub origin: String,
}
