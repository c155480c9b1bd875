//! The usual clients, profiles and letters, and a person who grants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frankd_proto::methods::grant::{CompleteParams, Completed};
use frankd_proto::methods::message::{Compose, ResolveParams, Selection, SendParams};
use frankd_proto::methods::profile::SmtpInput;
use frankd_proto::methods::{client, grant, message, profile};
use frankd_proto::{DoubtOutcome, Flow, MessageId, Name, Patch, ProfileKind, RpcError, Secret, SecretInput, TlsMode};
use frankd_tests::sandbox::authorization::{Browser, Decision, MAIL_SCOPE};

use super::{World, pki};

/// Id and secret of the client of the authorization code grant.
pub(crate) const WEB: (&str, &str) = ("web", "web-s3cret");
/// Id and secret of the client of the client credentials grant.
pub(crate) const SERVICE: (&str, &str) = ("svc", "svc-s3cret");
/// The mailbox that the tokens of [`SERVICE`] open.
pub(crate) const SENDER: &str = "alerts@sandbox.test";
/// Login and password of the person.
pub(crate) const PERSON: (&str, &str) = ("alice", "alice-s3cret");
/// The mailbox that the person's tokens open.
pub(crate) const MAILBOX: &str = "alice@sandbox.test";
/// User and password of a classic login.
pub(crate) const RELAY: (&str, &str) = ("relay@sandbox.test", "relay-s3cret");

/// A name.
pub(crate) fn named(text: &str) -> Name {
    text.parse().unwrap()
}

/// The submission server over STARTTLS, its authority trusted.
fn submission() -> SmtpInput {
    SmtpInput {
        host: Some("localhost".to_owned()),
        port: Some(587),
        ca_bundle: Patch::Set(pki().ca_pem().to_owned()),
        ..SmtpInput::default()
    }
}

/// The submission server without TLS, where the octets on the wire can be read.
pub(crate) fn to_pipe() -> SmtpInput {
    SmtpInput {
        host: Some("localhost".to_owned()),
        port: Some(25),
        tls: Some(TlsMode::None),
        plaintext_on_loopback: Some(true),
        ..SmtpInput::default()
    }
}

fn profile(name: &str, kind: ProfileKind, username: &str) -> profile::CreateParams {
    profile::CreateParams {
        name: named(name),
        kind,
        description: None,
        flow: None,
        interactive: None,
        client: None,
        username: Some(username.to_owned()),
        password: None,
        client_secret: None,
        scopes: None,
        authorization_params: None,
        token_params: None,
        smtp: Some(submission()),
        from: None,
        allowed_from: None,
        default: false,
        on_doubt: None,
        min_valid_s: None,
    }
}

/// A profile with tokens of the client credentials grant, which sends over STARTTLS.
pub(crate) fn service(name: &str) -> profile::CreateParams {
    profile::CreateParams {
        flow: Some(Flow::ClientCredentials),
        client: Some(named(SERVICE.0)),
        ..profile(name, ProfileKind::Oauth2Smtp, SENDER)
    }
}

/// A profile of a person, who has to grant.
pub(crate) fn person(name: &str) -> profile::CreateParams {
    profile::CreateParams {
        flow: Some(Flow::Interactive),
        client: Some(named(WEB.0)),
        ..profile(name, ProfileKind::Oauth2Smtp, MAILBOX)
    }
}

/// A profile with user and password.
pub(crate) fn classic(name: &str) -> profile::CreateParams {
    profile::CreateParams {
        password: Some(SecretInput::value(Secret::new(RELAY.1))),
        ..profile(name, ProfileKind::Smtp, RELAY.0)
    }
}

/// A small message.
pub(crate) fn letter(profile: &str, to: &[&str]) -> SendParams {
    SendParams {
        profile: Some(named(profile)),
        message: Some(Compose {
            to: to.iter().map(|address| (*address).to_owned()).collect(),
            subject: Some("Disk of web1".to_owned()),
            text: Some("91 % full.\n.\nThe line above is one dot.\n".to_owned()),
            ..Compose::default()
        }),
        ..SendParams::default()
    }
}

/// A small message to one person.
pub(crate) fn mail(profile: &str) -> SendParams {
    letter(profile, &["ops@example.org"])
}

