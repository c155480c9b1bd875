//! `profile.*`: named senders and token holders.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::{DeleteParams, Deleted, Named, is_false};
use super::{ADMINISTER, Empty, OBSERVE, OPERATE};
use crate::ids::ProfileId;
use crate::name::Name;
use crate::patch::{Patch, given};
use crate::secret::{Secret, SecretInput, SecretView};
use crate::vocabulary::{Flow, HoldReason, OnDoubt, ProfileKind, TlsMode, TlsVersion};

method!(
    /// Lists profiles by name.
    List = "profile.list", Empty => Profiles, OBSERVE
);
method!(
    /// Shows one profile.
    Get = "profile.get", Named => ProfileView, OBSERVE
);
method!(
    /// Makes a profile.
    Create = "profile.create", CreateParams => ProfileView, ADMINISTER
);
method!(
    /// Changes a profile.
    Update = "profile.update", UpdateParams => ProfileView, ADMINISTER
);
method!(
    /// Deletes a profile that has no waiting mail.
    Delete = "profile.delete", DeleteParams => Deleted, ADMINISTER
);
method!(
    /// Stops delivery; mail is still accepted.
    Pause = "profile.pause", PauseParams => ProfileView, OPERATE
);
method!(
    /// Starts delivery again.
    Resume = "profile.resume", Named => ProfileView, OPERATE
);

/// Answer of `profile.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profiles {
    /// By name.
    pub items: Vec<ProfileView>,
}

/// A profile as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileView {
    /// Its id, through all its names.
    pub id: ProfileId,
    /// Its name.
    pub name: Name,
    /// Rises by one with each change; see `if_revision`.
    pub revision: u64,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is.
    pub kind: ProfileKind,
    /// How it gets tokens, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// The OAuth2 client that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Name>,
    /// The account: the SASL user name, and the sign-in hint of a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What is told of the password of a classic profile.
    pub password: SecretView,
    /// Scopes; the client's if empty.
    pub scopes: Vec<String>,
    /// Extra parameters of the authorization request, over the client's.
    pub authorization_params: BTreeMap<String, String>,
    /// Extra parameters of every token request, over the client's.
    pub token_params: BTreeMap<String, String>,
    /// Where it sends, unless it is a token alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpView>,
    /// Envelope and From address of mail that names none; the username if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// From addresses that choose this profile when none is named (`*@example.org` allowed).
    pub allowed_from: Vec<String>,
    /// Whether it is used when nothing else fits.
    pub default: bool,
    /// What to do when a delivery is in doubt, unless the message says.
    pub on_doubt: OnDoubt,
    /// Seconds that a token must still live to be handed out or used; the provider's minimum if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_valid_s: Option<u32>,
    /// What holds its mail now.
    pub held: Vec<Hold>,
    /// Who owns it: `api`, or the name of an applied set.
    pub managed_by: String,
    /// What may not work as it is, seen when it was saved.
    pub warnings: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A closed gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// In words: the cause, or what the operator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it opens by itself, or is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Id of the diagnosis in the error taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
}

/// Where a profile sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpView {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// When TLS begins.
    pub tls: TlsMode,
    /// Name that frankd gives in EHLO; the host's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ehlo_name: Option<String>,
    /// Certificates that are trusted besides the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Oldest TLS version.
    pub min_tls_version: TlsVersion,
    /// Whether credentials may go to a loopback host without TLS.
    pub plaintext_on_loopback: bool,
    /// Most connections at once.
    pub max_connections: u32,
    /// Most messages on one connection.
    pub max_messages_per_connection: u32,
    /// Most messages in a minute; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_minute: Option<u32>,
}

/// Where a profile sends, as given. What is absent comes from the client's preset, then from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpInput {
    /// Host name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port; 465 with `implicit` and 587 otherwise if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// When TLS begins; `implicit` on port 465 and `starttls` otherwise if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsMode>,
    /// Name to give in EHLO.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub ehlo_name: Patch<String>,
    /// Certificates to trust besides the system's, PEM.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub ca_bundle: Patch<String>,
    /// Oldest TLS version; 1.2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<TlsVersion>,
    /// Lets credentials go to a loopback host without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext_on_loopback: Option<bool>,
    /// Most connections at once, 1 to 64; 3 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Most messages on one connection, 1 to 10,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_messages_per_connection: Option<u32>,
    /// Most messages in a minute.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub messages_per_minute: Patch<u32>,
}

/// Parameters of `profile.create`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateParams {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: ProfileKind,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it gets tokens. Needed, here or as `interactive`, unless the profile is classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// Another way to say `flow`: true is `interactive`, false is `client_credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    /// The OAuth2 client that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Name>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password of a classic profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretInput>,
    /// The client's secret as it is, by value: proves that a mail server which is new to the client may get tokens that
    /// need no person. It is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// Scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Extra parameters of the authorization request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_params: Option<BTreeMap<String, String>>,
    /// Extra parameters of every token request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_params: Option<BTreeMap<String, String>>,
    /// Where it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpInput>,
    /// Envelope and From address of mail that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// From addresses that choose this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_from: Option<Vec<String>>,
    /// Makes it the default; another default profile stops being it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default: bool,
    /// What to do when a delivery is in doubt; `retry` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_doubt: Option<OnDoubt>,
    /// Seconds that a token must still live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_valid_s: Option<u32>,
}

/// Parameters of `profile.update`. Absent fields stay, `null` clears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateParams {
    /// Which profile.
    pub name: Name,
    /// Refused with `object.revision_conflict` unless the profile has this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Does it although live tokens go out of use.
    #[serde(default, skip_serializing_if = "is_false")]
    pub confirm: bool,
    /// A new name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub new_name: Option<Name>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub description: Patch<String>,
    /// What it is.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProfileKind>,
    /// How it gets tokens.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// Another way to say `flow`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    /// The OAuth2 client that it uses.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub client: Patch<Name>,
    /// The account.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub username: Patch<String>,
    /// Password of a classic profile.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub password: Patch<SecretInput>,
    /// The client's secret as it is, by value: proves that a mail server which is new to the client may get tokens that
    /// need no person. It is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// Scopes.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Extra parameters of the authorization request, all of them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub authorization_params: Option<BTreeMap<String, String>>,
    /// Extra parameters of every token request, all of them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub token_params: Option<BTreeMap<String, String>>,
    /// Where it sends; only the fields given change.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpInput>,
    /// Envelope and From address of mail that names none.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub from: Patch<String>,
    /// From addresses that choose this profile.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub allowed_from: Option<Vec<String>>,
    /// Makes it the default, or stops it being it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// What to do when a delivery is in doubt.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_doubt: Option<OnDoubt>,
    /// Seconds that a token must still live.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub min_valid_s: Patch<u32>,
}

/// Parameters of `profile.pause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseParams {
    /// Which profile.
    pub name: Name,
    /// Seconds after which it resumes by itself, 1 to 31,536,000; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod null {
    use super::UpdateParams;

    #[test]
    fn what_cannot_be_taken_away_is_not_null() {
        for field in ["kind", "new_name", "scopes", "default", "flow"] {
            let text = format!(r#"{{"name": "a", "{field}": null}}"#);
            assert!(serde_json::from_str::<UpdateParams>(&text).is_err(), "{field}");
        }
        assert!(serde_json::from_str::<UpdateParams>(r#"{"name": "a", "description": null}"#).is_ok());
    }
}
