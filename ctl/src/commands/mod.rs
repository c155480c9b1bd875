//! The commands, one file for each noun: each reads its arguments, calls one method or a few, and says what came of it.

pub(crate) mod access;
pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod grant;
pub(crate) mod message;
pub(crate) mod profile;
pub(crate) mod queue;
pub(crate) mod send;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod version;

use std::collections::BTreeMap;
use std::path::Path;

use frankd_proto::methods::client::Deleted;
use frankd_proto::{Patch, SecretView};

use crate::app::App;
use crate::args::Command;
use crate::failure::Failure;
use crate::human;
use crate::output::{Page, Render};

/// Does what a command says; gives the exit status.
pub(crate) async fn run(app: &mut App, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Status(watch) => status::run(app, watch).await,
        Command::Client(client) => client::run(app, client.action).await,
        Command::Profile(profile) => profile::run(app, profile.action).await,
        Command::Grant(grant) => grant::run(app, grant).await,
        Command::Token(token) => token::run(app, token.action).await,
        Command::Send(send) => send::run(app, *send).await,
        Command::Queue(queue) => queue::run(app, queue.action).await,
        Command::Test(test) => test::run(app, test.action).await,
        Command::Events(events) => events::run(app, events).await,
        Command::Call(call) => call::run(app, call).await,
        Command::Explain(explain) => explain::run(app, &explain),
        Command::Access(access) => access::run(app, access.action).await,
        Command::Config(config) => config::run(app, config.action).await,
        Command::Reload => config::reload(app).await,
        Command::Completion { shell } => completion::run(app, shell),
        Command::Version { client } => version::run(app, client).await,
    }
}

impl Render for Deleted {
    fn page(&self, page: &mut Page) {
        page.line(format!("{} is deleted", self.name));
    }

    fn names(&self) -> Vec<String> {
        vec![self.name.to_string()]
    }
}

/// A change from an option and whether `--clear` names the field. Both at once contradict each other.
fn patch<T>(value: Option<T>, clear: bool, field: &str) -> Result<Patch<T>, Failure> {
    match (value, clear) {
        (Some(_), true) => Err(Failure::Usage(format!("{field} is both given and cleared"))),
        (None, true) => Ok(Patch::Clear),
        (value, false) => Ok(value.into()),
    }
}

/// A list option: absent if it was not given.
fn list<T>(values: Vec<T>) -> Option<Vec<T>> {
    Some(values).filter(|values| !values.is_empty())
}

/// `KEY=VALUE` options as a map: absent if none was given. A key given twice contradicts itself.
fn map(pairs: Vec<(String, String)>) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value).is_some() {
            return Err(Failure::Usage(format!("{key} is given twice")));
        }
    }
    Ok(Some(map).filter(|map| !map.is_empty()))
}

/// The text of a file of certificates, if one was named.
fn pem(app: &mut App, path: Option<&Path>) -> Result<Option<String>, Failure> {
    path.map(|path| app.read_text(path)).transpose()
}

/// A stored secret in a few words.
fn secret(view: &SecretView, page: &Page) -> String {
    if !view.set {
        return "not set".to_owned();
    }
    let mut words = "set".to_owned();
    let mut add = |word: String| {
        words.push_str(", ");
        words.push_str(&word);
    };
    if let Some(source) = view.source.as_ref().filter(|source| *source != "value") {
        add(source.clone());
    }
    if let Some(fingerprint) = &view.fingerprint {
        add(fingerprint.clone());
    }
    if let Some(updated) = view.updated_at {
        add(format!("since {}", human::relative(updated, page.now)));
    }
    if let Some(ends) = view.expires_at {
        add(format!("ends {}", human::moment(ends, page.now)));
    }
    words
}
