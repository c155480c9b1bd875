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
