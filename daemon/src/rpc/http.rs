//! HTTP/1.1: `POST /` for JSON-RPC, `POST /v1/messages` for mail as it is, `/healthz` and `/readyz`, and the way into a
//! WebSocket.
//!
//! A request that a browser may have made (`Origin`), or that names another host than `localhost`, is refused: somebody
//! may have put the socket behind a port. Bodies are read here, within the budget and the time of every request: those of
//! JSON-RPC are handed on whole, mail piece by piece.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use frankd_proto::methods::message;
use frankd_proto::{Kind, Method, RpcError};
use futures::StreamExt as _;
use futures::stream::try_unfold;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonrpsee::core::server::{Extensions, MethodResponse, MethodResponseNotifyTx};
use jsonrpsee::types::{ErrorObjectOwned, Id};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::watch;

use super::budget::Octets;
use super::conversation::{LARGE, converse, interpret_large};
use super::dispatch::{Dispatch, interpret};
use super::gate::{Gate, Session};
use super::house::stopped;
use super::limits::time_for;
use super::line::{too_large, too_slow};
use super::params;
use super::patience::is_refusal;
use super::registrar::{refusal, take_in};
use super::websocket::{self, Upgrade};
use crate::clock::{ClockExt as _, HyperTimer, Instant};
use crate::domain::settings::LimitSettings;

/// Carries the envelope and options of `POST /v1/messages`: base64url of the parameters of `message.send`.
const PARAMS: &str = "frankd-params";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Share of the budget for large requests that a message in pieces has, in octets: more than what is in memory of it, so
/// that it also bounds how many come at once.
const SHARE: u64 = 1024 * 1024;

type Answer = Response<Full<Bytes>>;

/// Serves HTTP on a connection, and the WebSocket that it may become.
pub(super) async fn serve<S>(session: Arc<Session>, io: BufReader<S>, mut stop: watch::Receiver<bool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let upgrade: Arc<Mutex<Option<Upgrade>>> = Arc::default();
    let (asked, by) = (Arc::clone(&upgrade), Arc::clone(&session));
    let service = service_fn(move |request| {
        let (session, upgrade) = (Arc::clone(&by), Arc::clone(&asked));
        async move { Ok::<_, Infallible>(paced(&session, request, &upgrade).await) }
    });
    let connection = http1::Builder::new()
        .auto_date_header(false)
        .timer(HyperTimer::new(Arc::clone(&session.house.clock)))
        .header_read_timeout(session.house.settings().limits.request_timeout)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)?;
    let upgrade = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade {
        let mut wire = websocket::accept(upgrade, Arc::clone(&session)).await?;
        converse(session, &mut wire, stop).await?;
        wire.close().await;
    }
    Ok(())
}

/// Answers a request, later if the user was refused too often.
async fn paced(session: &Arc<Session>, request: Request<Incoming>, upgrade: &Mutex<Option<Upgrade>>) -> Answer {
    let wait = session.wait();
    if !wait.is_zero() {
        session.house.clock.sleep(wait).await;
    }
    let answer = answer(session, request, upgrade).await;
    if answer.status().is_client_error() {
        session.try_patience();
    }
    answer
}

async fn answer(session: &Arc<Session>, request: Request<Incoming>, upgrade: &Mutex<Option<Upgrade>>) -> Answer {
    if let Some(refused) = foreign(&request) {
        return plain(StatusCode::FORBIDDEN, refused);
    }
    session.refresh().await;
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/") if soketto::handshake::http::is_upgrade_request(&request) => {
            let answered = websocket::handshake(request);
            answered.map_or_else(
                |reason| plain(StatusCode::BAD_REQUEST, &format!("the WebSocket handshake is wrong: {reason}\n")),
                |(response, asked)| {
                    *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
                    response.map(|()| Full::default())
                },
            )
        }
        ("POST", "/") => call(session, request).await,
        ("POST", "/v1/messages") => submit(session, request).await,
        ("GET" | "HEAD", "/healthz") => plain(StatusCode::OK, "ok\n"),
        ("GET" | "HEAD", "/readyz") => match (session.house.router.readiness)() {
            Ok(()) => plain(StatusCode::OK, "ready\n"),
            Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {reason}\n")),
        },
        (_, "/" | "/v1/messages") => not_allowed("POST"),
        (_, "/healthz" | "/readyz") => not_allowed("GET, HEAD"),
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are POST / (JSON-RPC), POST /v1/messages, GET /healthz, GET /readyz, and a WebSocket at /\n",
        ),
    }
}

