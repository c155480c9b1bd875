//! What happened, before and after it has its sequence number.

use frankd_proto::{EventType, Name};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::caller::Caller;

/// An event on its way into the store: written in the same commit as the change that it tells of.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event_type: EventType,
    /// The profile that it is about.
    pub profile: Option<Name>,
    /// The client that it is about.
    pub client: Option<Name>,
    /// Id of the message or grant that it is about.
    pub object: Option<String>,
    /// More, by type. Never a secret.
    pub data: Map<String, Value>,
}

impl NewEvent {
    /// An event about nothing in particular.
    pub fn new(at: Timestamp, event_type: EventType) -> Self {
        Self { at, event_type, profile: None, client: None, object: None, data: Map::new() }
    }

    /// Names the profile.
    pub fn profile(mut self, name: &Name) -> Self {
        self.profile = Some(name.clone());
        self
    }

    /// Names the client.
    pub fn client(mut self, name: &Name) -> Self {
        self.client = Some(name.clone());
        self
    }

    /// Names the message or grant.
    pub fn object(mut self, id: impl std::fmt::Display) -> Self {
        self.object = Some(id.to_string());
        self
    }

    /// Names who did it: uid, gid, login name and process id.
    pub fn by(self, caller: &Caller) -> Self {
        let Caller { uid, gid, pid, user, groups: _, socket: _ } = caller;
        self.with("uid", *uid).with("gid", *gid).with("user", user.clone()).with("pid", *pid)
    }

    /// Adds a value.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }
}

/// An event with its sequence number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Rises by one with each event, through restarts; the first is 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event_type: EventType,
    /// The profile that it is about.
    pub profile: Option<Name>,
    /// The client that it is about.
    pub client: Option<Name>,
    /// Id of the message or grant that it is about.
    pub object: Option<String>,
    /// More, by type.
    pub data: Map<String, Value>,
}
