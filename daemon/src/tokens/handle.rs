//! The handle: what everybody else does with tokens.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use frankd_proto::ProfileId;
use jiff::Timestamp;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};

use super::keeper::{Ask, Keeper};
use super::lane::{self, Fresh, Lane, Shown, whole};
use super::offer::{self, Asking, Offer};
use super::record::{self, Arrival};
use super::{AdoptError, Forced, House, Issued, Parts, Revocation, SlotInfo, Unavailable, audit, call, revoke};
use crate::clock::ClockExt as _;
use crate::domain::answer::TokenAnswer;
use crate::domain::{Caller, NewEvent, SlotIdentity, TokenSlot};
use crate::policy::life::{Boot, Trouble};
use crate::store::Change;

/// Questions that may wait for the keeper.
const ASKS: usize = 256;

/// Access tokens of all profiles. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    house: Arc<House>,
    keeper: mpsc::Sender<Ask>,
}

/// What a grant brought.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The profile that it is for.
    pub profile: ProfileId,
    /// What the tokens were issued to.
    pub identity: SlotIdentity,
    /// The answer.
    pub answer: TokenAnswer,
    /// When the code was sent.
    pub sent_at: Timestamp,
    /// What is committed with the tokens: the grant that is over.
    pub changes: Vec<Change>,
    /// What is told besides `token.refreshed`.
    pub events: Vec<NewEvent>,
}

/// A slot that nobody writes while this lives: so that it can be deleted in one commit with its profile.
#[derive(Debug)]
pub struct Frozen {
    slot: OwnedMutexGuard<TokenSlot>,
}

impl Frozen {
    /// The version that [`Change::DeleteSlot`] names; `None` if the slot was never written.
    pub fn version(&self) -> Option<u64> {
        record::expected(&self.slot)
    }
}

/// Who waits for a token, and how long.
struct Waiter {
    lane: Arc<Lane>,
    seen: watch::Receiver<Shown>,
    until: Boot,
}

impl Waiter {
    /// Whether nothing will happen before the waiter's time is up.
    fn is_hopeless(&self) -> bool {
        let shown = self.lane.shown();
        let outlook = &shown.outlook;
        match outlook.trouble {
            _ if outlook.refreshing => false,
            None => false,
            Some(Trouble::NeedsGrant | Trouble::Misconfigured) => true,
            Some(Trouble::Retrying) => outlook.next.is_none_or(|next| next > self.until),
        }
    }
}

impl Tokens {
    /// The handle, and the keeper's task, which the caller spawns. To be called inside the runtime: what is due at once
    /// begins at once.
    pub fn start(parts: Parts, slots: Vec<TokenSlot>) -> (Self, impl Future<Output = ()> + Send) {
        let (keeper, asks) = mpsc::channel(ASKS);
        let house = Arc::new(House {
            parts,
            lanes: RwLock::default(),
            changed: watch::Sender::new(0),
            aloft: watch::Sender::new(0),
            audit: audit::Audit::default(),
            stopping: false.into(),
        });
        let task = Keeper::new(Arc::clone(&house), asks, keeper.clone(), slots).run();
        (Self { house, keeper }, task)
    }

    /// A token that still lives `min_valid`; the minimum of profile or provider if absent. Waits up to `wait` for one.
    pub async fn get(
        &self,
        profile: ProfileId,
        min_valid: Option<Duration>,
        wait: Duration,
    ) -> Result<Issued, Unavailable> {
        let lane = self.lane(profile).await?;
        match self.offer(&lane, min_valid)? {
            Offer::Token(issued) => return Ok(*issued),
            Offer::Nothing(why) => return Err(why),
            Offer::Wait(_) if self.house.is_stopping() => return Err(Unavailable::Stopping),
            Offer::Wait(_) => {}
        }
        let mut waiter = self.waiter(lane, wait);
        let before = waiter.seen.borrow_and_update().outlook.ended;
        self.demand(profile, !wait.is_zero()).await?;
        loop {
            let ended = waiter.seen.borrow_and_update().outlook.ended > before;
            match self.offer(&waiter.lane, min_valid)? {
                Offer::Token(issued) => return Ok(*issued),
                Offer::Nothing(why) => return Err(why),
                Offer::Wait(yet) => {
                    if let Some(longest) = self.best(&waiter).filter(|_| ended && min_valid.is_some()) {
                        return Err(Unavailable::ValidityUnreachable { longest });
                    }
                    if waiter.is_hopeless() || !self.wait(&mut waiter).await {
                        return *yet;
                    }
                }
            }
        }
    }

