//! Profiles.

use frankd_proto::methods::client::DeleteParams;
use frankd_proto::methods::profile::{CreateParams, UpdateParams};
use frankd_proto::{EventType, Name, ProfileId, ProfileKind};
use jiff::Timestamp;

use super::{ChangeError, Changes, owned_by_api, same_revision, told};
use crate::domain::{Caller, NewEvent, Profile};
use crate::entropy::EntropyExt as _;
use crate::registry::{View, profile};
use crate::store::Change;
use crate::tokens::Frozen;

impl Changes {
    /// Makes a profile.
    pub async fn create_profile(&self, mut params: CreateParams, by: &Caller) -> Result<Profile, ChangeError> {
        let _turn = self.turn.lock().await;
        let view = self.registry.view();
        if view.profile_named(&params.name).is_some() {
            return Err(ChangeError::Exists { what: "profile", name: params.name });
        }
        let now = self.clock.wall();
        let secret = params.client_secret.take();
        let profile = profile::create(params, &view, ProfileId::from_bits(self.entropy.ulid(now)), now)?;
        self.same_mail_server(&view, None, &profile, secret.as_ref())?;
        let (mut changes, mut events) = no_longer_default(&view, &profile, by, now);
        changes.push(Change::PutProfile { profile: Box::new(profile.clone()), expected: None });
        events.push(NewEvent::new(now, EventType::ProfileCreated).profile(&profile.name).by(by));
        self.commit(changes, events, ("profile", &profile.name)).await?;
        Ok(profile)
    }

    /// Changes a profile.
    pub async fn update_profile(&self, mut params: UpdateParams, by: &Caller) -> Result<Profile, ChangeError> {
        let _turn = self.turn.lock().await;
        let view = self.registry.view();
        let current = named(&view, &params.name)?;
        owned_by_api(&current.managed_by)?;
        same_revision(current.revision, params.if_revision)?;
        if let Some(name) = params.new_name.as_ref().filter(|name| **name != current.name)
            && view.profile_named(name).is_some()
        {
            return Err(ChangeError::Exists { what: "profile", name: name.clone() });
        }
        let confirmed = params.confirm;
        let now = self.clock.wall();
        let secret = params.client_secret.take();
        let changed = profile::update(current, params, &view, now)?;
        let mut after = View::clone(&view);
        after.replace_profile(changed.clone());
        self.same_mail_server(&view, Some(current), &changed, secret.as_ref())?;
        self.ask_before_tokens_end(&view, &after, confirmed)?;
        self.revoke_where_issued(&view, &after)?;
        let (mut changes, mut events) = no_longer_default(&view, &changed, by, now);
        changes.push(Change::PutProfile { profile: Box::new(changed.clone()), expected: Some(current.revision) });
        events.push(told::profile_updated(current, &changed, by));
        self.commit(changes, events, ("profile", &changed.name)).await?;
        Ok(changed)
    }

    /// Deletes a profile, with its token slot. One with waiting mail stays.
    pub async fn delete_profile(&self, params: DeleteParams, by: &Caller) -> Result<(), ChangeError> {
        let _turn = self.turn.lock().await;
        let view = self.registry.view();
        let current = named(&view, &params.name)?;
        owned_by_api(&current.managed_by)?;
        same_revision(current.revision, params.if_revision)?;
        let mut changes = vec![Change::DeleteProfile { id: current.id, expected: current.revision }];
        let frozen = self.tokens.freeze(current.id);
        if frozen.is_none() && current.kind != ProfileKind::Smtp {
            let by = "a token that is being fetched; try again in a moment".to_owned();
            return Err(ChangeError::InUse { by, way_out: None });
        }
        if let Some(version) = frozen.as_ref().and_then(Frozen::version) {
            changes.push(Change::DeleteSlot { profile: current.id, expected: version });
        }
        let event = NewEvent::new(self.clock.wall(), EventType::ProfileDeleted).profile(&current.name).by(by);
        self.commit(changes, vec![event], ("profile", &current.name)).await?;
        self.tokens.forget(current.id).await;
        drop(frozen);
        Ok(())
    }
}

/// There is one default profile: another one stops being it.
fn no_longer_default(view: &View, profile: &Profile, by: &Caller, now: Timestamp) -> (Vec<Change>, Vec<NewEvent>) {
    let Some(other) = view.default_profile().filter(|other| profile.default && other.id != profile.id) else {
        return (Vec::new(), Vec::new());
    };
    let changed = Profile { default: false, revision: other.revision + 1, updated_at: now, ..other.clone() };
    let event = told::profile_updated(other, &changed, by);
    let change = Change::PutProfile { expected: Some(other.revision), profile: Box::new(changed) };
    (vec![change], vec![event])
}

fn named<'a>(view: &'a View, name: &Name) -> Result<&'a Profile, ChangeError> {
    view.profile_named(name).ok_or_else(|| ChangeError::NotFound { what: "profile", name: name.clone() })
}
