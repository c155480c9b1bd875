//! From octets to calls: reads requests, notifications and batches, and hands them to their functions.
//!
//! Reading is synchronous and gives a future that borrows nothing, so the octets of a request are free while it is worked
//! on, and a large one can be read away from the runtime's workers. A call without the context that the gate leaves on it
//! is not made.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use frankd_proto::methods::event;
use frankd_proto::{Kind, RpcError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jsonrpsee::core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request, RpcServiceT};
use jsonrpsee::core::server::{
    BatchResponseBuilder, BoundedSubscriptions, ConnectionId, Extensions, MethodCallback, MethodResponse, MethodSink,
    SubscriptionState,
};
use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::types::{ErrorObjectOwned, Id, InvalidRequest, Params, SubscriptionId};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::context::CallContext;
use super::registrar::{Call, MAX_ANSWER, Router, refusal};

/// The innermost service: the methods themselves.
#[derive(Clone)]
pub(super) struct Dispatch {
    router: Router,
    connection: ConnectionId,
    subscriptions: Option<Subscriptions>,
}

/// Where the subscriptions of a connection send.
#[derive(Clone)]
pub(super) struct Subscriptions {
    sink: MethodSink,
    slots: BoundedSubscriptions,
    ids: Arc<Numbers>,
}

/// Ids of subscriptions: 1, 2, 3 … within a connection.
#[derive(Debug)]
struct Numbers(AtomicU64);

