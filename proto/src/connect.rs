//! The typed client: jsonrpsee's, over newline-delimited JSON on a Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonrpsee::core::client::{
    Client, ClientBuilder, ClientT, Error as ClientError, ReceivedMessage, SubscriptionClientT, TransportReceiverT,
    TransportSenderT,
};
use jsonrpsee::core::traits::ToRpcParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::error::{Kind, RpcError};
use crate::method::Method;
use crate::methods::event;

/// Longest answer that is read, in octets: a message of the largest size in base64 fits.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// jsonrpsee's own time-out would cut the long polls of `*.wait`; callers bound their waits by parameters.
const NO_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The daemon's socket could not be used.
#[derive(Debug, thiserror::Error)]
#[error("connect to {}", path.display())]
pub struct ConnectError {
    /// The socket.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Connects to the daemon.
pub async fn connect(path: &Path) -> Result<Connection, ConnectError> {
    let failed = |source| ConnectError { path: path.to_owned(), source };
    let stream = UnixStream::connect(path).await.map_err(failed)?;
    let (reader, writer) = stream.into_split();
    let client = ClientBuilder::default()
        .request_timeout(NO_TIMEOUT)
        .max_buffer_capacity_per_subscription(16 * 1024)
        .build_with_tokio(LineWriter(writer), LineReader(BufReader::new(reader)));
    Ok(Connection { client })
}

/// A connection to the daemon. Calls may run side by side.
#[derive(Debug)]
pub struct Connection {
    client: Client,
}

impl Connection {
    /// Calls a method.
    pub async fn call<M: Method>(&self, params: M::Params) -> Result<M::Output, RpcError> {
        self.client.request(M::NAME, Named(params)).await.map_err(|error| translate(&error))
    }

    /// Calls a method by name, with parameters and result as they are.
    pub async fn call_raw(&self, method: &str, params: Box<RawValue>) -> Result<Box<RawValue>, RpcError> {
        self.client.request(method, Raw(params)).await.map_err(|error| translate(&error))
    }

    /// Subscribes to events.
    pub async fn subscribe(&self, params: event::SubscribeParams) -> Result<Subscription, RpcError> {
        self.client
            .subscribe(event::SUBSCRIBE, Named(params), event::UNSUBSCRIBE)
            .await
            .map(Subscription)
            .map_err(|error| translate(&error))
    }
}

/// Events as they happen.
#[derive(Debug)]
pub struct Subscription(jsonrpsee::core::client::Subscription<event::Event>);

impl Subscription {
    /// The next event; `None` when the daemon or the connection ended.
    pub async fn next(&mut self) -> Option<Result<event::Event, RpcError>> {
        let item = self.0.next().await?;
        Some(item.map_err(|error| RpcError::new(Kind::Internal, format!("the event cannot be read: {error}"))))
    }
}

fn translate(error: &ClientError) -> RpcError {
    match error {
        ClientError::Call(object) => RpcError::from(object),
        ClientError::RestartNeeded(_) | ClientError::Transport(_) => {
            RpcError::new(Kind::DaemonShuttingDown, "the daemon closed the connection before it answered")
        }
        other => RpcError::new(Kind::Internal, format!("the answer cannot be read: {other}")),
    }
}

struct Named<P>(P);

impl<P: Serialize + DeserializeOwned> ToRpcParams for Named<P> {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.0).map(Some)
    }
}

struct Raw(Box<RawValue>);

impl ToRpcParams for Raw {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(Some(self.0))
    }
}

struct LineWriter(OwnedWriteHalf);

impl TransportSenderT for LineWriter {
    type Error = io::Error;

    async fn send(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.0.write_all(line.as_bytes()).await
    }
}

struct LineReader(BufReader<OwnedReadHalf>);

impl TransportReceiverT for LineReader {
    type Error = io::Error;

    async fn receive(&mut self) -> io::Result<ReceivedMessage> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(MAX_ANSWER).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(ReceivedMessage::Bytes(line))
    }
}
