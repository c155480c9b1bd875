//! `grant.*`.

use std::sync::Arc;

use frankd_proto::methods::grant::{
    ById, Cancel, Complete, CompleteParams, Completed, Get, GrantView, Grants, List, ListParams, Start, StartParams,
    Started, Wait, WaitParams,
};
use frankd_proto::{Kind, RpcError};

use super::{Owners, RegistrationError, Table, profile_named, seconds};
use crate::domain::Grant;
use crate::registry::View;
use crate::rpc::context::CallContext;
use crate::status::show;

/// Longest wait of a long poll.
const LONGEST_WAIT_S: u32 = 120;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Start, _, _>(start)?;
    methods.on::<Complete, _, _>(|owners, _, params| complete(owners, params))?;
    methods.on::<Wait, _, _>(|owners, _, params| wait(owners, params))?;
    methods.on::<Get, _, _>(|owners, _, params: ById| async move {
        let grant = owners.grants.grant(params.id)?;
        shown(&owners.registry.view(), &grant)
    })?;
    methods.on::<List, _, _>(|owners, _, params| async move { list(&owners, &params) })?;
    methods.on::<Cancel, _, _>(|owners, _, params: ById| async move {
        let grant = owners.grants.cancel(params.id).await?;
        shown(&owners.registry.view(), &grant)
    })?;
    Ok(())
}

async fn start(owners: Arc<Owners>, call: CallContext, params: StartParams) -> Result<Started, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.profile)?;
    let begun = owners.grants.begin(profile.id, params.via, params.port, call.caller.uid).await?;
    Ok(Started {
        grant: shown(&view, &begun.grant)?,
        authorization_url: begun.authorization_url,
        redirect_uri: begun.redirect_uri,
    })
}

async fn complete(owners: Arc<Owners>, params: CompleteParams) -> Result<Completed, RpcError> {
    let grant = owners.grants.complete(params.id, params.redirect_url).await?;
    let view = owners.registry.view();
    let profile = view.profile(grant.profile).ok_or_else(gone)?;
    let info = owners.tokens.info(profile.id).ok_or_else(gone)?;
    Ok(Completed { grant: shown(&view, &grant)?, token: show::token(profile, &info, &*owners.fingerprint) })
}

async fn wait(owners: Arc<Owners>, params: WaitParams) -> Result<GrantView, RpcError> {
    let timeout = seconds("timeout_s", params.timeout_s.unwrap_or(60), LONGEST_WAIT_S)?;
    let grant = owners.grants.wait(params.id, timeout).await?;
    shown(&owners.registry.view(), &grant)
}

fn list(owners: &Owners, params: &ListParams) -> Result<Grants, RpcError> {
    let view = owners.registry.view();
    let profile = params.profile.as_ref().map(|name| profile_named(&view, name)).transpose()?;
    let grants = owners.grants.list(profile.map(|profile| profile.id));
    Ok(Grants { items: grants.iter().filter_map(|grant| show::grant(&view, grant)).collect() })
}

fn shown(view: &View, grant: &Grant) -> Result<GrantView, RpcError> {
    show::grant(view, grant).ok_or_else(gone)
}

fn gone() -> RpcError {
    RpcError::new(Kind::ObjectNotFound, "the profile of this grant was deleted meanwhile")
}
