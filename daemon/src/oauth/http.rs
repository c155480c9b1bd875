//! The real authorization servers, over any [`Transport`].
//!
//! The `oauth2` crate builds each request: form encoding, client authentication, PKCE. It never sees an answer: its parser
//! refuses what real servers send and prints tokens in its errors, so [`answer`] reads them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use frankd_proto::error::ProviderError;
use frankd_proto::{Secret, TokenEndpointAuthMethod};
use futures::future::BoxFuture;
use oauth2::basic::BasicClient;
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, TokenUrl,
};
use url::{Host, Url};

use super::answer::{self, HttpAnswer};
use super::{AuthorizationServer, Transport, TransportError};
use crate::clock::SharedClock;
use crate::domain::answer::{
    FailureCause, RevocationCall, TokenAnswer, TokenCall, TokenFailure, TokenGrant, WireSettings,
};

/// Authorization servers over HTTP.
#[derive(Debug)]
pub struct HttpAuthorizationServer {
    transport: Arc<dyn Transport>,
    clock: SharedClock,
}

impl HttpAuthorizationServer {
    /// Talks through `transport`.
    pub fn new(transport: Arc<dyn Transport>, clock: SharedClock) -> Self {
        Self { transport, clock }
    }

    async fn ask(&self, call: TokenCall) -> Result<TokenAnswer, TokenFailure> {
        check_url(&call.token_endpoint)?;
        let exchange = Exchange {
            transport: Arc::clone(&self.transport),
            clock: Arc::clone(&self.clock),
            wire: call.wire.clone(),
            sent: secrets_of(&call),
        };
        let client = client(&call)?;
        let outcome = match &call.grant {
            TokenGrant::ClientCredentials => {
                let mut request = client.exchange_client_credentials();
                request = request.add_scopes(call.scopes.iter().cloned().map(Scope::new));
                for (name, value) in &call.params {
                    request = request.add_extra_param(name, value);
                }
                request.request_async(&exchange).await
            }
            TokenGrant::RefreshToken(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let mut request = client.exchange_refresh_token(&token);
                for (name, value) in &call.params {
                    request = request.add_extra_param(name, value);
                }
                request.request_async(&exchange).await
            }
            TokenGrant::AuthorizationCode { code, redirect_uri, code_verifier } => {
                let redirect = RedirectUrl::new(redirect_uri.clone()).map_err(|error| unusable(&error))?;
                let mut request = client
                    .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
                    .set_redirect_uri(Cow::Owned(redirect))
                    .set_pkce_verifier(PkceCodeVerifier::new(code_verifier.expose().to_owned()));
                for (name, value) in &call.params {
                    request = request.add_extra_param(name, value);
                }
                request.request_async(&exchange).await
            }
        };
        match outcome {
            Err(RequestTokenError::Request(Read(read))) => *read,
            // The exchange above always gives `Read`, so the crate had nothing to parse.
            Ok(_) | Err(_) => Err(failure(FailureCause::Unusable("the request could not be made".to_owned()))),
        }
    }

    async fn revoke_one(&self, call: RevocationCall) -> Result<(), TokenFailure> {
        check_url(&call.revocation_endpoint)?;
        let request = revocation_request(&call).map_err(|error| unusable(&error))?;
        let response = self.transport.send(request, call.wire.clone()).await.map_err(not_answered)?;
        let parts =
            HttpAnswer { status: response.status().as_u16(), headers: response.headers(), body: response.body() };
        let sent: Vec<Secret> = call.client_secret.iter().chain([&call.token]).cloned().collect();
        answer::revocation(&parts, &sent, self.clock.wall())
    }
}

impl AuthorizationServer for HttpAuthorizationServer {
    fn token(&self, call: TokenCall) -> BoxFuture<'_, Result<TokenAnswer, TokenFailure>> {
        Box::pin(self.ask(call))
    }

    fn revoke(&self, call: RevocationCall) -> BoxFuture<'_, Result<(), TokenFailure>> {
        Box::pin(self.revoke_one(call))
    }
}

/// Sends what the crate built, and reads the answer in its place.
struct Exchange {
    transport: Arc<dyn Transport>,
    clock: SharedClock,
    wire: WireSettings,
    sent: Vec<Secret>,
}

