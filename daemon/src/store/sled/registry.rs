//! Clients, profiles and pauses as the mirror keeps them.

use frankd_proto::HoldReason;

use super::kept::Roster;
use super::keys;
use super::pages::{Overlay, Plain as _};
use crate::domain::Gate;
use crate::store::StoreError;
use crate::store::mirror;

/// What the mirror has of the registry, as the store has it now.
pub(super) fn of_store(overlay: &Overlay, roster: &Roster) -> Result<mirror::Registry, StoreError> {
    let mut registry = mirror::Registry::default();
    for key in roster.of_kind(keys::CLIENT) {
        registry.clients.extend(overlay.record(key)?);
    }
    for key in roster.of_kind(keys::PROFILE) {
        registry.profiles.extend(overlay.record(key)?);
    }
    for key in roster.of_kind(keys::GATE) {
        let gate: Option<Gate> = overlay.record(key)?;
        registry.paused.extend(gate.filter(|gate| gate.reason == HoldReason::Paused));
    }
    Ok(registry)
}
