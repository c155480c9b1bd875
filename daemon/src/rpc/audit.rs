//! The audit: one line in the log for every deed of administration, whoever wants to know later who it was.
//!
//! One place for all of them, behind the methods: what was refused or changed nothing is no deed. A line has the method, the
//! names or ids that it was about, and who called; never a value, so never a secret.

use std::sync::Arc;

use frankd_proto::Method;
use frankd_proto::methods::{client, grant, message, profile, system, token};
use serde::{Deserialize, Serialize};

use crate::domain::Caller;

/// Target of the lines.
pub(super) const TARGET: &str = "frankd::audit";
/// Methods that are deeds.
const DEEDS: &[&str] = &[
    client::Create::NAME,
    client::Update::NAME,
    client::Delete::NAME,
    profile::Create::NAME,
    profile::Update::NAME,
    profile::Delete::NAME,
    profile::Pause::NAME,
    profile::Resume::NAME,
    token::Refresh::NAME,
    token::Revoke::NAME,
    grant::Start::NAME,
    grant::Complete::NAME,
    grant::Cancel::NAME,
    message::Cancel::NAME,
    message::Retry::NAME,
    message::Hold::NAME,
    message::Release::NAME,
    message::Resolve::NAME,
    system::Reload::NAME,
];
/// Most ids that one line names.
const NAMED: usize = 10;

/// A deed that may be about to be done.
pub(super) struct Deed {
    method: &'static str,
    object: Option<String>,
    caller: Arc<Caller>,
}

/// The parameters that name what a method is about.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Names {
    name: Option<String>,
    new_name: Option<String>,
    profile: Option<String>,
    id: Option<String>,
}

/// What a method on many messages says that it changed.
#[derive(Deserialize)]
struct Changed {
    changed: Vec<String>,
}

impl Deed {
    /// A call of `method`, if that is a deed. The parameters were read before, so they are in order.
    pub(super) fn of(method: &'static str, params: Option<&str>, caller: &Arc<Caller>) -> Option<Self> {
        if !DEEDS.contains(&method) {
            return None;
        }
        let names: Names = params.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let object = match (names.name.or(names.profile).or(names.id), names.new_name) {
            (Some(name), Some(new)) if name != new => Some(format!("{name}, now {new}")),
            (object, _) => object,
        };
        Some(Self { method, object, caller: Arc::clone(caller) })
    }

    /// Writes the line: the call succeeded.
    pub(super) fn done(self, output: &impl Serialize) {
        let Self { method, mut object, caller } = self;
        if method.starts_with("message.") {
            let changed = serde_json::to_value(output).and_then(serde_json::from_value::<Changed>);
            let Ok(Changed { changed }) = changed else { return };
            let Some(ids) = listed(&changed) else { return };
            object = Some(ids);
        }
        let Caller { uid, gid, pid, user, groups: _, socket: _ } = &*caller;
        let who = user.clone().unwrap_or_else(|| format!("uid {uid}"));
        let what = object.as_deref().unwrap_or("of the daemon");
        tracing::info!(
            target: TARGET, method, object = object.as_deref(), uid, user = user.as_deref(), gid, pid,
            "{method} {what} by {who}"
        );
    }
}

/// The first few ids and the number of the others; `None` if nothing changed.
fn listed(ids: &[String]) -> Option<String> {
    let first = ids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(" ");
    match ids.len().saturating_sub(NAMED) {
        0 => (!first.is_empty()).then_some(first),
        more => Some(format!("{first} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use frankd_proto::Need;
    use frankd_proto::methods::TABLE;

    use super::*;
    use crate::domain::SocketKind;

    fn logged(method: &'static str, params: &str, output: &serde_json::Value) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(octets);
                Ok(octets.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let caller = Caller {
            uid: 1000,
            gid: 100,
            pid: Some(4711),
            user: Some("alice".to_owned()),
            groups: Vec::new(),
            socket: SocketKind::Control,
        };
        tracing::subscriber::with_default(subscriber, || {
            if let Some(deed) = Deed::of(method, Some(params), &Arc::new(caller)) {
                deed.done(output);
            }
        });
        let text = kept.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_deed_is_one_line_with_the_object_and_who_did_it_and_no_secret() {
        let params = r#"{"name":"web","new_name":"shop","client_secret":{"value":"hunter2"}}"#;
        let line = logged("client.update", params, &serde_json::json!({"name": "shop"}));
        for part in ["INFO frankd::audit", "client.update", "web, now shop", "uid=1000", "alice", "gid=100", "pid=4711"]
        {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains("hunter2"), "{line}");
        let revoked = logged("token.revoke", r#"{"profile":"alerts"}"#, &serde_json::json!({}));
        assert!(revoked.contains("object=\"alerts\""), "{revoked}");
    }

    #[test]
    fn queue_verbs_name_what_changed_and_are_silent_if_nothing_did() {
        let ids: Vec<String> = (0..12).map(|n| format!("msg_{n}")).collect();
        let some = logged("message.cancel", r#"{"profile":"x"}"#, &serde_json::json!({"changed": ids, "skipped": []}));
        assert!(some.contains("msg_9 and 2 more") && !some.contains("msg_10"), "{some}");
        let none = logged("message.cancel", r#"{"ids":[]}"#, &serde_json::json!({"changed": [], "skipped": []}));
        assert_eq!(none, "");
        assert_eq!(logged("client.get", r#"{"name":"web"}"#, &serde_json::json!({})), "");
    }

    #[test]
    fn every_method_that_needs_operate_or_administer_is_a_deed_but_for_reading_testing_and_sending() {
        use frankd_proto::Capability::{Administer, Observe, Operate};
        for row in TABLE {
            let strong = match row.needs {
                Need::Nobody => false,
                Need::Any(any) => !any.contains(&Observe) && any.iter().any(|c| [Operate, Administer].contains(c)),
                Need::OwnOr { all, .. } => all == Operate,
            };
            let verb = row.name.rsplit('.').next().unwrap_or_default();
            let quiet = ["get", "info", "list", "raw", "send", "show", "wait", "email"].contains(&verb);
            assert!(!strong || quiet || DEEDS.contains(&row.name), "{}", row.name);
        }
    }
}
