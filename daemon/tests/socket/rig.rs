//! A server with a handful of methods, and a client that writes and reads lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use frankd::clock::{Clock, Instant, SharedClock, SystemClock};
use frankd::domain::settings::{AccessRule, Subject};
use frankd::domain::{Settings, SocketKind};
use frankd::policy::access::Privileged;
use frankd::rpc::{Account, Accounts, CallContext, Denied, Parts, Peer, Registrar, Router, Server};
use frankd_proto::methods::{access, event, message, system, token};
use frankd_proto::{Capability, Kind, MessageId, MessageState, Method, RpcError, Secret};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::{broadcast, watch};

/// The user of most tests: it has the capabilities that a test gives it.
pub(crate) const ALICE: u32 = 1000;
/// Another one.
pub(crate) const BOB: u32 = 1001;
/// The group `frankd`, and the daemon's own user.
const GROUP: u32 = 990;
/// Root.
pub(crate) const ROOT: u32 = 0;

/// An account database in which some users are in the group `frankd`.
#[derive(Clone, Default)]
pub(crate) struct Members(Arc<Mutex<Vec<u32>>>);

impl Members {
    /// Says who is in the group from now on.
    pub(crate) fn are(&self, uids: &[u32]) {
        *self.0.lock().unwrap() = uids.to_vec();
    }
}

impl Accounts for Members {
    fn look_up(&self, uid: u32, gid: u32) -> BoxFuture<'static, Option<Account>> {
        let user = Some(format!("user{uid}"));
        let mut groups = vec![gid];
        groups.extend(self.0.lock().unwrap().contains(&uid).then_some(GROUP));
        std::future::ready(Some(Account { user, groups })).boxed()
    }
}

/// tokio's time, which a test may pause.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "this clock counts on the runtime's paused time")]
    fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "this clock counts on the runtime's paused time")]
    fn now(&self) -> Instant {
        Instant::since_boot(Duration::from_secs(3600) + (tokio::time::Instant::now() - self.0))
    }

    fn wall(&self) -> jiff::Timestamp {
        SystemClock.wall()
    }

    #[expect(clippy::disallowed_methods, reason = "this clock counts on the runtime's paused time")]
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        tokio::time::sleep(deadline.since(self.now())).boxed()
    }
}

/// A server and what a test does with it.
pub(crate) struct Rig {
    /// The server.
    pub(crate) server: Server,
    /// Stops it.
    pub(crate) stop: watch::Sender<bool>,
    /// Changes its settings.
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    /// Refusals that it reported.
    pub(crate) denied: Arc<Mutex<Vec<Denied>>>,
    /// Messages that `message.send` took, whoever waited for the answer.
    pub(crate) sent: Arc<AtomicU64>,
    /// Lets calls of `message.wait` go.
    pub(crate) go: watch::Sender<bool>,
    /// Events for subscribers.
    pub(crate) events: broadcast::Sender<event::Event>,
    /// Who is in the group `frankd`.
    pub(crate) members: Members,
    /// The clock.
    pub(crate) clock: SharedClock,
}

/// Settings that give these capabilities to Alice, changed by the test.
pub(crate) fn settings(capabilities: &[Capability], change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings {
        access: vec![AccessRule {
            subject: Subject::Uid(ALICE),
            capabilities: capabilities.to_vec(),
            profiles: None,
            from: None,
            rate_per_hour: None,
        }],
        ..Settings::default()
    };
    change(&mut settings);
    settings
}

impl Rig {
    /// A server in which Alice may submit, observe and be handed tokens.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let usual = [Capability::Submit, Capability::Observe, Capability::ReadToken];
        Self::of(settings(&usual, change))
    }

    /// A server with these settings.
    pub(crate) fn of(settings: Settings) -> Self {
        let clock: SharedClock = Arc::new(RuntimeClock::new());
        let (settings, in_force) = watch::channel(Arc::new(settings));
        let (sent, denied) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (go, gone) = watch::channel(false);
        let (events, _) = broadcast::channel(64);
        let router = router(&clock, &sent, &gone, &events);
        let reported = Arc::clone(&denied);
        let members = Members::default();
        let server = Server::new(Parts {
            router,
            settings: in_force,
            clock: Arc::clone(&clock),
            accounts: Arc::new(members.clone()),
            privileged: Privileged { daemon_uid: GROUP, group: Some(GROUP) },
            on_denied: Arc::new(move |refusal| reported.lock().unwrap().push(refusal)),
        });
        Self { server, stop: watch::channel(false).0, settings, denied, sent, go, events, members, clock }
    }

    /// Connects a user to a socket.
    pub(crate) fn connect(&self, uid: u32, socket: SocketKind) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = Peer { uid, gid: uid, pid: Some(4711) };
        let server = self.server.clone();
        tokio::spawn(server.connection(theirs, socket, peer, self.stop.subscribe()));
        ours
    }

    /// Connects a user to the control socket, in lines.
    pub(crate) fn lines(&self, uid: u32) -> Lines<DuplexStream> {
        Lines::new(self.connect(uid, SocketKind::Control))
    }
}

