//! What a profile logs in with, for the test tools.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{Kind, ProfileKind, RpcError};
use futures::future::BoxFuture;

use crate::domain::Profile;
use crate::domain::delivery::Login;
use crate::registry::Registry;
use crate::rpc::methods::no_token;
use crate::tokens::{Forced, Issued, Tokens};
use crate::trials::{self, Found};

/// Longest wait for a token.
const WAIT: Duration = Duration::from_secs(30);

/// Tokens from their slots, passwords from the registry.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) registry: Arc<Registry>,
    pub(super) tokens: Tokens,
}

impl Logins {
    fn password(&self, profile: &Profile) -> Result<Found, RpcError> {
        let (Some(username), Some(stored)) = (profile.username.clone(), &profile.password) else {
            return Ok(Found { login: Login::Anonymous, fresh: true, detail: "no credentials".to_owned() });
        };
        let password = self.registry.secrets().resolve(stored).map_err(|error| {
            RpcError::new(Kind::ObjectInvalid, format!("the password cannot be had: {error}")).field("password")
        })?;
        Ok(Found {
            detail: format!("password of {username}"),
            login: Login::Password { username, password },
            fresh: true,
        })
    }
}

fn found(profile: &Profile, issued: Issued, just_fetched: bool) -> Found {
    let account = issued.account.as_ref().map(|account| format!(", granted by {account}")).unwrap_or_default();
    Found {
        detail: format!("access token, {} s left{account}", issued.remaining.as_secs()),
        login: Login::Token { username: profile.username.clone().unwrap_or_default(), token: issued.access_token },
        fresh: just_fetched,
    }
}

impl trials::Logins for Logins {
    fn login<'a>(&'a self, profile: &'a Profile) -> BoxFuture<'a, Result<Found, RpcError>> {
        Box::pin(async move {
            if profile.kind == ProfileKind::Smtp {
                return self.password(profile);
            }
            let before = self.tokens.info(profile.id).map(|info| info.slot.generation);
            let issued =
                self.tokens.get(profile.id, None, WAIT).await.map_err(|error| no_token(&profile.name, error))?;
            let just_fetched = before != Some(issued.generation);
            Ok(found(profile, issued, just_fetched))
        })
    }

    fn after_refusal<'a>(&'a self, profile: &'a Profile) -> BoxFuture<'a, Result<Found, RpcError>> {
        Box::pin(async move {
            if profile.kind == ProfileKind::Smtp {
                return self.password(profile);
            }
            let issued = self
                .tokens
                .refresh(profile.id, Forced::Operator, WAIT)
                .await
                .map_err(|error| no_token(&profile.name, error))?;
            Ok(found(profile, issued, true))
        })
    }
}
