//! The task that owns all grants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::{EventType, Flow, GrantId, GrantState, GrantVia, Name, ProfileId, Secret};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use super::exchange::{self, Taken};
use super::{Begun, GrantError, Parts, Snapshot, ending};
use crate::clock::{Instant, SLICE};
use crate::domain::{Grant, NewEvent};
use crate::entropy::EntropyExt as _;
use crate::fail_point;
use crate::oauth::authorization_url::{AuthorizationRequest, authorization_url};
use crate::oauth::digest;
use crate::oauth::redirect::{self, Answer};
use crate::policy::grant::{self as rule, Happening};
use crate::store::Change;

/// How long a grant that is over is shown.
const SHOWN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Ports from which one is drawn where nobody listens (RFC 6335 §6).
const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// What the broker is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// Begin a grant.
    Begin {
        profile: ProfileId,
        via: GrantVia,
        port: Option<u16>,
        uid: u32,
        done: oneshot::Sender<Result<Begun, GrantError>>,
    },
    /// Take a redirect. The answer is the grant that it belongs to, which then ends by itself.
    Complete { id: Option<GrantId>, redirect: Secret, done: oneshot::Sender<Result<GrantId, GrantError>> },
    /// Call a grant off.
    Cancel { id: GrantId, done: oneshot::Sender<Result<Grant, GrantError>> },
    /// An exchange ended; its grant is on disk, or cannot be written.
    Ended(Box<Grant>),
    /// The daemon is going down.
    Stop,
}

/// The task's state.
pub(super) struct Broker {
    parts: Parts,
    asks: mpsc::Receiver<Ask>,
    own: mpsc::Sender<Ask>,
    shown: watch::Sender<Snapshot>,
    aloft: Arc<watch::Sender<usize>>,
}

impl Broker {
    pub(super) fn new(parts: Parts, asks: mpsc::Receiver<Ask>, own: mpsc::Sender<Ask>, grants: Vec<Grant>) -> Self {
        let grants: BTreeMap<_, _> = grants.into_iter().map(|grant| (grant.id, Arc::new(grant))).collect();
        Self { parts, asks, own, shown: watch::Sender::new(Arc::new(grants)), aloft: Arc::new(watch::Sender::new(0)) }
    }

