//! What may happen to a grant, and when; what its outcome must be warned of.
//!
//! # Invariants
//!
//! - A code is sent at most once: only a pending grant is taken, and one that was being exchanged when the daemon ended
//!   has failed.
//! - What does not surely belong to a grant (wrong `state`, wrong `iss`, a second redirect) leaves it as it is.
//! - A final state is final.

use std::time::Duration;

use frankd_proto::GrantState;
use jiff::{SignedDuration, Timestamp};

/// How long a person has (RFC 6749 §4.1.2 recommends ten minutes for the code itself).
pub const LIFE: Duration = Duration::from_secs(600);

/// Scopes that steer the answer and are not repeated in it by every server (OpenID Connect Core §5.4, §11).
const STEERING: &[&str] = &["offline_access", "openid", "profile", "email", "address", "phone"];

/// Something that happens to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A redirect with a code came.
    Code,
    /// A redirect with `access_denied` came.
    Denial,
    /// A redirect with another error came, or the exchange failed, or the client or profile changed.
    Failure,
    /// The token is stored.
    Token,
    /// The time is up.
    TimeUp,
    /// Somebody calls it off.
    Cancellation,
    /// The daemon starts again.
    Restart,
}

/// Why something cannot happen to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grant is {0}")]
pub struct Impossible(pub GrantState);

/// The state that follows.
pub fn next(state: GrantState, happening: Happening) -> Result<GrantState, Impossible> {
    use Happening::{Cancellation, Code, Denial, Failure, Restart, TimeUp, Token};
    match (state, happening) {
        (GrantState::Pending, Code) => Ok(GrantState::Exchanging),
        (GrantState::Pending, Denial) => Ok(GrantState::Denied),
        (GrantState::Pending | GrantState::Exchanging, Failure) | (GrantState::Exchanging, Restart) => {
            Ok(GrantState::Failed)
        }
        (GrantState::Pending, TimeUp) => Ok(GrantState::Expired),
        (GrantState::Pending, Cancellation) => Ok(GrantState::Cancelled),
        (GrantState::Pending, Restart) => Ok(GrantState::Pending),
        (GrantState::Exchanging, Token) => Ok(GrantState::Completed),
        (state, _) => Err(Impossible(state)),
    }
}

/// Whether nothing happens to a grant any more.
pub const fn is_over(state: GrantState) -> bool {
    !matches!(state, GrantState::Pending | GrantState::Exchanging)
}

