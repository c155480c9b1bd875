//! Who may ask: the registered clients and the people who can sign in.
//!
//! Clients are plain data with `with_*` makers; a running server's clients change through
//! [`AuthorizationServer::update_client`](super::AuthorizationServer::update_client).

use std::time::Duration;

use url::Url;

/// The scope that the sandbox mail server asks for.
pub const MAIL_SCOPE: &str = "smtp.send";

/// Every scope that a client may ask for unless told otherwise: ours, and the real providers' own.
const USUAL_SCOPES: [&str; 7] = [
    MAIL_SCOPE,
    "https://mail.google.com/",
    "https://outlook.office.com/SMTP.Send",
    "https://outlook.office365.com/.default",
    "openid",
    "email",
    "offline_access",
];

/// The redirect URIs of a native app, with any port (RFC 8252 §7.3; Microsoft does the same for `localhost`).
const LOOPBACK_REDIRECTS: [&str; 5] = [
    "http://127.0.0.1/",
    "http://127.0.0.1/callback",
    "http://localhost/",
    "http://localhost/callback",
    "http://[::1]/callback",
];

/// How a client must prove itself at the token endpoint (RFC 7591's names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// `client_secret_basic`: HTTP Basic with both halves form-encoded (RFC 6749 §2.3.1).
    Basic,
    /// `client_secret_post`: in the request's body.
    Post,
    /// `none`: a public client that only names itself.
    None,
}

impl AuthMethod {
    /// The registered name of the method.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::None => "none",
        }
    }
}

/// What becomes of a refresh token that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A new one each time; the old one used again kills the whole family (RFC 9700 §4.14.2).
    Strict,
    /// As `Strict`, but the old one is good for this long after its replacement.
    Grace(Duration),
    /// A new one each time; the old ones stay good (Microsoft).
    KeepsOld,
    /// The same one for ever, not repeated in the answer (Google).
    None,
}

/// When an authorization code brings a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshTokens {
    /// Always.
    Always,
    /// If the scope `offline_access` was granted (OpenID Connect, Microsoft).
    OfflineAccess,
    /// If the authorization request said `access_type=offline` (Google).
    AccessType,
    /// Never.
    Never,
}

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// The secrets that are good now; several while one is being replaced.
    pub secrets: Vec<String>,
    /// How it must prove itself.
    pub auth_method: AuthMethod,
    /// Where a browser may be sent; a loopback `http` URI matches any port.
    pub redirect_uris: Vec<String>,
    /// The grant types it may use.
    pub grant_types: Vec<&'static str>,
    /// The scopes it may ask for.
    pub scopes: Vec<String>,
    /// The scope that it gets when it asks for none.
    pub default_scope: String,
    /// What becomes of its refresh tokens.
    pub rotation: Rotation,
    /// When it gets one.
    pub refresh_tokens: RefreshTokens,
    /// The mailbox that its own tokens (`client_credentials`) open.
    pub mailbox: Option<String>,
    /// Whether a code without PKCE is refused.
    pub pkce_required: bool,
    /// Life of its access tokens; the server's own when `None`.
    pub access_token_life: Option<Duration>,
    /// A refresh token unused for this long is dead.
    pub refresh_token_idle: Option<Duration>,
    /// Least length of its access tokens in characters (long ones do not fit an AUTH line).
    pub access_token_length: usize,
}

impl Client {
    /// A confidential client of the authorization code grant: Basic, PKCE, rotating strictly, loopback redirects.
    #[must_use]
    pub fn interactive(id: &str, secret: &str) -> Self {
        Self {
            id: id.into(),
            secrets: vec![secret.into()],
            auth_method: AuthMethod::Basic,
            redirect_uris: LOOPBACK_REDIRECTS.map(String::from).to_vec(),
            grant_types: vec!["authorization_code", "refresh_token"],
            scopes: USUAL_SCOPES.map(String::from).to_vec(),
            default_scope: MAIL_SCOPE.into(),
            rotation: Rotation::Strict,
            refresh_tokens: RefreshTokens::Always,
            mailbox: None,
            pkce_required: true,
            access_token_life: None,
            refresh_token_idle: None,
            access_token_length: 0,
        }
    }

