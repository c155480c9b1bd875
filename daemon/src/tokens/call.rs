//! A profile's token request, put together from the registry.

use std::sync::Arc;

use frankd_proto::diagnosis;
use frankd_proto::{Flow, Kind, Name, ProfileId, RpcError};

use crate::domain::answer::{TokenCall, TokenGrant};
use crate::domain::{Client, Profile, SlotIdentity};
use crate::registry::{Registry, SecretError, View};

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The request.
    pub call: TokenCall,
    /// What its tokens will be issued to.
    pub identity: SlotIdentity,
    /// Name of the profile.
    pub profile: Name,
    /// Name of the client.
    pub client: Name,
}

/// A request cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No such profile, or one without tokens.
    #[error("there is no such profile")]
    NoProfile,
    /// The secret of the client cannot be had.
    #[error("the secret of client {client} cannot be had: {source}")]
    Secret {
        /// The client.
        client: Name,
        /// Why.
        source: SecretError,
    },
}

impl CallError {
    /// The same as an error of the contract.
    pub fn error(&self) -> RpcError {
        let error = RpcError::new(Kind::OauthMisconfigured, self.to_string()).diagnosis(&diagnosis::LOCAL_SECRET);
        match self {
            Self::NoProfile => error,
            Self::Secret { client, .. } => error.hint(format!("frankctl client update {client} --client-secret-stdin")),
        }
    }
}

/// The profile and its client, if it has tokens.
pub(super) fn parties(view: &View, profile: ProfileId) -> Option<(&Profile, &Client)> {
    let profile = view.profile(profile).filter(|profile| profile.flow.is_some())?;
    Some((profile, view.client_of(profile)?))
}

/// Puts a profile's token request together. Reads the client's secret, which may be in a file.
pub fn prepare(registry: &Arc<Registry>, profile: ProfileId, grant: TokenGrant) -> Result<Prepared, CallError> {
    let view = registry.view();
    let (profile, client) = parties(&view, profile).ok_or(CallError::NoProfile)?;
    let secret = client.client_secret.as_ref().map(|secret| registry.secrets().resolve(secret));
    let client_secret =
        secret.transpose().map_err(|source| CallError::Secret { client: client.name.clone(), source })?;
    let identity = view.identity(profile).ok_or(CallError::NoProfile)?;
    let scopes = match grant {
        TokenGrant::ClientCredentials => identity.scopes.clone(),
        TokenGrant::RefreshToken(_) | TokenGrant::AuthorizationCode { .. } => Vec::new(),
    };
    let call = TokenCall {
        token_endpoint: client.token_endpoint.clone(),
        client_id: client.client_id.clone(),
        client_secret,
        auth_method: client.token_endpoint_auth_method,
        grant,
        scopes,
        params: view.token_params(profile),
        wire: View::wire(client),
    };
    Ok(Prepared { call, identity, profile: profile.name.clone(), client: client.name.clone() })
}

/// Whether a profile's new tokens need a person.
pub(super) fn is_interactive(profile: &Profile) -> bool {
    profile.flow == Some(Flow::Interactive)
}
