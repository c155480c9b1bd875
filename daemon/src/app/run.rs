//! The daemon's life: places, settings, key, store, sockets, and the stop.

use std::process::ExitCode;
use std::sync::Arc;

use frankd_proto::methods::config::Configuration;
use frankd_proto::methods::system::Reloaded;
use frankd_proto::{EventType, Kind, RpcError, Secret};
use futures::future::BoxFuture;
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::accounts::Names;
use super::command_line::{Action, CommandLine};
use super::compose::{ComposeError, Daemon, Seams, compose};
use super::paths::{PathError, Paths, Surroundings};
use super::settings_file::{Configurator, Loaded, SettingsError};
use crate::clock::{SharedClock, SystemClock};
use crate::domain::{NewEvent, SocketKind};
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::oauth::http::HttpAuthorizationServer;
use crate::oauth::wire::Wire;
use crate::registry::Secrets;
use crate::rpc::methods::ConfigReader;
use crate::rpc::{Denied, HostAccounts, OnDenied, Parts, Server};
use crate::smtp::Smtp;
use crate::smtp::tcp::TcpNetwork;
use crate::store::seal::{KeyError, MasterKey};
use crate::store::sled::{OpenError, OpenOptions, SledStore};
use crate::store::{Store, StoreError};
use crate::tls::Tls;

/// Keys that are looked at only when the daemon starts.
const NEEDS_RESTART: &[&str] = &[];

/// The daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no place for something.
    #[error(transparent)]
    Paths(#[from] PathError),
    /// The settings are wrong.
    #[error("read the settings")]
    Settings(#[from] SettingsError),
    /// The state directory cannot be made.
    #[error("make the state directory")]
    State(#[source] std::io::Error),
    /// There is no usable master key.
    #[error("find the master key")]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The owners cannot be put together.
    #[error("begin")]
    Compose(#[from] ComposeError),
    /// The store does not take the first event.
    #[error("write to the store")]
    Store(#[from] StoreError),
    /// A socket cannot be opened.
    #[error("listen on the sockets")]
    Listen(#[source] std::io::Error),
}

/// Serves until a signal says otherwise.
pub async fn serve(line: &CommandLine) -> Result<(), RunError> {
    let paths = Paths::find(line, &Surroundings::of_process())?;
    let names = Names::of_host();
    let loaded = Loaded::read(&paths, &names)?;
    let config = Arc::new(Configurator::new(paths.clone(), names, loaded, NEEDS_RESTART));
    let clock: SharedClock = Arc::new(SystemClock);
    let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
    make_private(&paths.state_dir).map_err(RunError::State)?;
    let key = MasterKey::load(paths.credentials_dir.as_deref(), &paths.state_dir, Some(&*entropy))?;
    let fingerprinter = key.fingerprinter();
    let options = OpenOptions::new(&paths.state_dir, key, Arc::clone(&clock), Arc::clone(&entropy));
    let store: Arc<dyn Store> = Arc::new(SledStore::open(options)?);
    let tls = Arc::new(Tls::with_system_roots(Arc::clone(&clock)));
    let wire = Arc::new(Wire::new(Arc::clone(&tls), Arc::clone(&clock)));
    let files = Arc::new(Files { config: Arc::clone(&config), problem: std::sync::Mutex::new(None) });
    let problem = Arc::clone(&files);
    let seams = Seams {
        server: Arc::new(HttpAuthorizationServer::new(wire, Arc::clone(&clock))),
        smtp: Smtp {
            network: Arc::new(TcpNetwork::new(Arc::clone(&clock))),
            tls,
            clock: Arc::clone(&clock),
            host_name: crate::smtp::host_name(),
        },
        secrets: Secrets { credentials: paths.credentials_dir.clone(), files: Some(paths.secrets_dir.clone()) },
        fingerprint: Arc::new(move |secret: &Secret| fingerprinter.fingerprint(secret)),
        clock: Arc::clone(&clock),
        entropy,
        settings: config.settings(),
        config: Arc::clone(&files) as Arc<dyn ConfigReader>,
        configuration_problem: Arc::new(move || problem.problem()),
        store,
    };
    let (daemon, tasks) = compose(seams).await?;
    for task in tasks {
        tokio::spawn(task);
    }
    let server = Server::new(Parts {
        router: daemon.router.clone(),
        settings: config.settings(),
        clock,
        accounts: Arc::new(HostAccounts),
        privileged: names.privileged(),
        on_denied: on_denied(&daemon),
    });
    let (stop, stopped) = watch::channel(false);
    let sockets = listen(&paths).map_err(RunError::Listen)?;
    for (kind, listener) in sockets {
        tokio::spawn(server.clone().serve(kind, listener, stopped.clone()));
    }
    daemon.announce().await.map_err(|error| StoreError::Failed(error.message))?;
    until_signal(&files).await;
    stop.send_replace(true);
    let drain = config.settings().borrow().queue.drain;
    daemon.stop(drain).await;
    Ok(())
}

/// Makes a folder that only its user can look into, unless it is there.
fn make_private(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens both sockets in the runtime directory.
fn listen(paths: &Paths) -> std::io::Result<Vec<(SocketKind, UnixListener)>> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(&paths.runtime_dir)?;
    let mut sockets = Vec::new();
    for (kind, mode) in [(SocketKind::Control, 0o660), (SocketKind::Submit, 0o666)] {
        let path = paths.runtime_dir.join(format!("{}.sock", kind.as_str()));
        if std::os::unix::net::UnixStream::connect(&path).is_err() {
            std::fs::remove_file(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        sockets.push((kind, listener));
    }
    Ok(sockets)
}

/// Notes refused callers in the event log.
fn on_denied(daemon: &Daemon) -> OnDenied {
    let (store, clock) = (Arc::clone(&daemon.store), Arc::clone(&daemon.owners.clock));
    Arc::new(move |denied: Denied| {
        let event = NewEvent::new(clock.wall(), EventType::AccessDenied)
            .with("method", denied.method)
            .with("uid", denied.caller.uid)
            .with("gid", denied.caller.gid)
            .with("user", denied.caller.user.clone())
            .with("pid", denied.caller.pid)
            .with("count", denied.count);
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(Vec::new(), vec![event]).await });
    })
}

/// The settings files, as methods and signals use them.
#[derive(Debug)]
struct Files {
    config: Arc<Configurator>,
    problem: std::sync::Mutex<Option<String>>,
}

impl Files {
    fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl ConfigReader for Files {
    fn show(&self) -> Configuration {
        self.config.show()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, RpcError>> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || config.reload()).await;
            let outcome = match read {
                Ok(Ok(reloaded)) => Ok(reloaded),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            *self.problem.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = outcome.as_ref().err().cloned();
            outcome.map_err(|message| {
                RpcError::new(Kind::ObjectInvalid, message).hint("the old configuration stays in force")
            })
        })
    }
}

async fn until_signal(files: &Files) {
    use futures::StreamExt as _;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook_tokio::Signals::new([SIGHUP, SIGINT, SIGTERM]) else { return };
    while let Some(signal) = signals.next().await {
        if signal != SIGHUP {
            return;
        }
        if let Err(error) = files.reload().await {
            tracing::error!("{error}");
        }
    }
}

/// Runs what the command line asks for.
pub fn main(line: &CommandLine) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    match line.action {
        Action::Serve => match runtime.block_on(serve(line)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(inner) = cause {
                    text = format!("{text}: {inner}");
                    cause = inner.source();
                }
                tracing::error!("cannot run: {text}");
                ExitCode::FAILURE
            }
        },
        _ => ExitCode::SUCCESS,
    }
}
