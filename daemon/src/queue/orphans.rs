//! Mail that no profile sends: held under a name, so that somebody sees it and can call it off.
//!
//! The store takes no such mail. What one of an earlier version took is found at the start.

use frankd_proto::{HoldReason, ProfileId};

use super::shared::Shared;
use crate::domain::Gate;
use crate::store::StoreError;

/// Closes the gate of each profile that is gone and has mail; opens it where nothing waits any more.
pub(super) async fn hold(shared: &Shared) -> Result<(), StoreError> {
    let counts = shared.store.counts().await?;
    let since = shared.clock.wall();
    for (profile, _) in counts.iter().filter(|(id, _)| !sends(shared, *id)) {
        let detail = Some("the profile was deleted, or sends no mail any more".to_owned());
        let gate = Gate {
            profile: *profile,
            reason: HoldReason::NoProfile,
            detail,
            diagnosis: None,
            since,
            until: None,
            probes: 0,
        };
        shared.gates.close(gate, &shared.profile_name(*profile), Vec::new(), Vec::new()).await?;
    }
    for (profile, reason) in shared.gates.closed().keys() {
        if *reason == HoldReason::NoProfile && !counts.iter().any(|(id, _)| id == profile) {
            let name = shared.profile_name(*profile);
            shared.gates.open(*profile, HoldReason::NoProfile, Some(&name), since).await?;
        }
    }
    Ok(())
}

fn sends(shared: &Shared, id: ProfileId) -> bool {
    shared.registry.view().profile(id).is_some_and(|profile| profile.smtp.is_some())
}
