//! An authorization server in memory, for tests: it keeps the rules of one that rotates refresh tokens, and misbehaves
//! when told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frankd_proto::Secret;
use frankd_proto::error::ProviderError;
use futures::future::BoxFuture;

use super::AuthorizationServer;
use crate::clock::{ClockExt as _, Instant, SharedClock};
use crate::domain::answer::{FailureCause, RevocationCall, TokenAnswer, TokenCall, TokenFailure, TokenGrant};

/// What becomes of a refresh token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It stays (Google).
    None,
    /// A new one is given; the old one goes on working for 10 s (Cognito, Okta).
    Grace,
    /// A new one is given; using the old one again ends the grant (RFC 9700 §4.14.2).
    Strict,
}

/// What the server does with one request in place of its rules.
#[derive(Clone, Debug)]
pub enum Step {
    /// Refuses it.
    Refuse {
        /// HTTP status.
        status: u16,
        /// `error`.
        error: &'static str,
    },
    /// Answers with a status alone, and `Retry-After`.
    Status(u16, Option<Duration>),
    /// Cannot be reached.
    Unreachable,
    /// Does what was asked, and the answer is lost.
    LoseAnswer,
    /// Takes that long, and then does as it always does.
    Slow(Duration),
    /// Gives this answer.
    Give(Box<TokenAnswer>),
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// `client_credentials`, `refresh_token`, `authorization_code` or `revoke`.
    pub what: &'static str,
    /// The refresh token, code or token in it.
    pub with: Option<Secret>,
    /// The `client_id` in it.
    pub client_id: String,
    /// The client secret in it.
    pub client_secret: Option<Secret>,
}

/// The server.
#[derive(Debug)]
pub struct FakeServer {
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    life: Option<Duration>,
    takes: Duration,
    rotation: Rotation,
    script: VecDeque<Step>,
    unreachable: bool,
    issued: u64,
    /// Refresh tokens that work, and when they stop.
    live: BTreeMap<String, Option<Instant>>,
    /// Refresh tokens that were replaced.
    used: BTreeSet<String>,
    codes: BTreeMap<String, TokenAnswer>,
    seen: Vec<Seen>,
    at_once: usize,
    most_at_once: usize,
    revokes: bool,
}

