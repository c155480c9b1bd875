//! What ends by itself: refresh tokens and client secrets, told of while there is time.

use std::collections::BTreeMap;

use frankd_proto::{ClientId, EventType, ProfileId};
use jiff::Timestamp;

use crate::domain::{NewEvent, TokenSlot};
use crate::policy::life;
use crate::registry::View;

/// What was told already, so that each warning is given once. A restart gives the last one again.
#[derive(Debug, Default)]
pub(super) struct Forecast {
    grants: BTreeMap<ProfileId, (Timestamp, u64)>,
    secrets: BTreeMap<ClientId, (Timestamp, u64)>,
}

impl Forecast {
    /// The warnings that are due at `wall`. Only ends that are known are told of.
    pub(super) fn due<'a>(
        &mut self,
        view: &View,
        slots: impl Iterator<Item = &'a TokenSlot>,
        wall: Timestamp,
    ) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for slot in slots {
            let tokens = slot.tokens.as_ref();
            let Some((since, end)) = tokens.and_then(|t| t.refresh_obtained_at.zip(t.refresh_expires_at)) else {
                continue;
            };
            let (Some(days), Some(profile)) = (life::forecast(since, end, wall), view.profile(slot.profile)) else {
                continue;
            };
            if self.grants.insert(slot.profile, (end, days)) != Some((end, days)) {
                events.push(event(EventType::GrantExpiring, end, days, wall).profile(&profile.name));
            }
        }
        for client in view.clients() {
            let Some((since, end)) =
                client.client_secret.as_ref().and_then(|secret| Some((secret.updated_at, secret.expires_at?)))
            else {
                continue;
            };
            let Some(days) = life::forecast(since, end, wall) else { continue };
            if self.secrets.insert(client.id, (end, days)) != Some((end, days)) {
                events.push(event(EventType::ClientSecretExpiring, end, days, wall).client(&client.name));
            }
        }
        events
    }
}

fn event(event_type: EventType, end: Timestamp, days: u64, wall: Timestamp) -> NewEvent {
    NewEvent::new(wall, event_type).with("expires_at", end.to_string()).with("within_days", days)
}
