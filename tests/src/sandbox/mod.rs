//! Servers to test against: an OAuth2 authorization server and a mail submission server that can be told to misbehave.
//!
//! World tests use [`authorization::AuthorizationServer`] and [`smtp::SmtpServer`] in process, on tokio's paused clock.
//! The demo and the benches use [`Sandbox`], which serves the same two over real loopback sockets with TLS. Nothing here
//! knows frankd.

pub mod authorization;
pub(crate) mod clock;
mod loopback;
pub mod pki;
pub mod smtp;

use std::sync::Arc;
use std::time::Duration;

use authorization::TokenRegistry;
use smtp::{TokenCheck, Verdict};

pub use clock::Now;
pub use loopback::{
    PASSWORD_MAILBOX, PASSWORD_USER, SERVICE_CLIENT, SERVICE_MAILBOX, Sandbox, SandboxError, WEB_CLIENT, WEB_LOGIN,
    WEB_MAILBOX,
};

/// The check by which a mail server accepts the tokens of `registry`: the token must open the mailbox that logs in, have
/// `scope`, and live for `minimum_life` still.
#[must_use]
pub fn token_check(registry: TokenRegistry, scope: &str, minimum_life: Duration) -> TokenCheck {
    let scope = scope.to_owned();
    Arc::new(move |user, token| match registry.owner_of(token) {
        Some(owner) if owner.mailbox.eq_ignore_ascii_case(user) && owner.scopes.contains(&scope) => {
            if clock::after(registry.now(), minimum_life) < owner.expires_at {
                Verdict::Accepted
            } else {
                Verdict::ExpiresSoon
            }
        }
        _ => Verdict::Refused,
    })
}

#[cfg(test)]
mod tests {
    use http::{Request, header};
    use hyper::body::Bytes;

    use super::authorization::{AuthMethod, AuthorizationServer, Client, MAIL_SCOPE};
    use super::*;

    async fn token(server: &AuthorizationServer, scope: &str) -> String {
        let body = format!("grant_type=client_credentials&client_id=svc&scope={scope}");
        let request = Request::post("/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(body))
            .unwrap();
        let answer = server.answer(request).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_opens_its_mailbox_for_its_scope_and_its_life() {
        let now = Now::of_tokio("2026-11-23T12:00:00Z".parse().unwrap());
        let server = AuthorizationServer::new("https://login.sandbox.test", now, 7);
        server.add_client(Client::service("svc", "", "svc@sandbox.test").with_auth_method(AuthMethod::None));
        server.set_access_token_life(Duration::from_secs(600));
        let check = token_check(server.registry(), MAIL_SCOPE, Duration::from_secs(60));
        let good = token(&server, MAIL_SCOPE).await;
        let narrow = token(&server, "email").await;
        assert_eq!(check("SVC@sandbox.test", &good), Verdict::Accepted);
        assert_eq!(check("other@sandbox.test", &good), Verdict::Refused);
        assert_eq!(check("svc@sandbox.test", &narrow), Verdict::Refused);
        assert_eq!(check("svc@sandbox.test", "at-unknown"), Verdict::Refused);
        tokio::time::advance(Duration::from_secs(540)).await;
        assert_eq!(check("svc@sandbox.test", &good), Verdict::ExpiresSoon);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(check("svc@sandbox.test", &good), Verdict::Refused);
        let fresh = token(&server, MAIL_SCOPE).await;
        server.registry().end_access("svc@sandbox.test");
        assert_eq!(check("svc@sandbox.test", &fresh), Verdict::Refused);
    }
}
