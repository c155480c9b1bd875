//! `frankd --recover`, and how a start that is refused says to run it.
//!
//! Every file of the store belongs to the user that the daemon runs as. A recovery by anybody else, root included, would
//! leave files that the daemon cannot read, so it is refused with the command that works.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Uid, User};

use super::command_line::CommandLine;
use super::paths::{PathError, Paths, Surroundings};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::store::seal::{KeyError, MasterKey};
use crate::store::sled::{OpenOptions, RecoverError, recover};

/// There is no recovery.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    /// There is no place for something.
    #[error(transparent)]
    Paths(#[from] PathError),
    /// There is nothing to recover.
    #[error("the state directory {0} does not exist")]
    NoDirectory(String),
    /// The state directory cannot be looked at.
    #[error("look at the state directory")]
    State(#[source] io::Error),
    /// The store belongs to another user.
    #[error("the store in {state} belongs to another user, who could not read what this one writes: run `{command}`")]
    Owner {
        /// The state directory.
        state: String,
        /// What recovers it.
        command: String,
    },
    /// There is no usable master key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be rebuilt.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// Rebuilds the store from its mirror and says what is back and what is gone.
pub(super) fn rebuild(line: &CommandLine) -> Result<String, RecoveryError> {
    let paths = Paths::find(line, &Surroundings::of_process())?;
    let owner = owner(&paths.state_dir)?;
    if owner != Uid::effective() {
        return Err(RecoveryError::Owner {
            state: paths.state_dir.display().to_string(),
            command: command(&paths, owner),
        });
    }
    let key = MasterKey::load(paths.credentials_dir.as_deref(), &paths.state_dir, None)?;
    let options = OpenOptions::new(&paths.state_dir, key, Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let recovered = recover(&options)?;
    let names = |names: &[frankd_proto::Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let lines = [
        format!("found: {}", recovered.findings.join("; ")),
        format!("clients that are back: {}", names(&recovered.clients)),
        format!("profiles that are back: {}", names(&recovered.profiles)),
        format!("profiles whose tokens are back: {}", recovered.tokens.len()),
        format!("messages that are back, held until they are released: {}", recovered.messages),
        format!("gone, or to be done again: {}", recovered.gone.join("; ")),
    ];
    Ok(format!("{}\n", lines.join("\n")))
}

fn owner(state_dir: &Path) -> Result<Uid, RecoveryError> {
    match std::fs::metadata(state_dir) {
        Ok(found) => Ok(Uid::from_raw(found.uid())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(RecoveryError::NoDirectory(state_dir.display().to_string()))
        }
        Err(error) => Err(RecoveryError::State(error)),
    }
}

/// The command that recovers the store of this daemon, which runs.
pub(super) fn of_process(paths: &Paths) -> String {
    command(paths, Uid::effective())
}

/// The command that recovers the store of `owner`, for whoever may become that user. A person's own daemon is recovered by
/// that person; that of a service is recovered by root, as the service's user.
fn command(paths: &Paths, owner: Uid) -> String {
    let name = User::from_uid(owner).ok().flatten().map(|user| user.name);
    let own = owner.is_root() || (owner == Uid::effective() && !Surroundings::of_process().system());
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    let program = program.map_or_else(|| "frankd".to_owned(), |path| quoted(&path));
    write(paths, &program, (!own).then(|| name.unwrap_or_else(|| owner.to_string())).as_deref())
}

fn write(paths: &Paths, program: &str, user: Option<&str>) -> String {
    let before = user.map(|user| format!("runuser -u {user} -- ")).unwrap_or_default();
    let (state, runtime) = (quoted(&paths.state_dir), quoted(&paths.runtime_dir));
    format!("{before}{program} --state-dir {state} --runtime-dir {runtime} --recover")
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(state_dir: &str) -> Paths {
        Paths {
            config: "/etc/frankd/frankd.toml".into(),
            config_named: false,
            secrets_dir: "/etc/frankd/secrets".into(),
            state_dir: state_dir.into(),
            runtime_dir: "/run/frankd".into(),
            credentials_dir: None,
        }
    }

    #[test]
    fn the_command_names_the_user_and_the_places() {
        let command = write(&paths("/var/lib/frankd"), "/usr/sbin/frankd", Some("frankd"));
        assert_eq!(
            command,
            "runuser -u frankd -- /usr/sbin/frankd --state-dir /var/lib/frankd --runtime-dir /run/frankd --recover"
        );
        let command = write(&paths("/home/a b/it's"), "frankd", None);
        assert_eq!(command, "frankd --state-dir '/home/a b/it'\\''s' --runtime-dir /run/frankd --recover");
    }

    #[test]
    fn a_directory_that_does_not_exist_and_one_without_a_store_are_told_apart_from_a_lost_key() {
        let folder = tempfile::tempdir().unwrap();
        let line = |path: &Path| CommandLine {
            state_dir: Some(path.to_owned()),
            runtime_dir: Some("/run/frankd".into()),
            config: Some("/etc/frankd/frankd.toml".into()),
            ..CommandLine::default()
        };
        let absent = rebuild(&line(&folder.path().join("st9"))).unwrap_err().to_string();
        assert!(absent.contains("st9") && absent.contains("does not exist"), "{absent}");
        assert!(!folder.path().join("st9").exists());
        let empty = rebuild(&line(folder.path())).unwrap_err().to_string();
        assert!(empty.contains("there is no store in"), "{empty}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_store_of_another_user_is_refused_with_the_command_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let other = Uid::from_raw(1);
        if !Uid::effective().is_root() {
            return;
        }
        std::os::unix::fs::chown(folder.path(), Some(other.as_raw()), None).unwrap();
        let line = CommandLine {
            state_dir: Some(folder.path().to_owned()),
            runtime_dir: Some("/run/frankd".into()),
            ..CommandLine::default()
        };
        let refused = rebuild(&line).unwrap_err().to_string();
        let name = User::from_uid(other).ok().flatten().map_or_else(|| "1".to_owned(), |user| user.name);
        assert!(refused.contains(&format!("runuser -u {name} -- ")) && refused.contains("--recover"), "{refused}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