    /// What readers follow: the grants, and the number of exchanges.
    pub(super) fn follow(&self) -> (watch::Receiver<Snapshot>, watch::Receiver<usize>) {
        (self.shown.subscribe(), self.aloft.subscribe())
    }

    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        for grant in self.in_state(GrantState::Exchanging) {
            let fault = ending::cut_short(self.name(grant.profile).as_ref());
            self.end(&grant, Happening::Restart, GrantState::Failed, Some(fault)).await.ok();
        }
        loop {
            self.expire().await;
            let wakes_at = self.next_wake();
            let sleep = self.parts.clock.sleep_until(wakes_at);
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(Ask::Stop) | None => return,
                    Some(ask) => self.hear(ask).await,
                },
                () = sleep => {}
            }
        }
    }

    async fn hear(&mut self, ask: Ask) {
        match ask {
            Ask::Begin { profile, via, port, uid, done } => {
                let begun = self.begin(profile, via, port, uid).await;
                done.send(begun).ok();
            }
            Ask::Complete { id, redirect, done } => {
                let taken = self.complete(id, &redirect).await;
                done.send(taken).ok();
            }
            Ask::Cancel { id, done } => {
                let cancelled = self.cancel(id).await;
                done.send(cancelled).ok();
            }
            Ask::Ended(grant) => self.show(*grant),
            Ask::Stop => {}
        }
    }

    async fn begin(
        &mut self,
        profile: ProfileId,
        via: GrantVia,
        port: Option<u16>,
        uid: u32,
    ) -> Result<Begun, GrantError> {
        let view = self.parts.registry.view();
        let profile = view.profile(profile).ok_or(GrantError::NoProfile)?;
        let (Some(client), Some(Flow::Interactive), Some(identity)) =
            (view.client_of(profile), profile.flow, view.identity(profile))
        else {
            return Err(GrantError::Unsupported(format!("{} gets its tokens without a person, or none", profile.name)));
        };
        let Some(endpoint) = &client.authorization_endpoint else {
            return Err(GrantError::Unsupported(format!("client {} has no authorization_endpoint", client.name)));
        };
        let port = match (via, port) {
            (_, Some(port)) if port > 0 => port,
            (_, Some(_)) | (GrantVia::ClientLoopback, None) => return Err(GrantError::PortNeeded),
            (GrantVia::Paste, None) => self.unused_port(),
        };
        let redirect_uri = client.redirect_uri.replace("{port}", &port.to_string());
        let mut params = view.authorization_params(profile);
        if let Some(username) = &profile.username {
            params.entry("login_hint".to_owned()).or_insert_with(|| username.clone());
        }
        let entropy = &self.parts.entropy;
        let (state, code_verifier) = (Secret::new(entropy.token_256()), Secret::new(entropy.token_256()));
        let authorization_url = authorization_url(&AuthorizationRequest {
            authorization_endpoint: endpoint,
            client_id: &client.client_id,
            redirect_uri: &redirect_uri,
            scopes: &identity.scopes,
            state: &state,
            code_verifier: &code_verifier,
            params: &params,
        });
        let authorization_url = authorization_url
            .map_err(|error| GrantError::Unsupported(format!("client {} has no usable URL: {error}", client.name)))?;
        let wall = self.parts.clock.wall();
        let grant = Grant {
            id: GrantId::from_bits(entropy.ulid(wall)),
            profile: profile.id,
            client: client.id,
            identity,
            via,
            state: GrantState::Pending,
            state_digest: digest::state_digest(&state),
            code_verifier: Some(code_verifier),
            redirect_uri: redirect_uri.clone(),
            created_at: wall,
            expires_at: rule::expires_at(wall),
            ended_at: None,
            account: None,
            warnings: Vec::new(),
            error: None,
            uid,
        };
        let event = NewEvent::new(wall, EventType::GrantStarted)
            .profile(&profile.name)
            .client(&client.name)
            .object(grant.id)
            .with("via", via.as_str())
            .with("uid", uid);
        self.write(grant.clone(), None, event).await?;
        Ok(Begun { grant, authorization_url, redirect_uri })
    }

    async fn complete(&mut self, id: Option<GrantId>, redirect: &Secret) -> Result<GrantId, GrantError> {
        let redirect = redirect::parse(redirect)?;
        let grants = Arc::clone(&self.shown.borrow());
        if id.is_some_and(|id| !grants.contains_key(&id)) {
            return Err(GrantError::NotFound);
        }
        let grant = grants.values().find(|grant| digest::is_state(&redirect.state, &grant.state_digest));
        let grant = grant.filter(|grant| id.is_none_or(|id| grant.id == id)).ok_or(GrantError::StateMismatch)?;
        if grant.state == GrantState::Expired {
            return Err(GrantError::Expired);
        }
        rule::next(grant.state, Happening::Code).map_err(|impossible| GrantError::Over(impossible.0))?;
        if grant.expires_at <= self.parts.clock.wall() {
            self.expire().await;
            return Err(GrantError::Expired);
        }
        rule::check_issuer(grant.identity.issuer.as_deref(), redirect.issuer.as_deref())?;
        let name = self.name(grant.profile);
        match redirect.answer {
            Answer::Error { error, description } => {
                let (state, fault) = ending::refused(&error, description.as_deref(), name.as_ref());
                let happening = if state == GrantState::Denied { Happening::Denial } else { Happening::Failure };
                self.end(grant, happening, state, Some(fault)).await?;
            }
            Answer::Code(code) => self.take(grant, code).await?,
        }
        Ok(grant.id)
    }

    /// Takes a pending grant, so that its code is sent by nobody else, and has it exchanged.
    async fn take(&mut self, grant: &Grant, code: Secret) -> Result<(), GrantError> {
        let state = rule::next(grant.state, Happening::Code).map_err(|impossible| GrantError::Over(impossible.0))?;
        let taken = Grant { state, code_verifier: None, ..grant.clone() };
        let change = Change::PutGrant { grant: Box::new(taken.clone()), expected: Some(grant.state) };
        self.parts.store.commit(vec![change], Vec::new()).await?;
        fail_point::hit("grant.after_take").ok();
        self.show(taken.clone());
        let code_verifier = grant.code_verifier.clone().unwrap_or_default();
        let taken = Taken { grant: taken, code, code_verifier };
        let (parts, own, aloft) = (self.parts.clone(), self.own.clone(), Arc::clone(&self.aloft));
        aloft.send_modify(|count| *count += 1);
        tokio::spawn(async move {
            // A task of its own, so that a fault in it ends the grant like any other.
            let cut_short = exchange::cut_short(&parts, &taken.grant);
            let exchanged = tokio::spawn(async move { exchange::exchange(&parts, taken).await });
            let ended = exchanged.await.unwrap_or(cut_short);
            own.send(Ask::Ended(Box::new(ended))).await.ok();
            aloft.send_modify(|count| *count = count.saturating_sub(1));
        });
        Ok(())
    }

    async fn cancel(&mut self, id: GrantId) -> Result<Grant, GrantError> {
        let grant = self.shown.borrow().get(&id).cloned().ok_or(GrantError::NotFound)?;
        self.end(&grant, Happening::Cancellation, GrantState::Cancelled, None).await
    }

    async fn expire(&mut self) {
        let wall = self.parts.clock.wall();
        for grant in self.in_state(GrantState::Pending).into_iter().filter(|grant| grant.expires_at <= wall) {
            let fault = ending::too_late(self.name(grant.profile).as_ref());
            if let Err(error) = self.end(&grant, Happening::TimeUp, GrantState::Expired, Some(fault)).await {
                tracing::debug!(grant = %grant.id, %error, "an expired grant could not be written yet");
            }
        }
    }

    /// Ends a grant without a token.
    async fn end(
        &mut self,
        grant: &Grant,
        happening: Happening,
        state: GrantState,
        fault: Option<frankd_proto::methods::grant::GrantError>,
    ) -> Result<Grant, GrantError> {
        rule::next(grant.state, happening).map_err(|impossible| GrantError::Over(impossible.0))?;
        let wall = self.parts.clock.wall();
        let ended = ending::ended(grant, state, fault, wall);
        let event = ending::event(&ended, self.name(grant.profile).as_ref(), wall);
        self.write(ended.clone(), Some(grant.state), event).await?;
        Ok(ended)
    }

    async fn write(&mut self, grant: Grant, expected: Option<GrantState>, event: NewEvent) -> Result<(), GrantError> {
        let change = Change::PutGrant { grant: Box::new(grant.clone()), expected };
        self.parts.store.commit(vec![change], vec![event]).await?;
        self.show(grant);
        Ok(())
    }

    /// Shows a grant as it is now, and drops those that have been over for long.
    fn show(&self, grant: Grant) {
        let wall = self.parts.clock.wall();
        self.shown.send_modify(|shown| {
            let grants = Arc::make_mut(shown);
            grants.insert(grant.id, Arc::new(grant));
            grants.retain(|_, grant| grant.ended_at.is_none_or(|ended: Timestamp| wall.duration_since(ended) < SHOWN));
        });
    }

    fn in_state(&self, state: GrantState) -> Vec<Arc<Grant>> {
        self.shown.borrow().values().filter(|grant| grant.state == state).cloned().collect()
    }

    fn name(&self, profile: ProfileId) -> Option<Name> {
        self.parts.registry.view().profile(profile).map(|profile| profile.name.clone())
    }

    /// Expiry is a wall-clock moment, so the clock is looked at every 15 s while a grant is pending.
    fn next_wake(&self) -> Instant {
        let wall = self.parts.clock.wall();
        let left = |grant: Arc<Grant>| Duration::try_from(grant.expires_at.duration_since(wall)).unwrap_or_default();
        let first = self.in_state(GrantState::Pending).into_iter().map(left).min();
        self.parts.clock.now() + first.map_or(rule::LIFE, |first| first.clamp(Duration::from_secs(1), SLICE))
    }

    /// A port of the dynamic range, where the browser finds nobody: the person pastes its address.
    fn unused_port(&self) -> u16 {
        let (first, last) = (u64::from(*DYNAMIC_PORTS.start()), u64::from(*DYNAMIC_PORTS.end()));
        u16::try_from(first + self.parts.entropy.bits() % (last - first + 1)).unwrap_or(*DYNAMIC_PORTS.end())
    }
}
