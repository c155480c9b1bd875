//! Failures of token requests.

use frankd_proto::{Kind, Name};

use crate::domain::answer::{FailureCause, TokenFailure};

/// What a token request asked with: the same error means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedWith {
    /// The client's own credentials.
    ClientCredentials,
    /// A refresh token.
    RefreshToken,
    /// An authorization code.
    Code,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenClass {
    /// Try again later: the token is kept, the back-off grows.
    Retry,
    /// The answer was lost and the server may have acted: try the same again at once, one time.
    RetryAtOnce,
    /// The grant is over, if it stays so through the re-checks: then a person must grant.
    InvalidGrant,
    /// The client's own credentials are refused: an operator must correct them.
    InvalidClient,
    /// An administrator at the provider must act; it may mend itself.
    NeedsAdmin,
    /// The client or profile is configured wrongly: an operator must correct it.
    Misconfigured,
}

/// What a failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What happens next.
    pub class: TokenClass,
    /// The kind of error that a caller gets.
    pub kind: Kind,
    /// Id in the error taxonomy.
    pub diagnosis: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do; `{profile}` and `{client}` stand for the names.
    pub hint: Option<&'static str>,
}

impl Judgement {
    /// What to do, with the names filled in.
    pub fn hint_for(&self, profile: &Name, client: &Name) -> Option<String> {
        let fill = |hint: &str| hint.replace("{profile}", profile.as_str()).replace("{client}", client.as_str());
        self.hint.map(fill)
    }
}

/// A row of the tables below.
struct Row {
    /// A standard error code, or a text in the provider's description.
    matches: &'static str,
    class: TokenClass,
    kind: Kind,
    diagnosis: &'static str,
    says: &'static str,
    hint: Option<&'static str>,
}

const fn row(
    matches: &'static str,
    class: TokenClass,
    kind: Kind,
    diagnosis: &'static str,
    says: &'static str,
    hint: Option<&'static str>,
) -> Row {
    Row { matches, class, kind, diagnosis, says, hint }
}

const GRANT_AGAIN: Option<&str> = Some("frankctl grant {profile}");
const NEW_SECRET: Option<&str> = Some("frankctl client update {client} --client-secret-stdin");
const SHOW_CLIENT: Option<&str> = Some("frankctl client show {client}");
const SHOW_PROFILE: Option<&str> = Some("frankctl profile show {profile}");

/// Provider texts that refine an answer. Searched in `error_description` with the rules of the module.
const REFINEMENTS: &[Row] = &[
    row(
        "AADSTS7000222",
        TokenClass::InvalidClient,
        Kind::OauthSecretExpired,
        "ms.7000222",
        "the client secret expired",
        NEW_SECRET,
    ),
    row(
        "AADSTS7000215",
        TokenClass::InvalidClient,
        Kind::OauthInvalidClient,
        "ms.7000215",
        "the client secret is wrong; often its id was pasted in place of its value",
        NEW_SECRET,
    ),
    row(
        "AADSTS7000218",
        TokenClass::InvalidClient,
        Kind::OauthInvalidClient,
        "ms.7000218",
        "the app is registered as confidential and no secret was sent",
        NEW_SECRET,
    ),
    row(
        "AADSTS700025",
        TokenClass::InvalidClient,
        Kind::OauthInvalidClient,
        "ms.700025",
        "the app is registered as public and a secret was sent",
        Some("frankctl client update {client} --token-endpoint-auth-method none --clear client_secret"),
    ),
    row(
        "AADSTS700016",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "ms.700016",
        "the app is not found in this tenant, or disabled",
        SHOW_CLIENT,
    ),
    row(
        "AADSTS90002",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "ms.90002",
        "the tenant is not found",
        SHOW_CLIENT,
    ),
    row(
        "AADSTS9001023",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "ms.9001023",
        "this flow needs the directory (tenant) id in the endpoints",
        SHOW_CLIENT,
    ),
    row(
        "AADSTS70011",
        TokenClass::Misconfigured,
        Kind::OauthInvalidScope,
        "ms.70011",
        "a scope is invalid, or the scopes are of two resources at once",
        SHOW_PROFILE,
    ),
    row(
        "AADSTS65001",
        TokenClass::NeedsAdmin,
        Kind::OauthMisconfigured,
        "ms.65001",
        "nobody consented to the permission: an administrator must grant consent at the provider",
        GRANT_AGAIN,
    ),
    row(
        "AADSTS53003",
        TokenClass::NeedsAdmin,
        Kind::OauthMisconfigured,
        "ms.53003",
        "blocked by Conditional Access: an administrator must allow this app",
        None,
    ),
    row(
        "AADSTS50057",
        TokenClass::NeedsAdmin,
        Kind::OauthMisconfigured,
        "ms.50057",
        "the account is disabled: an administrator must enable it",
        None,
    ),
    row(
        "AADSTS700082",
        TokenClass::InvalidGrant,
        Kind::OauthInvalidGrant,
        "ms.700082",
        "the refresh token was not used for too long",
        GRANT_AGAIN,
    ),
    row(
        "AADSTS50173",
        TokenClass::InvalidGrant,
        Kind::OauthInvalidGrant,
        "ms.50173",
        "the tokens were revoked, or the password changed",
        GRANT_AGAIN,
    ),
    row(
        "AADSTS50196",
        TokenClass::Retry,
        Kind::OauthProviderUnavailable,
        "ms.50196",
        "the server sees a loop of requests",
        None,
    ),
];

