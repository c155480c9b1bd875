//! `client.*`: named OAuth2 clients.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ADMINISTER, Empty, OBSERVE};
use crate::ids::ClientId;
use crate::name::Name;
use crate::patch::{Patch, given};
use crate::secret::{SecretInput, SecretView};
use crate::vocabulary::{TlsMode, TlsVersion, TokenEndpointAuthMethod};

method!(
    /// Lists clients by name.
    List = "client.list", Empty => Clients, OBSERVE
);
method!(
    /// Shows one client.
    Get = "client.get", Named => ClientView, OBSERVE
);
method!(
    /// Makes a client.
    Create = "client.create", CreateParams => ClientView, ADMINISTER
);
method!(
    /// Changes a client.
    Update = "client.update", UpdateParams => ClientView, ADMINISTER
);
method!(
    /// Deletes a client that no profile uses.
    Delete = "client.delete", DeleteParams => Deleted, ADMINISTER
);
method!(
    /// Lists what frankd knows of providers.
    Presets = "client.presets", PresetsParams => PresetList, OBSERVE
);

/// Names one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub name: Name,
}

/// Answer of `client.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// By name.
    pub items: Vec<ClientView>,
}

/// A client as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientView {
    /// Its id, through all its names.
    pub id: ClientId,
    /// Its name.
    pub name: Name,
    /// Rises by one with each change; see `if_revision`.
    pub revision: u64,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The preset that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `client_id` at the provider.
    pub client_id: String,
    /// What is told of its secret.
    pub client_secret: SecretView,
    /// How it proves itself.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// RFC 8414 `issuer`; checked against `iss` in the redirect (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// RFC 8414 `authorization_endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// RFC 8414 `token_endpoint`.
    pub token_endpoint: String,
    /// RFC 8414 `revocation_endpoint` (RFC 7009).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// Template of the loopback redirect URI; `{port}` stands for the port.
    pub redirect_uri: String,
    /// Scopes of profiles that name none.
    pub scopes: Vec<String>,
    /// Extra parameters of the authorization request.
    pub authorization_params: BTreeMap<String, String>,
    /// Extra parameters of every token request.
    pub token_params: BTreeMap<String, String>,
    /// Certificates that are trusted besides the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Oldest TLS version.
    pub min_tls_version: TlsVersion,
    /// Time to connect, in seconds.
    pub connect_timeout_s: u32,
    /// Time for a whole request, in seconds.
    pub request_timeout_s: u32,
    /// Who owns it: `api`, or the name of an applied set.
    pub managed_by: String,
    /// What may not work as it is, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Profiles that refer to it.
    pub used_by: Vec<Name>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Parameters of `client.create`. What is absent comes from the preset, if one is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateParams {
    /// Its name.
    pub name: Name,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A preset of `client.presets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Directory (tenant) of presets that need one: an id or a domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `client_id` at the provider.
    pub client_id: String,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretInput>,
    /// How it proves itself; `client_secret_basic` with a secret and `none` without, unless the preset says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
    /// See [`ClientView::issuer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// See [`ClientView::authorization_endpoint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// See [`ClientView::token_endpoint`]. Needed unless the preset has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// See [`ClientView::revocation_endpoint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// See [`ClientView::redirect_uri`]; `http://127.0.0.1:{port}/` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// Scopes of profiles that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Extra parameters of the authorization request. Names that frankd sets itself are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_params: Option<BTreeMap<String, String>>,
    /// Extra parameters of every token request. Names that frankd sets itself are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_params: Option<BTreeMap<String, String>>,
    /// Certificates to trust besides the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Oldest TLS version; 1.2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<TlsVersion>,
    /// Time to connect, in seconds, 1 to 120; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_s: Option<u32>,
    /// Time for a whole request, in seconds, 1 to 300; 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_s: Option<u32>,
}

/// Parameters of `client.update`. Absent fields stay, `null` clears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateParams {
    /// Which client.
    pub name: Name,
    /// Refused with `object.revision_conflict` unless the client has this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Does it although live tokens go out of use.
    #[serde(default, skip_serializing_if = "is_false")]
    pub confirm: bool,
    /// A new name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub new_name: Option<Name>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub description: Patch<String>,
    /// `client_id` at the provider.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub client_secret: Patch<SecretInput>,
    /// How it proves itself.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
    /// See [`ClientView::issuer`].
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub issuer: Patch<String>,
    /// See [`ClientView::authorization_endpoint`].
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub authorization_endpoint: Patch<String>,
    /// See [`ClientView::token_endpoint`].
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// See [`ClientView::revocation_endpoint`].
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub revocation_endpoint: Patch<String>,
    /// See [`ClientView::redirect_uri`].
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// Scopes of profiles that name none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Extra parameters of the authorization request, all of them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub authorization_params: Option<BTreeMap<String, String>>,
    /// Extra parameters of every token request, all of them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub token_params: Option<BTreeMap<String, String>>,
    /// Certificates to trust besides the system's, PEM.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub ca_bundle: Patch<String>,
    /// Oldest TLS version.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<TlsVersion>,
    /// Time to connect, in seconds.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub connect_timeout_s: Option<u32>,
    /// Time for a whole request, in seconds.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub request_timeout_s: Option<u32>,
}

/// Parameters of a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteParams {
    /// Its name.
    pub name: Name,
    /// Refused with `object.revision_conflict` unless the object has this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
}

/// Answer of a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// What is gone.
    pub name: Name,
}

/// Parameters of `client.presets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetsParams {
    /// Only the preset of this name; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Answer of `client.presets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresetList {
    /// By name.
    pub items: Vec<PresetView>,
}

/// What frankd knows of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresetView {
    /// Its name, for `client.create`.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// RFC 8414 `issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// RFC 8414 `authorization_endpoint`; `{tenant}` stands for the tenant.
    pub authorization_endpoint: String,
    /// RFC 8414 `token_endpoint`; `{tenant}` stands for the tenant.
    pub token_endpoint: String,
    /// RFC 8414 `revocation_endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// Tenant that is used when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Scopes of an interactive profile.
    pub scopes: Vec<String>,
    /// Scopes of a client-credentials profile, where the provider has that flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials_scopes: Option<Vec<String>>,
    /// Template of the loopback redirect URI.
    pub redirect_uri: String,
    /// Extra parameters of the authorization request.
    pub authorization_params: BTreeMap<String, String>,
    /// Host, port and TLS mode of its submission server.
    pub smtp: PresetSmtp,
    /// What to do at the provider, step by step.
    pub setup: Vec<String>,
    /// Facts here that were not checked against the provider's own documents.
    pub unverified: Vec<String>,
}

/// Where a provider takes mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresetSmtp {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// When TLS begins.
    pub tls: TlsMode,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
pub(super) const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod null {
    use super::UpdateParams;

    #[test]
    fn what_cannot_be_taken_away_is_not_null() {
        for field in ["client_id", "token_endpoint", "new_name", "scopes"] {
            let text = format!(r#"{{"name": "a", "{field}": null}}"#);
            assert!(serde_json::from_str::<UpdateParams>(&text).is_err(), "{field}");
        }
        assert!(serde_json::from_str::<UpdateParams>(r#"{"name": "a", "description": null}"#).is_ok());
    }
}
