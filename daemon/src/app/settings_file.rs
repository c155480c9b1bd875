//! Loads the settings: the file, then its drop-ins in the order of their names.
//!
//! A mistake names the file, the line and the key, and changes nothing. Rules of all files add up; of every other key the
//! last file counts. A user or group that is not in the account database is a warning: the machine may start before its
//! directory service does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use frankd_proto::methods::config::{Configuration, Setting};
use frankd_proto::methods::system::Reloaded;
use frankd_proto::{Kind, RpcError};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::watch;

use super::accounts::Names;
use super::paths::Paths;
use super::schema::{self, File, Rule};
use crate::domain::Settings;
use crate::domain::settings::{AccessRule, Subject};
use crate::policy::access::HIDDEN_UID;

/// Settings cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is wrong.
    #[error("{}:{line}: {key}{message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key and a colon, or nothing.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// The values of all files together cannot be.
    #[error("{origin}: {key}: {message}")]
    Unacceptable {
        /// The key.
        key: &'static str,
        /// The file that set it, or `default`.
        origin: String,
        /// What it must be.
        message: String,
    },
}

impl From<SettingsError> for RpcError {
    fn from(error: SettingsError) -> Self {
        let text = match &error {
            SettingsError::Unreadable { source, .. } => format!("{error}: {source}"),
            SettingsError::Wrong { .. } | SettingsError::Unacceptable { .. } => error.to_string(),
        };
        let answer = Self::new(Kind::ObjectInvalid, text).hint("the settings in force stay as they are");
        match error {
            SettingsError::Unacceptable { key, .. } => answer.field(key),
            SettingsError::Wrong { key, .. } if !key.is_empty() => answer.field(key.trim_end_matches(": ")),
            SettingsError::Unreadable { .. } | SettingsError::Wrong { .. } => answer,
        }
    }
}

/// Settings as loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values in force.
    pub settings: Arc<Settings>,
    /// What is suspicious, one sentence each.
    pub warnings: Vec<String>,
    rules: Vec<(String, Value)>,
    origins: BTreeMap<&'static str, String>,
}

impl Loaded {
    /// Reads the file and its drop-ins.
    pub fn read(paths: &Paths, names: &Names) -> Result<Self, SettingsError> {
        let mut settings = Settings::default();
        let mut loaded =
            Self { settings: Arc::default(), warnings: Vec::new(), rules: Vec::new(), origins: BTreeMap::new() };
        for path in files(paths)? {
            let text =
                fs::read_to_string(&path).map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?;
            let mut file = parse(&path, &text)?;
            let origin = path.display().to_string();
            for (index, rule) in std::mem::take(&mut file.access).into_iter().enumerate() {
                let shown = serde_json::to_value(&rule).unwrap_or_default();
                let line = rule_line(&text, index);
                let wrong = |message: String| SettingsError::Wrong {
                    path: path.clone(),
                    line,
                    key: "access: ".to_owned(),
                    message,
                };
                loaded.warnings.extend(suspicious(&rule).map(|warning| format!("{origin}:{line}: {warning}")));
                match rule_of(rule, names).map_err(wrong)? {
                    Ok(rule) => settings.access.push(rule),
                    Err(warning) => loaded.warnings.push(format!("{origin}:{line}: {warning}")),
                }
                loaded.rules.push((origin.clone(), shown));
            }
            file.apply(&mut settings, |key| drop(loaded.origins.insert(key, origin.clone())));
        }
        schema::check(&settings).map_err(|(key, message)| SettingsError::Unacceptable {
            key,
            origin: loaded.origin(key),
            message,
        })?;
        let limits = &settings.limits;
        if limits.message_bytes > limits.request_bytes {
            loaded.warnings.push(format!(
                "{}: limits.message_bytes is more than limits.request_bytes: a message that large comes only by POST /v1/messages",
                loaded.origin("limits.message_bytes")
            ));
        }
        loaded.settings = Arc::new(settings);
        Ok(loaded)
    }

    /// Every setting with its value and origin, sorted by key.
    pub fn show(&self) -> Configuration {
        let rules = self.rules.iter().enumerate().map(|(index, (origin, rule))| Setting {
            key: format!("access[{index}]"),
            value: rule.clone(),
            origin: origin.clone(),
        });
        let values = schema::show(&self.settings).into_iter().map(|(key, value)| Setting {
            key: key.to_owned(),
            value,
            origin: self.origin(key),
        });
        let mut settings: Vec<Setting> = rules.chain(values).collect();
        settings.sort_by(|a, b| a.key.cmp(&b.key));
        Configuration { settings }
    }

    fn origin(&self, key: &str) -> String {
        self.origins.get(key).cloned().unwrap_or_else(|| "default".to_owned())
    }

    /// Keys whose value differs.
    fn changed(&self, new: &Self) -> Vec<String> {
        let (old, new) = (schema::show(&self.settings), schema::show(&new.settings).into_iter());
        let values = old.iter().zip(new).filter(|(old, new)| old.1 != new.1);
        values.map(|(old, _)| old.0.to_owned()).collect()
    }
}

