//! `frankctl token …`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use frankd_proto::Name;

use super::{Watch, values};

/// Tokens of profiles.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl token show alerts\n  frankctl token get alerts")]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Tells all about a token but the token
    #[command(after_help = "Examples:\n  frankctl token show alerts")]
    Show {
        /// The profile
        profile: Name,
        #[command(flatten)]
        watch: Watch,
    },
    /// Prints an access token
    ///
    /// Fits wherever a program takes a command in place of a password.
    #[command(after_help = GET)]
    Get(Get),
    /// Fetches a new access token now
    #[command(after_help = "Examples:\n  frankctl token refresh alerts\n  frankctl token refresh alerts --wait 10s")]
    Refresh {
        /// The profile
        profile: Name,
        /// Longest wait for it [default: 2m]; the daemon goes on afterwards
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Revokes a token at the provider where that is possible, and forgets it
    #[command(after_help = "Examples:\n  frankctl token revoke alerts --local-only --yes")]
    Revoke {
        /// The profile
        profile: Name,
        /// Only forgets it here
        #[arg(long)]
        local_only: bool,
    },
}

/// A token to print.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The profile
    pub(crate) profile: Name,
    /// Life that the token must still have; the profile's or provider's minimum if absent
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) min_valid: Option<Duration>,
    /// Longest wait for a fresh token; 0 never waits
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) wait: Option<Duration>,
    /// How to print it [default: raw]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<TokenFormat>,
}

/// How a token is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenFormat {
    /// The token alone
    #[default]
    Raw,
    /// The value of an Authorization header
    Bearer,
    /// The initial response of SASL XOAUTH2, base64
    Xoauth2,
    /// The result object of the daemon's method
    Json,
}

const GET: &str = "\
Examples:
  frankctl token get alerts
  frankctl token get alerts --min-valid 5m --wait 10s --format xoauth2
  frankctl token get calendar --format bearer";