    /// A public client of the authorization code grant: no secret, else as [`Client::interactive`].
    #[must_use]
    pub fn public(id: &str) -> Self {
        Self { secrets: Vec::new(), auth_method: AuthMethod::None, ..Self::interactive(id, "") }
    }

    /// A client of the client credentials grant whose tokens open `mailbox`.
    #[must_use]
    pub fn service(id: &str, secret: &str, mailbox: &str) -> Self {
        Self {
            redirect_uris: Vec::new(),
            grant_types: vec!["client_credentials"],
            mailbox: Some(mailbox.into()),
            ..Self::interactive(id, secret)
        }
    }

    /// With another way of proving itself.
    #[must_use]
    pub fn with_auth_method(mut self, method: AuthMethod) -> Self {
        self.auth_method = method;
        self
    }

    /// With another rotation of refresh tokens.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// With another rule for when it gets a refresh token.
    #[must_use]
    pub fn with_refresh_tokens(mut self, when: RefreshTokens) -> Self {
        self.refresh_tokens = when;
        self
    }

    /// With access tokens that live this long.
    #[must_use]
    pub fn with_access_token_life(mut self, life: Duration) -> Self {
        self.access_token_life = Some(life);
        self
    }

    /// With access tokens of at least this many characters.
    #[must_use]
    pub fn with_access_token_length(mut self, characters: usize) -> Self {
        self.access_token_length = characters;
        self
    }

    /// With one more redirect URI.
    #[must_use]
    pub fn with_redirect_uri(mut self, uri: &str) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// Whether a browser may be sent to `uri`.
    pub(super) fn may_redirect_to(&self, uri: &str) -> bool {
        let Ok(asked) = Url::parse(uri) else { return false };
        asked.fragment().is_none()
            && self.redirect_uris.iter().any(|registered| {
                registered == uri || Url::parse(registered).is_ok_and(|registered| same_loopback(&registered, &asked))
            })
    }
}

/// Whether two URIs name the same loopback listener, whatever its port (RFC 8252 §7.3).
fn same_loopback(registered: &Url, asked: &Url) -> bool {
    let loopback = matches!(registered.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    loopback
        && registered.scheme() == "http"
        && asked.scheme() == "http"
        && registered.host_str() == asked.host_str()
        && registered.path() == asked.path()
        && registered.query() == asked.query()
        && asked.username().is_empty()
}

/// A person who can sign in.
#[derive(Clone, Debug)]
pub struct User {
    /// What is typed into the login field.
    pub login: String,
    /// What is typed into the password field.
    pub password: String,
    /// The mailbox that the person's tokens open; also the `email` of the id_token.
    pub mailbox: String,
}

impl User {
    /// A person with a mailbox.
    #[must_use]
    pub fn new(login: &str, password: &str, mailbox: &str) -> Self {
        Self { login: login.into(), password: password.into(), mailbox: mailbox.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_redirects_match_any_port_and_nothing_else() {
        let client = Client::public("cli").with_redirect_uri("https://mail.example.org/grant/callback");
        for good in [
            "http://127.0.0.1:1234/callback",
            "http://localhost:9/",
            "http://localhost:9",
            "http://[::1]:7/callback",
            "https://mail.example.org/grant/callback",
        ] {
            assert!(client.may_redirect_to(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:1234/other",
            "http://127.0.0.2:1234/callback",
            "https://127.0.0.1:1234/callback",
            "http://localhost.evil.example/callback",
            "http://user@127.0.0.1:1/callback",
            "http://127.0.0.1:1/callback#fragment",
            "http://127.0.0.1:1/callback?extra=1",
            "https://mail.example.org:8443/grant/callback",
            "not a uri",
        ] {
            assert!(!client.may_redirect_to(bad), "{bad}");
        }
    }
}