/// The settings in force, and the one who loads them again.
#[derive(Debug)]
pub struct Configurator {
    paths: Paths,
    names: Names,
    needs_restart: &'static [&'static str],
    loaded: Mutex<Loaded>,
    in_force: watch::Sender<Arc<Settings>>,
}

impl Configurator {
    /// Publishes what was loaded. `needs_restart` lists the keys that are looked at only when the daemon starts.
    pub fn new(paths: Paths, names: Names, loaded: Loaded, needs_restart: &'static [&'static str]) -> Self {
        let (in_force, _) = watch::channel(Arc::clone(&loaded.settings));
        Self { paths, names, needs_restart, loaded: Mutex::new(loaded), in_force }
    }

    /// The settings in force, now and after every reload.
    pub fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.in_force.subscribe()
    }

    /// Every setting with its value and origin.
    pub fn show(&self) -> Configuration {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).show()
    }

    /// Reads the files again. A mistake changes nothing. Reads files and the account database: call it on a thread that
    /// may wait.
    pub fn reload(&self) -> Result<Reloaded, SettingsError> {
        let new = Loaded::read(&self.paths, &self.names)?;
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = loaded.changed(&new);
        if loaded.settings.access != new.settings.access || loaded.rules != new.rules {
            changed.insert(0, "access".to_owned());
        }
        let late = |key: &&String| self.needs_restart.contains(&key.as_str());
        let needs_restart = changed.iter().filter(late).cloned().collect();
        self.in_force.send_replace(Arc::clone(&new.settings));
        let warnings = new.warnings.clone();
        *loaded = new;
        Ok(Reloaded { changed, needs_restart, warnings })
    }
}

/// The files that are there, in the order of reading.
fn files(paths: &Paths) -> Result<Vec<PathBuf>, SettingsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| SettingsError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    if paths.config_named || paths.config.try_exists().map_err(unreadable(&paths.config))? {
        files.push(paths.config.clone());
    }
    let folder = paths.drop_ins();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(source) => return Err(unreadable(&folder)(source)),
    };
    let mut drop_ins = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(&folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            drop_ins.push(path);
        }
    }
    drop_ins.sort();
    files.append(&mut drop_ins);
    Ok(files)
}

fn parse(path: &Path, text: &str) -> Result<File, SettingsError> {
    let wrong = |key: String, error: &toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        SettingsError::Wrong {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            key,
            message: error.message().trim_end().replace('\n', ", "),
        }
    };
    let reader = toml::Deserializer::parse(text).map_err(|error| wrong(String::new(), &error))?;
    let mut track = serde_path_to_error::Track::new();
    File::deserialize(serde_path_to_error::Deserializer::new(reader, &mut track)).map_err(|error| {
        let key = track.path().to_string();
        let key = if key == "." { String::new() } else { format!("{key}: ") };
        wrong(key, &error)
    })
}

/// The line of the `index`th `[[access]]` of a file.
fn rule_line(text: &str, index: usize) -> usize {
    let headers = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("[[access]]"));
    headers.map(|(line, _)| line + 1).nth(index).unwrap_or(1)
}

/// What in a rule is probably not meant.
fn suspicious(rule: &Rule) -> impl Iterator<Item = String> + use<> {
    let hidden = (rule.uid == Some(HIDDEN_UID)).then(|| {
        format!("uid {HIDDEN_UID} stands for users that a user namespace hides: they are refused whatever a rule says")
    });
    let none = (rule.rate_per_hour == Some(0)).then(|| "rate_per_hour = 0 lets nobody send by this rule".to_owned());
    hidden.into_iter().chain(none)
}

/// A rule, a warning that it is for nobody, or the mistake in it.
fn rule_of(rule: Rule, names: &Names) -> Result<Result<AccessRule, String>, String> {
    let Rule { user, group, uid, gid, .. } = &rule;
    let subject = match (user.as_deref(), group.as_deref(), uid, gid) {
        (Some("*"), None, None, None) => Some(Subject::Anyone),
        (Some(user), None, None, None) => (names.user)(user).map(Subject::Uid),
        (None, Some(group), None, None) => (names.group)(group).map(Subject::Gid),
        (None, None, Some(uid), None) => Some(Subject::Uid(*uid)),
        (None, None, None, Some(gid)) => Some(Subject::Gid(*gid)),
        _ => return Err("a rule has exactly one of user, group, uid and gid".to_owned()),
    };
    if rule.capabilities.is_empty() {
        return Err("`capabilities` is empty, so the rule grants nothing".to_owned());
    }
    let Some(subject) = subject else {
        let who = user.as_ref().map(|user| format!("user {user:?}"));
        let who = who.unwrap_or_else(|| format!("group {:?}", group.as_deref().unwrap_or_default()));
        return Ok(Err(format!("there is no {who}: the rule counts for nobody until the next reload")));
    };
    Ok(Ok(AccessRule {
        subject,
        capabilities: rule.capabilities,
        profiles: rule.profiles,
        from: rule.from,
        rate_per_hour: rule.rate_per_hour,
    }))
}

#[cfg(test)]
#[path = "settings_file/tests.rs"]
mod tests;
