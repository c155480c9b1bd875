//! A daemon that speaks the newline framing, remembers what it was asked, and answers what the test says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use frankd_proto::RpcError;
use frankd_proto::methods::event::Event;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// What the daemon answers to one call.
pub(crate) enum Reply {
    /// This text, octet by octet.
    Raw(String),
    /// This error.
    Error(Box<RpcError>),
    /// Nothing, and the connection stays.
    Silence,
    /// Nothing, and the connection ends.
    Close,
    /// What is inside, once it is released.
    Later(Arc<Notify>, Box<Reply>),
    /// A subscription with these events; the connection ends after them.
    Events(Vec<Event>),
    /// A subscription whose events come from the channel.
    Stream(mpsc::UnboundedReceiver<Event>),
}

impl Reply {
    pub(crate) fn value(value: &impl Serialize) -> Self {
        Self::Raw(serde_json::to_string(value).unwrap())
    }

    pub(crate) fn error(error: RpcError) -> Self {
        Self::Error(Box::new(error))
    }
}

/// One call as the daemon saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) pid: i32,
}

type Answers = dyn FnMut(&Call, usize) -> Reply + Send;

struct Shared {
    answers: Mutex<Box<Answers>>,
    counts: Mutex<HashMap<String, usize>>,
    calls: Mutex<Vec<Call>>,
    seen: mpsc::UnboundedSender<Call>,
}

/// The daemon.
pub(crate) struct FakeDaemon {
    shared: Arc<Shared>,
    seen: mpsc::UnboundedReceiver<Call>,
    task: JoinHandle<()>,
    path: PathBuf,
    _dir: TempDir,
}

impl FakeDaemon {
    /// Starts one; the function gets each call, and how many of the same method came before it.
    pub(crate) fn start(answers: impl FnMut(&Call, usize) -> Reply + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            answers: Mutex::new(Box::new(answers)),
            counts: Mutex::default(),
            calls: Mutex::default(),
            seen: sender,
        });
        let served = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self { shared, seen, task, path, _dir: dir }
    }

    /// One that answers every call with the same text.
    pub(crate) fn answering(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::start(move |_, _| Reply::Raw(text.clone()))
    }

    /// One that answers every call with the same error.
    pub(crate) fn refusing(error: RpcError) -> Self {
        Self::start(move |_, _| Reply::error(error.clone()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The parameters of the only call of this method.
    pub(crate) fn params(&self, method: &str) -> Value {
        let calls = self.calls();
        let mut calls = calls.iter().filter(|call| call.method == method);
        let call = calls.next().unwrap_or_else(|| panic!("{method} was not called"));
        assert!(calls.next().is_none(), "{method} was called twice");
        call.params.clone()
    }

    /// Waits until this method is called.
    pub(crate) async fn called(&mut self, method: &str) -> Call {
        loop {
            let call = self.seen.recv().await.unwrap();
            if call.method == method {
                return call;
            }
        }
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let pid = stream.peer_cred().unwrap().pid().unwrap_or_default();
    let (reader, mut writer) = stream.into_split();
    let (lines, mut outgoing) = mpsc::unbounded_channel::<String>();
    let write = tokio::spawn(async move {
        while let Some(line) = outgoing.recv().await {
            if writer.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut reader = BufReader::new(reader).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        let request: Value = serde_json::from_str(&line).unwrap();
        let call =
            Call { method: request["method"].as_str().unwrap().to_owned(), params: request["params"].clone(), pid };
        let before = {
            let mut counts = shared.counts.lock().unwrap();
            let count = counts.entry(call.method.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let reply = (shared.answers.lock().unwrap())(&call, before);
        shared.calls.lock().unwrap().push(call.clone());
        let _ = shared.seen.send(call);
        let id = request["id"].clone();
        match reply {
            Reply::Close => {
                write.abort();
                break;
            }
            Reply::Later(notify, reply) => {
                let lines = lines.clone();
                tokio::spawn(async move {
                    notify.notified().await;
                    answer(*reply, &id, &lines).await;
                });
            }
            Reply::Stream(_) => {
                let lines = lines.clone();
                tokio::spawn(async move { answer(reply, &id, &lines).await });
            }
            Reply::Events(_) => {
                answer(reply, &id, &lines).await;
                break;
            }
            reply => answer(reply, &id, &lines).await,
        }
    }
    drop(lines);
    let _ = write.await;
}

async fn answer(reply: Reply, id: &Value, lines: &mpsc::UnboundedSender<String>) {
    let send = |line: String| {
        let _ = lines.send(line);
    };
    let notify = |event: &Event| {
        send(json!({"jsonrpc": "2.0", "method": "event", "params": {"subscription": 7, "result": event}}).to_string());
    };
    match reply {
        Reply::Raw(result) => send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)),
        Reply::Error(error) => {
            let error = json!({"code": error.kind().code(), "message": error.message, "data": error.data});
            send(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string());
        }
        Reply::Events(events) => {
            send(json!({"jsonrpc": "2.0", "id": id, "result": 7}).to_string());
            events.iter().for_each(notify);
        }
        Reply::Stream(mut events) => {
            send(json!({"jsonrpc": "2.0", "id": id, "result": 7}).to_string());
            while let Some(event) = events.recv().await {
                notify(&event);
            }
        }
        Reply::Silence | Reply::Close | Reply::Later(..) => {}
    }
}
