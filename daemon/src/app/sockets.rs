//! The two sockets: handed over by the service manager, or made here.
//!
//! Inherited sockets are told apart by where they listen, else by their name, never by their order; one that is neither
//! is a start error, so that the wrong socket is never opened to everybody. A socket file of a daemon that is gone is
//! replaced; one that somebody listens on, a link, or anything else is left alone.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, chownat};

use crate::domain::SocketKind;

const FOLDER_MODE: u32 = 0o755;
const CONTROL_MODE: u32 = 0o660;
const SUBMIT_MODE: u32 = 0o666;

/// The sockets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The service manager's variables make no sense.
    #[error("the service manager's sockets cannot be taken over")]
    Inherited(#[source] io::Error),
    /// An inherited socket is neither of the two.
    #[error(
        "inherited socket {name:?}{} is neither control nor submit: name it with FileDescriptorName=",
        path.as_ref().map(|path| format!(" at {}", path.display())).unwrap_or_default()
    )]
    Unknown {
        /// Its name.
        name: String,
        /// Where it listens.
        path: Option<PathBuf>,
    },
    /// Two inherited sockets are the same one.
    #[error("two inherited sockets are {}.sock", .0.as_str())]
    Twice(SocketKind),
    /// Something that is not a socket is in the way.
    #[error("{} is in the way and is no socket", .0.display())]
    InTheWay(PathBuf),
    /// Somebody listens there.
    #[error("another daemon listens on {}", .0.display())]
    InUse(PathBuf),
    /// A socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A socket to serve.
#[derive(Debug)]
pub struct Socket {
    /// Which one.
    pub kind: SocketKind,
    /// Its listener, not blocking.
    pub listener: UnixListener,
    file: Option<SocketFile>,
}

/// A socket file that was made here.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// An inherited socket, before it is known which one it is.
#[derive(Debug)]
struct Inherited {
    name: String,
    listener: UnixListener,
}

/// Takes over the sockets that the service manager hands over, if there are any. Call it once, early.
pub fn inherit() -> Result<Vec<Socket>, SocketError> {
    let names: Vec<String> =
        sd_notify::listen_fds_with_names().map_err(SocketError::Inherited)?.map(|(_, name)| name).collect();
    let mut descriptors = listenfd::ListenFd::from_env();
    let mut inherited = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let taken = descriptors.take_unix_listener(index).map_err(SocketError::Inherited)?;
        inherited.extend(taken.map(|listener| Inherited { name, listener }));
    }
    tell_apart(inherited)
}

/// Makes both sockets in a folder. `group` owns them, where that is possible.
pub fn make(folder: &Path, group: Option<u32>) -> Result<Vec<Socket>, SocketError> {
    make_folder(folder).map_err(|source| SocketError::Bind { path: folder.to_owned(), source })?;
    let kinds = [(SocketKind::Control, CONTROL_MODE), (SocketKind::Submit, SUBMIT_MODE)];
    for (kind, _) in kinds {
        clear_way(&place(folder, kind))?;
    }
    kinds.into_iter().map(|(kind, mode)| bind(folder, kind, mode, group)).collect()
}

/// Makes the folder if it is not there, so that everybody can reach the sockets in it whatever the umask is.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.try_exists()? {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))
}

fn place(folder: &Path, kind: SocketKind) -> PathBuf {
    folder.join(format!("{}.sock", kind.as_str()))
}

/// Removes the files of sockets that were made here and are still there.
pub fn remove(sockets: impl IntoIterator<Item = Leftover>) {
    for Leftover(file) in sockets {
        let same = fs::symlink_metadata(&file.path).is_ok_and(|found| (found.dev(), found.ino()) == file.identity);
        if same && let Err(error) = fs::remove_file(&file.path) {
            tracing::debug!(%error, path = %file.path.display(), "the socket file stays");
        }
    }
}

/// A socket file to remove at the end.
#[derive(Debug)]
pub struct Leftover(SocketFile);

impl Socket {
    /// The listener to serve, and the file to remove at the end if it was made here.
    pub fn split(self) -> (SocketKind, UnixListener, Option<Leftover>) {
        (self.kind, self.listener, self.file.map(Leftover))
    }
}

fn tell_apart(inherited: Vec<Inherited>) -> Result<Vec<Socket>, SocketError> {
    let mut sockets: Vec<Socket> = Vec::new();
    for Inherited { name, listener } in inherited {
        let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        let by_path = path.as_deref().and_then(Path::file_name).and_then(|file| match file.to_str()? {
            "control.sock" => Some(SocketKind::Control),
            "submit.sock" => Some(SocketKind::Submit),
            _ => None,
        });
        let by_name = match name.as_str() {
            "control" | "frankd.socket" => Some(SocketKind::Control),
            "submit" | "frankd-submit.socket" => Some(SocketKind::Submit),
            _ => None,
        };
        if let (Some(path), Some(name)) = (by_path, by_name)
            && path != name
        {
            tracing::warn!("the socket named {} listens on {}.sock and is that one", name.as_str(), path.as_str());
        }
        // Whoever connects knows the path, and the permissions are those of the path.
        let Some(kind) = by_path.or(by_name) else {
            return Err(SocketError::Unknown { name, path });
        };
        if sockets.iter().any(|socket| socket.kind == kind) {
            return Err(SocketError::Twice(kind));
        }
        listener.set_nonblocking(true).map_err(SocketError::Inherited)?;
        sockets.push(Socket { kind, listener, file: None });
    }
    Ok(sockets)
}

