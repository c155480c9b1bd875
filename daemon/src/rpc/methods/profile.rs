//! `profile.*`.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::methods::Empty;
use frankd_proto::methods::client::{DeleteParams, Deleted, Named};
use frankd_proto::methods::profile::{
    Create, CreateParams, Delete, Get, List, Pause, PauseParams, ProfileView, Profiles, Resume, Update, UpdateParams,
};
use frankd_proto::{Name, RpcError};

use super::{Owners, RegistrationError, Table, profile_named, within};
use crate::domain::Profile;
use crate::registry::{View, show};
use crate::rpc::context::CallContext;

/// Longest pause that ends by itself: a year, in seconds.
const LONGEST_PAUSE_S: u64 = 365 * 86_400;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<List, _, _>(|owners, _, Empty {}| async move { Ok(list(&owners)) })?;
    methods.on::<Get, _, _>(|owners, _, params| async move { get(&owners, &params) })?;
    methods.on::<Create, _, _>(create)?;
    methods.on::<Update, _, _>(update)?;
    methods.on::<Delete, _, _>(delete)?;
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
    of_name(&view, &params.name).map(|profile| shown(owners, profile))
}

async fn create(owners: Arc<Owners>, call: CallContext, params: CreateParams) -> Result<ProfileView, RpcError> {
    let profile = owners.changes.create_profile(params, &call.caller).await?;
    Ok(shown(&owners, &profile))
}

async fn update(owners: Arc<Owners>, call: CallContext, params: UpdateParams) -> Result<ProfileView, RpcError> {
    let profile = owners.changes.update_profile(params, &call.caller).await?;
    Ok(shown(&owners, &profile))
}

async fn delete(owners: Arc<Owners>, call: CallContext, params: DeleteParams) -> Result<Deleted, RpcError> {
    let name = params.name.clone();
    owners.changes.delete_profile(params, &call.caller).await?;
    Ok(Deleted { name })
}

async fn pause(owners: Arc<Owners>, params: PauseParams) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    let profile = of_name(&view, &params.name)?;
    let span = params.for_s.map(|given| within("for_s", given, 1, LONGEST_PAUSE_S)).transpose()?;
    owners.queue.pause(&params.name, span.map(Duration::from_secs), params.reason).await?;
    Ok(shown(&owners, profile))
}

async fn resume(owners: Arc<Owners>, params: Named) -> Result<ProfileView, RpcError> {
    let view = owners.registry.view();
    let profile = of_name(&view, &params.name)?;
    owners.queue.resume(&params.name).await?;
    Ok(shown(&owners, profile))
}

/// The profile of the parameter `name`.
fn of_name<'a>(view: &'a View, name: &Name) -> Result<&'a Profile, RpcError> {
    profile_named(view, name).map_err(|error| error.field("name"))
}

fn shown(owners: &Owners, profile: &Profile) -> ProfileView {
    let view = owners.registry.view();
    let mut shown = show::profile(profile, &view, &owners.queue.gates(profile.id), &*owners.fingerprint);
    let client_secret = view.client_of(profile).and_then(|client| client.client_secret.as_ref());
    let secrets = owners.registry.secrets();
    shown.warnings.extend(secrets.warning("password", profile.password.as_ref()));
    shown.warnings.extend(secrets.warning("client secret", client_secret));
    shown
}
