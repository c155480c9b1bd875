//! How a grant ends without a token, in the words of the contract.

use frankd_proto::diagnosis;
use frankd_proto::methods::grant::GrantError as Fault;
use frankd_proto::{EventType, GrantState, Kind, Name, RpcError};
use jiff::Timestamp;

use crate::domain::{Grant, NewEvent};

/// A grant that ended without a token.
pub(super) fn ended(grant: &Grant, state: GrantState, error: Option<Fault>, wall: Timestamp) -> Grant {
    Grant { state, error, ended_at: Some(wall), code_verifier: None, ..grant.clone() }
}

/// What is told of it.
pub(super) fn event(grant: &Grant, profile: Option<&Name>, wall: Timestamp) -> NewEvent {
    let mut event = NewEvent::new(wall, EventType::GrantFailed).object(grant.id).with("state", grant.state.as_str());
    if let Some(error) = &grant.error {
        event = event
            .with("message", error.message.clone())
            .with("kind", error.data.kind.name())
            .with("diagnosis", error.data.diagnosis.clone());
    }
    match profile {
        Some(profile) => event.profile(profile),
        None => event,
    }
}

/// The daemon ended while the code was being exchanged.
pub(super) fn cut_short(profile: Option<&Name>) -> Fault {
    again(
        RpcError::new(
            Kind::OauthProviderUnavailable,
            "the daemon ended while the code was being exchanged, and a code is sent at most once",
        )
        .diagnosis(&diagnosis::GRANT_CUT_SHORT),
        profile,
    )
}

/// The client or profile changed since the grant began.
pub(super) fn changed(profile: Option<&Name>) -> Fault {
    again(
        RpcError::new(Kind::GrantStateMismatch, "the client or profile changed since the grant began")
            .diagnosis(&diagnosis::GRANT_CHANGED),
        profile,
    )
}

/// Nobody finished it in time.
pub(super) fn too_late(profile: Option<&Name>) -> Fault {
    again(
        RpcError::new(Kind::GrantExpired, "nobody finished the grant in time").diagnosis(&diagnosis::GRANT_EXPIRED),
        profile,
    )
}

/// The server answered the authorization request with an error (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
/// The state that follows, and why.
pub(super) fn refused(error: &str, description: Option<&str>, profile: Option<&Name>) -> (GrantState, Fault) {
    let (state, kind, diagnosis) = match error {
        "access_denied" => (GrantState::Denied, Kind::GrantDeniedByUser, &diagnosis::AZ_ACCESS_DENIED),
        "login_required" | "consent_required" | "interaction_required" | "account_selection_required" => {
            (GrantState::Failed, Kind::GrantDeniedByUser, &diagnosis::AZ_INTERACTION)
        }
        "invalid_scope" => (GrantState::Failed, Kind::OauthInvalidScope, &diagnosis::AZ_INVALID_SCOPE),
        "server_error" | "temporarily_unavailable" => {
            (GrantState::Failed, Kind::OauthProviderUnavailable, &diagnosis::AZ_SERVER_ERROR)
        }
        "unauthorized_client" => (GrantState::Failed, Kind::OauthMisconfigured, &diagnosis::AZ_UNAUTHORIZED_CLIENT),
        "unsupported_response_type" => {
            (GrantState::Failed, Kind::OauthMisconfigured, &diagnosis::AZ_UNSUPPORTED_RESPONSE_TYPE)
        }
        "invalid_target" => (GrantState::Failed, Kind::OauthMisconfigured, &diagnosis::AZ_INVALID_TARGET),
        _ => (GrantState::Failed, Kind::OauthMisconfigured, &diagnosis::AZ_INVALID_REQUEST),
    };
    let words = description.map_or_else(|| error.to_owned(), |description| format!("{error}: {description}"));
    let mut fault = RpcError::new(kind, format!("{} ({words})", diagnosis.says)).diagnosis(diagnosis);
    fault.data.provider = Some(frankd_proto::error::ProviderError {
        error: Some(error.to_owned()),
        error_description: description.map(str::to_owned),
        ..frankd_proto::error::ProviderError::default()
    });
    (state, again(fault, profile))
}

fn again(error: RpcError, profile: Option<&Name>) -> Fault {
    match profile {
        Some(profile) => error.hint(format!("frankctl grant {profile}")),
        None => error,
    }
    .into()
}
