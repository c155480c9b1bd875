//! The seam to authorization servers.
//!
//! [`AuthorizationServer`] is what owners of tokens and grants call; the real one speaks HTTP
//! over a [`Transport`] that a test replaces by a server in the same process.

pub mod answer;
pub mod authorization_url;
pub mod digest;
#[cfg(any(test, feature = "fakes"))]
pub mod fake;
pub mod http;
mod opaque;
pub mod redirect;
pub mod wire;

use std::fmt;

use futures::future::BoxFuture;

use crate::domain::answer::{RevocationCall, TokenAnswer, TokenCall, TokenFailure, WireSettings};

/// Authorization servers, as frankd uses them. Nothing here retries: who calls decides.
pub trait AuthorizationServer: fmt::Debug + Send + Sync + 'static {
    /// Sends one token request and reads the answer.
    fn token(&self, call: TokenCall) -> BoxFuture<'_, Result<TokenAnswer, TokenFailure>>;

    /// Revokes one token (RFC 7009). A token that the server does not know is revoked.
    fn revoke(&self, call: RevocationCall) -> BoxFuture<'_, Result<(), TokenFailure>>;
}

/// One HTTP request and its whole answer: no redirect followed, the body capped, no time-out but those given.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request`.
    fn send(
        &self,
        request: ::http::Request<Vec<u8>>,
        wire: WireSettings,
    ) -> BoxFuture<'_, Result<::http::Response<Vec<u8>>, TransportError>>;
}

/// A request got no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The name cannot be resolved: the request was never sent.
    #[error("{0}")]
    Unresolved(String),
    /// No route, nothing listens, or no connection in time: the request was never sent.
    #[error("{0}")]
    Unreachable(String),
    /// The TLS handshake failed: the request was never sent.
    #[error("{0}")]
    Tls(String),
    /// The request, or a part of it, went out, and no whole answer came.
    #[error("{0}")]
    Ambiguous(String),
    /// The answer is over the cap.
    #[error("the answer is too long")]
    TooLarge,
}
