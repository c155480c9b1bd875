//! An OAuth2 client (RFC 6749 §2), with a name.

use std::collections::BTreeMap;

use frankd_proto::{ClientId, Name, TlsVersion, TokenEndpointAuthMethod};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::secret::StoredSecret;

/// A client as it is kept. The fields mean what those of [`frankd_proto::methods::client::ClientView`] mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Its id, through all its names.
    pub id: ClientId,
    /// Its name.
    pub name: Name,
    /// Rises by one with each change.
    pub revision: u64,
    /// A note for people.
    pub description: Option<String>,
    /// The preset that it was made from.
    pub preset: Option<String>,
    /// `client_id` at the provider.
    pub client_id: String,
    /// Its secret; never set with [`TokenEndpointAuthMethod::None`].
    pub client_secret: Option<StoredSecret>,
    /// How it proves itself.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// RFC 8414 `issuer`.
    pub issuer: Option<String>,
    /// RFC 8414 `authorization_endpoint`.
    pub authorization_endpoint: Option<String>,
    /// RFC 8414 `token_endpoint`.
    pub token_endpoint: String,
    /// RFC 8414 `revocation_endpoint`.
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
    pub ca_bundle: Option<String>,
    /// Oldest TLS version.
    pub min_tls_version: TlsVersion,
    /// Time to connect, in seconds.
    pub connect_timeout_s: u32,
    /// Time for a whole request, in seconds.
    pub request_timeout_s: u32,
    /// Who owns it.
    pub managed_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