/// When a grant that begins at `now` ends by itself.
pub fn expires_at(now: Timestamp) -> Timestamp {
    now.checked_add(SignedDuration::try_from(LIFE).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

/// The redirect names another issuer than the client's (RFC 9207 §2.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the redirect is from issuer {given:?}, and the client's is {expected:?}")]
pub struct WrongIssuer {
    /// That of the client.
    pub expected: String,
    /// That of the redirect.
    pub given: String,
}

/// Compares issuers octet for octet, where both are known (RFC 9207 §2.4).
pub fn check_issuer(expected: Option<&str>, given: Option<&str>) -> Result<(), WrongIssuer> {
    match (expected, given) {
        (Some(expected), Some(given)) if expected != given => {
            Err(WrongIssuer { expected: expected.to_owned(), given: given.to_owned() })
        }
        _ => Ok(()),
    }
}

/// What the outcome of a grant must be warned of, in sentences.
pub fn warnings(outcome: &Outcome<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let (Some(username), Some(account)) = (outcome.username, outcome.account)
        && !same_account(username, account)
    {
        warnings.push(format!(
            "signed in as {account}, but the profile's username is {username}: right for a shared mailbox, else grant again \
             with the other account"
        ));
    }
    if !outcome.refresh_token {
        warnings.push(
            "the server gave no refresh token: this grant ends with its access token. Microsoft and Keycloak need the scope \
             offline_access, Google access_type=offline and prompt=consent"
                .to_owned(),
        );
    }
    if outcome.kept_in_doubt {
        warnings.push(
            "the server gave no refresh token, and did not say which account signed in: the one of the grant before stays \
             in use. If another account signed in this time, revoke the token and grant again"
                .to_owned(),
        );
    }
    let missing = missing_scopes(outcome.asked, outcome.granted);
    if !missing.is_empty() {
        warnings.push(format!(
            "the server did not grant {}: tick every box on the consent page, or have an administrator consent",
            missing.join(" ")
        ));
    }
    warnings
}

/// What a grant brought.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The profile's username.
    pub username: Option<&'a str>,
    /// The account that signed in, where the server told it.
    pub account: Option<&'a str>,
    /// Whether there is a refresh token.
    pub refresh_token: bool,
    /// Whether that is the one of an earlier grant, which may be another account's.
    pub kept_in_doubt: bool,
    /// Scopes that were asked for.
    pub asked: &'a [String],
    /// Scopes that were granted; absent means all of them (RFC 6749 §5.1).
    pub granted: Option<&'a [String]>,
}

/// Whether two names are of one mailbox: addresses differ in letter case only in theory.
pub fn same_account(username: &str, account: &str) -> bool {
    username.to_lowercase() == account.to_lowercase()
}

/// Scopes that were asked for and not granted. Those that only steer the answer, and `/.default`, are not looked for.
pub fn missing_scopes<'a>(asked: &'a [String], granted: Option<&[String]>) -> Vec<&'a str> {
    let Some(granted) = granted else {
        return Vec::new();
    };
    asked
        .iter()
        .filter(|scope| {
            !granted.contains(scope) && !STEERING.contains(&scope.as_str()) && !scope.ends_with("/.default")
        })
        .map(String::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_taken_once_and_a_final_state_is_final() {
        use Happening::{Cancellation, Code, Denial, Failure, Restart, TimeUp, Token};
        let all = [Code, Denial, Failure, Token, TimeUp, Cancellation, Restart];
        for state in GrantState::ALL.iter().copied().filter(|state| is_over(*state)) {
            for happening in all {
                assert_eq!(next(state, happening), Err(Impossible(state)), "{state} {happening:?}");
            }
        }
        assert_eq!(next(GrantState::Pending, Code), Ok(GrantState::Exchanging));
        assert!(next(GrantState::Exchanging, Code).is_err());
        assert!(next(GrantState::Exchanging, Cancellation).is_err());
        assert!(next(GrantState::Exchanging, TimeUp).is_err());
        assert_eq!(next(GrantState::Exchanging, Restart), Ok(GrantState::Failed));
        assert_eq!(next(GrantState::Pending, Restart), Ok(GrantState::Pending));
        assert!(next(GrantState::Pending, Token).is_err());
    }

    #[test]
    fn issuers_are_compared_octet_for_octet_where_both_are_known() {
        assert!(check_issuer(None, Some("https://as")).is_ok());
        assert!(check_issuer(Some("https://as"), None).is_ok());
        assert!(check_issuer(Some("https://as"), Some("https://as")).is_ok());
        assert!(check_issuer(Some("https://as"), Some("https://as/")).is_err());
    }

    #[test]
    fn the_outcome_is_warned_of() {
        let asked = ["https://mail.google.com/".to_owned(), "openid".to_owned()];
        let good = Outcome {
            username: Some("Alerts@Example.org"),
            account: Some("alerts@example.org"),
            refresh_token: true,
            kept_in_doubt: false,
            asked: &asked,
            granted: None,
        };
        assert_eq!(warnings(&good), Vec::<String>::new());
        let kept = warnings(&Outcome { account: None, kept_in_doubt: true, ..good });
        assert!(kept.len() == 1 && kept[0].contains("revoke the token"), "{kept:?}");
        let other = ["https://other".to_owned()];
        let bad = Outcome { account: Some("me@example.org"), refresh_token: false, granted: Some(&other), ..good };
        let told = warnings(&bad);
        assert_eq!(told.len(), 3);
        assert!(told[0].contains("me@example.org") && told[0].contains("Alerts@Example.org"));
        assert!(told[2].contains("https://mail.google.com/") && !told[2].contains("openid"));
    }
}
