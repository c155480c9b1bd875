//! A profile: a named sender, or a named holder of a token.

use std::collections::BTreeMap;

use frankd_proto::{ClientId, Flow, Name, OnDoubt, ProfileId, ProfileKind, TlsMode, TlsVersion};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::secret::StoredSecret;

/// A profile as it is kept. The fields mean what those of [`frankd_proto::methods::profile::ProfileView`] mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Its id, through all its names.
    pub id: ProfileId,
    /// Its name.
    pub name: Name,
    /// Rises by one with each change.
    pub revision: u64,
    /// A note for people.
    pub description: Option<String>,
    /// What it is.
    pub kind: ProfileKind,
    /// How it gets tokens; set unless the kind is `smtp`.
    pub flow: Option<Flow>,
    /// Its client; set unless the kind is `smtp`.
    pub client: Option<ClientId>,
    /// The account.
    pub username: Option<String>,
    /// Password of a classic profile.
    pub password: Option<StoredSecret>,
    /// Scopes; the client's if empty.
    pub scopes: Vec<String>,
    /// Extra parameters of the authorization request, over the client's.
    pub authorization_params: BTreeMap<String, String>,
    /// Extra parameters of every token request, over the client's.
    pub token_params: BTreeMap<String, String>,
    /// Where it sends; set unless the kind is `token`.
    pub smtp: Option<Submission>,
    /// Envelope and From address of mail that names none.
    pub from: Option<String>,
    /// From addresses that choose this profile.
    pub allowed_from: Vec<String>,
    /// Whether it is used when nothing else fits.
    pub default: bool,
    /// What to do when a delivery is in doubt.
    pub on_doubt: OnDoubt,
    /// Seconds that a token must still live.
    pub min_valid_s: Option<u32>,
    /// Who owns it.
    pub managed_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A submission server (RFC 6409) and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// When TLS begins.
    pub tls: TlsMode,
    /// Name that frankd gives in EHLO; the host's own if absent.
    pub ehlo_name: Option<String>,
    /// Certificates that are trusted besides the system's, PEM.
    pub ca_bundle: Option<String>,
    /// Oldest TLS version.
    pub min_tls_version: TlsVersion,
    /// Whether credentials may go to a loopback host without TLS.
    pub plaintext_on_loopback: bool,
    /// Most connections at once.
    pub max_connections: u32,
    /// Most messages on one connection.
    pub max_messages_per_connection: u32,
    /// Most messages in a minute.
    pub messages_per_minute: Option<u32>,
}
