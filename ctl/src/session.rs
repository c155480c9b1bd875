//! Calls to the daemon: the result both as it came and as its type.

use frankd_proto::methods::event::SubscribeParams;
use frankd_proto::{Connection, Kind, Method, RpcError, Subscription};
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{Doing, Failure};

/// A result: exactly what came over the socket, and what it says.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The result object, octet by octet. JSON output is this, so that fields newer than this program are kept.
    pub(crate) raw: Box<RawValue>,
    /// The same, as its type.
    pub(crate) value: T,
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
        let answer = |source| Failure::Answer { method: M::NAME.to_owned(), source };
        let params = to_raw_value(&params).map_err(answer)?;
        let raw = self.call_raw(M::NAME, params, doing).await?;
        let value = serde_json::from_str(raw.get()).map_err(answer)?;
        Ok(Answer { raw, value })
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

/// The daemon said no.
pub(crate) fn refused(doing: Doing, error: RpcError) -> Failure {
    Failure::Refused { doing, error: Box::new(error) }
}

/// The daemon closed the connection while something was being followed.
pub(crate) fn ended(doing: Doing) -> Failure {
    refused(doing, RpcError::new(Kind::DaemonShuttingDown, "the daemon closed the connection"))
}
