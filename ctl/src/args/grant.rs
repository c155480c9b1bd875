//! `frankctl grant …`.

use clap::{Args, Subcommand};
use frankd_proto::{GrantId, Name};

use super::Watch;

/// Grants a profile access.
///
/// Opens the provider's sign-in page in the browser and waits for its answer on a loopback port of this machine.
/// Without a display it asks for the address of the last page instead.
#[derive(Args, Debug)]
#[command(subcommand_negates_reqs = true, after_help = GRANT)]
pub(crate) struct Grant {
    #[command(flatten)]
    pub(crate) start: Start,
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

/// A grant to begin.
#[derive(Args, Debug, Default)]
pub(crate) struct Start {
    /// The profile
    #[arg(value_name = "PROFILE", required_unless_present = "named")]
    pub(crate) profile: Option<Name>,
    /// The profile; for one whose name is that of a command here
    #[arg(long = "profile", id = "named", value_name = "PROFILE", conflicts_with = "profile")]
    pub(crate) named: Option<Name>,
    /// Uses this machine's browser even where no display is seen
    #[arg(long, group = "way")]
    pub(crate) browser: bool,
    /// Waits on the loopback port, and leaves opening the address to you
    #[arg(long, group = "way")]
    pub(crate) no_browser: bool,
    /// Asks for the address of the last page; at no terminal, reads it from standard input
    #[arg(long, group = "way")]
    pub(crate) paste: bool,
}

impl Start {
    /// Whether anything was said of a grant to begin.
    pub(crate) fn is_given(&self) -> bool {
        self.profile.is_some() || self.named.is_some() || self.browser || self.no_browser || self.paste
    }
}

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists grants
    #[command(after_help = "Examples:\n  frankctl grant list\n  frankctl grant list --profile alerts")]
    List {
        /// Only those of this profile
        #[arg(long, value_name = "PROFILE")]
        profile: Option<Name>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Shows a grant
    #[command(after_help = "Examples:\n  frankctl grant show grt_01K3ZQ8W4V5T6R7P8N9M0K1J2H")]
    Show {
        /// Its id
        id: GrantId,
        #[command(flatten)]
        watch: Watch,
    },
    /// Calls a pending grant off
    #[command(after_help = "Examples:\n  frankctl grant cancel grt_01K3ZQ8W4V5T6R7P8N9M0K1J2H")]
    Cancel {
        /// Its id
        id: GrantId,
    },
    /// Completes a grant with the address of the last page
    ///
    /// Asks for the address, or reads it from standard input where that is no terminal.
    #[command(after_help = COMPLETE)]
    Complete {
        /// Its id; found by the address if absent
        id: Option<GrantId>,
    },
}

const GRANT: &str = "\
Examples:
  frankctl grant alerts
  frankctl grant alerts --paste
  frankctl grant --profile list
  frankctl grant complete grt_01K3ZQ8W4V5T6R7P8N9M0K1J2H";

const COMPLETE: &str = "\
Examples:
  frankctl grant complete grt_01K3ZQ8W4V5T6R7P8N9M0K1J2H
  frankctl grant complete < address.txt";
