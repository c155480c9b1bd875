//! A client, a profile and a submission for tests, who change what matters to them.

use std::collections::BTreeMap;

use frankd_proto::{
    ClientId, Flow, Name, OnDoubt, ProfileId, ProfileKind, Secret, TlsMode, TlsVersion, TokenEndpointAuthMethod,
};
use jiff::Timestamp;

use super::{Client, Profile, SecretSource, StoredSecret, Submission};

/// A client with a secret, made at the UNIX epoch.
pub fn client(id: ClientId, name: Name) -> Client {
    Client {
        id,
        name,
        revision: 1,
        description: None,
        preset: None,
        client_id: "frankd".to_owned(),
        client_secret: Some(StoredSecret {
            source: SecretSource::Value(Secret::new("s3cret")),
            updated_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        }),
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        issuer: None,
        authorization_endpoint: Some("https://login.example/authorize".to_owned()),
        token_endpoint: "https://login.example/token".to_owned(),
        revocation_endpoint: None,
        redirect_uri: "http://127.0.0.1:{port}/".to_owned(),
        scopes: vec!["mail".to_owned()],
        authorization_params: BTreeMap::new(),
        token_params: BTreeMap::new(),
        ca_bundle: None,
        min_tls_version: TlsVersion::Tls12,
        connect_timeout_s: 10,
        request_timeout_s: 30,
        managed_by: "api".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A `token` profile of client 1 by client credentials, made at the UNIX epoch.
pub fn profile(id: ProfileId, name: Name) -> Profile {
    Profile {
        id,
        name,
        revision: 1,
        description: None,
        kind: ProfileKind::Token,
        flow: Some(Flow::ClientCredentials),
        client: Some(ClientId::from_bits(1)),
        username: None,
        password: None,
        scopes: Vec::new(),
        authorization_params: BTreeMap::new(),
        token_params: BTreeMap::new(),
        smtp: None,
        from: None,
        allowed_from: Vec::new(),
        default: false,
        on_doubt: OnDoubt::Retry,
        min_valid_s: None,
        managed_by: "api".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// Where mail goes in plain text, over one connection.
pub fn submission(host: &str) -> Submission {
    Submission {
        host: host.to_owned(),
        port: 587,
        tls: TlsMode::None,
        ehlo_name: None,
        ca_bundle: None,
        min_tls_version: TlsVersion::Tls12,
        plaintext_on_loopback: true,
        max_connections: 1,
        max_messages_per_connection: 100,
        messages_per_minute: None,
    }
}