impl IdProvider for Numbers {
    fn next_id(&self) -> SubscriptionId<'static> {
        SubscriptionId::Num(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Subscriptions {
    /// Subscriptions that send to `sink`.
    pub(super) fn new(sink: MethodSink, most: u32) -> Self {
        Self { sink, slots: BoundedSubscriptions::new(most), ids: Arc::new(Numbers(AtomicU64::new(0))) }
    }
}

impl Dispatch {
    /// The methods, for one connection.
    #[expect(clippy::cast_possible_truncation, reason = "the daemon runs on 64-bit machines; it only has to differ")]
    pub(super) fn new(router: Router, connection: u64, subscriptions: Option<Subscriptions>) -> Self {
        Self { router, connection: ConnectionId(connection as usize), subscriptions }
    }

    fn start(&self, request: Request<'_>) -> BoxFuture<'static, MethodResponse> {
        let Request { id, method, params, extensions, .. } = request;
        let id = id.into_owned();
        let Some(context) = extensions.get::<CallContext>().cloned() else {
            let error = RpcError::new(Kind::AccessDenied, "the call was not checked");
            return ready(refusal(id, error));
        };
        if method == event::SUBSCRIBE || method == event::UNSUBSCRIBE {
            let params = Params::new(params.as_deref().map(RawValue::get));
            return self.subscription(id, &method, params, extensions);
        }
        let params = params.map(Cow::into_owned);
        self.router.call(&method, Call { id, context, params })
    }

    fn subscription(
        &self,
        id: Id<'static>,
        method: &str,
        params: Params<'_>,
        extensions: Extensions,
    ) -> BoxFuture<'static, MethodResponse> {
        let Some(subscriptions) = &self.subscriptions else {
            let error = RpcError::new(Kind::InvalidRequest, "there are no subscriptions in a plain HTTP request")
                .hint("use a WebSocket or newline-delimited JSON, or poll with `event.list`");
            return ready(refusal(id, error));
        };
        match self.router.subscriptions.method(method) {
            Some(MethodCallback::Subscription(subscribe)) => {
                let Some(permit) = subscriptions.slots.acquire() else {
                    let error = RpcError::new(Kind::RequestTooManySubscriptions, "too many subscriptions");
                    return ready(refusal(id, error));
                };
                let state = SubscriptionState {
                    conn_id: self.connection,
                    id_provider: &*subscriptions.ids,
                    subscription_permit: permit,
                };
                subscribe(id, params, subscriptions.sink.clone(), state, extensions)
            }
            Some(MethodCallback::Unsubscription(end)) => {
                if params.parse::<[SubscriptionId<'_>; 1]>().is_err() {
                    let error = RpcError::new(Kind::InvalidParams, "the parameters are a list of one subscription id");
                    return ready(refusal(id, error));
                }
                ready(end(id, params, self.connection, MAX_ANSWER, extensions))
            }
            _ => {
                let error = RpcError::new(Kind::MethodNotFound, "there are no subscriptions here");
                ready(refusal(id, error))
            }
        }
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl RpcServiceT for Dispatch {
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.start(request)
    }

    /// Reads the parameters of all calls at once, then makes the calls in order.
    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let started: Vec<_> = batch.into_iter().map(|entry| self.entry(entry)).collect();
        async move {
            let mut answers = BatchResponseBuilder::new_with_limit(MAX_ANSWER);
            let mut notified = false;
            for entry in started {
                let answer = entry.await;
                if answer.is_notification() {
                    notified = true;
                } else if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            if answers.is_empty() && notified {
                MethodResponse::notification()
            } else {
                MethodResponse::from_batch(answers.finish())
            }
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.notify(notification)
    }
}

impl Dispatch {
    fn entry(&self, entry: Result<BatchEntry<'_>, BatchEntryErr<'_>>) -> BoxFuture<'static, MethodResponse> {
        match entry {
            Ok(BatchEntry::Call(request)) if request.method == event::SUBSCRIBE => {
                let error = RpcError::new(Kind::InvalidRequest, "a subscription is not part of a batch");
                ready(refusal(request.id, error))
            }
            Ok(BatchEntry::Call(request)) => self.start(request),
            Ok(BatchEntry::Notification(notification)) => self.notify(notification),
            Err(error) => {
                let (error, id) = error.into_parts();
                ready(MethodResponse::error(id, error))
            }
        }
    }

    /// A notification is a call whose answer nobody wants. It is made all the same (JSON-RPC 2.0 §4.1).
    fn notify(&self, notification: Notification<'_>) -> BoxFuture<'static, MethodResponse> {
        let Notification { method, params, extensions, .. } = notification;
        if method == event::SUBSCRIBE || extensions.get::<CallContext>().is_none() {
            return ready(MethodResponse::notification());
        }
        let mut request = Request::owned(method.into_owned(), params.map(Cow::into_owned), Id::Null);
        request.extensions = extensions;
        let call = self.start(request);
        async move {
            call.await;
            MethodResponse::notification()
        }
        .boxed()
    }
}

fn ready(response: MethodResponse) -> BoxFuture<'static, MethodResponse> {
    std::future::ready(response).boxed()
}

/// Reads one message, which is a request, a notification or a batch, and makes its calls.
///
/// The answer is a notification or subscription response if nothing is to be written.
pub(super) fn interpret<S>(
    text: &[u8],
    service: &S,
    extensions: &Extensions,
    most: u32,
) -> BoxFuture<'static, MethodResponse>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        >,
{
    let text = text.trim_ascii();
    if text.first() != Some(&b'[') {
        return match entry(text, extensions) {
            Ok(BatchEntry::Call(request)) => service.call(request).boxed(),
            Ok(BatchEntry::Notification(notification)) => service.notification(notification).boxed(),
            Err((id, error)) => ready(refusal(id, error)),
        };
    }
    let entries = match batch(text, most) {
        Ok(entries) => entries,
        Err(error) => return ready(refusal(Id::Null, error)),
    };
    let entries = entries.into_iter().map(|text| {
        entry(text.get().as_bytes(), extensions)
            .map_err(|(id, error)| BatchEntryErr::new(id, ErrorObjectOwned::from(error)))
    });
    service.batch(Batch::from(entries.collect())).boxed()
}

/// The id of a request, as far as it can be told.
pub(super) fn id_of(text: &[u8]) -> Id<'static> {
    serde_json::from_slice::<InvalidRequest<'_>>(text).map_or(Id::Null, |request| request.id.into_owned())
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// `null` is an id that is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn entry(text: &[u8], extensions: &Extensions) -> Result<BatchEntry<'static>, (Id<'static>, RpcError)> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            (
                id_of(text),
                invalid("\"jsonrpc\", \"id\", \"method\" and \"params\" are there once each and of their types"),
            )
        } else {
            (Id::Null, not_json(&error))
        }
    })?;
    let id = match envelope.id.map(|raw| serde_json::from_str::<Id<'_>>(raw.get())) {
        Some(Ok(id)) => Some(id.into_owned()),
        Some(Err(_)) => {
            let error = invalid("an \"id\" is a string, a whole number that is not negative, or null");
            return Err((Id::Null, error));
        }
        None => None,
    };
    let wrong = |text: &str| (id.clone().unwrap_or(Id::Null), invalid(text));
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return Err(wrong("a request has \"jsonrpc\": \"2.0\""));
    }
    let Some(method) = envelope.method else {
        return Err(wrong("a request has a \"method\""));
    };
    let (method, params) = (method.into_owned(), envelope.params.map(ToOwned::to_owned));
    Ok(if let Some(id) = id {
        let mut request = Request::owned(method, params, id);
        request.extensions = extensions.clone();
        BatchEntry::Call(request)
    } else {
        let mut notification = Notification::new(method.into(), params.map(Cow::Owned));
        notification.extensions = extensions.clone();
        BatchEntry::Notification(notification)
    })
}

fn invalid(text: &str) -> RpcError {
    RpcError::new(Kind::InvalidRequest, text)
}

/// Says where, never what: the text may hold a secret.
fn not_json(error: &serde_json::Error) -> RpcError {
    let text = format!("the request is not JSON: it goes wrong at line {} column {}", error.line(), error.column());
    RpcError::new(Kind::Parse, text)
}

fn batch(text: &[u8], most: u32) -> Result<Vec<&RawValue>, RpcError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let entries = deserializer
        .deserialize_seq(Entries { most })
        .and_then(|entries| deserializer.end().map(|()| entries))
        .map_err(|error| not_json(&error))?;
    match entries {
        Some(entries) if entries.is_empty() => Err(invalid("a batch has at least one call")),
        Some(entries) => Ok(entries),
        None => Err(RpcError::new(Kind::RequestBatchTooLarge, format!("a batch has at most {most} calls"))
            .hint("send several batches; the limit is `limits.batch`")),
    }
}

/// The entries of a batch, or `None` if there are more than may be: then the rest is passed over, not kept.
struct Entries {
    most: u32,
}

impl<'de> Visitor<'de> for Entries {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            if entries.len() as u64 == u64::from(self.most) {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            entries.push(entry);
        }
        Ok(Some(entries))
    }
}
