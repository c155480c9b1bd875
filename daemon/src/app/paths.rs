//! Where things are: what systemd says, else the system's folders for root, else a user's own (XDG).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use super::command_line::CommandLine;

/// The folders and files of one daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The settings file.
    pub config: PathBuf,
    /// Whether the settings file has to be there, because somebody named it.
    pub config_named: bool,
    /// Files that secrets refer to.
    pub secrets_dir: PathBuf,
    /// The store.
    pub state_dir: PathBuf,
    /// The sockets, when no one hands them over.
    pub runtime_dir: PathBuf,
    /// systemd credentials.
    pub credentials_dir: Option<PathBuf>,
}

/// There is no place for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The user has no home.
    #[error("the user has no home folder; name the places with --config, --state-dir and --runtime-dir")]
    NoHome,
    /// The user has no runtime folder.
    #[error("XDG_RUNTIME_DIR is not set; name a place for the sockets with --runtime-dir")]
    NoRuntimeDir,
}

/// What the places depend on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Whether the daemon runs as root.
    pub root: bool,
    /// `STATE_DIRECTORY`, `RUNTIME_DIRECTORY`, `CONFIGURATION_DIRECTORY`, `CREDENTIALS_DIRECTORY`, `XDG_RUNTIME_DIR`.
    pub variable: fn(&str) -> Option<OsString>,
    /// A user's own folders.
    pub user: Option<ProjectDirs>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            root: rustix::process::geteuid().is_root(),
            variable: |name| std::env::var_os(name),
            user: ProjectDirs::from("", "", "frankd"),
        }
    }

    /// A folder that systemd made for the service; the first if it names several.
    fn systemd_folder(&self, name: &str) -> Option<PathBuf> {
        let value = (self.variable)(name)?;
        let first = value.to_str()?.split(':').next()?;
        (!first.is_empty()).then(|| PathBuf::from(first))
    }

    fn xdg_runtime_dir(&self) -> Option<PathBuf> {
        let value = (self.variable)("XDG_RUNTIME_DIR").filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value).join("frankd"))
    }

    /// Whether this is a service of the system: of root, or of systemd for a user that is nobody's login.
    pub fn system(&self) -> bool {
        self.root || (self.systemd_folder("STATE_DIRECTORY").is_some() && self.xdg_runtime_dir().is_none())
    }
}

impl Paths {
    /// Finds all places. What the command line names wins, then what systemd says.
    pub fn find(line: &CommandLine, around: &Surroundings) -> Result<Self, PathError> {
        let system = around.system();
        let user = || around.user.as_ref().ok_or(PathError::NoHome);
        let config = match (&line.config, around.systemd_folder("CONFIGURATION_DIRECTORY")) {
            (Some(config), _) => config.clone(),
            (None, Some(folder)) => folder.join("frankd.toml"),
            (None, None) if system => PathBuf::from("/etc/frankd/frankd.toml"),
            (None, None) => user()?.config_dir().join("frankd.toml"),
        };
        let state_dir = match (&line.state_dir, around.systemd_folder("STATE_DIRECTORY")) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) => folder,
            (None, None) if system => PathBuf::from("/var/lib/frankd"),
            (None, None) => {
                let user = user()?;
                user.state_dir().unwrap_or_else(|| user.data_local_dir()).to_owned()
            }
        };
        let runtime_dir = match (&line.runtime_dir, around.systemd_folder("RUNTIME_DIRECTORY")) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) => folder,
            (None, None) if system => PathBuf::from("/run/frankd"),
            (None, None) => around.xdg_runtime_dir().ok_or(PathError::NoRuntimeDir)?,
        };
        let secrets_dir = config.parent().unwrap_or(Path::new("/etc/frankd")).join("secrets");
        Ok(Self {
            config,
            config_named: line.config.is_some(),
            secrets_dir,
            state_dir,
            runtime_dir,
            credentials_dir: around.systemd_folder("CREDENTIALS_DIRECTORY"),
        })
    }

    /// Folder of the drop-ins.
    pub fn drop_ins(&self) -> PathBuf {
        let mut name = self.config.clone().into_os_string();
        name.push(".d");
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(root: bool, variable: fn(&str) -> Option<OsString>) -> Surroundings {
        Surroundings { root, variable, user: ProjectDirs::from_path("frankd".into()) }
    }

    fn find(around: &Surroundings) -> Paths {
        Paths::find(&CommandLine::default(), around).unwrap()
    }

    #[test]
    fn root_has_the_systems_folders() {
        let paths = find(&around(true, |_| None));
        assert_eq!(paths.config, Path::new("/etc/frankd/frankd.toml"));
        assert_eq!(paths.drop_ins(), Path::new("/etc/frankd/frankd.toml.d"));
        assert_eq!(paths.secrets_dir, Path::new("/etc/frankd/secrets"));
        assert_eq!(paths.state_dir, Path::new("/var/lib/frankd"));
        assert_eq!(paths.runtime_dir, Path::new("/run/frankd"));
        assert_eq!(paths.credentials_dir, None);
    }

    #[test]
    fn what_systemd_says_wins_also_for_a_service_user() {
        let paths = find(&around(false, |name| match name {
            "STATE_DIRECTORY" => Some("/var/lib/private/frankd:/other".into()),
            "CONFIGURATION_DIRECTORY" => Some("/etc/frankd".into()),
            "CREDENTIALS_DIRECTORY" => Some("/run/credentials/frankd.service".into()),
            _ => None,
        }));
        assert_eq!(paths.state_dir, Path::new("/var/lib/private/frankd"));
        assert_eq!(paths.config, Path::new("/etc/frankd/frankd.toml"));
        assert_eq!(paths.runtime_dir, Path::new("/run/frankd"));
        assert_eq!(paths.credentials_dir.unwrap(), Path::new("/run/credentials/frankd.service"));
    }

    #[test]
    fn a_normal_user_has_its_own_and_is_told_what_is_missing() {
        let user = around(false, |name| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/1000".into()));
        let paths = find(&user);
        assert_eq!(paths.runtime_dir, Path::new("/run/user/1000/frankd"));
        assert!(paths.config.ends_with("frankd/frankd.toml") && paths.state_dir.ends_with("frankd"), "{paths:?}");
        assert!(!paths.config.starts_with("/etc"));
        let bare = around(false, |_| None);
        assert_eq!(Paths::find(&CommandLine::default(), &bare), Err(PathError::NoRuntimeDir));
        let homeless = Surroundings { user: None, ..bare };
        assert_eq!(Paths::find(&CommandLine::default(), &homeless), Err(PathError::NoHome));
    }

    #[test]
    fn the_command_line_wins_over_everything() {
        let line = CommandLine {
            config: Some("/c/x.toml".into()),
            state_dir: Some("/s".into()),
            runtime_dir: Some("/r".into()),
            ..CommandLine::default()
        };
        let paths = Paths::find(&line, &around(true, |_| Some("/systemd".into()))).unwrap();
        assert_eq!((paths.config.as_path(), paths.config_named), (Path::new("/c/x.toml"), true));
        assert_eq!(paths.drop_ins(), Path::new("/c/x.toml.d"));
        assert_eq!((paths.state_dir.as_path(), paths.runtime_dir.as_path()), (Path::new("/s"), Path::new("/r")));
    }
}
