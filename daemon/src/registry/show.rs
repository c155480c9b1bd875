//! Clients and profiles as a caller reads them: everything but their secrets.

use frankd_proto::methods::client::ClientView;
use frankd_proto::methods::profile::{Hold, ProfileView, SmtpView};
use frankd_proto::{Flow, ProfileKind, Secret, SecretView};

use super::View;
use crate::domain::{Client, Gate, Profile, SecretSource, StoredSecret, Submission};

/// Makes the fingerprint of a secret: the same for the same secret in this store, and nothing else told.
pub type Fingerprint<'a> = &'a dyn Fn(&Secret) -> String;

/// A client as read.
pub fn client(client: &Client, view: &View, fingerprint: Fingerprint<'_>) -> ClientView {
    ClientView {
        id: client.id,
        name: client.name.clone(),
        revision: client.revision,
        description: client.description.clone(),
        preset: client.preset.clone(),
        client_id: client.client_id.clone(),
        client_secret: secret(client.client_secret.as_ref(), fingerprint),
        token_endpoint_auth_method: client.token_endpoint_auth_method,
        issuer: client.issuer.clone(),
        authorization_endpoint: client.authorization_endpoint.clone(),
        token_endpoint: client.token_endpoint.clone(),
        revocation_endpoint: client.revocation_endpoint.clone(),
        redirect_uri: client.redirect_uri.clone(),
        scopes: client.scopes.clone(),
        authorization_params: client.authorization_params.clone(),
        token_params: client.token_params.clone(),
        ca_bundle: client.ca_bundle.clone(),
        min_tls_version: client.min_tls_version,
        connect_timeout_s: client.connect_timeout_s,
        request_timeout_s: client.request_timeout_s,
        managed_by: client.managed_by.clone(),
        warnings: Vec::new(),
        used_by: view.used_by(client.id).map(|profile| profile.name.clone()).collect(),
        created_at: client.created_at,
        updated_at: client.updated_at,
    }
}

/// A profile as read.
pub fn profile(profile: &Profile, view: &View, gates: &[Gate], fingerprint: Fingerprint<'_>) -> ProfileView {
    ProfileView {
        id: profile.id,
        name: profile.name.clone(),
        revision: profile.revision,
        description: profile.description.clone(),
        kind: profile.kind,
        flow: profile.flow,
        client: view.client_of(profile).map(|client| client.name.clone()),
        username: profile.username.clone(),
        password: secret(profile.password.as_ref(), fingerprint),
        scopes: view.scopes(profile),
        authorization_params: profile.authorization_params.clone(),
        token_params: profile.token_params.clone(),
        smtp: profile.smtp.as_ref().map(submission),
        from: profile.from.clone(),
        allowed_from: profile.allowed_from.clone(),
        default: profile.default,
        on_doubt: profile.on_doubt,
        min_valid_s: profile.min_valid_s,
        held: gates.iter().map(hold).collect(),
        managed_by: profile.managed_by.clone(),
        warnings: warnings(profile, view),
        created_at: profile.created_at,
        updated_at: profile.updated_at,
    }
}

/// A closed gate as read.
pub fn hold(gate: &Gate) -> Hold {
    Hold {
        reason: gate.reason,
        detail: gate.detail.clone(),
        since: gate.since,
        until: gate.until,
        diagnosis: gate.diagnosis.clone(),
    }
}

/// What is told of a secret. The fingerprint of a secret by reference would need its file, so it has none.
pub fn secret(secret: Option<&StoredSecret>, fingerprint: Fingerprint<'_>) -> SecretView {
    let Some(secret) = secret else { return SecretView::default() };
    let (source, fingerprint) = match &secret.source {
        SecretSource::Value(value) => ("value".to_owned(), Some(fingerprint(value))),
        SecretSource::Credential(name) => (format!("credential:{name}"), None),
        SecretSource::File(name) => (format!("file:{name}"), None),
    };
    SecretView {
        set: true,
        fingerprint,
        source: Some(source),
        updated_at: Some(secret.updated_at),
        expires_at: secret.expires_at,
    }
}

fn submission(smtp: &Submission) -> SmtpView {
    SmtpView {
        host: smtp.host.clone(),
        port: smtp.port,
        tls: smtp.tls,
        ehlo_name: smtp.ehlo_name.clone(),
        ca_bundle: smtp.ca_bundle.clone(),
        min_tls_version: smtp.min_tls_version,
        plaintext_on_loopback: smtp.plaintext_on_loopback,
        max_connections: smtp.max_connections,
        max_messages_per_connection: smtp.max_messages_per_connection,
        messages_per_minute: smtp.messages_per_minute,
    }
}

/// What may not work as it is.
fn warnings(profile: &Profile, view: &View) -> Vec<String> {
    let mut warnings = Vec::new();
    let scopes = view.scopes(profile);
    let has = |scope: &str| scopes.iter().any(|asked| asked == scope);
    let microsoft = scopes.iter().any(|scope| scope.contains("outlook.office"));
    if profile.kind != ProfileKind::Smtp
        && profile.flow == Some(Flow::Interactive)
        && microsoft
        && !has("offline_access")
    {
        warnings.push("the scopes lack offline_access: without it there is no refresh token".to_owned());
    }
    if microsoft && scopes.iter().any(|scope| scope == "User.Read" || scope.contains("graph.microsoft.com")) {
        warnings
            .push("a Graph scope beside SMTP.Send gives a token for Graph, which the mail server refuses".to_owned());
    }
    if let (ProfileKind::Oauth2Smtp, Some(username), Some(from)) = (profile.kind, &profile.username, &profile.from)
        && !username.eq_ignore_ascii_case(from)
    {
        warnings
            .push(format!("mail is from {from} and the mailbox is {username}: the provider may refuse or rewrite it"));
    }
    warnings
}