impl<'c> AsyncHttpClient<'c> for Exchange {
    type Error = Read;
    type Future = BoxFuture<'c, Result<HttpResponse, Read>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let sent = self.transport.send(with_accept(request), self.wire.clone()).await;
            let read = sent.map_err(not_answered).and_then(|response| {
                let parts = HttpAnswer {
                    status: response.status().as_u16(),
                    headers: response.headers(),
                    body: response.body(),
                };
                answer::token(&parts, &self.sent, self.clock.wall())
            });
            Err(Read(Box::new(read)))
        })
    }
}

/// An answer on its way past the crate. Its `Debug` shows nothing.
struct Read(Box<Result<TokenAnswer, TokenFailure>>);

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read(…)")
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was read")
    }
}

impl std::error::Error for Read {}

type TokenClient = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

fn client(call: &TokenCall) -> Result<TokenClient, TokenFailure> {
    let url = TokenUrl::new(call.token_endpoint.clone()).map_err(|error| unusable(&error))?;
    let mut client = BasicClient::new(ClientId::new(call.client_id.clone())).set_token_uri(url).set_auth_type(
        match call.auth_method {
            TokenEndpointAuthMethod::ClientSecretBasic => AuthType::BasicAuth,
            TokenEndpointAuthMethod::ClientSecretPost | TokenEndpointAuthMethod::None => AuthType::RequestBody,
        },
    );
    let secret = call.client_secret.as_ref().filter(|secret| !secret.is_empty());
    if let Some(secret) = secret.filter(|_| call.auth_method != TokenEndpointAuthMethod::None) {
        client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
    }
    Ok(client)
}

/// The crate revokes only over https, which a test on loopback is not.
fn revocation_request(call: &RevocationCall) -> Result<HttpRequest, http::Error> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", call.token.expose()).append_pair("token_type_hint", call.token_type_hint);
    let mut request = http::Request::post(&call.revocation_endpoint)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(http::header::ACCEPT, "application/json");
    match (call.auth_method, &call.client_secret) {
        (TokenEndpointAuthMethod::ClientSecretBasic, Some(secret)) => {
            request = request.header(http::header::AUTHORIZATION, basic(&call.client_id, secret));
        }
        (TokenEndpointAuthMethod::ClientSecretPost, Some(secret)) => {
            form.append_pair("client_id", &call.client_id).append_pair("client_secret", secret.expose());
        }
        _ => {
            form.append_pair("client_id", &call.client_id);
        }
    }
    request.body(form.finish().into_bytes())
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they go into HTTP Basic.
fn basic(client_id: &str, secret: &Secret) -> String {
    use base64::Engine as _;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = zeroize::Zeroizing::new(format!("{}:{}", encode(client_id), encode(secret.expose())));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()))
}

fn with_accept(mut request: HttpRequest) -> HttpRequest {
    request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
    request
}

fn secrets_of(call: &TokenCall) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = call.client_secret.iter().cloned().collect();
    match &call.grant {
        TokenGrant::ClientCredentials => {}
        TokenGrant::RefreshToken(token) => secrets.push(token.clone()),
        TokenGrant::AuthorizationCode { code, code_verifier, .. } => {
            secrets.extend([code.clone(), code_verifier.clone()]);
        }
    }
    secrets
}

/// A last look before secrets leave: https, or http to a loopback address.
fn check_url(text: &str) -> Result<(), TokenFailure> {
    let insecure = || failure(FailureCause::InsecureUrl(text.split('?').next().unwrap_or_default().to_owned()));
    let url = Url::parse(text).map_err(|_| insecure())?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) { Ok(()) } else { Err(insecure()) }
}

fn not_answered(error: TransportError) -> TokenFailure {
    failure(match error {
        TransportError::Unresolved(why) => FailureCause::Unresolved(why),
        TransportError::Unreachable(why) => FailureCause::Unreachable(why),
        TransportError::Tls(why) => FailureCause::Tls(why),
        TransportError::Ambiguous(why) => FailureCause::Ambiguous(why),
        TransportError::TooLarge => FailureCause::TooLarge,
    })
}

fn unusable(error: &dyn std::error::Error) -> TokenFailure {
    failure(FailureCause::InsecureUrl(error.to_string()))
}

const fn failure(cause: FailureCause) -> TokenFailure {
    TokenFailure {
        cause,
        retry_after: None,
        provider: ProviderError { status: None, error: None, error_description: None, correlation_id: None },
    }
}

