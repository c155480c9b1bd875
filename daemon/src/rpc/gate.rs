//! The access check: a layer around the methods that every framing goes through.
//!
//! Calls are checked one by one, those of a batch too. What is refused is told with the missing capability, the group to
//! join and the rule to write; it is reported to the audit at most once a minute for each user.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use frankd_proto::methods::{event, table};
use frankd_proto::{Kind, RpcError};
use futures::future::Either;
use jsonrpsee::core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request, RpcServiceT};
use jsonrpsee::core::server::{Extensions, MethodResponse};
use jsonrpsee::types::ErrorObjectOwned;

use super::budget::Octets;
use super::context::{Access, CallContext};
use super::denied::Denied;
use super::house::House;
use super::limits::User;
use super::peer::{Peer, explain_hidden};
use super::{audit, params, registrar};
use crate::clock::Instant;
use crate::domain::{Caller, Settings, SocketKind};
use crate::policy::access::{self, Grant, HIDDEN_UID, Reach};

/// One connection, as the access check sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) house: Arc<House>,
    pub(super) connection: u64,
    pub(super) user: Arc<User>,
    peer: Peer,
    socket: SocketKind,
    known: RwLock<Known>,
    grant: Mutex<Option<Granted>>,
}

#[derive(Debug)]
struct Known {
    caller: Arc<Caller>,
    at: Instant,
}

/// What was granted last, and for which settings and caller.
#[derive(Debug)]
struct Granted {
    settings: Arc<Settings>,
    caller: Arc<Caller>,
    grant: Arc<Grant>,
}

impl Session {
    /// Looks up who connected.
    pub(super) async fn open(house: Arc<House>, peer: Peer, socket: SocketKind, user: Arc<User>) -> Self {
        let caller = house.peers.caller(peer, socket).await;
        Self {
            connection: house.next_connection(),
            user,
            peer,
            socket,
            known: RwLock::new(Known { caller: Arc::new(caller), at: house.clock.now() }),
            grant: Mutex::new(None),
            house,
        }
    }

    /// Looks up the caller's groups again if what is known is old.
    pub(super) async fn refresh(&self) {
        let at = self.known.read().unwrap_or_else(PoisonError::into_inner).at;
        if self.house.peers.is_old(self.peer.uid, at) {
            let caller = Arc::new(self.house.peers.caller(self.peer, self.socket).await);
            let at = self.house.clock.now();
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { caller, at };
        }
    }

    /// Counts a request that should not have been sent.
    pub(super) fn try_patience(&self) {
        self.user.try_patience(self.house.clock.now());
    }

    /// How long to wait before the next request is read.
    pub(super) fn wait(&self) -> Duration {
        self.user.wait(self.house.clock.now())
    }

    /// Checks one call.
    pub(super) fn admit(&self, method: &str, octets: Option<Arc<Octets>>) -> Result<CallContext, RpcError> {
        let caller = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).caller);
        let grant = self.grant(&caller);
        let reach = if method == event::UNSUBSCRIBE {
            // A connection only ever ends its own subscriptions.
            Reach::Own
        } else {
            let row = table(method).ok_or_else(|| params::unknown_method(method))?;
            if caller.uid == HIDDEN_UID {
                let (message, hint) = explain_hidden();
                return Err(self.deny(&caller, row.name, message.to_owned(), hint.to_owned()));
            }
            access::admit(row, self.socket, &grant).map_err(|refusal| {
                let (message, hint) = refusal.explain(row.name, &caller);
                self.deny(&caller, row.name, message, hint)
            })?
        };
        Ok(CallContext {
            caller,
            access: Access { grant, reach },
            connection: self.connection,
            now: self.house.clock.wall(),
            user: Arc::clone(&self.user),
            octets,
        })
    }

    fn grant(&self, caller: &Arc<Caller>) -> Arc<Grant> {
        let settings = self.house.settings();
        let mut granted = self.grant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*granted
            && Arc::ptr_eq(&known.settings, &settings)
            && Arc::ptr_eq(&known.caller, caller)
        {
            return Arc::clone(&known.grant);
        }
        let grant = Arc::new(access::grant(&settings.access, caller, self.house.privileged));
        *granted = Some(Granted { settings, caller: Arc::clone(caller), grant: Arc::clone(&grant) });
        grant
    }

    fn deny(&self, caller: &Arc<Caller>, method: &'static str, message: String, hint: String) -> RpcError {
        if let Some(count) = self.user.refused(self.house.clock.now()) {
            let Caller { uid, gid, pid, .. } = &**caller;
            tracing::info!(target: audit::TARGET, uid, gid, pid, method, count, "refused: {message}");
            (self.house.on_denied)(Denied { caller: Arc::clone(caller), method, message: message.clone(), count });
        }
        RpcError::new(Kind::AccessDenied, message).hint(hint)
    }
}

/// The layer: checks, then hands on.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    session: Arc<Session>,
    inner: S,
}

impl<S> Gate<S> {
    /// Puts the check of a connection around a service.
    pub(super) const fn new(session: Arc<Session>, inner: S) -> Self {
        Self { session, inner }
    }

    /// Checks a call, and leaves for the method what it needs to know.
    fn check(&self, method: &str, extensions: &mut Extensions) -> Result<(), RpcError> {
        let octets = extensions.get::<Arc<Octets>>().cloned();
        let context = self.session.admit(method, octets)?;
        if method == event::SUBSCRIBE {
            let limits = &self.session.house.settings().limits;
            let permit = self.session.user.subscribe(limits).ok_or_else(|| {
                RpcError::new(Kind::RequestTooManySubscriptions, "this user holds as many subscriptions as it may")
                    .hint(format!("the limit is limits.subscriptions_per_uid = {}", limits.subscriptions_per_uid))
            })?;
            extensions.insert(Arc::new(permit));
        }
        extensions.insert(context);
        Ok(())
    }
}

impl<S> RpcServiceT for Gate<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Send
        + Sync,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, mut request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        match self.check(&request.method, &mut request.extensions) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(error) => Either::Right(std::future::ready(registrar::refusal(request.id, error))),
        }
    }

    fn batch<'a>(&self, mut batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        for entry in batch.iter_mut() {
            let refused = match entry {
                Ok(BatchEntry::Call(request)) => self
                    .check(&request.method, &mut request.extensions)
                    .map_err(|error| BatchEntryErr::new(request.id.clone(), ErrorObjectOwned::from(error))),
                Ok(BatchEntry::Notification(_)) => Ok(()),
                Err(_) => {
                    self.session.try_patience();
                    Ok(())
                }
            };
            if let Err(refused) = refused {
                self.session.try_patience();
                *entry = Err(refused);
            }
        }
        self.inner.batch(batch)
    }

    fn notification<'a>(&self, mut notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        match self.check(&notification.method, &mut notification.extensions) {
            Ok(()) => Either::Left(self.inner.notification(notification)),
            Err(_) => {
                self.session.try_patience();
                Either::Right(std::future::ready(MethodResponse::notification()))
            }
        }
    }
}