/// The standard error codes (RFC 6749 §5.2 and what providers add).
const STANDARD: &[Row] = &[
    row(
        "invalid_client",
        TokenClass::InvalidClient,
        Kind::OauthInvalidClient,
        "tk.invalid_client",
        "the server refused the client's own credentials",
        NEW_SECRET,
    ),
    row(
        "unauthorized_client",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "tk.unauthorized_client",
        "the client may not use this kind of grant",
        SHOW_CLIENT,
    ),
    row(
        "unsupported_grant_type",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "tk.unsupported_grant",
        "the server does not know this kind of grant",
        SHOW_CLIENT,
    ),
    row(
        "invalid_scope",
        TokenClass::Misconfigured,
        Kind::OauthInvalidScope,
        "tk.invalid_scope",
        "the server refused a scope",
        SHOW_PROFILE,
    ),
    row(
        "invalid_request",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "tk.invalid_request",
        "the server found a parameter missing, repeated or malformed",
        SHOW_CLIENT,
    ),
    row(
        "invalid_target",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "az.invalid_target",
        "the server wants another resource",
        SHOW_CLIENT,
    ),
    row(
        "invalid_resource",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        "tk.invalid_resource",
        "the API that the scope names does not exist in this tenant",
        SHOW_PROFILE,
    ),
    row(
        "interaction_required",
        TokenClass::InvalidGrant,
        Kind::OauthInvalidGrant,
        "tk.interaction_required",
        "the provider wants the person to sign in again",
        GRANT_AGAIN,
    ),
    row(
        "temporarily_unavailable",
        TokenClass::Retry,
        Kind::OauthProviderUnavailable,
        "tk.temporarily",
        "the server is busy",
        None,
    ),
    row(
        "server_error",
        TokenClass::Retry,
        Kind::OauthProviderUnavailable,
        "tk.temporarily",
        "the server has a problem",
        None,
    ),
    row(
        "slow_down",
        TokenClass::Retry,
        Kind::OauthProviderUnavailable,
        "http.429",
        "the server asks for fewer requests",
        None,
    ),
];

