//! Where the daemon is: what was asked for, or the sockets that are usual, in their order.

use std::io;
use std::path::{Path, PathBuf};

use frankd_proto::{ConnectError, Connection, connect};

use crate::args::values;
use crate::failure::Failure;
use crate::io::Io;
use crate::session::Session;

/// A socket that may be the daemon's.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    path: PathBuf,
    /// Tried only if the one before it is there and does not let us in.
    if_denied: bool,
}

/// Where to look for the daemon. Kept apart from the streams, so that it can be asked again while a person is talked to.
#[derive(Clone, Debug)]
pub(crate) struct Locator {
    named: Option<PathBuf>,
    user: Option<String>,
}

impl Locator {
    /// The daemon that `--host` or `FRANKD_HOST` names, else the user's own, else the system's.
    pub(crate) fn new(host: Option<&Path>, io: &Io) -> Result<Self, Failure> {
        let named = match (host, io.variable("FRANKD_HOST")) {
            (Some(path), _) => Some(path.to_owned()),
            (None, Some(address)) => {
                Some(values::address(address).map_err(|problem| Failure::Usage(format!("FRANKD_HOST: {problem}")))?)
            }
            (None, None) => None,
        };
        Ok(Self { named, user: io.variable("XDG_RUNTIME_DIR").map(ToOwned::to_owned) })
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Session, Failure> {
        let candidates = match &self.named {
            Some(path) => vec![Candidate { path: path.clone(), if_denied: false }],
            None => usual(self.user.as_deref(), Path::new("/run/frankd")),
        };
        first(candidates).await.map(Session::new)
    }
}

fn usual(user: Option<&str>, system: &Path) -> Vec<Candidate> {
    let own = user.map(|dir| Candidate { path: Path::new(dir).join("frankd/control.sock"), if_denied: false });
    own.into_iter()
        .chain([
            Candidate { path: system.join("control.sock"), if_denied: false },
            Candidate { path: system.join("submit.sock"), if_denied: true },
        ])
        .collect()
}

async fn first(candidates: Vec<Candidate>) -> Result<Connection, Failure> {
    let mut tried: Vec<ConnectError> = Vec::new();
    for Candidate { path, if_denied } in candidates {
        let denied = tried.last().is_some_and(|last| last.source.kind() == io::ErrorKind::PermissionDenied);
        if if_denied && !denied {
            continue;
        }
        match connect(&path).await {
            Ok(connection) => return Ok(connection),
            Err(error) => tried.push(error),
        }
    }
    Err(Failure::Unreachable { tried })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::net::UnixListener;

    use super::*;

    fn paths(failure: &Failure) -> Vec<String> {
        let Failure::Unreachable { tried } = failure else { panic!("{failure:?}") };
        tried.iter().map(|t| t.path.display().to_string()).collect()
    }

    #[test]
    fn addresses_are_unix_urls_or_absolute_paths() {
        assert_eq!(values::address("unix:///run/a.sock"), Ok(PathBuf::from("/run/a.sock")));
        assert_eq!(values::address("/run/a.sock"), Ok(PathBuf::from("/run/a.sock")));
        assert!(values::address("ssh://host").is_err());
        assert!(values::address("unix://relative").is_err());
    }

    #[tokio::test]
    async fn the_users_own_daemon_comes_before_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("system");
        let own = dir.path().join("own/frankd");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(&system).unwrap();
        let user = dir.path().join("own").display().to_string();

        let nobody = first(usual(Some(&user), &system)).await.unwrap_err();
        assert_eq!(paths(&nobody).len(), 2, "submit.sock is not for an absent daemon");

        let _system = UnixListener::bind(system.join("control.sock")).unwrap();
        assert!(first(usual(Some(&user), &system)).await.is_ok());
        let mine = UnixListener::bind(own.join("control.sock")).unwrap();
        let (found, accepted) = tokio::join!(first(usual(Some(&user), &system)), mine.accept());
        assert!(found.is_ok() && accepted.is_ok());
    }

    #[tokio::test]
    async fn submit_is_tried_where_control_forbids() {
        let dir = tempfile::tempdir().unwrap();
        let _control = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let submit = UnixListener::bind(dir.path().join("submit.sock")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o0);
        std::fs::set_permissions(dir.path().join("control.sock"), mode).unwrap();
        let found = first(usual(None, dir.path())).await;
        assert!(found.is_ok());
        // Root passes every mode, so only other users can see which of the two let them in.
        let unprivileged = connect(&dir.path().join("control.sock")).await.is_err();
        if unprivileged {
            assert!(submit.accept().await.is_ok());
        }
    }
}
