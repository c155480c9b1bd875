//! `event.*`: what happened, in order, with durable sequence numbers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::OBSERVE;
use crate::name::Name;
use crate::vocabulary::EventType;

method!(
    /// Lists events after a sequence number, or waits for one.
    List = "event.list", ListParams => Events, OBSERVE
);

/// Opens a subscription; its items are [`Event`]s.
pub const SUBSCRIBE: &str = "event.subscribe";
/// Ends a subscription; its parameter is `[subscription id]`.
pub const UNSUBSCRIBE: &str = "event.unsubscribe";
/// Method name of the notifications.
pub const NOTIFICATION: &str = "event";

/// Parameters of `event.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    /// Only events after this sequence number; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seq: Option<u64>,
    /// Only events at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only these types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<EventType>>,
    /// Only events of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// Most events to return, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// In place of `limit`: only the last of those that fit, 1 to 1,000, without waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Longest wait for the first event in seconds, 0 to 120; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u32>,
}

/// Parameters of `event.subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// First sends the kept events after this sequence number; only new ones if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seq: Option<u64>,
    /// Only these types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<EventType>>,
    /// Only events of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
}

/// Answer of `event.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// The oldest first.
    pub events: Vec<Event>,
    /// What to give as `since_seq` next.
    pub next_seq: u64,
    /// Whether events between `since_seq` and the first one here are no longer kept.
    pub lost: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one with each event, through restarts.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The profile that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// The client that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Name>,
    /// Id of the message or grant that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// More, by type. Never a secret.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}