fn router(
    clock: &SharedClock,
    sent: &Arc<AtomicU64>,
    gone: &watch::Receiver<bool>,
    events: &broadcast::Sender<event::Event>,
) -> Router {
    let mut methods = Registrar::default();
    methods
        .method::<system::Ping, _, _>(|context, _| async move { Ok(system::Pong { now: context.now }) })
        .unwrap()
        .method::<access::WhoAmI, _, _>(|context, _| async move { Ok(identity(&context)) })
        .unwrap()
        .method::<token::Get, _, _>(|context, params| async move {
            context.access.check_profile(token::Get::NEEDS, &params.profile)?;
            assert_ne!(params.profile.as_str(), "panic", "on purpose");
            Ok(token::Token {
                access_token: Secret::new("granted"),
                token_type: "Bearer".to_owned(),
                expires_at: context.now,
                username: None,
                scopes: Vec::new(),
                warnings: Vec::new(),
            })
        })
        .unwrap();
    let (counted, go, of_rig) = (Arc::clone(sent), gone.clone(), Arc::clone(clock));
    methods
        .method::<message::Send, _, _>(move |context, params| {
            let (counted, mut go, clock) = (Arc::clone(&counted), go.clone(), Arc::clone(&of_rig));
            async move {
                if params.profile.is_none() {
                    return Err(RpcError::new(Kind::MessageInvalid, "no profile"));
                }
                count(&context, &*clock)?;
                if params.on_doubt.is_some() {
                    go.wait_for(|go| *go).await.map_err(|_| RpcError::new(Kind::Internal, "gone"))?;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(receipt(&context, params.raw_b64.map_or(0, |raw| raw.len())))
            }
        })
        .unwrap();
    let go = gone.clone();
    methods
        .method::<message::Retry, _, _>(move |_, _| {
            let mut go = go.clone();
            async move {
                go.wait_for(|go| *go).await.map_err(|_| RpcError::new(Kind::Internal, "gone"))?;
                Ok(message::Changed::default())
            }
        })
        .unwrap();
    let events = events.clone();
    methods
        .events(move |_, params| {
            let receiver = events.subscribe();
            async move {
                if params.since_seq == Some(0) {
                    return Err(RpcError::new(Kind::ObjectInvalid, "not from there"));
                }
                let stream = futures::stream::unfold(receiver, |mut receiver| async move {
                    let event = receiver.recv().await.ok()?;
                    Some((event, receiver))
                });
                Ok(stream.boxed())
            }
        })
        .unwrap();
    let (counted, of_rig) = (Arc::clone(sent), Arc::clone(clock));
    methods.intake(move |context, params, mut pieces| {
        let (counted, clock) = (Arc::clone(&counted), Arc::clone(&of_rig));
        async move {
            let mut octets = 0;
            while let Some(piece) = pieces.next().await {
                octets += piece?.len();
            }
            if params.profile.is_none() {
                return Err(RpcError::new(Kind::MessageInvalid, "no profile").field("profile"));
            }
            count(&context, &*clock)?;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(receipt(&context, octets))
        }
    });
    methods.finish()
}

/// Counts a message of the hour, as the queue does.
fn count(context: &CallContext, clock: &dyn Clock) -> Result<(), RpcError> {
    let taken = context.quota().map_or(Ok(()), |quota| quota.take(clock.now()));
    taken.map_err(|wait| RpcError::new(Kind::AccessRateLimited, "enough").retry_after_s(wait.as_secs()))
}

fn identity(context: &CallContext) -> access::Identity {
    access::Identity {
        uid: context.caller.uid,
        gid: context.caller.gid,
        pid: context.caller.pid,
        user: context.caller.user.clone(),
        socket: context.caller.socket.as_str().to_owned(),
        capabilities: context.access.grant.capabilities(),
        profiles: context.access.sending_profiles(),
        from: context.access.sending_from(),
        rate_per_hour: context.access.grant.rate_per_hour(),
    }
}

fn receipt(context: &CallContext, octets: usize) -> message::Receipt {
    message::Receipt {
        id: MessageId::from_bits(1),
        profile: "shop".parse().unwrap(),
        message_id: format!("<{octets}@test>"),
        state: MessageState::Queued,
        queued_at: context.now,
        duplicate: false,
    }
}

/// A client that writes and reads lines.
pub(crate) struct Lines<S> {
    /// The connection.
    pub(crate) io: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    /// Lines on a connection.
    pub(crate) fn new(io: S) -> Self {
        Self { io: BufReader::new(io) }
    }

    /// Writes octets as they are.
    pub(crate) async fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.io.write_all(octets.as_ref()).await.unwrap();
    }

    /// Reads a line; `None` at the end.
    pub(crate) async fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.io.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    /// Calls a method and reads one answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.write(request(method, params)).await;
        self.read().await.unwrap()
    }

    /// Calls a method that works.
    pub(crate) async fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("result").is_some(), "{answer}");
        answer["result"].clone()
    }

    /// Calls a method that is refused.
    pub(crate) async fn error(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_some(), "{answer}");
        answer["error"].clone()
    }
}

/// A line that calls a method.
#[expect(clippy::needless_pass_by_value, reason = "tests read better with the values in place")]
pub(crate) fn request(method: &str, params: Value) -> String {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    format!("{request}\n")
}

/// The kind of an error object.
pub(crate) fn kind(error: &Value) -> &str {
    error["data"]["kind"].as_str().unwrap_or("none")
}
