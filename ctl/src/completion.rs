//! What a shell offers to complete a word with: commands and options from the grammar, names and ids from the daemon.
//!
//! The script of `frankctl completion` runs frankctl with the variable `COMPLETE` and the words so far. A daemon that
//! cannot be asked, or does not answer at once, has no candidates, and nothing is said of it: the person is typing.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use frankd_proto::methods::{Empty, TABLE, client, grant, message, profile};
use frankd_proto::{GrantId, Kind, MessageId, Method, Name};

use crate::args::values;
use crate::clock;
use crate::failure::Doing;
use crate::host::Locator;
use crate::io::Io;

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many messages are offered, the newest.
const MESSAGES: u32 = 50;
/// The variable by which a shell asks.
const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks what a word may become; whether one asked. The error is for a person who tries it by hand.
pub fn complete(arguments: impl IntoIterator<Item = OsString>) -> Result<bool, clap::Error> {
    let directory = std::env::current_dir().ok();
    let factory = || with_candidates(crate::command(), "");
    CompleteEnv::with_factory(factory).var(VARIABLE).try_complete(arguments, directory.as_deref())
}

/// The script that makes a shell ask; nothing for a shell that is not known.
pub(crate) fn script(shell: &str) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    // Writing to memory does not fail.
    shells.completer(shell)?.write_registration(VARIABLE, "frankctl", "frankctl", "frankctl", &mut script).ok()?;
    Some(script)
}

/// The grammar, where every argument that stands for something that exists knows where to look for it.
fn with_candidates(command: Command, noun: &str) -> Command {
    let name = command.get_name().to_owned();
    let noun = if noun == "frankctl" { name.as_str() } else { noun };
    let below = if noun.is_empty() { "frankctl" } else { noun };
    command
        .mut_args(|arg| match candidates(noun, &name, &arg) {
            Some(candidates) => arg.add(candidates),
            None => arg,
        })
        .mut_subcommands(|child| with_candidates(child, below))
}

/// What an argument stands for, by its type, and by its name where names are of several kinds.
fn candidates(noun: &str, verb: &str, arg: &Arg) -> Option<ArgValueCandidates> {
    let is = |id: TypeId| arg.get_value_parser().type_id() == id;
    let found = match (noun, verb, arg.get_id().as_str()) {
        _ if is(TypeId::of::<MessageId>()) => ArgValueCandidates::new(messages),
        _ if is(TypeId::of::<GrantId>()) => ArgValueCandidates::new(grants),
        // A name that is not taken yet.
        ("client" | "profile", "create", "name") => return None,
        ("client", "presets", "name") | (_, _, "preset") => ArgValueCandidates::new(presets),
        ("client", _, "name") | (_, _, "client") if is(TypeId::of::<Name>()) => ArgValueCandidates::new(clients),
        ("profile", _, "name") | (_, _, "profile" | "named") => ArgValueCandidates::new(profiles),
        ("call", _, "method") => ArgValueCandidates::new(methods),
        ("explain", _, "error") => ArgValueCandidates::new(kinds),
        _ => return None,
    };
    Some(found)
}

fn clients() -> Vec<CompletionCandidate> {
    ask::<client::List>(Empty {}, |clients| clients.items.into_iter().map(|client| client.name.to_string()).collect())
}

fn profiles() -> Vec<CompletionCandidate> {
    ask::<profile::List>(Empty {}, |all| all.items.into_iter().map(|profile| profile.name.to_string()).collect())
}

fn presets() -> Vec<CompletionCandidate> {
    ask::<client::Presets>(client::PresetsParams::default(), |presets| {
        presets.items.into_iter().map(|preset| preset.name).collect()
    })
}

fn grants() -> Vec<CompletionCandidate> {
    let params = grant::ListParams { profile: None };
    ask::<grant::List>(params, |grants| grants.items.into_iter().map(|grant| grant.id.to_string()).collect())
}

fn messages() -> Vec<CompletionCandidate> {
    let params = message::ListParams { limit: Some(MESSAGES), ..message::ListParams::default() };
    ask::<message::List>(params, |messages| messages.items.into_iter().map(|one| one.id.to_string()).collect())
}

fn methods() -> Vec<CompletionCandidate> {
    TABLE.iter().filter(|row| !row.subscription).map(|row| CompletionCandidate::new(row.name)).collect()
}

fn kinds() -> Vec<CompletionCandidate> {
    Kind::all().map(|kind| CompletionCandidate::new(kind.name())).collect()
}

/// Asks the daemon, on a runtime of its own: a shell waits for the answer and for nothing else.
fn ask<M: Method>(params: M::Params, words: fn(M::Output) -> Vec<String>) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let asked = async {
        let locator = Locator::new(host(std::env::args()).as_deref(), &Io::process()).ok()?;
        let session = locator.connect().await.ok()?;
        session.call::<M>(params, Doing::default()).await.ok()
    };
    let answer = runtime.block_on(async { clock::deadline(PATIENCE, asked).await.flatten() });
    let words = answer.map(|answer| words(answer.value)).unwrap_or_default();
    words.into_iter().map(CompletionCandidate::new).collect()
}

/// The socket that the words so far name.
fn host(words: impl Iterator<Item = String>) -> Option<PathBuf> {
    let mut words = words;
    let mut named = None;
    while let Some(word) = words.next() {
        let address = match word.as_str() {
            "-H" | "--host" => words.next(),
            word => word.strip_prefix("--host=").or(word.strip_prefix("-H")).map(ToOwned::to_owned),
        };
        named = address.and_then(|address| values::address(&address).ok()).or(named);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_among_the_words() {
        let host = |line: &str| host(line.split(' ').map(ToOwned::to_owned));
        assert_eq!(host("frankctl --host unix:///a profile show"), Some(PathBuf::from("/a")));
        assert_eq!(host("frankctl profile -H /b show"), Some(PathBuf::from("/b")));
        assert_eq!(host("frankctl --host=/c"), Some(PathBuf::from("/c")));
        assert_eq!(host("frankctl profile show --host"), None);
    }
}
