//! Names of users and groups, looked up when settings are loaded.

use nix::unistd::{Group, User};

use crate::policy::access::Privileged;

/// The group whose members observe, submit and operate.
pub const GROUP: &str = "frankd";

/// Looks names up in the account database; `None` means that there is no such name or no answer.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The uid of a user.
    pub user: fn(&str) -> Option<u32>,
    /// The gid of a group.
    pub group: fn(&str) -> Option<u32>,
}

impl Names {
    /// Those of the host.
    pub fn of_host() -> Self {
        Self {
            user: |name| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()),
            group: |name| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()),
        }
    }

    /// Who is privileged without a rule.
    pub fn privileged(&self) -> Privileged {
        Privileged { daemon_uid: rustix::process::geteuid().as_raw(), group: (self.group)(GROUP) }
    }
}
