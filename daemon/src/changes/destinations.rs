//! Where tokens go: what a change may do to the servers that see them.
//!
//! Who may administer does not see tokens, and must not come to see them by naming another server. A changed identity
//! puts tokens aside, so that they go nowhere until a person grants anew. What that does not cover is looked at here:
//! where tokens are revoked, and the mail server of tokens that are fetched without a person.

use frankd_proto::{Flow, Kind, Name, Patch, ProfileKind, Secret, SecretInput, TokenEndpointAuthMethod};

use super::{ChangeError, Changes};
use crate::domain::{Client, Profile};
use crate::registry::{Invalid, View, check};

/// The secret that a call gives by value.
pub(super) const fn given(secret: &Patch<SecretInput>) -> Option<&Secret> {
    match secret {
        Patch::Set(SecretInput { value, .. }) => value.as_ref(),
        Patch::Keep | Patch::Clear => None,
    }
}

impl Changes {
    /// Whether a caller gives the secret that the client has: not any other that takes its place.
    pub(super) fn knows_secret(&self, client: &Client, given: Option<&Secret>) -> bool {
        let known = client.client_secret.as_ref().map(|secret| self.registry.secrets().resolve(secret));
        matches!((known, given), (Some(Ok(known)), Some(given)) if known == *given)
    }

    /// Live tokens that are issued to something else after a change go out of use: that takes a yes.
    pub(super) fn ask_before_tokens_end(
        &self,
        before: &View,
        after: &View,
        confirmed: bool,
    ) -> Result<(), ChangeError> {
        if confirmed {
            return Ok(());
        }
        let hit: Vec<Name> = before
            .profiles()
            .filter(|profile| self.tokens.info(profile.id).is_some_and(|info| info.slot.tokens.is_some()))
            .filter(|profile| {
                let later = after.profile(profile.id).and_then(|profile| after.identity(profile));
                before.identity(profile) != later
            })
            .map(|profile| profile.name.clone())
            .collect();
        if hit.is_empty() { Ok(()) } else { Err(ChangeError::ConfirmRequired(hit)) }
    }

    /// A token is revoked where it was issued, or where it would have been revoked before: it is sent there.
    pub(super) fn revoke_where_issued(&self, before: &View, after: &View) -> Result<(), ChangeError> {
        let mut hit = Vec::new();
        for profile in after.profiles() {
            let (Some(identity), Some(to)) = (after.identity(profile), revoked_at(after, profile)) else { continue };
            let same = before.profile(profile.id).filter(|was| before.identity(was).as_ref() == Some(&identity));
            let known = [same.and_then(|was| revoked_at(before, was)), check::origin(&identity.token_endpoint)];
            if known.contains(&Some(to)) {
                continue;
            }
            let Some(info) = self.tokens.info(profile.id) else { continue };
            let aside = info.slot.quarantined.iter().map(|aside| &aside.tokens);
            if info.slot.tokens.iter().chain(aside).any(|tokens| tokens.identity == identity) {
                hit.push(profile.name.as_str());
            }
        }
        let Some(first) = hit.first() else { return Ok(()) };
        let by =
            format!("the tokens of {}, which another host issued: it would be sent them to revoke", hit.join(", "));
        Err(ChangeError::InUse { by, way_out: Some(format!("frankctl token revoke {first}")) })
    }

    /// A token that needs no person is fetched for a new mail server too, and sent there: so naming another one takes the
    /// client's secret, unless its preset or another profile has it, or a client gets its first profile.
    pub(super) fn same_mail_server(
        &self,
        view: &View,
        current: Option<&Profile>,
        next: &Profile,
        given: Option<&Secret>,
    ) -> Result<(), ChangeError> {
        let (Some(to), Some(client)) = (unattended(next), view.client_of(next)) else { return Ok(()) };
        let mut others = view.used_by(client.id).filter(|other| other.id != next.id).peekable();
        let preset = view.preset_of(client).map(|preset| preset.smtp.host.as_str());
        let was = current.filter(|was| was.client == next.client).and_then(unattended);
        let known = preset == Some(to) || was == Some(to) || (current.is_none() && others.peek().is_none());
        if known
            || others.any(|other| unattended(other) == Some(to))
            || client.token_endpoint_auth_method == TokenEndpointAuthMethod::None
            || self.knows_secret(client, given)
        {
            return Ok(());
        }
        let hint = match current {
            Some(was) => format!("frankctl profile update {} --client-secret-stdin …", was.name),
            None => format!("frankctl profile create {} --kind oauth2_smtp --client-secret-stdin …", next.name),
        };
        Err(ChangeError::Invalid(Invalid {
            kind: Kind::ObjectSecretRequired,
            field: "client_secret".to_owned(),
            message: format!(
                "mail server {to} is new to client {}: give the client's secret in the same call",
                client.name
            ),
            hint: Some(hint),
        }))
    }
}

/// The host that gets tokens which need no person.
fn unattended(profile: &Profile) -> Option<&str> {
    let fetched = profile.kind == ProfileKind::Oauth2Smtp && profile.flow != Some(Flow::Interactive);
    profile.smtp.as_ref().filter(|_| fetched).map(|smtp| smtp.host.as_str())
}

fn revoked_at(view: &View, profile: &Profile) -> Option<url::Origin> {
    view.client_of(profile)?.revocation_endpoint.as_deref().and_then(check::origin)
}
