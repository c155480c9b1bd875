//! Clients and profiles at one moment, and what follows from both together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{ClientId, Flow, Name, ProfileId, ProfileKind};

use super::presets::{Preset, Presets};
use crate::domain::answer::WireSettings;
use crate::domain::{Client, Profile, SlotIdentity};

/// Clients and profiles at one moment. Cheap to read and never changed; the registry publishes a new one.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) clients: BTreeMap<ClientId, Arc<Client>>,
    pub(super) profiles: BTreeMap<ProfileId, Arc<Profile>>,
    pub(super) presets: Arc<Presets>,
}

impl View {
    /// The client of that id.
    pub fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(&id).map(AsRef::as_ref)
    }

    /// The client of that name.
    pub fn client_named(&self, name: &Name) -> Option<&Client> {
        self.clients().find(|client| client.name == *name)
    }

    /// All clients.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values().map(AsRef::as_ref)
    }

    /// The profile of that id.
    pub fn profile(&self, id: ProfileId) -> Option<&Profile> {
        self.profiles.get(&id).map(AsRef::as_ref)
    }

    /// The profile of that name.
    pub fn profile_named(&self, name: &Name) -> Option<&Profile> {
        self.profiles().find(|profile| profile.name == *name)
    }

    /// All profiles.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values().map(AsRef::as_ref)
    }

    /// The profile that is used when nothing else fits.
    pub fn default_profile(&self) -> Option<&Profile> {
        self.profiles().find(|profile| profile.default)
    }

    /// Profiles that use a client.
    pub fn used_by(&self, client: ClientId) -> impl Iterator<Item = &Profile> {
        self.profiles().filter(move |profile| profile.client == Some(client))
    }

    /// The client of a profile.
    pub fn client_of(&self, profile: &Profile) -> Option<&Client> {
        profile.client.and_then(|id| self.client(id))
    }

    /// The presets.
    pub fn presets(&self) -> &Presets {
        &self.presets
    }

    /// The preset that a client was made from.
    pub fn preset_of(&self, client: &Client) -> Option<&Preset> {
        client.preset.as_deref().and_then(|name| self.presets.preset(name))
    }

    /// The preset of a profile's client.
    pub fn preset(&self, profile: &Profile) -> Option<&Preset> {
        self.client_of(profile).and_then(|client| self.preset_of(client))
    }

    /// The scopes that a profile asks for: its own, else the provider's for its flow, else the client's.
    pub fn scopes(&self, profile: &Profile) -> Vec<String> {
        if !profile.scopes.is_empty() {
            return profile.scopes.clone();
        }
        let Some(client) = self.client_of(profile) else {
            return Vec::new();
        };
        if profile.flow == Some(Flow::ClientCredentials)
            && let Some(preset) = self.preset_of(client)
            && client.scopes == preset.scopes
            && let Some(scopes) = &preset.client_credentials_scopes
        {
            return scopes.clone();
        }
        client.scopes.clone()
    }

    /// Extra parameters of a profile's token requests: the client's, and over them the profile's.
    pub fn token_params(&self, profile: &Profile) -> BTreeMap<String, String> {
        self.merged(profile, |client| &client.token_params, &profile.token_params)
    }

    /// Extra parameters of a profile's authorization request: the client's, and over them the profile's.
    pub fn authorization_params(&self, profile: &Profile) -> BTreeMap<String, String> {
        self.merged(profile, |client| &client.authorization_params, &profile.authorization_params)
    }

    fn merged(
        &self,
        profile: &Profile,
        of: fn(&Client) -> &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut params = self.client_of(profile).map(of).cloned().unwrap_or_default();
        params.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        params
    }

    /// What tokens of a profile are issued to; `None` for a profile without tokens.
    pub fn identity(&self, profile: &Profile) -> Option<SlotIdentity> {
        let client = self.client_of(profile)?;
        let shown_to = profile.smtp.as_ref().filter(|_| profile.kind == ProfileKind::Oauth2Smtp);
        Some(SlotIdentity {
            token_endpoint: client.token_endpoint.clone(),
            client_id: client.client_id.clone(),
            issuer: client.issuer.clone(),
            scopes: self.scopes(profile),
            audience_host: shown_to.map(|smtp| smtp.host.clone()),
        })
    }

    /// Puts a client in the place of the one of its id: what would be.
    pub fn replace_client(&mut self, client: Client) {
        self.clients.insert(client.id, Arc::new(client));
    }

    /// Puts a profile in the place of the one of its id: what would be.
    pub fn replace_profile(&mut self, profile: Profile) {
        self.profiles.insert(profile.id, Arc::new(profile));
    }

    /// How a client reaches its server.
    pub fn wire(client: &Client) -> WireSettings {
        WireSettings {
            ca_bundle: client.ca_bundle.clone(),
            min_tls_version: client.min_tls_version,
            connect_timeout: Duration::from_secs(u64::from(client.connect_timeout_s)),
            request_timeout: Duration::from_secs(u64::from(client.request_timeout_s)),
        }
    }
}