/// Why a request does not come from a local program that means this socket.
fn foreign(request: &Request<Incoming>) -> Option<&'static str> {
    if request.headers().contains_key(header::ORIGIN) {
        return Some("requests of web pages (with an Origin header) are refused\n");
    }
    let hosts = request.headers().get_all(header::HOST).iter();
    let named = hosts.map(HeaderValue::as_bytes).chain(request.uri().authority().map(|a| a.as_str().as_bytes()));
    named
        .into_iter()
        .any(|host| !host.eq_ignore_ascii_case(b"localhost"))
        .then_some("the host is not localhost: use a URL such as http://localhost/\n")
}

/// `POST /`: one JSON-RPC message.
async fn call(session: &Arc<Session>, request: Request<Incoming>) -> Answer {
    let kind = media_type(request.headers());
    if !matches!(kind.as_deref(), Some("application/json" | "application/json-rpc")) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is application/json\n");
    }
    let limits = session.house.settings().limits.clone();
    let (body, octets) = match read(session, request.into_body(), limits.request_bytes).await {
        Ok(body) => body,
        Err((status, error)) => return rpc(status, refusal(Id::Null, error)),
    };
    let dispatch = Dispatch::new(session.house.router.clone(), session.connection, None);
    let service = Gate::new(Arc::clone(session), dispatch);
    let answer = if body.len() > LARGE {
        interpret_large(body, octets, service, &session.user, limits.batch).await
    } else {
        interpret(&body, &service, &Extensions::new(), limits.batch)
    };
    let answer = answer.await;
    if answer.is_notification() {
        return status(StatusCode::NO_CONTENT);
    }
    if answer.as_error_code().is_some_and(is_refusal) {
        session.try_patience();
    }
    rpc(StatusCode::OK, answer)
}

/// `POST /v1/messages`: `message.send` with the message as it is.
async fn submit(session: &Arc<Session>, request: Request<Incoming>) -> Answer {
    match accept(session, request).await {
        Ok(receipt) => match serde_json::to_vec(&receipt) {
            Ok(json) => with(StatusCode::OK, JSON, Bytes::from(json)),
            Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
        },
        Err((status, error)) => {
            let retry_after = error.data.retry_after_s;
            let json = serde_json::to_vec(&ErrorObjectOwned::from(error)).unwrap_or_default();
            let mut answer = with(status, JSON, Bytes::from(json));
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            answer
        }
    }
}

type Refused = (StatusCode, RpcError);

