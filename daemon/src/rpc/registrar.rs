//! Where methods are registered: one function for each method of the contract.
//!
//! A method's function gets parameters that are read already and gives its result or an error. It runs detached: a caller
//! that goes away cuts nothing short. A function that is ready at once costs no task. A panic becomes an `internal` error
//! of that call alone.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use frankd_proto::methods::{TABLE, event, message, table};
use frankd_proto::{Kind, Method, RpcError};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use jsonrpsee::core::server::{
    MethodResponse, Methods, PendingSubscriptionSink, ResponsePayload, RpcModule, SubscriptionSink,
};
use jsonrpsee::types::{ErrorObjectOwned, Id};
use serde::Serialize;

use super::audit::Deed;
use super::context::CallContext;
use super::limits::SubscriptionPermit;
use super::params;
use crate::queue::Pieces;

/// Largest answer, in octets: a message of the largest size in base64 fits.
pub(super) const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Methods whose answers may have many MiB. Few of them at a time for one user.
const LARGE_ANSWERS: &[&str] = &["message.list", "message.raw"];

/// A method cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The name is not in the table of methods.
    #[error("{0} is not in the table of methods")]
    Unknown(&'static str),
    /// The name was registered before.
    #[error("{0} is registered twice")]
    Twice(&'static str),
}

/// A call on its way to its function.
pub(super) struct Call {
    pub(super) id: Id<'static>,
    pub(super) context: CallContext,
    pub(super) params: Option<Box<serde_json::value::RawValue>>,
}

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, MethodResponse> + Send + Sync>;
type Intake = Arc<
    dyn Fn(CallContext, message::SendParams, Pieces) -> BoxFuture<'static, Result<message::Receipt, RpcError>>
        + Send
        + Sync,
>;
type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Takes the functions of all methods.
pub struct Registrar {
    handlers: HashMap<&'static str, Handler>,
    subscriptions: RpcModule<()>,
    intake: Option<Intake>,
    readiness: Readiness,
}

/// All methods, ready to be served.
#[derive(Clone)]
pub struct Router {
    handlers: Arc<HashMap<&'static str, Handler>>,
    pub(super) subscriptions: Methods,
    pub(super) intake: Option<Intake>,
    pub(super) readiness: Readiness,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("missing", &self.missing()).finish_non_exhaustive()
    }
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            handlers: HashMap::new(),
            subscriptions: RpcModule::new(()),
            intake: None,
            readiness: Arc::new(|| Ok(())),
        }
    }
}

impl Registrar {
    /// Registers the function of a method.
    pub fn method<M, F, Fut>(&mut self, function: F) -> Result<&mut Self, RegistrationError>
    where
        M: Method,
        F: Fn(CallContext, M::Params) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M::Output, RpcError>> + Send + 'static,
    {
        if table(M::NAME).is_none_or(|row| row.subscription) {
            return Err(RegistrationError::Unknown(M::NAME));
        }
        let function = Arc::new(function);
        let handler: Handler = Arc::new(move |call: Call| {
            let Call { id, context, params } = call;
            let read = params::read::<M::Params>(params.as_deref().map(serde_json::value::RawValue::get));
            let deed = Deed::of(M::NAME, params.as_deref().map(serde_json::value::RawValue::get), &context.caller);
            drop(params);
            let params = match read {
                Ok(params) => params,
                Err(error) => return std::future::ready(refusal(id, error)).boxed(),
            };
            let function = Arc::clone(&function);
            detached::<M::Output>(id, M::NAME, context.clone(), async move {
                let result = function(context, params).await;
                if let (Some(deed), Ok(output)) = (deed, &result) {
                    deed.done(output);
                }
                result
            })
        });
        match self.handlers.insert(M::NAME, handler) {
            None => Ok(self),
            Some(_) => Err(RegistrationError::Twice(M::NAME)),
        }
    }

    /// Registers the source of `event.subscribe`: the events to send to one subscriber, as long as it listens.
    ///
    /// The stream is asked for the next event only when the connection has room for it.
    pub fn events<F, Fut>(&mut self, source: F) -> Result<&mut Self, RegistrationError>
    where
        F: Fn(CallContext, event::SubscribeParams) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<BoxStream<'static, event::Event>, RpcError>> + Send + 'static,
    {
        let registered = self.subscriptions.register_subscription(
            event::SUBSCRIBE,
            event::NOTIFICATION,
            event::UNSUBSCRIBE,
            move |params, pending, _, extensions| {
                let source = source.clone();
                async move {
                    let params = params::read::<event::SubscribeParams>(params.as_str());
                    let context = extensions.get::<CallContext>().cloned();
                    let permit = extensions.get::<Arc<SubscriptionPermit>>().cloned();
                    let events = match (params, context) {
                        (Ok(params), Some(context)) => source(context, params).await,
                        (Err(error), _) => Err(error),
                        (_, None) => Err(internal()),
                    };
                    subscribe(pending, events).await;
                    drop(permit);
                }
            },
        );
        match registered {
            Ok(_) => Ok(self),
            Err(_) => Err(RegistrationError::Twice(event::SUBSCRIBE)),
        }
    }

    /// Registers the function of `POST /v1/messages`: `message.send` with the message as it is, in pieces.
    pub fn intake<F, Fut>(&mut self, function: F) -> &mut Self
    where
        F: Fn(CallContext, message::SendParams, Pieces) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<message::Receipt, RpcError>> + Send + 'static,
    {
        self.intake = Some(Arc::new(move |context, params, pieces| function(context, params, pieces).boxed()));
        self
    }

