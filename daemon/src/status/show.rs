//! Token slots and grants as a caller reads them: everything but their secrets.

use frankd_proto::methods::grant::GrantView;
use frankd_proto::methods::token::{TokenError, TokenInfo};
use frankd_proto::{Secret, SecretView};

use crate::domain::{Grant, Profile};
use crate::registry::View;
use crate::registry::show::Fingerprint;
use crate::tokens::SlotInfo;

/// A token slot as read.
pub fn token(profile: &Profile, info: &SlotInfo, fingerprint: Fingerprint<'_>) -> TokenInfo {
    let slot = &info.slot;
    let tokens = slot.tokens.as_ref();
    let shown = |secret: Option<&Secret>| {
        secret.map_or_else(SecretView::default, |secret| SecretView {
            set: true,
            fingerprint: Some(fingerprint(secret)),
            ..SecretView::default()
        })
    };
    TokenInfo {
        profile: profile.name.clone(),
        state: info.state,
        refreshing: info.refreshing,
        access_token: shown(tokens.map(|tokens| &tokens.access_token)),
        obtained_at: tokens.map(|tokens| tokens.obtained_at),
        expires_at: tokens.map(crate::domain::TokenSet::expires_at),
        next_refresh_at: info.next_refresh_at,
        refresh_token: SecretView {
            updated_at: tokens.and_then(|tokens| tokens.refresh_obtained_at),
            expires_at: tokens.and_then(|tokens| tokens.refresh_expires_at),
            ..shown(tokens.and_then(|tokens| tokens.refresh_token.as_ref()))
        },
        scopes: tokens.map(|tokens| tokens.scopes.clone()).unwrap_or_default(),
        account: tokens.and_then(|tokens| tokens.account.clone()),
        generation: slot.generation,
        last_error: info.failure.as_ref().map(|failure| TokenError {
            message: failure.message.clone(),
            at: failure.at,
            failures: failure.count,
            data: failure.data.clone(),
        }),
        quarantined_at: slot.quarantined.iter().map(|kept| kept.since).max(),
        handed_out: slot.handed_out,
        handed_out_at: slot.handed_out_at,
    }
}

/// A grant as read; `None` for one of a profile that was deleted.
pub fn grant(view: &View, grant: &Grant) -> Option<GrantView> {
    Some(GrantView {
        id: grant.id,
        profile: view.profile(grant.profile)?.name.clone(),
        via: grant.via,
        state: grant.state,
        created_at: grant.created_at,
        expires_at: grant.expires_at,
        ended_at: grant.ended_at,
        account: grant.account.clone(),
        warnings: grant.warnings.clone(),
        error: grant.error.clone(),
    })
}
