//! The URL that a person opens: an authorization request (RFC 6749 §4.1.1) with PKCE S256 (RFC 7636 §4.3).

use std::collections::BTreeMap;

use frankd_proto::Secret;
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest<'a> {
    /// RFC 8414 `authorization_endpoint`; a query of its own is kept (RFC 6749 §3.1).
    pub authorization_endpoint: &'a str,
    /// `client_id`.
    pub client_id: &'a str,
    /// `redirect_uri`, octet for octet.
    pub redirect_uri: &'a str,
    /// `scope`.
    pub scopes: &'a [String],
    /// `state`.
    pub state: &'a Secret,
    /// PKCE code verifier: 43 characters; its S256 challenge is sent.
    pub code_verifier: &'a Secret,
    /// Extra parameters; reserved names were refused when they were set.
    pub params: &'a BTreeMap<String, String>,
}

/// Builds the URL.
pub fn authorization_url(request: &AuthorizationRequest<'_>) -> Result<Secret, oauth2::url::ParseError> {
    let client = BasicClient::new(ClientId::new(request.client_id.to_owned()))
        .set_auth_uri(AuthUrl::new(request.authorization_endpoint.to_owned())?)
        .set_redirect_uri(RedirectUrl::new(request.redirect_uri.to_owned())?);
    let verifier = PkceCodeVerifier::new(request.code_verifier.expose().to_owned());
    let mut url = client
        .authorize_url(|| CsrfToken::new(request.state.expose().to_owned()))
        .add_scopes(request.scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    for (name, value) in request.params {
        url = url.add_extra_param(name, value);
    }
    let (url, _) = url.url();
    Ok(Secret::new(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_everything_once_and_keeps_the_endpoints_own_query() {
        let params = BTreeMap::from([("prompt".to_owned(), "consent".to_owned())]);
        let request = AuthorizationRequest {
            authorization_endpoint: "https://login.example/authorize?tenant=a%20b",
            client_id: "app",
            redirect_uri: "http://localhost:5000/",
            scopes: &["https://mail.example/".to_owned(), "offline_access".to_owned()],
            state: &Secret::new("the-state"),
            // RFC 7636, appendix B.
            code_verifier: &Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            params: &params,
        };
        let url = authorization_url(&request).unwrap();
        let url = url::Url::parse(url.expose()).unwrap();
        let pairs: Vec<_> = url.query_pairs().collect();
        let names: std::collections::BTreeSet<_> = pairs.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names.len(), pairs.len(), "{pairs:?}");
        let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.to_string());
        for (name, expected) in [
            ("tenant", "a b"),
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", "http://localhost:5000/"),
            ("scope", "https://mail.example/ offline_access"),
            ("state", "the-state"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("prompt", "consent"),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
    }
}