impl FakeServer {
    /// A server that gives tokens of one hour at once and rotates nothing.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::new(State {
                life: Some(Duration::from_secs(3600)),
                takes: Duration::ZERO,
                rotation: Rotation::None,
                script: VecDeque::new(),
                unreachable: false,
                issued: 0,
                live: BTreeMap::new(),
                used: BTreeSet::new(),
                codes: BTreeMap::new(),
                seen: Vec::new(),
                at_once: 0,
                most_at_once: 0,
                revokes: true,
            }),
        })
    }

    /// Life of the tokens from now on; `None` leaves `expires_in` out.
    pub fn set_life(&self, life: Option<Duration>) {
        self.lock().life = life;
    }

    /// Time that an answer takes from now on.
    pub fn set_takes(&self, takes: Duration) {
        self.lock().takes = takes;
    }

    /// What becomes of used refresh tokens.
    pub fn set_rotation(&self, rotation: Rotation) {
        self.lock().rotation = rotation;
    }

    /// Whether it can be reached.
    pub fn set_reachable(&self, reachable: bool) {
        self.lock().unreachable = !reachable;
    }

    /// Whether revocation works.
    pub fn set_revokes(&self, revokes: bool) {
        self.lock().revokes = revokes;
    }

    /// Does this with the next request that has no step yet.
    pub fn then(&self, step: Step) {
        self.lock().script.push_back(step);
    }

    /// Knows a refresh token.
    pub fn know(&self, refresh_token: &str) {
        self.lock().live.insert(refresh_token.to_owned(), None);
    }

    /// Ends a refresh token.
    pub fn end(&self, refresh_token: &str) {
        self.lock().live.remove(refresh_token);
    }

    /// Whether a refresh token works.
    pub fn is_live(&self, refresh_token: &Secret) -> bool {
        let now = self.clock.now();
        self.lock().live.get(refresh_token.expose()).is_some_and(|until| until.is_none_or(|until| until > now))
    }

    /// Gives `answer` for a code, once.
    pub fn expect_code(&self, code: &str, answer: TokenAnswer) {
        self.lock().codes.insert(code.to_owned(), answer);
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// The most requests that were on their way at once.
    pub fn most_at_once(&self) -> usize {
        self.lock().most_at_once
    }

    /// An answer with an access token, and the refresh token, if one is named.
    pub fn answer(access_token: &str, refresh_token: Option<&str>) -> TokenAnswer {
        TokenAnswer {
            access_token: Secret::new(access_token),
            expires_in: Some(Duration::from_secs(3600)),
            refresh_in: None,
            refresh_token: refresh_token.map(Secret::new),
            refresh_expires_in: None,
            scopes: None,
            account: None,
            warnings: Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, call: TokenCall) -> Result<TokenAnswer, TokenFailure> {
        let (what, with) = match &call.grant {
            TokenGrant::ClientCredentials => ("client_credentials", None),
            TokenGrant::RefreshToken(token) => ("refresh_token", Some(token.clone())),
            TokenGrant::AuthorizationCode { code, .. } => ("authorization_code", Some(code.clone())),
        };
        let (step, takes) = {
            let mut state = self.lock();
            state.saw(self.clock.now(), what, with, &call.client_id, call.client_secret.clone());
            let step = if state.unreachable { Some(Step::Unreachable) } else { state.script.pop_front() };
            (step, state.takes)
        };
        let takes = if let Some(Step::Slow(takes)) = step { takes } else { takes };
        if !takes.is_zero() {
            self.clock.sleep(takes).await;
        }
        let now = self.clock.now();
        let mut state = self.lock();
        state.at_once -= 1;
        match step {
            Some(Step::Refuse { status, error }) => Err(refusal(status, error)),
            Some(Step::Status(status, retry_after)) => Err(TokenFailure {
                cause: FailureCause::Status(status),
                retry_after,
                provider: ProviderError { status: Some(status), ..ProviderError::default() },
            }),
            Some(Step::Unreachable) => Err(unanswered(FailureCause::Unreachable("no route to host".to_owned()))),
            Some(Step::LoseAnswer) => {
                state.act(&call, now).ok();
                Err(unanswered(FailureCause::Ambiguous("connection reset".to_owned())))
            }
            Some(Step::Give(answer)) => Ok(*answer),
            Some(Step::Slow(_)) | None => state.act(&call, now),
        }
    }
}

impl State {
    fn saw(&mut self, at: Instant, what: &'static str, with: Option<Secret>, client: &str, secret: Option<Secret>) {
        let client_id = client.to_owned();
        self.seen.push(Seen { at, what, with, client_id, client_secret: secret });
        self.at_once += 1;
        self.most_at_once = self.most_at_once.max(self.at_once);
    }

    fn act(&mut self, call: &TokenCall, now: Instant) -> Result<TokenAnswer, TokenFailure> {
        let refresh_token = match &call.grant {
            TokenGrant::ClientCredentials => None,
            TokenGrant::RefreshToken(token) => self.rotate(token.expose(), now)?,
            TokenGrant::AuthorizationCode { code, .. } => {
                let answer = self.codes.remove(code.expose()).ok_or_else(|| refusal(400, "invalid_grant"))?;
                let token = answer.refresh_token.iter().map(|token| (token.expose().to_owned(), None));
                self.live.extend(token);
                return Ok(answer);
            }
        };
        self.issued += 1;
        let mut answer = FakeServer::answer(&format!("access-{}", self.issued), refresh_token.as_deref());
        answer.expires_in = self.life;
        Ok(answer)
    }

    fn rotate(&mut self, token: &str, now: Instant) -> Result<Option<String>, TokenFailure> {
        let live = self.live.get(token).is_some_and(|until| until.is_none_or(|until| until > now));
        if !live {
            if self.rotation == Rotation::Strict && self.used.contains(token) {
                self.live.clear();
            }
            return Err(refusal(400, "invalid_grant"));
        }
        let next = format!("refresh-{}", self.issued + 1);
        match self.rotation {
            Rotation::None => return Ok(None),
            Rotation::Grace => {
                let until = now + Duration::from_secs(10);
                self.live.entry(token.to_owned()).and_modify(|old| *old = old.or(Some(until)));
            }
            Rotation::Strict => {
                self.live.remove(token);
            }
        }
        self.used.insert(token.to_owned());
        self.live.insert(next.clone(), None);
        Ok(Some(next))
    }
}

impl AuthorizationServer for FakeServer {
    fn token(&self, call: TokenCall) -> BoxFuture<'_, Result<TokenAnswer, TokenFailure>> {
        Box::pin(self.serve(call))
    }

    fn revoke(&self, call: RevocationCall) -> BoxFuture<'_, Result<(), TokenFailure>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.saw(self.clock.now(), "revoke", Some(call.token.clone()), &call.client_id, call.client_secret);
            state.at_once -= 1;
            if !state.revokes {
                return Err(unanswered(FailureCause::Status(503)));
            }
            state.live.remove(call.token.expose());
            Ok(())
        })
    }
}

fn refusal(status: u16, error: &str) -> TokenFailure {
    TokenFailure {
        cause: FailureCause::Refused(error.to_owned()),
        retry_after: None,
        provider: ProviderError { status: Some(status), error: Some(error.to_owned()), ..ProviderError::default() },
    }
}

fn unanswered(cause: FailureCause) -> TokenFailure {
    TokenFailure { cause, retry_after: None, provider: ProviderError::default() }
}
