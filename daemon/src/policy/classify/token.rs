//! Failures of token requests.

use frankd_proto::diagnosis::{self, Diagnosis};
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
    diagnosis: &'static Diagnosis,
}

const fn row(matches: &'static str, class: TokenClass, kind: Kind, diagnosis: &'static Diagnosis) -> Row {
    Row { matches, class, kind, diagnosis }
}

/// Provider texts that refine an answer. Searched in `error_description` with the rules of the module.
const REFINEMENTS: &[Row] = &[
    row("AADSTS7000222", TokenClass::InvalidClient, Kind::OauthSecretExpired, &diagnosis::MS_7000222),
    row("AADSTS7000215", TokenClass::InvalidClient, Kind::OauthInvalidClient, &diagnosis::MS_7000215),
    row("AADSTS7000218", TokenClass::InvalidClient, Kind::OauthInvalidClient, &diagnosis::MS_7000218),
    row("AADSTS700025", TokenClass::InvalidClient, Kind::OauthInvalidClient, &diagnosis::MS_700025),
    row("AADSTS700016", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::MS_700016),
    row("AADSTS90002", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::MS_90002),
    row("AADSTS9001023", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::MS_9001023),
    row("AADSTS70011", TokenClass::Misconfigured, Kind::OauthInvalidScope, &diagnosis::MS_70011),
    row("AADSTS65001", TokenClass::NeedsAdmin, Kind::OauthMisconfigured, &diagnosis::MS_65001),
    row("AADSTS53003", TokenClass::NeedsAdmin, Kind::OauthMisconfigured, &diagnosis::MS_53003),
    row("AADSTS50057", TokenClass::NeedsAdmin, Kind::OauthMisconfigured, &diagnosis::MS_50057),
    row("AADSTS700082", TokenClass::InvalidGrant, Kind::OauthInvalidGrant, &diagnosis::MS_700082),
    row("AADSTS50173", TokenClass::InvalidGrant, Kind::OauthInvalidGrant, &diagnosis::MS_50173),
    row("AADSTS50196", TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::MS_50196),
];

/// The standard error codes (RFC 6749 §5.2 and what providers add).
const STANDARD: &[Row] = &[
    row("invalid_client", TokenClass::InvalidClient, Kind::OauthInvalidClient, &diagnosis::TK_INVALID_CLIENT),
    row("unauthorized_client", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::TK_UNAUTHORIZED_CLIENT),
    row(
        "unsupported_grant_type",
        TokenClass::Misconfigured,
        Kind::OauthMisconfigured,
        &diagnosis::TK_UNSUPPORTED_GRANT,
    ),
    row("invalid_scope", TokenClass::Misconfigured, Kind::OauthInvalidScope, &diagnosis::TK_INVALID_SCOPE),
    row("invalid_request", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::TK_INVALID_REQUEST),
    row("invalid_target", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::AZ_INVALID_TARGET),
    row("invalid_resource", TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::TK_INVALID_RESOURCE),
    row("interaction_required", TokenClass::InvalidGrant, Kind::OauthInvalidGrant, &diagnosis::TK_INTERACTION_REQUIRED),
    row("temporarily_unavailable", TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::TK_TEMPORARILY),
    row("server_error", TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::TK_TEMPORARILY),
    row("slow_down", TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::HTTP_429),
];

impl Judgement {
    fn new(class: TokenClass, kind: Kind, diagnosis: &Diagnosis, message: String) -> Self {
        Self { class, kind, diagnosis: diagnosis.id, message, hint: diagnosis.fix }
    }
}

