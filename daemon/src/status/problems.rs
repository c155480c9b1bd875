//! What is wrong, since when, and the command that mends it.

use frankd_proto::methods::queue::ProfileQueue;
use frankd_proto::methods::system::{Health, Problem, ProfileStatus};
use frankd_proto::methods::token::TokenInfo;
use frankd_proto::{HoldReason, TokenState};
use jiff::{SignedDuration, Timestamp};

use super::Parts;
use crate::domain::{Client, Gate};

/// How long before its end a client secret is a problem.
const SECRET_WARNING: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Problems of the store and the configuration.
pub(super) fn of_the_daemon(parts: &Parts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let health = parts.store.health();
    let least = parts.settings.borrow().queue.min_free_bytes;
    if let Some(cause) = health.read_only {
        problems.push(problem(Health::Critical, "store", format!("the store takes no more changes: {cause}"), None));
    } else if let Some(free) = health.free_bytes.filter(|free| *free < least) {
        let message = format!("the disk has {} MiB left; no mail is accepted under {} MiB", free >> 20, least >> 20);
        problems.push(problem(Health::Degraded, "store", message, None));
    }
    if let Some(cause) = (parts.configuration_problem)() {
        let message = format!("the configuration was not reloaded, the old one is in force: {cause}");
        problems.push(problem(Health::Degraded, "config", message, Some("frankctl config show".to_owned())));
    }
    problems
}

/// A secret that ended or will.
pub(super) fn of_client(client: &Client, now: Timestamp) -> Option<Problem> {
    let ends = client.client_secret.as_ref()?.expires_at?;
    let left = ends.duration_since(now);
    if left > SECRET_WARNING {
        return None;
    }
    let message = if left.is_negative() {
        format!("the client secret ended on {}", ends.strftime("%Y-%m-%d"))
    } else {
        format!("the client secret ends on {}", ends.strftime("%Y-%m-%d"))
    };
    let command = format!("frankctl client update {} --client-secret-stdin", client.name);
    Some(problem(Health::Degraded, &format!("client:{}", client.name), message, Some(command)))
}

/// What is wrong with a profile: its token, and then the gates that the token does not explain.
pub(super) fn of_profile(row: &ProfileStatus, gates: &[Gate]) -> Vec<Problem> {
    let object = format!("profile:{}", row.name);
    let waiting = row.queue.as_ref().map_or(0, |queue| queue.waiting);
    let held = if waiting == 0 { String::new() } else { format!(" {waiting} messages wait.") };
    let mut problems: Vec<Problem> = row.token.iter().filter_map(|token| of_token(row, token, &held)).collect();
    for gate in gates {
        let (message, command) = match gate.reason {
            // The token's own problem says it.
            HoldReason::GrantRequired | HoldReason::ClientFault if !problems.is_empty() => continue,
            HoldReason::GrantRequired => ("a person must grant access", format!("frankctl grant {}", row.name)),
            HoldReason::ClientFault => ("the OAuth2 client does not work", format!("frankctl token show {}", row.name)),
            HoldReason::Paused => ("an operator paused it", format!("frankctl profile resume {}", row.name)),
            HoldReason::AuthRefused => {
                ("the mail server refuses the login", format!("frankctl profile show {}", row.name))
            }
            HoldReason::AccountLimit => ("the account reached a limit", format!("frankctl profile show {}", row.name)),
            HoldReason::HostFault => ("the mail server cannot be used", format!("frankctl profile show {}", row.name)),
            // The queue's own problem says it.
            HoldReason::Operator | HoldReason::NoProfile => continue,
        };
        let detail = gate.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        problems.push(Problem {
            since: Some(gate.since),
            diagnosis: gate.diagnosis.clone(),
            ..problem(Health::Degraded, &object, format!("{message}{detail}.{held}"), Some(command))
        });
    }
    problems
}

/// Mail that nobody sends.
pub(super) fn of_queue(queue: &ProfileQueue) -> Option<Problem> {
    if !queue.gates.contains(&HoldReason::NoProfile) {
        return None;
    }
    let message = format!("{} messages wait for a profile that was deleted or sends no mail any more", queue.waiting);
    let command = format!("frankctl queue cancel --profile {}", queue.profile);
    Some(problem(Health::Degraded, &format!("profile:{}", queue.profile), message, Some(command)))
}

fn of_token(row: &ProfileStatus, token: &TokenInfo, held: &str) -> Option<Problem> {
    let cause = token.last_error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
    let hint = token.last_error.as_ref().and_then(|error| error.data.hint.clone());
    let grant = format!("frankctl grant {}", row.name);
    let (message, command) = match token.state {
        TokenState::None | TokenState::Valid => return None,
        TokenState::AtRisk => (format!("the token is still good, but refreshing it fails{cause}.{held}"), hint),
        TokenState::Expired => (format!("there is no token, and frankd goes on trying{cause}.{held}"), hint),
        TokenState::NeedsGrant => (format!("a person must grant access{cause}.{held}"), Some(grant)),
        TokenState::Misconfigured => (format!("the client or profile must be corrected{cause}.{held}"), hint),
    };
    Some(Problem {
        since: token.last_error.as_ref().map(|error| error.at),
        diagnosis: token.last_error.as_ref().and_then(|error| error.data.diagnosis.clone()),
        ..problem(Health::Degraded, &format!("profile:{}", row.name), message, command)
    })
}

fn problem(severity: Health, object: &str, message: String, command: Option<String>) -> Problem {
    Problem { severity, object: object.to_owned(), message, since: None, command, diagnosis: None }
}
