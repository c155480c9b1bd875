//! What frankd knows of providers: `presets.toml`, compiled in.

use std::collections::BTreeMap;

use frankd_proto::methods::client::{PresetSmtp, PresetView};
use frankd_proto::{TlsMode, TokenEndpointAuthMethod};
use serde::Deserialize;

/// The data, as reviewed.
const BUILT_IN: &str = include_str!("presets.toml");

/// The presets cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read the provider presets")]
pub struct PresetError(#[from] toml::de::Error);

/// Everything that is known of one provider.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name for people.
    pub title: String,
    /// RFC 8414 `issuer`.
    pub issuer: Option<String>,
    /// RFC 8414 `authorization_endpoint`; `{tenant}` stands for the tenant.
    pub authorization_endpoint: String,
    /// RFC 8414 `token_endpoint`; `{tenant}` stands for the tenant.
    pub token_endpoint: String,
    /// RFC 8414 `revocation_endpoint`.
    pub revocation_endpoint: Option<String>,
    /// Tenant that is used when none is given.
    pub tenant: Option<String>,
    /// How a client with a secret proves itself.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// Scopes of an interactive profile.
    pub scopes: Vec<String>,
    /// Scopes of a client-credentials profile, where the provider has that flow.
    pub client_credentials_scopes: Option<Vec<String>>,
    /// Template of the loopback redirect URI.
    pub redirect_uri: String,
    /// Extra parameters of the authorization request.
    pub authorization_params: BTreeMap<String, String>,
    /// Its submission server.
    pub smtp: Smtp,
    /// Most connections of one account at once.
    pub max_connections: Option<u32>,
    /// Most messages of one account in a minute.
    pub messages_per_minute: Option<u32>,
    /// Life that an access token must have left when it is used, in seconds.
    pub min_remaining_s: Option<u32>,
    /// Days without use after which the provider ends a refresh token.
    pub refresh_token_idle_days: Option<u32>,
    /// What to do at the provider, step by step.
    pub setup: Vec<String>,
    /// Facts that were not checked against the provider's own documents.
    pub unverified: Vec<String>,
}

/// A submission server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// When TLS begins.
    pub tls: TlsMode,
}

/// All presets, by name.
#[derive(Clone, Debug, Default)]
pub struct Presets(BTreeMap<String, Preset>);

impl Presets {
    /// Those that are compiled in.
    pub fn built_in() -> Result<Self, PresetError> {
        Ok(Self(toml::from_str(BUILT_IN)?))
    }

    /// The preset of that name.
    pub fn preset(&self, name: &str) -> Option<&Preset> {
        self.0.get(name)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All of them, as a caller reads them.
    pub fn views(&self) -> Vec<PresetView> {
        self.0.iter().map(|(name, preset)| preset.view(name)).collect()
    }
}

impl Preset {
    fn view(&self, name: &str) -> PresetView {
        PresetView {
            name: name.to_owned(),
            title: self.title.clone(),
            issuer: self.issuer.clone(),
            authorization_endpoint: self.authorization_endpoint.clone(),
            token_endpoint: self.token_endpoint.clone(),
            revocation_endpoint: self.revocation_endpoint.clone(),
            tenant: self.tenant.clone(),
            scopes: self.scopes.clone(),
            client_credentials_scopes: self.client_credentials_scopes.clone(),
            redirect_uri: self.redirect_uri.clone(),
            authorization_params: self.authorization_params.clone(),
            smtp: PresetSmtp { host: self.smtp.host.clone(), port: self.smtp.port, tls: self.smtp.tls },
            setup: self.setup.clone(),
            unverified: self.unverified.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reviewed_data_can_be_read_and_has_both_providers() -> Result<(), PresetError> {
        let presets = Presets::built_in()?;
        assert_eq!(presets.names().collect::<Vec<_>>(), ["google", "microsoft365"]);
        for preset in presets.views() {
            assert!(preset.setup.len() > 3 && preset.redirect_uri.contains("{port}"), "{}", preset.name);
        }
        Ok(())
    }
}
