//! The daemon's life: places, settings, key, store, sockets, and the stop.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use frankd_proto::Secret;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::accounts::Names;
use super::command_line::{Action, CommandLine, CommandLineError, USAGE};
use super::compose::{ComposeError, Daemon, Seams, compose};
use super::journal::with_causes;
use super::lifecycle::{self, Signals, Stopped};
use super::notify::{self, Notifier};
use super::paths::{PathError, Paths, Surroundings};
use super::reload::Files;
use super::settings_file::{Configurator, Loaded, SettingsError};
use super::sockets::{self, SocketError};
use super::{hardening, headline, logging, recovery};
use crate::clock::{SharedClock, SystemClock};
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::oauth::http::HttpAuthorizationServer;
use crate::oauth::wire::Wire;
use crate::registry::Secrets;
use crate::rpc::methods::ConfigReader;
use crate::rpc::{HostAccounts, Parts, Server};
use crate::smtp::Smtp;
use crate::smtp::tcp::TcpNetwork;
use crate::store::seal::{KeyError, MasterKey};
use crate::store::sled::{OpenError, OpenOptions, SledStore};
use crate::store::{Store, StoreError};
use crate::tls::Tls;

/// Keys that are looked at only when the daemon starts.
const NEEDS_RESTART: &[&str] = &[];
/// How long keeper, dispatcher and store writer may take to answer the watchdog.
const ANSWER: Duration = Duration::from_secs(10);