    /// Fetches a new token now, and waits up to `wait` for it.
    pub async fn refresh(&self, profile: ProfileId, why: Forced, wait: Duration) -> Result<Issued, Unavailable> {
        let lane = self.lane(profile).await?;
        let mut before = lane.shown();
        if let Forced::RefusedBySmtp { generation } = why
            && generation != before.slot.generation
        {
            return self.get(profile, None, wait).await;
        }
        self.force(profile, why).await?;
        let mut waiter = self.waiter(lane, wait);
        loop {
            let shown = waiter.seen.borrow_and_update().clone();
            if shown.slot.generation > before.slot.generation {
                return self.get(profile, None, Duration::ZERO).await;
            }
            let ended = shown.outlook.ended > before.outlook.ended;
            if ended && waiter.is_hopeless() {
                return Err(failing(&shown, self.house.parts.now()));
            }
            let idle = !shown.outlook.refreshing && shown.outlook.fault.is_none();
            if ended && idle && before.outlook.refreshing {
                // The request that this one had joined had brought its token before.
                before = shown;
                self.force(profile, why).await?;
                continue;
            }
            if !self.wait(&mut waiter).await {
                return Err(Unavailable::Refreshing { retry_after: Duration::from_secs(1) });
            }
        }
    }

    async fn force(&self, profile: ProfileId, why: Forced) -> Result<(), Unavailable> {
        let (done, answer) = oneshot::channel();
        self.ask(Ask::Force { profile, why, done }).await?;
        answer.await.map_err(|_| Unavailable::Stopping)?
    }

    /// Takes the tokens of a grant, durably: returns when they are on disk and in use.
    ///
    /// Runs to its end whether the caller waits or not.
    pub async fn adopt(&self, adoption: Adoption) -> Result<(), AdoptError> {
        let profile = adoption.profile;
        let lane = self.lane(profile).await.map_err(|_| AdoptError::NoProfile)?;
        let aloft = self.house.take_off();
        let tokens = self.clone();
        let task = tokio::spawn(async move {
            let _aloft = aloft;
            let adopted = tokens.take_over(&lane, adoption).await;
            tokens.ask(Ask::Changed(profile)).await.ok();
            adopted
        });
        task.await.unwrap_or(Err(AdoptError::NoProfile))
    }

    /// Whether a grant that brings this answer leaves the slot without a refresh token.
    pub fn lacks_refresh_token(&self, profile: ProfileId, answer: &TokenAnswer, identity: &SlotIdentity) -> bool {
        let arrival = self.arrival(answer, identity);
        let kept = |lane: Arc<Lane>| record::kept_refresh_token(&lane.shown().slot, &arrival).is_some();
        answer.refresh_token.is_none() && !self.house.lane(profile).is_some_and(kept)
    }

    /// Whether a grant that brings this answer leaves an earlier refresh token in use that may be another account's.
    pub fn keeps_in_doubt(&self, profile: ProfileId, answer: &TokenAnswer, identity: &SlotIdentity) -> bool {
        let arrival = self.arrival(answer, identity);
        let Some(shown) = self.house.lane(profile).map(|lane| lane.shown()) else { return false };
        let before = shown.slot.tokens.as_ref().and_then(|tokens| tokens.account.as_ref());
        let known = before.is_some() && answer.account.is_some();
        record::kept_refresh_token(&shown.slot, &arrival).is_some() && !known
    }