    /// Registers what `GET /readyz` asks: whether mail can be accepted, or why not.
    pub fn readiness(&mut self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> &mut Self {
        self.readiness = Arc::new(check);
        self
    }

    /// All that was registered.
    pub fn finish(self) -> Router {
        Router {
            handlers: Arc::new(self.handlers),
            subscriptions: self.subscriptions.into(),
            intake: self.intake,
            readiness: self.readiness,
        }
    }
}

impl std::fmt::Debug for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registrar").finish_non_exhaustive()
    }
}

impl Router {
    /// Methods of the contract that have no function here.
    pub fn missing(&self) -> Vec<&'static str> {
        let there = |name| self.handlers.contains_key(name) || self.subscriptions.method(name).is_some();
        TABLE.iter().map(|row| row.name).filter(|name| !there(*name)).collect()
    }

    /// Hands a call to its function.
    pub(super) fn call(&self, name: &str, call: Call) -> BoxFuture<'static, MethodResponse> {
        match self.handlers.get(name) {
            Some(handler) => handler(call),
            None => std::future::ready(refusal(call.id, params::unknown_method(name))).boxed(),
        }
    }
}

/// Runs a function so that nobody who waits for it can cut it short.
fn detached<T: Serialize + Clone + Send + 'static>(
    id: Id<'static>,
    name: &'static str,
    context: CallContext,
    work: impl Future<Output = Result<T, RpcError>> + Send + 'static,
) -> BoxFuture<'static, MethodResponse> {
    let large = LARGE_ANSWERS.contains(&name).then(|| Arc::clone(&context.user.large_answers));
    let octets = context.octets.clone();
    let failed = id.clone();
    drop(context);
    let work = async move {
        let permit = match large {
            Some(semaphore) => semaphore.acquire_owned().await.ok(),
            None => None,
        };
        let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(method = name, "the method panicked");
            Err(internal())
        });
        drop(octets);
        let payload = match result {
            Ok(output) => ResponsePayload::success(output),
            Err(error) => ResponsePayload::error(ErrorObjectOwned::from(error)),
        };
        let Some(permit) = permit else {
            return MethodResponse::response(id, payload, MAX_ANSWER);
        };
        let (payload, written) = payload.notify_on_completion();
        tokio::spawn(async move {
            _ = written.await;
            drop(permit);
        });
        MethodResponse::response(id, payload, MAX_ANSWER)
    };
    let mut work = work.boxed();
    async move {
        if let Some(response) = (&mut work).now_or_never() {
            return response;
        }
        match tokio::spawn(work).await {
            Ok(response) => response,
            Err(_) => refusal(failed, internal()),
        }
    }
    .boxed()
}

/// Runs the function of `POST /v1/messages` the same way.
pub(super) async fn take_in(
    intake: &Intake,
    context: CallContext,
    params: message::SendParams,
    pieces: Pieces,
) -> Result<message::Receipt, RpcError> {
    let octets = context.octets.clone();
    let work = intake(context, params, pieces);
    let work = tokio::spawn(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        drop(octets);
        result.unwrap_or_else(|_| Err(internal()))
    });
    work.await.unwrap_or_else(|_| Err(internal()))
}

/// Accepts a subscription and sends its events until one side ends it.
async fn subscribe(pending: PendingSubscriptionSink, events: Result<BoxStream<'static, event::Event>, RpcError>) {
    let mut events = match events {
        Ok(events) => events,
        Err(error) => return pending.reject(error).await,
    };
    let Ok(sink) = pending.accept().await else {
        return;
    };
    loop {
        let event = tokio::select! {
            () = sink.closed() => return,
            event = events.next() => event,
        };
        let Some(event) = event else {
            return;
        };
        if !send(&sink, &event).await {
            return;
        }
    }
}

async fn send(sink: &SubscriptionSink, event: &event::Event) -> bool {
    let Ok(json) = serde_json::value::to_raw_value(event) else {
        return false;
    };
    tokio::select! {
        () = sink.closed() => false,
        sent = sink.send(json) => sent.is_ok(),
    }
}

/// The answer of a call that went wrong.
pub(super) fn refusal(id: Id<'_>, error: RpcError) -> MethodResponse {
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

fn internal() -> RpcError {
    RpcError::new(Kind::Internal, "the daemon failed in a way it did not expect")
        .hint("the journal has the cause: `journalctl -u frankd`")
}

#[cfg(test)]
mod tests {
    use frankd_proto::Need;
    use frankd_proto::methods::{Empty, access, system};

    use super::*;

    struct Stray;

    impl Method for Stray {
        const NAME: &'static str = "stray.method";
        const NEEDS: Need = Need::Nobody;
        type Params = Empty;
        type Output = Empty;
    }

    #[test]
    fn only_methods_of_the_contract_are_registered_each_once_and_the_others_are_told() {
        let mut registrar = Registrar::default();
        let unknown = registrar.method::<Stray, _, _>(|_, _| async { Ok(Empty {}) });
        assert_eq!(unknown.err(), Some(RegistrationError::Unknown("stray.method")));
        let ping = |call: CallContext, _| async move { Ok(system::Pong { now: call.now }) };
        registrar.method::<system::Ping, _, _>(ping).unwrap();
        let again = registrar.method::<system::Ping, _, _>(ping);
        assert_eq!(again.err(), Some(RegistrationError::Twice("system.ping")));
        let events = |_, _| async { Ok(futures::stream::empty().boxed()) };
        registrar.events(events).unwrap();
        assert!(registrar.events(events).is_err());
        let missing = registrar.finish().missing();
        let there = ["system.ping", "event.subscribe"];
        let others: Vec<_> = TABLE.iter().map(|row| row.name).filter(|name| !there.contains(name)).collect();
        assert_eq!(missing, others);
        assert!(missing.contains(&access::WhoAmI::NAME));
    }
}
