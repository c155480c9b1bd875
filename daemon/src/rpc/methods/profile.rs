//! `profile.*`.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::RpcError;
use frankd_proto::methods::Empty;
use frankd_proto::methods::client::{DeleteParams, Deleted, Named};
use frankd_proto::methods::profile::{
    Create, CreateParams, Delete, Get, List, Pause, PauseParams, ProfileView, Profiles, Resume, Update, UpdateParams,
};

use super::{Owners, RegistrationError, Table, profile_named, within};
use crate::domain::Profile;
use crate::registry::show;

/// Longest pause that ends by itself: a year, in seconds.
const LONGEST_PAUSE_S: u64 = 365 * 86_400;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<List, _, _>(|owners, _, Empty {}| async move { Ok(list(&owners)) })?;
    methods.on::<Get, _, _>(|owners, _, params| async move { get(&owners, &params) })?;
    methods.on::<Create, _, _>(|owners, _, params| create(owners, params))?;
    methods.on::<Update, _, _>(|owners, _, params| update(owners, params))?;
    methods.on::<Delete, _, _>(|owners, _, params| delete(owners, params))?;
    methods.on::<Pause, _, _>(|owners, _, params| pause(owners, params))?;
    methods.on::<Resume, _, _>(|owners, _, params| resume(owners, params))?;
    Ok(())
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

async fn create(owners: Arc<Owners>, params: CreateParams) -> Result<ProfileView, RpcError> {
    let profile = owners.changes.create_profile(params).await?;
    Ok(shown(&owners, &profile))
}

async fn update(owners: Arc<Owners>, params: UpdateParams) -> Result<ProfileView, RpcError> {
    let profile = owners.changes.update_profile(params).await?;
    Ok(shown(&owners, &profile))
}

async fn delete(owners: Arc<Owners>, params: DeleteParams) -> Result<Deleted, RpcError> {
    let name = params.name.clone();
    owners.changes.delete_profile(params).await?;
    Ok(Deleted { name })
}

async fn pause(owners: Arc<Owners>, params: PauseParams) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.name)?;
    let span = params.for_s.map(|given| within("for_s", given, 1, LONGEST_PAUSE_S)).transpose()?;
    owners.queue.pause(&params.name, span.map(Duration::from_secs), params.reason).await?;
    Ok(shown(&owners, profile))
}

async fn resume(owners: Arc<Owners>, params: Named) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.name)?;
    owners.queue.resume(&params.name).await?;
    Ok(shown(&owners, profile))
}

fn shown(owners: &Owners, profile: &Profile) -> ProfileView {
    show::profile(profile, &owners.registry.view(), &owners.queue.gates(profile.id), &*owners.fingerprint)
}
