//! Secrets by reference: files that an administrator owns, read at each use.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use frankd_proto::Secret;
use rustix::fs::{Mode, OFlags};

use crate::domain::{SecretSource, StoredSecret};

/// Longest secret file, in octets.
const LONGEST: u64 = 64 * 1024;

/// A secret by reference cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no folder for this kind of reference.
    #[error("the daemon has no {0} folder")]
    NoFolder(&'static str),
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a regular one, is empty, too long, or not text.
    #[error("{} is not a text file of 1 to 65,536 octets", .0.display())]
    NotASecret(PathBuf),
}

/// Finds secrets.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// `$CREDENTIALS_DIRECTORY`, if systemd gave one.
    pub credentials: Option<PathBuf>,
    /// The administrator's folder of secrets.
    pub files: Option<PathBuf>,
}

impl Secrets {
    /// Why a secret cannot be had now, in one sentence, if so.
    pub fn warning(&self, what: &str, secret: Option<&StoredSecret>) -> Option<String> {
        let error = self.resolve(secret?).err()?;
        Some(format!("the {what} cannot be had: {error}"))
    }

    /// The secret itself. One line end at the end of a file is not part of it.
    pub fn resolve(&self, secret: &StoredSecret) -> Result<Secret, SecretError> {
        match &secret.source {
            SecretSource::Value(value) => Ok(value.clone()),
            SecretSource::Credential(name) => read(self.credentials.as_ref(), "credentials", name),
            SecretSource::File(name) => read(self.files.as_ref(), "secrets", name),
        }
    }
}

fn read(folder: Option<&PathBuf>, what: &'static str, name: &str) -> Result<Secret, SecretError> {
    let folder = folder.ok_or(SecretError::NoFolder(what))?;
    let path = folder.join(name);
    if !is_bare_name(name) {
        return Err(SecretError::NotASecret(path));
    }
    let unreadable = |source: std::io::Error| SecretError::Unreadable { path: path.clone(), source };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
    let file = File::from(opened);
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(SecretError::NotASecret(path));
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    match file.take(LONGEST + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > LONGEST => return Err(SecretError::NotASecret(path)),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(SecretError::NotASecret(path)),
        Err(error) => return Err(unreadable(error)),
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(SecretError::NotASecret(path));
    }
    Ok(Secret::new(line))
}

/// Whether `name` names a file in a folder and nothing else.
pub fn is_bare_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn file(name: &str) -> StoredSecret {
        StoredSecret {
            source: SecretSource::File(name.to_owned()),
            updated_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn a_file_is_read_at_each_use_and_links_are_not_followed() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let secrets = Secrets { credentials: None, files: Some(folder.path().to_owned()) };
        std::fs::write(folder.path().join("m365"), "first\n")?;
        assert_eq!(secrets.resolve(&file("m365"))?, Secret::new("first"));
        std::fs::write(folder.path().join("m365"), "second")?;
        assert_eq!(secrets.resolve(&file("m365"))?, Secret::new("second"));
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link"))?;
        assert!(matches!(secrets.resolve(&file("link")), Err(SecretError::Unreadable { .. })));
        for name in ["../m365", "/etc/hostname", ".hidden", ""] {
            assert!(secrets.resolve(&file(name)).is_err(), "{name}");
        }
        Ok(())
    }
}
