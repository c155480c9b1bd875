//! Opens sessions for a profile: its credentials, and a new token once if the server refuses the one in use.

use std::time::Duration;

use frankd_proto::ProfileKind;

use super::shared::Shared;
use crate::domain::delivery::{Fault, Login, SessionFacts};
use crate::domain::{Profile, Submission};
use crate::policy::classify::smtp::{Context, Judgement, judge};
use crate::policy::retry::wants_new_token;
use crate::smtp::Session;
use crate::tokens::{Forced, Issued, Unavailable};

/// How long a delivery waits for a token.
const TOKEN_WAIT: Duration = Duration::from_secs(30);
/// How long a token should still live when it is used, if neither profile nor provider says.
const LEAST_LIFE: Duration = Duration::from_secs(60);

/// A session with what it was opened with.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    /// Revision of the profile then.
    pub(super) revision: u64,
    pub(super) credentials: Credentials,
}

/// What a login was made with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Credentials {
    /// Generation of the token, and how long it still lived.
    pub(super) token: Option<(u64, Duration)>,
    /// Whether the token is the answer to a refusal.
    pub(super) renewed: bool,
}

/// There is no session.
#[derive(Debug)]
pub(super) enum NoSession {
    /// There is no token.
    Token(Unavailable),
    /// A secret cannot be read.
    Secret(String),
    /// The server, or the way to it, is at fault.
    Fault(Box<Refused>),
}

/// A session that did not come about.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) fault: Fault,
    pub(super) judgement: Judgement,
    pub(super) transcript: Vec<String>,
}

/// Opens a session with the credentials as they are.
pub(super) async fn knock(shared: &Shared, profile: &Profile, to: &Submission) -> Result<Connection, NoSession> {
    let (login, credentials) = login(shared, profile).await?;
    attempt(shared, profile, to, login, credentials).await.map_err(NoSession::Fault)
}

/// Opens a session for mail: a token that is refused is replaced once.
pub(super) async fn open(shared: &Shared, profile: &Profile, to: &Submission) -> Result<Connection, NoSession> {
    let (login, credentials) = login(shared, profile).await?;
    let refused = match attempt(shared, profile, to, login, credentials).await {
        Ok(connection) => return Ok(connection),
        Err(refused) => refused,
    };
    match renew(shared, profile, credentials, &refused.judgement).await {
        None => Err(NoSession::Fault(refused)),
        Some(Err(why)) => Err(NoSession::Token(why)),
        Some(Ok(issued)) => {
            let credentials = Credentials { renewed: true, ..used(&issued) };
            attempt(shared, profile, to, token_login(profile, issued), credentials).await.map_err(NoSession::Fault)
        }
    }
}

/// Another token in the place of one that was refused: `None` if that would not help, or was tried just before.
pub(super) async fn renew(
    shared: &Shared,
    profile: &Profile,
    used: Credentials,
    judgement: &Judgement,
) -> Option<Result<Issued, Unavailable>> {
    let (generation, remaining) = used.token.filter(|_| !used.renewed)?;
    if !wants_new_token(judgement, remaining, least_life(shared, profile)) {
        return None;
    }
    match shared.tokens.refresh(profile.id, Forced::RefusedBySmtp { generation }, TOKEN_WAIT).await {
        Ok(issued) if issued.generation == generation => None,
        Err(Unavailable::RefusedRecently { .. }) => None,
        other => Some(other),
    }
}

fn least_life(shared: &Shared, profile: &Profile) -> Duration {
    let view = shared.registry.view();
    let seconds = profile.min_valid_s.or_else(|| view.preset(profile).and_then(|preset| preset.min_remaining_s));
    seconds.map_or(LEAST_LIFE, |seconds| Duration::from_secs(u64::from(seconds)))
}

async fn attempt(
    shared: &Shared,
    profile: &Profile,
    to: &Submission,
    login: Login,
    credentials: Credentials,
) -> Result<Connection, Box<Refused>> {
    match shared.smtp.open(to, login).await {
        Ok(session) => Ok(Connection { session, revision: profile.revision, credentials }),
        Err(failure) => {
            let judgement = judged(&failure.fault, profile, &failure.facts, credentials);
            Err(Box::new(Refused { fault: failure.fault, judgement, transcript: failure.transcript }))
        }
    }
}

/// What a fault of this profile's mail means.
pub(super) fn judged(fault: &Fault, profile: &Profile, facts: &SessionFacts, used: Credentials) -> Judgement {
    judge(fault, Context { profile, facts, fresh_token: used.renewed })
}

async fn login(shared: &Shared, profile: &Profile) -> Result<(Login, Credentials), NoSession> {
    if profile.kind == ProfileKind::Oauth2Smtp {
        let issued = shared.tokens.get(profile.id, None, TOKEN_WAIT).await.map_err(NoSession::Token)?;
        let used = used(&issued);
        return Ok((token_login(profile, issued), used));
    }
    let (Some(username), Some(secret)) = (&profile.username, &profile.password) else {
        return Ok((Login::Anonymous, Credentials::default()));
    };
    match shared.registry.secrets().resolve(secret) {
        Ok(password) => Ok((Login::Password { username: username.clone(), password }, Credentials::default())),
        Err(error) => Err(NoSession::Secret(error.to_string())),
    }
}

fn used(issued: &Issued) -> Credentials {
    Credentials { token: Some((issued.generation, issued.remaining)), renewed: false }
}

fn token_login(profile: &Profile, issued: Issued) -> Login {
    Login::Token { username: profile.username.clone().unwrap_or_default(), token: issued.access_token }
}
