//! `token.*`: the one method that hands out a secret, and its relatives.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::methods::token::{
    Get, GetParams, Info, OfProfile, Refresh, Revoke, RevokeParams, Revoked, Token, TokenInfo,
};
use frankd_proto::{Kind, Method as _, Name, Need, ProfileKind, RpcError};

use super::translate::no_token;
use super::{Owners, RegistrationError, Table, profile_named, seconds};
use crate::domain::Profile;
use crate::registry::View;
use crate::rpc::context::CallContext;
use crate::status::show;
use crate::tokens::{Forced, Unavailable};

/// Waits of `token.get` and `token.refresh`, in seconds.
const DEFAULT_WAIT_S: u32 = 10;
const LONGEST_WAIT_S: u32 = 120;
const REFRESH_WAIT: Duration = Duration::from_secs(60);

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Info, _, _>(|owners, call, params| async move { info(&owners, &call, &params) })?;
    methods.on::<Get, _, _>(get)?;
    methods.on::<Refresh, _, _>(|owners, _, params| refresh(owners, params))?;
    methods.on::<Revoke, _, _>(|owners, _, params| revoke(owners, params))?;
    Ok(())
}

fn info(owners: &Owners, call: &CallContext, params: &OfProfile) -> Result<TokenInfo, RpcError> {
    let view = owners.registry.view();
    let profile = with_token(&view, call, Info::NEEDS, &params.profile)?;
    shown(owners, profile)
}

async fn get(owners: Arc<Owners>, call: CallContext, params: GetParams) -> Result<Token, RpcError> {
    let view = owners.registry.view();
    let profile = with_token(&view, &call, Get::NEEDS, &params.profile)?;
    let min_valid = params.min_valid_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let wait = seconds("wait_s", params.wait_s.unwrap_or(DEFAULT_WAIT_S), LONGEST_WAIT_S)?;
    let issued =
        owners.tokens.get(profile.id, min_valid, wait).await.map_err(|error| no_token(&profile.name, error))?;
    owners.tokens.handed_out(profile.id, &call.caller);
    Ok(Token {
        access_token: issued.access_token,
        token_type: "Bearer".to_owned(),
        expires_at: issued.expires_at,
        username: profile.username.clone(),
        scopes: issued.scopes,
        warnings: issued.warnings,
    })
}

async fn refresh(owners: Arc<Owners>, params: OfProfile) -> Result<TokenInfo, RpcError> {
    let view = owners.registry.view();
    let profile = oauth2(profile_named(&view, &params.profile)?)?;
    owners
        .tokens
        .refresh(profile.id, Forced::Operator, REFRESH_WAIT)
        .await
        .map_err(|error| no_token(&profile.name, error))?;
    shown(&owners, profile)
}

async fn revoke(owners: Arc<Owners>, params: RevokeParams) -> Result<Revoked, RpcError> {
    let view = owners.registry.view();
    let profile = oauth2(profile_named(&view, &params.profile)?)?;
    let revocation =
        owners.tokens.revoke(profile.id, params.local_only).await.map_err(|error| no_token(&profile.name, error))?;
    Ok(Revoked { remote: revocation.remote, detail: revocation.detail, token: shown(&owners, profile)? })
}

/// The profile, if a rule of the caller covers it.
fn with_token<'a>(view: &'a View, call: &CallContext, needs: Need, name: &Name) -> Result<&'a Profile, RpcError> {
    call.access.check_profile(needs, name)?;
    oauth2(profile_named(view, name)?)
}

fn oauth2(profile: &Profile) -> Result<&Profile, RpcError> {
    if profile.kind == ProfileKind::Smtp {
        return Err(RpcError::new(
            Kind::ObjectInvalid,
            format!("{} is a classic profile: it has a password and no token", profile.name),
        )
        .field("profile"));
    }
    Ok(profile)
}

fn shown(owners: &Owners, profile: &Profile) -> Result<TokenInfo, RpcError> {
    let info = owners.tokens.info(profile.id).ok_or_else(|| no_token(&profile.name, Unavailable::NoTokens))?;
    Ok(show::token(profile, &info, &*owners.fingerprint))
}
