//! The one place where the authorization server misbehaves: which fault is next, and what it does to a request.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::journal::Endpoint;
use crate::sandbox::clock::wait;

/// What a fault does to a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Hang,
    Reset,
    Slow(Duration),
    Late(Duration),
    DropResponse,
    Instead(Canned),
    Altered(Alteration),
}

/// An answer that does not come from the server's rules.
#[derive(Clone, Debug)]
pub(super) struct Canned {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// What is changed in an answer that was decided properly.
#[derive(Clone, Debug)]
pub(super) enum Alteration {
    Field(&'static str, Value),
    Without(&'static str),
    Repeated(&'static str),
    ScopeAsArray,
    Status(u16),
    Header(&'static str, String),
    WithoutHeader(&'static str),
    DateSkewed(SignedDuration),
    Bom,
    PaddedTo(usize),
}

/// The faults that wait for their requests.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<(Endpoint, Fault, usize)>);

impl Faults {
    /// Arms `fault` for the next `times` requests to `endpoint`, behind those armed before.
    pub(super) fn arm(&mut self, endpoint: Endpoint, fault: Fault, times: usize) {
        self.0.push_back((endpoint, fault, times));
    }

    /// Disarms everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes the next request to `endpoint`.
    pub(super) fn take(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let place = self.0.iter().position(|(armed, _, _)| *armed == endpoint)?;
        let (_, fault, times) = self.0.get_mut(place)?;
        *times = times.saturating_sub(1);
        let (fault, spent) = (fault.clone(), *times == 0);
        if spent {
            self.0.remove(place);
        }
        Some(fault)
    }
}

/// Lets `fault` strike one request, which `decide` decides: the only place where the server misbehaves.
pub(super) async fn strike(
    fault: Option<Fault>,
    now: Timestamp,
    decide: impl FnOnce() -> Response<Bytes>,
) -> io::Result<Response<Bytes>> {
    let Some(fault) = fault else { return Ok(decide()) };
    match fault.act {
        Act::Hang => std::future::pending().await,
        Act::Reset => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        Act::DropResponse => {
            decide();
            Err(io::Error::from(io::ErrorKind::UnexpectedEof))
        }
        Act::Slow(time) => {
            wait(time).await;
            Ok(decide())
        }
        Act::Late(time) => {
            let response = decide();
            wait(time).await;
            Ok(response)
        }
        Act::Instead(canned) => Ok(canned.response(now)),
        Act::Altered(alteration) => Ok(alteration.of(decide(), now)),
    }
}

impl Canned {
    fn response(self, now: Timestamp) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        set(&mut response, "date", &http_date(now));
        for (name, value) in &self.headers {
            set(&mut response, name, value);
        }
        response
    }
}

impl Alteration {
    fn of(self, mut response: Response<Bytes>, now: Timestamp) -> Response<Bytes> {
        match self {
            Self::Field(name, value) => edit(&mut response, |object| {
                object.insert(name.to_owned(), value);
            }),
            Self::Without(name) => edit(&mut response, |object| {
                object.remove(name);
            }),
            Self::ScopeAsArray => edit(&mut response, |object| {
                let scope = object.get("scope").and_then(Value::as_str).unwrap_or_default();
                let list: Vec<&str> = scope.split_whitespace().collect();
                let list = json!(list);
                object.insert("scope".to_owned(), list);
            }),
            Self::Repeated(name) => {
                let rest = response.body().strip_prefix(b"{").unwrap_or_default();
                let body = [format!("{{\"{name}\":\"the-first-of-two\",").as_bytes(), rest].concat();
                *response.body_mut() = body.into();
            }
            Self::Status(status) => {
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            }
            Self::Header(name, value) => set(&mut response, name, &value),
            Self::WithoutHeader(name) => {
                response.headers_mut().remove(name);
            }
            Self::DateSkewed(by) => set(&mut response, "date", &http_date(now.saturating_add(by).unwrap_or(now))),
            Self::Bom => {
                let body = [b"\xef\xbb\xbf".as_slice(), response.body()].concat();
                *response.body_mut() = body.into();
            }
            Self::PaddedTo(octets) => {
                let mut body = response.body().to_vec();
                body.resize(octets.max(body.len()), b' ');
                *response.body_mut() = body.into();
            }
        }
        response
    }
}

/// Changes the JSON object of a response; an answer without one stays as it is.
fn edit(response: &mut Response<Bytes>, change: impl FnOnce(&mut Map<String, Value>)) {
    if let Ok(Value::Object(mut object)) = serde_json::from_slice(response.body()) {
        change(&mut object);
        *response.body_mut() = Value::Object(object).to_string().into();
    }
}

fn set(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// The moment as an HTTP date (RFC 9110 §5.6.7); empty outside of its range.
pub(super) fn http_date(now: Timestamp) -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default()
}

/// Sets the headers that every proper answer has.
pub(super) fn usual_headers(response: &mut Response<Bytes>, content_type: &'static str, now: Timestamp) {
    set(response, "date", &http_date(now));
    set(response, "content-type", content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