    fn arrival(&self, answer: &TokenAnswer, identity: &SlotIdentity) -> Arrival {
        Arrival { answer: answer.clone(), sent_at: self.house.parts.clock.wall(), identity: identity.clone() }
    }

    /// Revokes the tokens at the server (RFC 7009), unless only here, and forgets them. Says what became of it there.
    pub async fn revoke(&self, profile: ProfileId, local_only: bool) -> Result<Revocation, Unavailable> {
        let lane = self.lane(profile).await?;
        let aloft = self.house.take_off();
        let tokens = self.clone();
        let task = tokio::spawn(async move {
            let _aloft = aloft;
            let revoked = revoke::revoke(Arc::clone(&tokens.house), lane, local_only).await;
            tokens.ask(Ask::Changed(profile)).await.ok();
            revoked
        });
        task.await.unwrap_or(Err(Unavailable::Stopping))
    }

    /// Keeps everybody from writing a profile's slot. `None` if there is none, or if it cannot be written now.
    pub fn freeze(&self, profile: ProfileId) -> Option<Frozen> {
        let slot = self.house.lane(profile)?.try_write()?;
        Some(Frozen { slot })
    }

    /// The profile was deleted: its slot is no longer written. Called before its [`Frozen`] goes.
    pub async fn forget(&self, profile: ProfileId) {
        if let Some(lane) = self.house.lane(profile) {
            lane.end();
        }
        self.ask(Ask::Forget(profile)).await.ok();
    }

    /// A profile's slot now. `None` if the profile has no tokens.
    pub fn info(&self, profile: ProfileId) -> Option<SlotInfo> {
        let parts = &self.house.parts;
        let (now, wall) = (parts.now(), parts.clock.wall());
        if let Some(lane) = self.house.lane(profile) {
            return Some(lane.shown().info(now, wall));
        }
        let view = parts.registry.view();
        let (profile, _) = call::parties(&view, profile)?;
        let mut shown = Lane::new(record::empty(profile.id), now, wall).shown();
        shown.outlook.interactive = call::is_interactive(profile);
        Some(shown.info(now, wall))
    }

    /// A caller was handed the token: counted, and on disk within a second.
    pub fn handed_out(&self, profile: ProfileId, caller: &Caller) {
        self.house.audit.count(profile, caller, self.house.parts.clock.wall());
    }