/// A message of these octets.
pub(crate) fn raw(profile: &str, octets: &[u8]) -> SendParams {
    SendParams { profile: Some(named(profile)), raw_b64: Some(STANDARD.encode(octets)), ..SendParams::default() }
}

/// The texts of names or words, to compare.
pub(crate) fn names_of<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// What an operator does.
impl World {
    /// A world whose daemon has the two clients.
    pub(crate) async fn with_clients() -> Self {
        let world = Self::new().await;
        world.make_clients().await;
        world
    }

    /// A world with the clients and one profile.
    pub(crate) async fn with(profile: profile::CreateParams) -> Self {
        let world = Self::with_clients().await;
        world.make(profile).await;
        world
    }

    /// Makes the two clients.
    pub(crate) async fn make_clients(&self) {
        for (name, secret) in [WEB, SERVICE] {
            self.call::<client::Create>(self.client(name, secret)).await.unwrap();
        }
    }

    /// Parameters of a client of the sandbox's server.
    pub(crate) fn client(&self, name: &str, secret: &str) -> client::CreateParams {
        client::CreateParams {
            name: named(name),
            description: None,
            preset: None,
            tenant: None,
            client_id: name.to_owned(),
            client_secret: Some(SecretInput::value(Secret::new(secret))),
            token_endpoint_auth_method: None,
            issuer: Some(self.login.issuer()),
            authorization_endpoint: Some(self.login.url("/authorize")),
            token_endpoint: Some(self.login.url("/token")),
            revocation_endpoint: Some(self.login.url("/revoke")),
            redirect_uri: None,
            scopes: Some(vec![MAIL_SCOPE.to_owned()]),
            authorization_params: None,
            token_params: None,
            ca_bundle: None,
            min_tls_version: None,
            connect_timeout_s: None,
            request_timeout_s: None,
        }
    }

    /// Makes a profile.
    pub(crate) async fn make(&self, params: profile::CreateParams) -> profile::ProfileView {
        self.call::<profile::Create>(params).await.unwrap()
    }

    /// Changes where a profile sends.
    pub(crate) async fn redirect(&self, name: &str, smtp: SmtpInput) {
        self.update(name, |update| update.smtp = Some(smtp)).await;
    }

    /// Changes a profile.
    pub(crate) async fn update(&self, name: &str, change: impl FnOnce(&mut profile::UpdateParams)) {
        let params = serde_json::json!({"name": name, "confirm": true});
        let mut params: profile::UpdateParams = serde_json::from_value(params).unwrap();
        change(&mut params);
        self.call::<profile::Update>(params).await.unwrap();
    }

    /// Tries all waiting mail of a profile now.
    pub(crate) async fn retry(&self, name: &str) {
        let params = Selection { profile: Some(named(name)), ..Selection::default() };
        self.call::<message::Retry>(params).await.unwrap();
    }

    /// Decides what is in doubt.
    pub(crate) async fn resolve(&self, id: MessageId, outcome: DoubtOutcome) {
        let changed = self.call::<message::Resolve>(ResolveParams { ids: vec![id], outcome }).await.unwrap();
        assert_eq!(changed.changed, [id], "{changed:?}");
    }

    /// Walks the person's browser through the pages; gives the address where it ends up.
    pub(crate) async fn walk(&self, started: &grant::Started, decision: &Decision) -> String {
        // As it travels.
        let url = serde_json::to_value(&started.authorization_url).unwrap();
        let browser = Browser::of(&self.login);
        browser.grant(url.as_str().unwrap(), PERSON.0, PERSON.1, decision).await.unwrap()
    }

    /// Ends a grant with what the browser got.
    pub(crate) async fn paste(&self, redirect: String) -> Result<Completed, RpcError> {
        let params = CompleteParams { id: None, redirect_url: Secret::new(redirect) };
        self.call::<grant::Complete>(params).await
    }

    /// A person grants.
    pub(crate) async fn grant(&self, profile: &str) -> Completed {
        let started = self.begin_grant(profile).await;
        let redirect = self.walk(&started, &Decision::Allow).await;
        self.paste(redirect).await.unwrap()
    }
}