/// How long and how far a request may go; for tests that make one by hand.
#[cfg(any(test, feature = "fakes"))]
pub fn loopback_wire() -> WireSettings {
    WireSettings {
        ca_bundle: None,
        min_tls_version: frankd_proto::TlsVersion::Tls12,
        connect_timeout: std::time::Duration::from_secs(10),
        request_timeout: std::time::Duration::from_secs(30),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::clock::SystemClock;

    /// Gives one answer and keeps the request.
    #[derive(Debug)]
    struct Recorder(Mutex<Vec<HttpRequest>>, &'static str);

    impl Transport for Recorder {
        fn send(
            &self,
            request: HttpRequest,
            _wire: WireSettings,
        ) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
            self.0.lock().unwrap().push(request);
            let response = http::Response::new(self.1.as_bytes().to_vec());
            Box::pin(async move { Ok(response) })
        }
    }

    fn call(auth_method: TokenEndpointAuthMethod, grant: TokenGrant) -> TokenCall {
        TokenCall {
            token_endpoint: "https://as.example/token?p=1".to_owned(),
            client_id: "odd id:/%".to_owned(),
            client_secret: Some(Secret::new("s3cret&=")),
            auth_method,
            grant,
            scopes: vec!["smtp.send".to_owned()],
            params: BTreeMap::from([("resource".to_owned(), "mail".to_owned())]),
            wire: loopback_wire(),
        }
    }

    async fn sent(call: TokenCall) -> (HttpRequest, String) {
        let recorder = Arc::new(Recorder(Mutex::default(), r#"{"access_token":"a","token_type":"bearer"}"#));
        let server = HttpAuthorizationServer::new(recorder.clone(), Arc::new(SystemClock));
        server.token(call).await.unwrap();
        let request = recorder.0.lock().unwrap().remove(0);
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request, body)
    }

    #[tokio::test]
    async fn each_method_puts_the_secret_in_its_one_place() {
        let (basic, body) = sent(call(TokenEndpointAuthMethod::ClientSecretBasic, TokenGrant::ClientCredentials)).await;
        // base64 of "odd+id%3A%2F%25:s3cret%26%3D"
        assert_eq!(basic.headers()[http::header::AUTHORIZATION], "Basic b2RkK2lkJTNBJTJGJTI1OnMzY3JldCUyNiUzRA==");
        assert_eq!(body, "grant_type=client_credentials&scope=smtp.send&resource=mail");
        let (post, body) = sent(call(TokenEndpointAuthMethod::ClientSecretPost, TokenGrant::ClientCredentials)).await;
        assert!(post.headers().get(http::header::AUTHORIZATION).is_none());
        assert!(body.contains("client_id=odd+id%3A%2F%25&client_secret=s3cret%26%3D"), "{body}");
        let (none, body) = sent(call(TokenEndpointAuthMethod::None, TokenGrant::ClientCredentials)).await;
        assert!(none.headers().get(http::header::AUTHORIZATION).is_none() && !body.contains("s3cret"), "{body}");
    }

    #[tokio::test]
    async fn a_refresh_asks_for_no_scope_and_a_code_comes_with_its_verifier() {
        let refresh = TokenGrant::RefreshToken(Secret::new("r1"));
        let (_, body) = sent(call(TokenEndpointAuthMethod::ClientSecretBasic, refresh)).await;
        assert_eq!(body, "grant_type=refresh_token&refresh_token=r1&resource=mail");
        let code = TokenGrant::AuthorizationCode {
            code: Secret::new("c1"),
            redirect_uri: "http://localhost:7/".to_owned(),
            code_verifier: Secret::new("v1"),
        };
        let (_, body) = sent(call(TokenEndpointAuthMethod::ClientSecretBasic, code)).await;
        for part in [
            "grant_type=authorization_code",
            "code=c1",
            "code_verifier=v1",
            "redirect_uri=http%3A%2F%2Flocalhost%3A7%2F",
        ] {
            assert!(body.contains(part), "{body}");
        }
    }

    #[tokio::test]
    async fn no_secret_leaves_for_an_insecure_url() {
        let recorder = Arc::new(Recorder(Mutex::default(), "{}"));
        let server = HttpAuthorizationServer::new(recorder.clone(), Arc::new(SystemClock));
        let mut insecure = call(TokenEndpointAuthMethod::ClientSecretPost, TokenGrant::ClientCredentials);
        insecure.token_endpoint = "http://as.example/token".to_owned();
        assert!(matches!(server.token(insecure).await.unwrap_err().cause, FailureCause::InsecureUrl(_)));
        assert!(recorder.0.lock().unwrap().is_empty());
    }
}