/// The daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no place for something.
    #[error(transparent)]
    Paths(#[from] PathError),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no state directory, and none can be made.
    #[error("make the state directory")]
    State(#[source] std::io::Error),
    /// There is no usable master key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be used as it is.
    #[error(
        "{error} (with the daemon stopped): `{command}` keeps clients, profiles and tokens, and says what of the queue is \
         gone"
    )]
    Unusable {
        /// What is wrong.
        error: OpenError,
        /// What recovers it.
        command: String,
    },
    /// The owners cannot be put together.
    #[error("begin")]
    Compose(#[from] ComposeError),
    /// The store does not take the first event.
    #[error("write to the store")]
    Store(#[from] StoreError),
    /// A socket cannot be opened, or is not ours.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// Signals cannot be caught, or there is no runtime.
    #[error("set the process up")]
    Process(#[source] std::io::Error),
}

/// Does what the command line asks for.
pub fn main(line: Result<CommandLine, CommandLineError>) -> ExitCode {
    let line = match line {
        Ok(line) => line,
        Err(error) => return complain(&error, 2),
    };
    match line.action {
        Action::Help => say(USAGE),
        Action::Version => say(&format!("frankd {}\n", env!("CARGO_PKG_VERSION"))),
        Action::Check => check(&line).map_or_else(|error| complain(&error, 1), |text| say(&text)),
        Action::Recover => recovery::rebuild(&line).map_or_else(|error| complain(&error, 1), |text| say(&text)),
        Action::Serve => {
            let log = match logging::begin() {
                Ok(log) => log,
                Err(error) => return complain(&error, 1),
            };
            hardening::protect_memory();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Process);
            let served = runtime.and_then(|runtime| {
                let served = runtime.block_on(serve(&line));
                // What still blocks a thread then is not worth waiting for.
                runtime.shutdown_background();
                served
            });
            match served {
                Ok(()) => ExitCode::SUCCESS,
                // Once: the journal reads standard error too.
                Err(error) if log == logging::Log::StandardError => complain(&error, 1),
                Err(error) => {
                    tracing::error!("{}", with_causes(&error));
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(error: &dyn std::error::Error, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "frankd: {}", with_causes(error));
    ExitCode::from(status)
}

/// Reads the settings and says that they are in order.
fn check(line: &CommandLine) -> Result<String, RunError> {
    let paths = Paths::find(line, &Surroundings::of_process())?;
    let loaded = Loaded::read(&paths, &Names::of_host())?;
    let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    Ok(format!("{warnings}the settings are in order\n"))
}

/// Serves until a signal says otherwise.
async fn serve(line: &CommandLine) -> Result<(), RunError> {
    let mut signals = Signals::catch().map_err(RunError::Process)?;
    let notifier = Notifier::of_process();
    let paths = Paths::find(line, &Surroundings::of_process())?;
    let names = Names::of_host();
    let loaded = Loaded::read(&paths, &names)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = Arc::new(Configurator::new(paths.clone(), names, loaded, NEEDS_RESTART));
    let clock: SharedClock = Arc::new(SystemClock);
    let inherited = sockets::inherit()?;
    let (seams, files) = seams(&paths, &config, &notifier, &clock)?;
    let (daemon, tasks) = compose(seams).await?;
    for task in tasks {
        tokio::spawn(task);
    }
    let sockets =
        if inherited.is_empty() { sockets::make(&paths.runtime_dir, names.privileged().group)? } else { inherited };
    let server = Server::new(Parts {
        router: daemon.router.clone(),
        settings: config.settings(),
        clock: Arc::clone(&clock),
        accounts: Arc::new(HostAccounts),
        privileged: names.privileged(),
        on_denied: daemon.on_denied(),
    });
    daemon.announce().await.map_err(|error| StoreError::Failed(error.message))?;
    let (stop, stopped) = watch::channel(false);
    let (mut leftovers, mut places) = (Vec::new(), Vec::new());
    for socket in sockets {
        let (kind, listener, leftover) = socket.split();
        leftovers.extend(leftover);
        places
            .extend(listener.local_addr().ok().and_then(|at| at.as_pathname().map(|path| path.display().to_string())));
        listener.set_nonblocking(true).map_err(RunError::Process)?;
        let listener = UnixListener::from_std(listener).map_err(RunError::Process)?;
        tokio::spawn(server.clone().serve(kind, listener, stopped.clone()));
    }
    let ending = Ending { daemon: Arc::new(daemon), stop };
    tokio::spawn(notifier.clone().feed(notify::watchdog(), Arc::clone(&clock), alive(&ending.daemon)));
    let headline = headline::now(&ending.daemon).await;
    notifier.ready(&headline);
    say_ready(&ending.daemon, &places.join(", ")).await;
    let headline = tokio::spawn(headline::keep(Arc::clone(&ending.daemon), notifier.clone(), headline));
    // What came of it is noted, whoever asked.
    signals.until_stop(async || drop(files.reload().await)).await;
    headline.abort();
    tracing::info!("stopping: what is being delivered may finish");
    notifier.stopping("finishing what is being delivered");
    let drain = config.settings().borrow().queue.drain;
    let outcome = lifecycle::stop(&mut signals, &clock, &ending, drain).await;
    sockets::remove(leftovers);
    if outcome == Stopped::AtOnce {
        tracing::warn!("stopped at once: what was being delivered may be in doubt");
    } else {
        tracing::info!("stopped");
    }
    Ok(())
}

/// One line for the log.
async fn say_ready(daemon: &Daemon, sockets: &str) {
    let (version, store) = (env!("CARGO_PKG_VERSION"), daemon.store.engine());
    let view = daemon.owners.registry.view();
    let (clients, profiles) = (view.clients().count(), view.profiles().count());
    let messages = daemon.owners.status.glance().await.ok().map(|status| headline::queued(&status));
    tracing::info!(version, sockets, store, clients, profiles, messages, "ready");
}

fn unusable(error: OpenError, paths: &Paths) -> RunError {
    match error {
        OpenError::Unusable { .. } => RunError::Unusable { error, command: recovery::of_process(paths) },
        other => RunError::Open(other),
    }
}

/// Makes a folder that only its owner can look into, unless it is there.
fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The real disk, wires and clocks.
fn seams(
    paths: &Paths,
    config: &Arc<Configurator>,
    notifier: &Notifier,
    clock: &SharedClock,
) -> Result<(Seams, Arc<Files>), RunError> {
    let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
    make_private(&paths.state_dir).map_err(RunError::State)?;
    let key = MasterKey::load(paths.credentials_dir.as_deref(), &paths.state_dir, Some(&*entropy))?;
    let fingerprinter = key.fingerprinter();
    let options = OpenOptions::new(&paths.state_dir, key, Arc::clone(clock), Arc::clone(&entropy));
    let store: Arc<dyn Store> = Arc::new(SledStore::open(options).map_err(|error| unusable(error, paths))?);
    let tls = Arc::new(Tls::with_system_roots(Arc::clone(clock)));
    let wire = Arc::new(Wire::new(Arc::clone(&tls), Arc::clone(clock)));
    let (config, settings) = (Arc::clone(config), config.settings());
    let files = Arc::new(Files::new(config, notifier.clone(), Arc::clone(&store), Arc::clone(clock)));
    let problem = Arc::clone(&files);
    let seams = Seams {
        server: Arc::new(HttpAuthorizationServer::new(wire, Arc::clone(clock))),
        smtp: Smtp {
            network: Arc::new(TcpNetwork::new(Arc::clone(clock))),
            tls,
            clock: Arc::clone(clock),
            host_name: crate::smtp::host_name(),
        },
        secrets: Secrets { credentials: paths.credentials_dir.clone(), files: Some(paths.secrets_dir.clone()) },
        fingerprint: Arc::new(move |secret: &Secret| fingerprinter.fingerprint(secret)),
        clock: Arc::clone(clock),
        entropy,
        settings,
        config: Arc::clone(&files) as Arc<dyn ConfigReader>,
        configuration_problem: Arc::new(move || problem.problem()),
        store,
    };
    Ok((seams, files))
}

/// What has to answer before the watchdog is fed.
fn alive(daemon: &Arc<Daemon>) -> Vec<(&'static str, notify::Check)> {
    let daemon = Arc::clone(daemon);
    let check = move || {
        let daemon = Arc::clone(&daemon);
        async move {
            if !daemon.is_alive(ANSWER).await {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    };
    vec![("keeper, dispatcher or store", Arc::new(check))]
}

/// What ends in order.
struct Ending {
    daemon: Arc<Daemon>,
    stop: watch::Sender<bool>,
}

impl lifecycle::Parts for Ending {
    fn close(&self) {
        self.stop.send_replace(true);
    }

    fn drain_mail(&self, limit: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.daemon.drain(limit))
    }

    fn skip_mail_drain(&self) {
        self.daemon.owners.queue.skip_drain();
    }

    fn wait_for_flights(&self, limit: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.daemon.land(limit))
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.daemon.finish())
    }
}
