//! `status`: whether mail flows, when it will stop, what to type.

use frankd_proto::methods::Empty;
use frankd_proto::methods::system as rpc;
use frankd_proto::{HoldReason, ProfileKind, TokenState};

use super::token;
use crate::app::App;
use crate::args::Watch;
use crate::failure::{Doing, Failure, exit};
use crate::human;
use crate::output::{BAD, GOOD, Page, Render, WARNING, join, text};
use crate::watch;

/// Columns of the profiles; the last four are for a wide page.
const HEADER: [&str; 11] = [
    "PROFILE",
    "KIND",
    "ACCOUNT",
    "TOKEN",
    "NEXT REFRESH",
    "QUEUE",
    "HELD",
    "IN DOUBT",
    "OLDEST",
    "REFRESH TOKEN ENDS",
    "LAST ERROR",
];

/// Does it.
pub(crate) async fn run(app: &mut App, watch: Watch) -> Result<u8, Failure> {
    watch::show::<rpc::Status>(app, &Empty {}, Doing::new("read the status"), watch).await
}

impl Render for rpc::SystemStatus {
    fn items(&self) -> Option<&'static str> {
        Some("profiles")
    }

    fn page(&self, page: &mut Page) {
        page.line(format!(
            "{} frankd {}  {}  up {}  as of {}",
            mark(self.state),
            self.version,
            word(self.state),
            human::between(self.started_at, self.as_of),
            human::absolute(self.as_of)
        ));
        page.line(format!("  {}", delivery(self, page)));
        page.line("");
        let rows = self.profiles.iter().map(|profile| row(profile, page)).collect();
        page.table_of(7, HEADER, rows);
        for problem in &self.problems {
            page.line("");
            page.line(format!("{} {}  {}", mark(problem.severity), problem.object, since(problem, page)));
            if let Some(command) = &problem.command {
                page.line(format!("  Fix: {command}"));
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.profiles.iter().map(|profile| profile.name.to_string()).collect()
    }

    fn exit_code(&self) -> u8 {
        match self.state {
            rpc::Health::Ok => exit::OK,
            rpc::Health::Degraded | rpc::Health::Critical => exit::FAILED,
        }
    }
}

fn delivery(status: &rpc::SystemStatus, page: &Page) -> String {
    let waiting: u64 = status.profiles.iter().filter_map(|p| p.queue.as_ref()).map(|q| q.waiting).sum();
    let oldest = status.profiles.iter().filter_map(|p| p.queue.as_ref()?.oldest_at).min();
    let oldest = oldest.map_or_else(String::new, |oldest| format!(" (oldest {})", human::between(oldest, page.now)));
    let all = status.profiles.len();
    let unwell = status.profiles.iter().filter(|profile| needs_attention(profile)).count();
    let attention = if unwell == 0 {
        format!("{GOOD} {}", human::count(all as u64, "profile"))
    } else {
        format!("{WARNING} {unwell} of {} in need of attention", human::count(all as u64, "profile"))
    };
    format!(
        "{attention}   queue {waiting}{oldest}   24 h: {} sent, {} failed",
        status.last_24h.sent, status.last_24h.failed
    )
}

/// Whether a profile waits for somebody. A pause is somebody's wish, and a first token on its way is no trouble.
fn needs_attention(profile: &rpc::ProfileStatus) -> bool {
    let token =
        profile.token.as_ref().is_some_and(|token| !matches!(token.state, TokenState::Valid | TokenState::None));
    token || profile.held.iter().any(|reason| *reason != HoldReason::Paused)
}

fn row(profile: &rpc::ProfileStatus, page: &Page) -> [String; 11] {
    let token = match &profile.token {
        None if profile.kind == ProfileKind::Smtp && profile.username.is_some() => "password".to_owned(),
        None => "–".to_owned(),
        Some(token) => match (token.state, token.expires_at) {
            (TokenState::Valid | TokenState::AtRisk, Some(ends)) => {
                format!("{} {}", token::state(token.state), human::between(page.now, ends))
            }
            (state, _) => token::state(state),
        },
    };
    [
        profile.name.to_string(),
        profile.kind.to_string(),
        text(profile.username.as_ref()),
        token,
        page.relative(profile.token.as_ref().and_then(|token| token.next_refresh_at)),
        profile.queue.as_ref().map_or_else(|| "–".to_owned(), |queue| queue.waiting.to_string()),
        join(profile.held.iter().map(|reason| reason.as_str().replace('_', " ")), ", "),
        profile.queue.as_ref().map_or_else(|| "–".to_owned(), |queue| queue.in_doubt.to_string()),
        page.relative(profile.queue.as_ref().and_then(|queue| queue.oldest_at)),
        page.relative(profile.token.as_ref().and_then(|token| token.refresh_token.expires_at)),
        profile
            .token
            .as_ref()
            .and_then(|token| token.last_error.as_ref())
            .map_or_else(String::new, |error| error.message.clone()),
    ]
}

fn since(problem: &rpc::Problem, page: &Page) -> String {
    match problem.since {
        Some(since) => format!("{} (since {})", problem.message, page.relative(Some(since))),
        None => problem.message.clone(),
    }
}

fn mark(health: rpc::Health) -> &'static str {
    match health {
        rpc::Health::Ok => GOOD,
        rpc::Health::Degraded => WARNING,
        rpc::Health::Critical => BAD,
    }
}

fn word(health: rpc::Health) -> &'static str {
    match health {
        rpc::Health::Ok => "ok",
        rpc::Health::Degraded => "degraded",
        rpc::Health::Critical => "critical",
    }
}
