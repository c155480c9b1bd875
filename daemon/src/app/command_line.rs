//! The command line of `frankd`: a handful of options, read by hand so that the daemon carries no parser.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What `frankd --help` prints.
pub const USAGE: &str = "\
frankd - keeps OAuth2 tokens fresh and sends the mail that programs hand to it

Usage: frankd [OPTIONS]

  --config FILE       settings; default /etc/frankd/frankd.toml, or below ~/.config for a normal user
  --state-dir DIR     the store; default /var/lib/frankd, or below ~/.local/state
  --runtime-dir DIR   the sockets; default /run/frankd, or below $XDG_RUNTIME_DIR
  --check             reads the settings, says what is wrong with them, and ends
  --recover           rebuilds a lost store from its mirror, says what is gone, and ends
  --version           prints the version
  --help              prints this
";

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Run the service.
    #[default]
    Serve,
    /// Read the settings and end.
    Check,
    /// Rebuild the store from its mirror and end.
    Recover,
    /// Print the version and end.
    Version,
    /// Print the options and end.
    Help,
}

/// A command line, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// What to do.
    pub action: Action,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--runtime-dir`.
    pub runtime_dir: Option<PathBuf>,
}

/// A command line is wrong. The exit status is 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// There is no such option.
    #[error("there is no option {0:?}; try frankd --help")]
    Unknown(OsString),
    /// An option lacks its value.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// An option that takes no value has one.
    #[error("{0} takes no value")]
    Value(&'static str),
    /// Two options that ask for different things.
    #[error("{0} and {1} cannot be asked for together")]
    Two(&'static str, &'static str),
}

impl CommandLine {
    /// Reads the arguments after the program's name.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, CommandLineError> {
        let mut line = Self::default();
        let mut asked = None;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = split(&argument);
            let folder = match name {
                "--config" => Some(("--config", &mut line.config)),
                "--state-dir" => Some(("--state-dir", &mut line.state_dir)),
                "--runtime-dir" => Some(("--runtime-dir", &mut line.runtime_dir)),
                _ => None,
            };
            if let Some((name, place)) = folder {
                let value = value.or_else(|| arguments.next()).filter(|value| !value.is_empty());
                *place = Some(value.ok_or(CommandLineError::NoValue(name))?.into());
                continue;
            }
            let (name, action) = match name {
                "--check" => ("--check", Action::Check),
                "--recover" => ("--recover", Action::Recover),
                "--version" | "-V" => ("--version", Action::Version),
                "--help" | "-h" => ("--help", Action::Help),
                _ => return Err(CommandLineError::Unknown(argument)),
            };
            if value.is_some() {
                return Err(CommandLineError::Value(name));
            }
            match asked.replace(name) {
                Some(before) if before != name => return Err(CommandLineError::Two(before, name)),
                _ => line.action = action,
            }
        }
        Ok(line)
    }
}

/// `--name=value` in two; anything else is a name.
fn split(argument: &OsStr) -> (&str, Option<OsString>) {
    match argument.to_str().and_then(|text| text.split_once('=')) {
        Some((name, value)) if name.starts_with("--") => (name, Some(value.into())),
        _ => (argument.to_str().unwrap_or_default(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<CommandLine, CommandLineError> {
        CommandLine::read(arguments.iter().map(Into::into))
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let line = read(&["--config=/a/b.toml", "--state-dir", "/s", "--check"]).unwrap();
        assert_eq!(line.config.unwrap(), PathBuf::from("/a/b.toml"));
        assert_eq!(line.state_dir.unwrap(), PathBuf::from("/s"));
        assert_eq!((line.runtime_dir, line.action), (None, Action::Check));
        assert_eq!(read(&[]).unwrap(), CommandLine::default());
        assert_eq!(read(&["-V"]).unwrap().action, Action::Version);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(read(&["--verbose"]), Err(CommandLineError::Unknown("--verbose".into())));
        assert_eq!(read(&["stray"]), Err(CommandLineError::Unknown("stray".into())));
        assert_eq!(read(&["--config"]), Err(CommandLineError::NoValue("--config")));
        assert_eq!(read(&["--config="]), Err(CommandLineError::NoValue("--config")));
        assert_eq!(read(&["--check=yes"]), Err(CommandLineError::Value("--check")));
        assert_eq!(read(&["--check", "--recover"]), Err(CommandLineError::Two("--check", "--recover")));
    }

    #[test]
    fn the_usage_names_every_option() {
        for option in ["--config", "--state-dir", "--runtime-dir", "--check", "--recover", "--version", "--help"] {
            assert!(USAGE.contains(option), "{option}");
        }
    }
}
