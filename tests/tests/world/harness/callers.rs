//! Programs that call the daemon: lines of JSON-RPC over a pipe, as a user of the host.

use std::time::Duration;

use frankd::clock::{ClockExt as _, FakeClock};
use frankd::domain::SocketKind;
use frankd::rpc::{Account, Accounts, Peer, Server};
use frankd_proto::methods::{event, grant, message, profile, queue, token};
use frankd_proto::{EventType, HoldReason, MessageId, MessageState, Method, RpcError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::watch;

use super::wires::cut;
use super::{ROOT, World, named, s};

/// Longest wait for an answer: a call that hangs is a failed test, not a test that hangs.
const LONGEST: Duration = s(600);

/// An account database that knows nobody's groups.
pub(super) struct Strangers;

impl Accounts for Strangers {
    fn look_up(&self, uid: u32, gid: u32) -> BoxFuture<'static, Option<Account>> {
        std::future::ready(Some(Account { user: Some(format!("user{uid}")), groups: vec![gid] })).boxed()
    }
}

/// What a call brings.
pub(crate) type Answered<M> = Result<<M as Method>::Output, RpcError>;

/// A connection to the daemon.
pub(crate) struct Caller {
    io: BufReader<DuplexStream>,
    clock: FakeClock,
    /// Every answer, as it came.
    pub(crate) heard: Vec<String>,
}

impl Caller {
    pub(super) fn connect(
        server: &Server,
        uid: u32,
        stop: &watch::Sender<bool>,
        gone: &watch::Sender<bool>,
        clock: &FakeClock,
    ) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = Peer { uid, gid: uid, pid: Some(4711) };
        let connection = server.clone().connection(theirs, SocketKind::Control, peer, stop.subscribe());
        let mut gone = gone.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cut(&mut gone) => {}
            }
        });
        Self { io: BufReader::new(ours), clock: clock.clone(), heard: Vec::new() }
    }

    /// Calls a method and waits for its answer.
    pub(crate) async fn call<M: Method>(&mut self, params: M::Params) -> Answered<M> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": M::NAME, "params": params});
        self.io.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        let read = self.clock.deadline(LONGEST, self.io.read_line(&mut line)).await;
        read.unwrap_or_else(|_| panic!("{} is not answered", M::NAME)).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        self.heard.push(line);
        match answer.get("result") {
            Some(result) => Ok(serde_json::from_value(result.clone()).unwrap()),
            None => {
                let error: ErrorObjectOwned = serde_json::from_value(answer["error"].clone()).unwrap();
                Err(RpcError::from(&error))
            }
        }
    }
}

/// What root asks, each on a connection of its own.
impl World {
    /// Calls any method.
    pub(crate) async fn call<M: Method>(&self, params: M::Params) -> Answered<M> {
        self.connect(ROOT).call::<M>(params).await
    }

    /// Queues a message.
    pub(crate) async fn send(&self, params: message::SendParams) -> message::Receipt {
        self.call::<message::Send>(params).await.unwrap()
    }

    /// A message now.
    pub(crate) async fn message(&self, id: MessageId) -> message::MessageView {
        self.call::<message::Get>(message::ById { id }).await.unwrap()
    }

    /// State and hold of a message now.
    pub(crate) async fn state(&self, id: MessageId) -> (MessageState, Option<HoldReason>) {
        let view = self.message(id).await;
        (view.state, view.held)
    }

    /// A message once it is final, held or in doubt, or after so many seconds.
    pub(crate) async fn wait(&self, id: MessageId, seconds: u32) -> message::MessageView {
        self.call::<message::Wait>(message::WaitParams { id, timeout_s: Some(seconds) }).await.unwrap()
    }

    /// A message once it is sent, whatever holds it for half an hour.
    pub(crate) async fn sent(&self, id: MessageId) -> message::MessageView {
        let mut view = self.wait(id, 5).await;
        for _ in 0..360 {
            if view.state.is_final() {
                break;
            }
            self.pass(s(5)).await;
            view = self.message(id).await;
        }
        assert_eq!(view.state, MessageState::Sent, "{view:#?}");
        view
    }

    /// Everything that happened, in order.
    pub(crate) async fn events(&self) -> Vec<event::Event> {
        let params = event::ListParams { limit: Some(1000), ..event::ListParams::default() };
        self.call::<event::List>(params).await.unwrap().events
    }

    /// What happened of one type.
    pub(crate) async fn told(&self, event_type: EventType) -> Vec<event::Event> {
        self.events().await.into_iter().filter(|event| event.event_type == event_type).collect()
    }

    /// The queue of one profile.
    pub(crate) async fn queue(&self, profile: &str) -> queue::ProfileQueue {
        let summary = self.call::<queue::Summary>(frankd_proto::methods::Empty {}).await.unwrap();
        summary.profiles.into_iter().find(|queue| queue.profile == named(profile)).unwrap()
    }

    /// The gates that hold a profile's mail, as the queue's summary has them.
    pub(crate) async fn gates(&self, profile: &str) -> Vec<HoldReason> {
        self.queue(profile).await.gates
    }

    /// A profile now.
    pub(crate) async fn profile(&self, name: &str) -> profile::ProfileView {
        let params = frankd_proto::methods::client::Named { name: named(name) };
        self.call::<profile::Get>(params).await.unwrap()
    }

    /// A token slot now.
    pub(crate) async fn slot(&self, profile: &str) -> token::TokenInfo {
        self.call::<token::Info>(token::OfProfile { profile: named(profile) }).await.unwrap()
    }

    /// Asks for a token, and waits up to so many seconds.
    pub(crate) async fn token(&self, profile: &str, wait_s: u32) -> Answered<token::Get> {
        let params = token::GetParams { profile: named(profile), min_valid_s: None, wait_s: Some(wait_s) };
        self.call::<token::Get>(params).await
    }

    /// Begins a grant by paste.
    pub(crate) async fn begin_grant(&self, profile: &str) -> grant::Started {
        let params = grant::StartParams { profile: named(profile), via: frankd_proto::GrantVia::Paste, port: None };
        self.call::<grant::Start>(params).await.unwrap()
    }
}