/// Says what a failure means. Never makes a token be deleted: that takes more than one answer.
pub fn judge(failure: &TokenFailure, asked_with: AskedWith) -> Judgement {
    let unavailable = |class, diagnosis, message: String| Judgement {
        class,
        kind: Kind::OauthProviderUnavailable,
        diagnosis,
        message,
        hint: None,
    };
    let bad = |diagnosis, message: String| Judgement {
        class: TokenClass::Retry,
        kind: Kind::OauthBadResponse,
        diagnosis,
        message,
        hint: SHOW_CLIENT,
    };
    match &failure.cause {
        FailureCause::Unreachable(why) => {
            unavailable(TokenClass::Retry, "net.dns", format!("the authorization server cannot be reached: {why}"))
        }
        FailureCause::Tls(why) => Judgement {
            hint: SHOW_CLIENT,
            ..unavailable(TokenClass::Retry, "net.tls", format!("TLS with the authorization server failed: {why}"))
        },
        FailureCause::Ambiguous(why) => unavailable(
            TokenClass::RetryAtOnce,
            "net.ambiguous",
            format!("the request was sent and its answer was lost: {why}"),
        ),
        FailureCause::InsecureUrl(_) => Judgement {
            class: TokenClass::Misconfigured,
            kind: Kind::OauthMisconfigured,
            diagnosis: "net.tls",
            message: failure.cause.to_string(),
            hint: SHOW_CLIENT,
        },
        FailureCause::Redirect(_) => bad("http.redirect", failure.cause.to_string()),
        FailureCause::NotJson(_) => bad("http.html", failure.cause.to_string()),
        FailureCause::TooLarge => bad("http.toobig", failure.cause.to_string()),
        FailureCause::Unusable(_) => bad("shape.no_token", failure.cause.to_string()),
        FailureCause::Status(status) => by_status(*status),
        FailureCause::Refused(error) => refused(failure, error, asked_with),
    }
}

fn by_status(status: u16) -> Judgement {
    let (class, kind, diagnosis, hint) = match status {
        404 | 405 | 410 => (TokenClass::Misconfigured, Kind::OauthMisconfigured, "http.404", SHOW_CLIENT),
        408 | 425 => (TokenClass::Retry, Kind::OauthProviderUnavailable, "http.408", None),
        429 => (TokenClass::Retry, Kind::OauthProviderUnavailable, "http.429", None),
        401 => (TokenClass::InvalidClient, Kind::OauthInvalidClient, "tk.invalid_client", NEW_SECRET),
        500..=599 => (TokenClass::Retry, Kind::OauthProviderUnavailable, "http.5xx", None),
        _ => (TokenClass::Retry, Kind::OauthBadResponse, "http.html", SHOW_CLIENT),
    };
    Judgement {
        class,
        kind,
        diagnosis,
        message: format!("the authorization server answered with HTTP status {status}"),
        hint,
    }
}

fn refused(failure: &TokenFailure, error: &str, asked_with: AskedWith) -> Judgement {
    let description = failure.provider.error_description.as_deref().unwrap_or_default();
    let refinement = REFINEMENTS.iter().find(|row| has_code(description, row.matches));
    // The status decides over an error that contradicts it: a busy server is busy whatever it says.
    if matches!(failure.provider.status, Some(429 | 500..=599)) && error != "invalid_grant" {
        return Judgement {
            message: told(error, description, "the server is busy"),
            ..by_status(failure.provider.status.unwrap_or(503))
        };
    }
    if let Some(row) = refinement.or_else(|| STANDARD.iter().find(|row| row.matches == error)) {
        return Judgement {
            class: row.class,
            kind: row.kind,
            diagnosis: row.diagnosis,
            message: told(error, description, row.says),
            hint: row.hint,
        };
    }
    let (class, kind, diagnosis, says, hint) = match (error, asked_with) {
        ("invalid_grant", AskedWith::RefreshToken) => (
            TokenClass::InvalidGrant,
            Kind::OauthInvalidGrant,
            "tk.invalid_grant.rt",
            "the refresh token was refused",
            GRANT_AGAIN,
        ),
        ("invalid_grant" | "access_denied", AskedWith::Code) => (
            TokenClass::InvalidGrant,
            Kind::OauthInvalidGrant,
            "tk.invalid_grant.code",
            "the code was refused: too late, used already, or not for this request",
            GRANT_AGAIN,
        ),
        ("invalid_grant" | "access_denied", AskedWith::ClientCredentials) => (
            TokenClass::Misconfigured,
            Kind::OauthMisconfigured,
            "tk.unauthorized_client",
            "the server gives this client no token",
            SHOW_CLIENT,
        ),
        // An unknown error proves nothing about the token: keep it and come back.
        _ => (
            TokenClass::Retry,
            Kind::OauthBadResponse,
            "tk.unknown",
            "the server gave an error that frankd does not know",
            SHOW_CLIENT,
        ),
    };
    Judgement { class, kind, diagnosis, message: told(error, description, says), hint }
}

