//! How a secret is given: never as a value of an option.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::values;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// On standard input; at a terminal it is asked for.
    Stdin,
    /// In a file here.
    File(PathBuf),
    /// In a systemd credential of the daemon.
    Credential(String),
    /// In a file of the daemon.
    RefFile(String),
}

/// How a client secret is given.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Client secret")]
pub(crate) struct ClientSecret {
    /// Reads the secret from standard input; at a terminal, asks for it without showing it
    #[arg(long = "client-secret-stdin", group = "client_secret")]
    pub(crate) stdin: bool,
    /// Reads the secret from a file here ('-' is standard input)
    #[arg(long = "client-secret-file", group = "client_secret", value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// The daemon reads it from this systemd credential at each use
    #[arg(long = "client-secret-credential", group = "client_secret", value_name = "NAME")]
    pub(crate) credential: Option<String>,
    /// The daemon reads it from the file of this name in its secrets directory at each use
    #[arg(long = "client-secret-ref-file", group = "client_secret", value_name = "NAME")]
    pub(crate) ref_file: Option<String>,
    /// When the provider says that it ends: RFC 3339 or a date
    #[arg(long = "client-secret-expires", value_name = "TIME", value_parser = values::timestamp)]
    pub(crate) expires: Option<Timestamp>,
}

impl ClientSecret {
    /// Where it is, if that was said.
    pub(crate) fn source(&self) -> Option<Source> {
        source(self.stdin, self.file.as_ref(), self.credential.as_ref(), self.ref_file.as_ref())
    }
}

/// How a client's secret is shown to be known.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Client secret")]
pub(crate) struct KnownSecret {
    /// Reads the client's secret from standard input: a new mail server of tokens without a person needs it
    #[arg(long = "client-secret-stdin", group = "known_secret")]
    pub(crate) secret_stdin: bool,
    /// Reads it from a file here ('-' is standard input)
    #[arg(long = "client-secret-file", group = "known_secret", value_name = "PATH")]
    pub(crate) secret_file: Option<PathBuf>,
}

impl KnownSecret {
    /// Where it is, if that was said.
    pub(crate) fn source(&self) -> Option<Source> {
        source(self.secret_stdin, self.secret_file.as_ref(), None, None)
    }
}

/// How a password is given.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Password")]
pub(crate) struct Password {
    /// Reads the password from standard input; at a terminal, asks for it without showing it
    #[arg(long = "password-stdin", group = "password")]
    pub(crate) stdin: bool,
    /// Reads the password from a file here ('-' is standard input)
    #[arg(long = "password-file", group = "password", value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// The daemon reads it from this systemd credential at each use
    #[arg(long = "password-credential", group = "password", value_name = "NAME")]
    pub(crate) credential: Option<String>,
    /// The daemon reads it from the file of this name in its secrets directory at each use
    #[arg(long = "password-ref-file", group = "password", value_name = "NAME")]
    pub(crate) ref_file: Option<String>,
}

impl Password {
    /// Where it is, if that was said.
    pub(crate) fn source(&self) -> Option<Source> {
        source(self.stdin, self.file.as_ref(), self.credential.as_ref(), self.ref_file.as_ref())
    }
}

fn source(
    stdin: bool,
    file: Option<&PathBuf>,
    credential: Option<&String>,
    ref_file: Option<&String>,
) -> Option<Source> {
    if stdin || file.is_some_and(|path| path.as_os_str() == "-") {
        return Some(Source::Stdin);
    }
    file.cloned()
        .map(Source::File)
        .or_else(|| credential.cloned().map(Source::Credential))
        .or_else(|| ref_file.cloned().map(Source::RefFile))
}
