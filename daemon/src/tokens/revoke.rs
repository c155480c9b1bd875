//! Revocation (RFC 7009), and forgetting.

use std::sync::Arc;

use frankd_proto::methods::token::RemoteRevocation;

use super::lane::Lane;
use super::{House, Revocation, Unavailable, call, record};
use crate::domain::TokenSlot;
use crate::domain::answer::{RevocationCall, TokenGrant};

/// Revokes the refresh token, else the access token, and forgets everything. A request that is on its way is waited for:
/// its new refresh token must not be left behind.
pub(super) async fn revoke(house: Arc<House>, lane: Arc<Lane>, local_only: bool) -> Result<Revocation, Unavailable> {
    let _alone = lane.wing.lock().await;
    let mut slot = lane.write().await.ok_or(Unavailable::NoProfile)?;
    let remote = if local_only { skipped() } else { at_server(&house, &slot).await };
    let next = record::forgotten(&slot);
    let written = lane.put(&house, &mut slot, next, Vec::new()).await;
    written.map_err(|error| Unavailable::Unwritten(error.to_string()))?;
    Ok(remote)
}

async fn at_server(house: &House, slot: &TokenSlot) -> Revocation {
    let view = house.parts.registry.view();
    let endpoint = call::parties(&view, slot.profile).map(|(_, client)| client.revocation_endpoint.clone());
    let (Some(endpoint), Some(tokens)) = (endpoint, &slot.tokens) else { return skipped() };
    let Some(endpoint) = endpoint else {
        return Revocation { remote: RemoteRevocation::Unsupported, detail: None };
    };
    let (token, token_type_hint) = match &tokens.refresh_token {
        Some(token) => (token, "refresh_token"),
        None => (&tokens.access_token, "access_token"),
    };
    let prepared = match call::prepare(&house.parts.registry, slot.profile, TokenGrant::ClientCredentials) {
        Ok(prepared) => prepared.call,
        Err(error) => return failed(&error),
    };
    let revocation = RevocationCall {
        revocation_endpoint: endpoint,
        client_id: prepared.client_id,
        client_secret: prepared.client_secret,
        auth_method: prepared.auth_method,
        token: token.clone(),
        token_type_hint,
        wire: prepared.wire,
    };
    match house.parts.server.revoke(revocation).await {
        Ok(()) => Revocation { remote: RemoteRevocation::Done, detail: None },
        Err(failure) => failed(&failure),
    }
}

const fn skipped() -> Revocation {
    Revocation { remote: RemoteRevocation::Skipped, detail: None }
}

fn failed(why: &impl ToString) -> Revocation {
    Revocation { remote: RemoteRevocation::Failed, detail: Some(why.to_string()) }
}
