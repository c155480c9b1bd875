//! Logs: to the journal when it reads us, else to standard error.
//!
//! `FRANKD_LOG` says how much, in the form `info,frankd::queue=debug`. Libraries are kept to warnings whatever it says:
//! at finer levels some of them log what they send, and that may be a secret. Our own code logs none at any level.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::panic;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use super::journal::Journal;

/// The variable that says how much is logged.
pub const VARIABLE: &str = "FRANKD_LOG";

/// Logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The variable's value makes no sense.
    #[error("{VARIABLE} is not of the form info,frankd::queue=debug")]
    Filter(#[source] ParseError),
    /// It has begun already.
    #[error("logging has begun already")]
    Begun(#[source] TryInitError),
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// The journal.
    Journal,
    /// Standard error.
    StandardError,
}

/// Begins logging, panics included.
pub fn begin() -> Result<Log, LoggingError> {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let journal = journal_reads(io::stderr(), std::env::var("JOURNAL_STREAM").ok().as_deref())
        .then(Journal::of_host)
        .and_then(Result::ok)
        .map(Layer::boxed);
    let log = if journal.is_some() { Log::Journal } else { Log::StandardError };
    let layer = journal.unwrap_or_else(|| stderr().boxed());
    let filter = filter(&wanted).map_err(LoggingError::Filter)?.and(libraries());
    Registry::default().with(layer.with_filter(filter)).try_init().map_err(LoggingError::Begun)?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, "panicked: {}", text.unwrap_or("no text"));
    }));
    Ok(log)
}

fn filter(wanted: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(wanted)
}

/// Lets through what is ours, and warnings of everybody else.
fn libraries() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|event: &Metadata<'_>| {
        let target = event.target();
        let ours = target == "frankd" || target.starts_with("frankd::") || target.starts_with("frankd_proto");
        // jsonrpsee's warnings repeat parameters.
        let most = if target.starts_with("jsonrpsee") { Level::ERROR } else { Level::WARN };
        ours || *event.level() <= most
    })
}

fn stderr() -> impl Layer<Registry> + Send + Sync {
    fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal())
}

/// Whether a stream is the one that the journal reads: `JOURNAL_STREAM` holds its device and inode.
fn journal_reads(stream: impl AsFd, journal: Option<&str>) -> bool {
    let Some((device, inode)) = journal.and_then(|value| value.split_once(':')) else {
        return false;
    };
    let Ok(found) = rustix::fs::fstat(stream) else {
        return false;
    };
    device.parse() == Ok(found.st_dev) && inode.parse() == Ok(found.st_ino)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(wanted: &str, work: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || writer.clone());
        let filter = filter(wanted).unwrap().and(libraries());
        let subscriber = Registry::default().with(layer.with_filter(filter));
        tracing::subscriber::with_default(subscriber, work);
        let text = kept.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    fn talk() {
        tracing::trace!(target: "frankd::rpc", "own trace");
        tracing::info!(target: "frankd", "own info");
        tracing::trace!(target: "reqwest::connect", "foreign trace");
        tracing::info!(target: "hyper", "foreign info");
        tracing::warn!(target: "hyper", "foreign warning");
        tracing::warn!(target: "jsonrpsee-server", "params=hunter2");
        tracing::info!(target: "frankdish", "foreign too");
    }

    #[test]
    fn libraries_stay_quiet_even_when_everything_is_asked_for() {
        let all = logged("trace", talk);
        for own in ["own trace", "own info", "foreign warning"] {
            assert!(all.contains(own), "{own}: {all}");
        }
        for foreign in ["foreign trace", "foreign info", "hunter2", "foreign too"] {
            assert!(!all.contains(foreign), "{foreign}: {all}");
        }
        let all = logged("reqwest=trace,hyper=trace,jsonrpsee-server=trace", talk);
        assert!(!all.contains("foreign trace") && !all.contains("hunter2"), "{all}");
    }

    #[test]
    fn by_default_there_is_information_and_no_more() {
        let some = logged("", talk);
        assert!(some.contains("own info") && !some.contains("own trace"), "{some}");
        assert!(filter("frankd=loud").is_err());
    }

    #[test]
    fn the_journal_is_known_by_the_stream_it_reads() {
        let file = tempfile::tempfile().unwrap();
        let found = rustix::fs::fstat(&file).unwrap();
        let right = format!("{}:{}", found.st_dev, found.st_ino);
        assert!(journal_reads(&file, Some(&right)));
        assert!(!journal_reads(&file, Some(&format!("{}:1", found.st_dev))));
        assert!(!journal_reads(&file, Some("nonsense")) && !journal_reads(&file, None));
    }
}
