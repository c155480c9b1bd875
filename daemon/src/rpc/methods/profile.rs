//! `profile.*`.

use std::time::Duration;

use frankd_proto::RpcError;
use frankd_proto::methods::Empty;
use frankd_proto::methods::client::{DeleteParams, Deleted, Named};
use frankd_proto::methods::profile::{
    Create, CreateParams, Delete, Get, List, Pause, PauseParams, ProfileView, Profiles, Resume, Update, UpdateParams,
};

use super::{Owners, Registrar, profile_named};
use crate::domain::Profile;
use crate::registry::show;

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<List, _, _>(owners, |owners, _, Empty {}| async move { Ok(list(&owners)) });
    registrar.method::<Get, _, _>(owners, |owners, _, params| async move { get(&owners, &params) });
    registrar.method::<Create, _, _>(owners, |owners, _, params| create(owners, params));
    registrar.method::<Update, _, _>(owners, |owners, _, params| update(owners, params));
    registrar.method::<Delete, _, _>(owners, |owners, _, params| delete(owners, params));
    registrar.method::<Pause, _, _>(owners, |owners, _, params| pause(owners, params));
    registrar.method::<Resume, _, _>(owners, |owners, _, params| resume(owners, params));
}

fn list(owners: &Owners) -> Profiles {
    let view = owners.registry.view();
    let mut items: Vec<ProfileView> = view.profiles().map(|profile| shown(owners, profile)).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Profiles { items }
}

fn get(owners: &Owners, params: &Named) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    profile_named(&view, &params.name).map(|profile| shown(owners, profile))
}

async fn create(owners: Owners, params: CreateParams) -> Result<ProfileView, RpcError> {
    let profile = owners.changes.create_profile(params).await?;
    Ok(shown(&owners, &profile))
}

async fn update(owners: Owners, params: UpdateParams) -> Result<ProfileView, RpcError> {
    let profile = owners.changes.update_profile(params).await?;
    Ok(shown(&owners, &profile))
}

async fn delete(owners: Owners, params: DeleteParams) -> Result<Deleted, RpcError> {
    let name = params.name.clone();
    owners.changes.delete_profile(params).await?;
    Ok(Deleted { name })
}

async fn pause(owners: Owners, params: PauseParams) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.name)?;
    owners.queue.pause(profile.id, params.for_s.map(Duration::from_secs), params.reason).await?;
    Ok(shown(&owners, profile))
}

async fn resume(owners: Owners, params: Named) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.name)?;
    owners.queue.resume(profile.id).await?;
    Ok(shown(&owners, profile))
}

fn shown(owners: &Owners, profile: &Profile) -> ProfileView {
    show::profile(profile, &owners.registry.view(), &owners.queue.gates(profile.id), &*owners.fingerprint)
}