/// One sentence with the server's own words in it.
fn told(error: &str, description: &str, says: &str) -> String {
    if description.is_empty() { format!("{says} ({error})") } else { format!("{says} ({error}: {description})") }
}

/// Whether a code stands in a text as a whole: AADSTS70008 is not in AADSTS700082.
fn has_code(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(at, _)| !text[at + code.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use frankd_proto::error::ProviderError;
    use proptest::prelude::*;

    use super::*;

    fn refusal(status: u16, error: &str, description: &str) -> TokenFailure {
        TokenFailure {
            cause: FailureCause::Refused(error.to_owned()),
            retry_after: None,
            provider: ProviderError {
                status: Some(status),
                error: Some(error.to_owned()),
                error_description: (!description.is_empty()).then(|| description.to_owned()),
                correlation_id: None,
            },
        }
    }

    #[test]
    fn standard_errors_have_their_class() {
        use AskedWith::{ClientCredentials, Code, RefreshToken};
        for (status, error, description, asked_with, class, diagnosis) in [
            (400, "invalid_grant", "", RefreshToken, TokenClass::InvalidGrant, "tk.invalid_grant.rt"),
            (400, "invalid_grant", "", Code, TokenClass::InvalidGrant, "tk.invalid_grant.code"),
            (400, "invalid_grant", "", ClientCredentials, TokenClass::Misconfigured, "tk.unauthorized_client"),
            (401, "invalid_client", "", RefreshToken, TokenClass::InvalidClient, "tk.invalid_client"),
            (401, "invalid_client", "AADSTS7000222: expired.", RefreshToken, TokenClass::InvalidClient, "ms.7000222"),
            (400, "invalid_grant", "AADSTS700082: inactive", RefreshToken, TokenClass::InvalidGrant, "ms.700082"),
            (
                400,
                "invalid_grant",
                "AADSTS70008299: new",
                RefreshToken,
                TokenClass::InvalidGrant,
                "tk.invalid_grant.rt",
            ),
            (503, "temporarily_unavailable", "", RefreshToken, TokenClass::Retry, "http.5xx"),
            (429, "invalid_client", "", RefreshToken, TokenClass::Retry, "http.429"),
            (400, "from_the_future", "", RefreshToken, TokenClass::Retry, "tk.unknown"),
        ] {
            let judgement = judge(&refusal(status, error, description), asked_with);
            assert_eq!((judgement.class, judgement.diagnosis), (class, diagnosis), "{status} {error} {description}");
        }
    }

    #[test]
    fn a_lost_answer_is_tried_at_once_and_an_unsent_request_later() {
        let failure = |cause| TokenFailure { cause, retry_after: None, provider: ProviderError::default() };
        let lost = judge(&failure(FailureCause::Ambiguous("reset".to_owned())), AskedWith::RefreshToken);
        assert_eq!(lost.class, TokenClass::RetryAtOnce);
        let unsent = judge(&failure(FailureCause::Unreachable("no such host".to_owned())), AskedWith::RefreshToken);
        assert_eq!(unsent.class, TokenClass::Retry);
    }

    proptest! {
        #[test]
        fn only_invalid_grant_and_its_kin_ever_ask_for_a_person(status in 100u16..600, error in "[a-z_]{1,20}", description in ".{0,40}") {
            let judgement = judge(&refusal(status, &error, &description), AskedWith::RefreshToken);
            if judgement.class == TokenClass::InvalidGrant {
                prop_assert!(["invalid_grant", "interaction_required"].contains(&error.as_str()) || description.contains("AADSTS"));
            }
        }
    }
}
