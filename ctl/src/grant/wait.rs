//! Waiting for the end of a grant, and bringing it about. Both outlive a restart of the daemon, as the grant does.

use std::time::Duration;

use frankd_proto::methods::grant::{Completed, GrantView};
use frankd_proto::methods::{Empty, grant as rpc, queue, token};
use frankd_proto::{GrantId, GrantState, HoldReason, Kind, Name, RpcError, Secret};

use crate::app::App;
use crate::clock;
use crate::failure::{Doing, Failure};
use crate::host::Locator;
use crate::session::{self, Answer, Session};

/// Longest single `grant.wait`.
const LONG_POLL_S: u32 = 60;
/// How long a daemon that restarts is waited for when a redirect is at hand.
const RESTART_S: u32 = 30;

/// How a grant ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// By the redirect that we brought.
    Completed {
        /// The daemon's answer.
        answer: Box<Answer<Completed>>,
        /// How many messages waited for it, if we may know.
        waiting: Option<u64>,
    },
    /// Otherwise: completed elsewhere, called off, expired.
    Over(Box<Answer<GrantView>>),
}

impl Outcome {
    /// It ended without us.
    pub(crate) fn over(view: Answer<GrantView>) -> Self {
        Self::Over(Box::new(view))
    }
}

/// Waits until a grant is over, through restarts of the daemon.
pub(crate) async fn over(locator: Locator, id: GrantId) -> Result<Answer<GrantView>, Failure> {
    loop {
        let waited = async {
            let session = locator.connect().await?;
            let params = rpc::WaitParams { id, timeout_s: Some(LONG_POLL_S) };
            session.call::<rpc::Wait>(params, Doing::new(format!("wait for grant {id}"))).await
        };
        match waited.await {
            Ok(view) if is_over(view.value.state) => return Ok(view),
            Ok(_) => clock::sleep(Duration::from_millis(50)).await,
            Err(failure) if is_restart(&failure) => clock::sleep(Duration::from_secs(1)).await,
            Err(failure) => return Err(failure),
        }
    }
}

/// Gives the daemon the redirect. If the connection breaks, the grant itself tells whether it was used.
pub(crate) async fn complete(locator: &Locator, id: Option<GrantId>, url: Secret) -> Result<Outcome, Failure> {
    let mut tries = 0;
    loop {
        let failure = match attempt(locator, id, url.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        tries += 1;
        if !is_restart(&failure) || tries > RESTART_S {
            return Err(failure);
        }
        clock::sleep(Duration::from_secs(1)).await;
        if let Some(id) = id
            && let Ok(view) = view(locator, id).await
            && view.value.state != GrantState::Pending
        {
            return over(locator.clone(), id).await.map(Outcome::over);
        }
    }
}

/// Whether the grant still waits for its redirect.
pub(crate) async fn is_pending(locator: &Locator, id: GrantId) -> bool {
    view(locator, id).await.is_ok_and(|view| view.value.state == GrantState::Pending)
}

/// Turns a grant that ended without a token into the failure that it is.
pub(crate) fn check(grant: &GrantView) -> Result<(), Failure> {
    let doing = || Doing::profile("grant access to", &grant.profile);
    if let Some(error) = &grant.error {
        let error = RpcError { message: error.message.clone(), data: error.data.clone() };
        return Err(session::refused(doing(), error));
    }
    let (kind, message) = match grant.state {
        GrantState::Completed => return Ok(()),
        GrantState::Expired => (Kind::GrantExpired, "nobody finished signing in in time"),
        GrantState::Denied => (Kind::GrantDeniedByUser, "the person or a policy said no"),
        GrantState::Failed => (Kind::Internal, "the exchange failed"),
        GrantState::Cancelled => {
            return Err(Failure::Pending {
                what: format!("The grant {} was called off.", grant.id),
                next: format!("`frankctl grant {}` starts a new one", grant.profile),
            });
        }
        GrantState::Pending | GrantState::Exchanging => (Kind::GrantPending, "the grant is not finished yet"),
    };
    Err(session::refused(doing(), RpcError::new(kind, message)))
}

/// Shows the token that a grant completed elsewhere brought.
pub(crate) async fn show_token(app: &mut App, locator: &Locator, grant: &GrantView) -> Result<u8, Failure> {
    let profile = grant.profile.clone();
    let doing = Doing::new(format!("show the token of profile {profile}"));
    let session = locator.connect().await?;
    let answer = session.call::<token::Info>(token::OfProfile { profile }, doing).await?;
    app.print(&answer)
}

async fn attempt(locator: &Locator, id: Option<GrantId>, url: Secret) -> Result<Outcome, Failure> {
    let session = locator.connect().await?;
    let before = held(&session).await;
    let params = rpc::CompleteParams { id, redirect_url: url };
    let answer = session.call::<rpc::Complete>(params, Doing::new("complete the grant")).await?;
    let waiting = before.and_then(|profiles| {
        let profile = &answer.value.grant.profile;
        profiles.into_iter().find(|(name, _)| name == profile).map(|(_, n)| n)
    });
    Ok(Outcome::Completed { answer: Box::new(answer), waiting })
}

/// How much mail waits for a grant, by profile; nothing if we may not know.
async fn held(session: &Session) -> Option<Vec<(Name, u64)>> {
    let doing = Doing::new("count the queue");
    let summary = session.call::<queue::Summary>(Empty {}, doing).await.ok()?.value;
    let waits = |queue: queue::ProfileQueue| {
        queue.gates.contains(&HoldReason::GrantRequired).then_some((queue.profile, queue.waiting))
    };
    Some(summary.profiles.into_iter().filter_map(waits).collect())
}

async fn view(locator: &Locator, id: GrantId) -> Result<Answer<GrantView>, Failure> {
    let session = locator.connect().await?;
    session.call::<rpc::Get>(rpc::ById { id }, Doing::new(format!("show grant {id}"))).await
}

fn is_over(state: GrantState) -> bool {
    !matches!(state, GrantState::Pending | GrantState::Exchanging)
}

/// Whether the daemon is gone for now, which a restart explains.
fn is_restart(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused { error, .. } => error.kind() == Kind::DaemonShuttingDown,
        _ => false,
    }
}
