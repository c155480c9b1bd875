//! What the event log hears of a changed client or profile: who changed it and which fields, never a value.
//!
//! The lists below name every field of the two: a new one does not compile until it is in its list.

use frankd_proto::EventType;

use crate::domain::{Caller, Client, NewEvent, Profile, Submission};

/// Names of the fields that differ. The fields after `|` say nothing of what somebody wanted.
macro_rules! differing {
    ($kind:ident, $before:expr, $after:expr; $($field:ident),+ $(| $($other:ident),+)?) => {{
        let ($kind { $($field,)+ $($($other: _,)+)? }, after) = ($before, $after);
        let mut fields: Vec<String> = Vec::new();
        $(if *$field != after.$field {
            fields.push(stringify!($field).to_owned());
        })+
        fields
    }};
}

/// The event of a changed client.
pub(super) fn client_updated(before: &Client, after: &Client, by: &Caller) -> NewEvent {
    let fields = differing!(Client, before, after;
        name, description, preset, client_id, client_secret, token_endpoint_auth_method, issuer,
        authorization_endpoint, token_endpoint, revocation_endpoint, redirect_uri, scopes, authorization_params,
        token_params, ca_bundle, min_tls_version, connect_timeout_s, request_timeout_s
        | id, revision, managed_by, created_at, updated_at);
    let event = NewEvent::new(after.updated_at, EventType::ClientUpdated).client(&after.name).by(by);
    renamed(event.with("changed", fields), &before.name, &after.name)
}

/// The event of a changed profile.
pub(super) fn profile_updated(before: &Profile, after: &Profile, by: &Caller) -> NewEvent {
    let mut fields = differing!(Profile, before, after;
        name, description, kind, flow, client, username, password, scopes, authorization_params, token_params, smtp,
        from, allowed_from, default, on_doubt, min_valid_s
        | id, revision, managed_by, created_at, updated_at);
    if let (Some(before), Some(after)) = (&before.smtp, &after.smtp) {
        let within = differing!(Submission, before, after;
            host, port, tls, ehlo_name, ca_bundle, min_tls_version, plaintext_on_loopback, max_connections,
            max_messages_per_connection, messages_per_minute);
        fields.retain(|field| field != "smtp");
        fields.extend(within.iter().map(|field| format!("smtp.{field}")));
    }
    let event = NewEvent::new(after.updated_at, EventType::ProfileUpdated).profile(&after.name).by(by);
    renamed(event.with("changed", fields), &before.name, &after.name)
}

fn renamed(event: NewEvent, before: &frankd_proto::Name, after: &frankd_proto::Name) -> NewEvent {
    if before == after { event } else { event.with("name_before", before.as_str()) }
}