/// Says what a failure means. Never makes a token be deleted: that takes more than one answer.
pub fn judge(failure: &TokenFailure, asked_with: AskedWith) -> Judgement {
    let unavailable =
        |class, diagnosis, message: String| Judgement::new(class, Kind::OauthProviderUnavailable, diagnosis, message);
    let bad =
        |diagnosis| Judgement::new(TokenClass::Retry, Kind::OauthBadResponse, diagnosis, failure.cause.to_string());
    match &failure.cause {
        FailureCause::Unresolved(why) => unavailable(
            TokenClass::Retry,
            &diagnosis::NET_DNS,
            format!("the name of the authorization server cannot be resolved: {why}"),
        ),
        FailureCause::Unreachable(why) => unavailable(
            TokenClass::Retry,
            &diagnosis::NET_CONNECT,
            format!("the authorization server cannot be reached: {why}"),
        ),
        FailureCause::Tls(why) => unavailable(
            TokenClass::Retry,
            &diagnosis::NET_TLS,
            format!("TLS with the authorization server failed: {why}"),
        ),
        FailureCause::Ambiguous(why) => unavailable(
            TokenClass::RetryAtOnce,
            &diagnosis::NET_AMBIGUOUS,
            format!("the request was sent and its answer was lost: {why}"),
        ),
        FailureCause::InsecureUrl(_) => Judgement::new(
            TokenClass::Misconfigured,
            Kind::OauthMisconfigured,
            &diagnosis::NET_TLS,
            failure.cause.to_string(),
        ),
        FailureCause::Redirect(_) => bad(&diagnosis::HTTP_REDIRECT),
        FailureCause::NotJson(_) => bad(&diagnosis::HTTP_HTML),
        FailureCause::TooLarge => bad(&diagnosis::HTTP_TOOBIG),
        FailureCause::Unusable(_) => bad(&diagnosis::SHAPE_NO_TOKEN),
        FailureCause::Status(status) => by_status(*status),
        FailureCause::Refused(error) => refused(failure, error, asked_with),
    }
}

fn by_status(status: u16) -> Judgement {
    let (class, kind, diagnosis) = match status {
        404 | 405 | 410 => (TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::HTTP_404),
        408 | 425 => (TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::HTTP_408),
        429 => (TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::HTTP_429),
        401 => (TokenClass::InvalidClient, Kind::OauthInvalidClient, &diagnosis::TK_INVALID_CLIENT),
        500..=599 => (TokenClass::Retry, Kind::OauthProviderUnavailable, &diagnosis::HTTP_5XX),
        _ => (TokenClass::Retry, Kind::OauthBadResponse, &diagnosis::HTTP_HTML),
    };
    Judgement::new(class, kind, diagnosis, format!("the authorization server answered with HTTP status {status}"))
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
    let known = refinement.or_else(|| STANDARD.iter().find(|row| row.matches == error));
    if let Some(row) = known {
        return Judgement::new(row.class, row.kind, row.diagnosis, told(error, description, row.diagnosis.says));
    }
    let (class, kind, diagnosis) = match (error, asked_with) {
        ("invalid_grant", AskedWith::RefreshToken) => {
            (TokenClass::InvalidGrant, Kind::OauthInvalidGrant, &diagnosis::TK_INVALID_GRANT_RT)
        }
        ("invalid_grant" | "access_denied", AskedWith::Code) => {
            (TokenClass::InvalidGrant, Kind::OauthInvalidGrant, &diagnosis::TK_INVALID_GRANT_CODE)
        }
        ("invalid_grant" | "access_denied", AskedWith::ClientCredentials) => {
            (TokenClass::Misconfigured, Kind::OauthMisconfigured, &diagnosis::TK_UNAUTHORIZED_CLIENT)
        }
        // An unknown error proves nothing about the token: keep it and come back.
        _ => (TokenClass::Retry, Kind::OauthBadResponse, &diagnosis::TK_UNKNOWN),
    };
    Judgement::new(class, kind, diagnosis, told(error, description, diagnosis.says))
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
        let unsent = judge(&failure(FailureCause::Unresolved("no such host".to_owned())), AskedWith::RefreshToken);
        assert_eq!((unsent.class, unsent.diagnosis), (TokenClass::Retry, "net.dns"));
        let refused = judge(&failure(FailureCause::Unreachable("refused".to_owned())), AskedWith::RefreshToken);
        assert_eq!((refused.class, refused.diagnosis), (TokenClass::Retry, "net.connect"));
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