async fn accept(session: &Arc<Session>, request: Request<Incoming>) -> Result<message::Receipt, Refused> {
    let refused = |error: RpcError| (status_of(&error), error);
    let Some(intake) = &session.house.router.intake else {
        return Err(refused(params::unknown_method(message::Send::NAME)));
    };
    let mut context = session.admit(message::Send::NAME, None).map_err(refused)?;
    if media_type(request.headers()).as_deref() != Some("message/rfc822") {
        let error = RpcError::new(Kind::InvalidRequest, "the content type is message/rfc822");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let options = options(request.headers()).map_err(refused)?;
    let limits = session.house.settings().limits.clone();
    let announced = request.body().size_hint().exact();
    if announced.is_some_and(|octets| octets > limits.message_bytes) {
        return Err(refused(message_too_large(limits.message_bytes)));
    }
    if announced.is_none_or(|octets| octets > LARGE as u64) {
        let share = session.house.budget.take(session.user.uid, SHARE, limits.large_requests_bytes).await;
        context.octets = Some(Arc::new(share));
    }
    let now = session.house.clock.now();
    let body = request.into_body();
    let arriving = Arriving { session: Arc::clone(session), body, limits, began: now, given: 0 };
    let pieces = try_unfold(arriving, Arriving::piece).boxed();
    take_in(intake, context, options, pieces).await.map_err(refused)
}

fn message_too_large(limit: u64) -> RpcError {
    RpcError::new(Kind::MessageTooLarge, format!("a message has at most {limit} octets"))
}

/// A message that is read as it comes, as long as it keeps coming.
struct Arriving {
    session: Arc<Session>,
    body: Incoming,
    limits: LimitSettings,
    began: Instant,
    given: u64,
}

impl Arriving {
    async fn piece(mut self) -> Result<Option<(Vec<u8>, Self)>, RpcError> {
        let clock = &self.session.house.clock;
        loop {
            let left = (self.began + time_for(&self.limits, self.given)).since(clock.now());
            let frame = clock.deadline(left, self.body.frame()).await.map_err(|_| too_slow())?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else { continue };
            self.given += data.len() as u64;
            if self.given > self.limits.message_bytes {
                return Err(message_too_large(self.limits.message_bytes));
            }
            return Ok(Some((Vec::from(data), self)));
        }
    }
}

fn broken_off() -> RpcError {
    RpcError::new(Kind::InvalidRequest, "the body broke off")
}

/// The parameters of `message.send` that stand in the header.
fn options(headers: &HeaderMap) -> Result<message::SendParams, RpcError> {
    let Some(value) = headers.get(PARAMS) else {
        return Ok(message::SendParams::default());
    };
    let wrong = |text: &str| RpcError::new(Kind::InvalidParams, text).field("Frankd-Params");
    let octets = URL_SAFE_NO_PAD
        .decode(value.as_bytes())
        .or_else(|_| URL_SAFE.decode(value.as_bytes()))
        .map_err(|_| wrong("Frankd-Params is not base64url"))?;
    let text = String::from_utf8(octets).map_err(|_| wrong("Frankd-Params is not UTF-8"))?;
    let options: message::SendParams = params::read(Some(&text))?;
    if options.raw_b64.is_some() || options.message.is_some() {
        return Err(wrong("the message is the body of the request, not a parameter"));
    }
    Ok(options)
}

/// Reads a body: its share of the budget first, then the octets, as long as they keep coming.
async fn read(session: &Session, mut body: Incoming, most: u64) -> Result<(Vec<u8>, Option<Octets>), Refused> {
    let over = || (StatusCode::PAYLOAD_TOO_LARGE, too_large(most));
    let slow = || (StatusCode::REQUEST_TIMEOUT, too_slow());
    let house = &session.house;
    let limits = house.settings().limits.clone();
    let announced = body.size_hint().exact();
    if announced.is_some_and(|octets| octets > most) {
        return Err(over());
    }
    let mut share = None;
    let mut octets = Vec::new();
    let mut began = house.clock.now();
    loop {
        let large = announced.unwrap_or(octets.len() as u64) > LARGE as u64;
        if large && share.is_none() {
            let asked = house.clock.now();
            let whole = announced.unwrap_or(most);
            share = Some(house.budget.take(session.user.uid, whole, limits.large_requests_bytes).await);
            began = began + house.clock.now().since(asked);
        }
        let left = (began + time_for(&limits, octets.len() as u64)).since(house.clock.now());
        let frame = house.clock.deadline(left, body.frame()).await.map_err(|_| slow())?;
        let Some(frame) = frame else {
            return Ok((octets, share));
        };
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, broken_off()))?;
        if let Ok(data) = frame.into_data() {
            if (octets.len() + data.len()) as u64 > most {
                return Err(over());
            }
            octets.extend_from_slice(&data);
        }
    }
}

/// The media type, without parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or(value);
    Some(kind.trim().to_ascii_lowercase())
}

/// The HTTP status that fits an error.
fn status_of(error: &RpcError) -> StatusCode {
    match error.kind() {
        Kind::AccessDenied | Kind::AccessSenderNotAllowed => StatusCode::FORBIDDEN,
        Kind::AccessRateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::MethodNotFound | Kind::ObjectNotFound => StatusCode::NOT_FOUND,
        Kind::MessageIdempotencyConflict => StatusCode::CONFLICT,
        Kind::MessageTooLarge | Kind::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ if error.data.retryable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The text of an answer, and who wants to know when it is written: when hyper lets go of it.
struct Written {
    json: Box<serde_json::value::RawValue>,
    _notify: Option<MethodResponseNotifyTx>,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        self.json.get().as_bytes()
    }
}

fn rpc(status: StatusCode, answer: MethodResponse) -> Answer {
    let (json, notify, _) = answer.into_parts();
    let written = Written { json, _notify: notify };
    with(status, JSON, Bytes::from_owner(written))
}

fn plain(status: StatusCode, text: &str) -> Answer {
    with(status, TEXT, Bytes::copy_from_slice(text.as_bytes()))
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, &format!("the method is {methods}\n"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn with(code: StatusCode, media_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    answer
}

fn status(code: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = code;
    answer
}
