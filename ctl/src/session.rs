//! Calls to the daemon: the result both as it came and as its type.

use frankd_proto::methods::event::SubscribeParams;
use frankd_proto::{Connection, Kind, Method, RpcError, Subscription};
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{Doing, Failure};
use crate::output::{self, Look, Render, Shown};

/// A result: exactly what came over the socket, and what it says.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The result object, octet by octet. JSON output is this, so that fields newer than this program are kept.
    pub(crate) raw: Box<RawValue>,
    /// The same, as its type.
    pub(crate) value: T,
}

/// A call that is ready to be made, and how its result is read to be shown.
///
/// One type for all methods, so that the code around a call is there once.
#[derive(Debug)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: &'static str,
    /// Its parameters.
    pub(crate) params: Box<RawValue>,
    doing: Doing,
    read: fn(&RawValue) -> Result<Box<dyn Render>, serde_json::Error>,
}

impl Request {
    /// A call of a method.
    pub(crate) fn new<M>(params: &M::Params, doing: Doing) -> Result<Self, Failure>
    where
        M: Method,
        M::Output: Render + 'static,
    {
        Ok(Self {
            method: M::NAME,
            params: to_raw_value(params).map_err(|source| unreadable(M::NAME, source))?,
            doing,
            read: |raw| Ok(Box::new(serde_json::from_str::<M::Output>(raw.get())?)),
        })
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Calls a method.
    pub(crate) async fn call<M: Method>(&self, params: M::Params, doing: Doing) -> Result<Answer<M::Output>, Failure> {
        let unreadable = |source| unreadable(M::NAME, source);
        let params = to_raw_value(&params).map_err(unreadable)?;
        let raw = self.call_raw(M::NAME, params, doing).await?;
        let value = serde_json::from_str(raw.get()).map_err(unreadable)?;
        Ok(Answer { raw, value })
    }

    /// Makes a prepared call; it can be made again.
    pub(crate) async fn make(&self, request: &Request, look: Look) -> Result<Shown, Failure> {
        let Request { method, params, doing, read } = request;
        let raw = self.call_raw(method, params.clone(), doing.clone()).await?;
        let value = read(&raw).map_err(|source| unreadable(method, source))?;
        Ok(output::shown(&raw, &*value, look))
    }

    /// Calls a method by its name.
    pub(crate) async fn call_raw(
        &self,
        method: &str,
        params: Box<RawValue>,
        doing: Doing,
    ) -> Result<Box<RawValue>, Failure> {
        self.connection.call_raw(method, params).await.map_err(|error| refused(doing, error))
    }

    /// Subscribes to events.
    pub(crate) async fn subscribe(&self, params: SubscribeParams) -> Result<Subscription, Failure> {
        self.connection.subscribe(params).await.map_err(|error| refused(Doing::new("follow the events"), error))
    }
}

/// A text of a method that does not fit the contract.
pub(crate) fn unreadable(method: &str, source: serde_json::Error) -> Failure {
    Failure::Answer { method: method.to_owned(), source }
}

/// The daemon said no.
pub(crate) fn refused(doing: Doing, error: RpcError) -> Failure {
    Failure::Refused { doing, error: Box::new(error) }
}

/// The daemon closed the connection while something was being followed.
pub(crate) fn ended(doing: Doing) -> Failure {
    refused(doing, RpcError::new(Kind::DaemonShuttingDown, "the daemon closed the connection"))
}