fn bind(folder: &Path, kind: SocketKind, mode: u32, group: Option<u32>) -> Result<Socket, SocketError> {
    let path = place(folder, kind);
    // Made under another name and moved into place when its owner and mode are right: nobody connects before.
    let draft = folder.join(format!(".{}.sock.{}", kind.as_str(), std::process::id()));
    let made = (|| {
        if fs::symlink_metadata(&draft).is_ok() {
            fs::remove_file(&draft)?;
        }
        let listener = UnixListener::bind(&draft)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(mode))?;
        if let Some(group) = group
            && let Err(error) = chownat(CWD, &draft, None, Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW)
        {
            // A normal user's own daemon is in its own group.
            tracing::debug!(%error, "the socket keeps its group");
        }
        let found = fs::symlink_metadata(&draft)?;
        fs::rename(&draft, &path)?;
        Ok((listener, (found.dev(), found.ino())))
    })();
    let (listener, identity) = made.map_err(|source| SocketError::Bind { path: path.clone(), source })?;
    let file = Some(SocketFile { path, identity });
    Ok(Socket { kind, listener, file })
}

/// Makes sure that what is at `path` may be replaced: nothing, or a socket that nobody listens on.
fn clear_way(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::InTheWay(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(folder: &Path, name: &str, file: &str) -> Inherited {
        Inherited { name: name.to_owned(), listener: UnixListener::bind(folder.join(file)).unwrap() }
    }

    fn kinds(sockets: &[Socket]) -> Vec<SocketKind> {
        sockets.iter().map(|socket| socket.kind).collect()
    }

    #[test]
    fn inherited_sockets_are_told_apart_whatever_their_order_and_a_swapped_pair_is_put_right() {
        use SocketKind::{Control, Submit};
        let folder = tempfile::tempdir().unwrap();
        let pair = |a: (&str, &str), b: (&str, &str)| {
            let folder = tempfile::tempdir_in(&folder).unwrap();
            let pair = vec![inherited(folder.path(), a.0, a.1), inherited(folder.path(), b.0, b.1)];
            tell_apart(pair).map(|sockets| kinds(&sockets))
        };
        assert_eq!(pair(("control", "a"), ("submit", "b")).unwrap(), [Control, Submit]);
        assert_eq!(pair(("submit", "a"), ("control", "b")).unwrap(), [Submit, Control]);
        assert_eq!(pair(("frankd-submit.socket", "a"), ("frankd.socket", "b")).unwrap(), [Submit, Control]);
        assert_eq!(pair(("unknown", "submit.sock"), ("unknown", "control.sock")).unwrap(), [Submit, Control]);
        let swapped = pair(("control", "submit.sock"), ("submit", "control.sock")).unwrap();
        assert_eq!(swapped, [Submit, Control], "the path is what people connect to");
        let unknown = pair(("control", "a"), ("web", "b")).unwrap_err();
        assert!(unknown.to_string().contains("\"web\""), "{unknown}");
        assert!(matches!(pair(("control", "a"), ("control", "b")), Err(SocketError::Twice(Control))));
    }

    #[test]
    fn made_sockets_have_their_modes_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let sockets = make(&run, None).unwrap();
        assert_eq!(kinds(&sockets), [SocketKind::Control, SocketKind::Submit]);
        let mode = |name: &str| fs::symlink_metadata(run.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("control.sock"), mode("submit.sock"), mode("")), (0o660, 0o666, 0o755));
        UnixStream::connect(run.join("submit.sock")).unwrap();
        remove(sockets.into_iter().filter_map(|socket| socket.split().2));
        assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_socket_is_replaced_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(folder.path().join("control.sock")).unwrap());
        let first = make(folder.path(), None).unwrap();
        let second = make(folder.path(), None).unwrap_err();
        assert!(matches!(second, SocketError::InUse(_)), "{second}");
        UnixStream::connect(folder.path().join("control.sock")).unwrap();
        drop(first);
        let third = make(folder.path(), None).unwrap();
        let old: Vec<Leftover> = third.into_iter().filter_map(|socket| socket.split().2).collect();
        let fourth = make(folder.path(), None).unwrap();
        remove(old);
        UnixStream::connect(folder.path().join("control.sock")).unwrap();
        drop(fourth);
    }

    #[test]
    fn a_link_or_a_file_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("control.sock")).unwrap();
        let error = make(folder.path(), None).unwrap_err();
        assert!(matches!(error, SocketError::InTheWay(_)), "{error}");
        fs::remove_file(folder.path().join("control.sock")).unwrap();
        fs::write(folder.path().join("submit.sock"), "precious too").unwrap();
        assert!(matches!(make(folder.path(), None).unwrap_err(), SocketError::InTheWay(_)));
        assert!(!folder.path().join("control.sock").exists(), "neither or both");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert_eq!(fs::read_to_string(folder.path().join("submit.sock")).unwrap(), "precious too");
    }
}