    /// Changes whenever a slot does.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.house.changed.subscribe()
    }

    /// Returns when the keeper has answered: it is alive.
    pub async fn ping(&self) {
        let (done, answer) = oneshot::channel();
        if self.ask(Ask::Ping(done)).await.is_ok() {
            answer.await.ok();
        }
    }

    /// Starts nothing new, and waits up to `limit` for what is on its way. Ends the keeper.
    pub async fn stop(&self, limit: Duration) {
        self.house.stopping.store(true, Ordering::Relaxed);
        self.ask(Ask::Stop).await.ok();
        let mut aloft = self.house.aloft.subscribe();
        let landed = async { aloft.wait_for(|count| *count == 0).await.map(drop) };
        if self.house.parts.clock.deadline(limit, landed).await.is_err() {
            tracing::warn!("token requests are still on their way: the next start takes them up again");
        }
    }

    async fn ask(&self, ask: Ask) -> Result<(), Unavailable> {
        self.keeper.send(ask).await.map_err(|_| Unavailable::Stopping)
    }

    /// Says that somebody waits; with `heard`, returns when the keeper has taken note.
    async fn demand(&self, profile: ProfileId, heard: bool) -> Result<(), Unavailable> {
        let (done, answer) = oneshot::channel();
        self.ask(Ask::Demand { profile, done }).await?;
        if heard {
            answer.await.map_err(|_| Unavailable::Stopping)?;
        }
        Ok(())
    }

    /// The lane of a profile. One that was just made may not be known to the keeper yet.
    async fn lane(&self, profile: ProfileId) -> Result<Arc<Lane>, Unavailable> {
        if let Some(lane) = self.house.lane(profile) {
            return Ok(lane);
        }
        {
            let view = self.house.parts.registry.view();
            let known = view.profile(profile).ok_or(Unavailable::NoProfile)?;
            call::parties(&view, known.id).ok_or(Unavailable::NoTokens)?;
        }
        self.demand(profile, true).await?;
        self.house.lane(profile).ok_or(Unavailable::NoProfile)
    }

    fn offer(&self, lane: &Lane, min_valid: Option<Duration>) -> Result<Offer, Unavailable> {
        let parts = &self.house.parts;
        let view = parts.registry.view();
        let profile = view.profile(lane.profile).filter(|_| !lane.is_gone()).ok_or(Unavailable::NoProfile)?;
        let identity = view.identity(profile).ok_or(Unavailable::NoTokens)?;
        let asking = Asking { identity: &identity, min_valid, now: parts.now(), wall: parts.clock.wall() };
        Ok(offer::offer(&lane.shown(), &asking))
    }

    fn waiter(&self, lane: Arc<Lane>, wait: Duration) -> Waiter {
        Waiter { seen: lane.shown.subscribe(), lane, until: self.house.parts.now() + wait }
    }

    /// Waits for news. False when the time is up.
    async fn wait(&self, waiter: &mut Waiter) -> bool {
        let left = waiter.until.saturating_sub(self.house.parts.now());
        !left.is_zero()
            && self.house.parts.clock.deadline(left, waiter.seen.changed()).await.is_ok_and(|news| news.is_ok())
    }

    /// What a token that was just fetched still lives.
    fn best(&self, waiter: &Waiter) -> Option<Duration> {
        let shown = waiter.lane.shown();
        let fetched = shown.outlook.trouble.is_none() && !shown.outlook.refreshing;
        shown.remaining(self.house.parts.now()).filter(|_| fetched).map(|(_, left)| left)
    }

    async fn take_over(&self, lane: &Lane, adoption: Adoption) -> Result<(), AdoptError> {
        let parts = &self.house.parts;
        let mut slot = lane.write().await.ok_or(AdoptError::NoProfile)?;
        let (now, wall) = (parts.now(), parts.clock.wall());
        let event = {
            let view = parts.registry.view();
            let (profile, client) = call::parties(&view, lane.profile).ok_or(AdoptError::NoProfile)?;
            if view.identity(profile).as_ref() != Some(&adoption.identity) {
                return Err(AdoptError::IdentityChanged);
            }
            NewEvent::new(wall, frankd_proto::EventType::TokenRefreshed).profile(&profile.name).client(&client.name)
        };
        let arrival = Arrival { answer: adoption.answer, sent_at: adoption.sent_at, identity: adoption.identity };
        let next = record::adopted(&slot, &arrival, wall);
        let life = next.tokens.as_ref().map_or(Duration::ZERO, whole);
        let age = Duration::try_from(wall.duration_since(adoption.sent_at)).unwrap_or_default();
        let mut events = vec![lane::refreshed(&next, event)];
        events.extend(adoption.events);
        let fresh = Fresh { slot: next, expires: now + life.saturating_sub(age), changes: adoption.changes, events };
        lane.keep(&self.house, &mut slot, fresh).await.map_err(AdoptError::Store)
    }
}

/// Why a forced refresh brought nothing.
fn failing(shown: &Shown, now: Boot) -> Unavailable {
    let outlook = &shown.outlook;
    match (outlook.trouble, outlook.fault.clone()) {
        (Some(Trouble::Misconfigured), Some(failure)) => Unavailable::Misconfigured { failure },
        (Some(Trouble::Retrying), Some(failure)) => Unavailable::Failing {
            failure,
            retry_after: outlook.next.map_or(Duration::from_secs(1), |next| next.saturating_sub(now)),
        },
        (_, failure) => Unavailable::NeedsGrant { failure },
    }
}
