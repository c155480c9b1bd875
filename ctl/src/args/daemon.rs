//! The small nouns: `test`, `events`, `call`, `explain`, `access`, `config`.

use clap::{Args, Subcommand};
use frankd_proto::{EventType, Name};

use super::values::{self, Mark};

/// Test tools.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl test email alerts --to ops@example.org")]
pub(crate) struct Test {
    #[command(subcommand)]
    pub(crate) action: TestAction,
}

/// What to test.
#[derive(Debug, Subcommand)]
pub(crate) enum TestAction {
    /// Sends one mail now, outside the queue, and reports every stage
    #[command(after_help = "Examples:\n  frankctl test email alerts --to ops@example.org")]
    Email(TestEmail),
}

/// A test mail.
#[derive(Args, Debug)]
pub(crate) struct TestEmail {
    /// The profile to test
    pub(crate) profile: Name,
    /// Whom to write to
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: String,
    /// Subject
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,
    /// Text
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Shows the conversation with the mail server even if all went well
    #[arg(long)]
    pub(crate) transcript: bool,
}

/// What happened: the latest events, the oldest of them first.
#[derive(Args, Debug, Default)]
#[command(after_help = EVENTS)]
pub(crate) struct Events {
    /// Goes on as things happen, after the latest ones
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = values::words(EventType::ALL, EventType::as_str))]
    pub(crate) types: Vec<EventType>,
    /// From when on: after a sequence number, or at or after RFC 3339, a date, or a duration ago
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::mark)]
    pub(crate) since: Option<Mark>,
    /// Only events of this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<Name>,
    /// Most events to list, 0 to 1000: the latest, or with --since the first [default: 20, with --since 1000]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) limit: Option<u32>,
}

/// Calls a method of the daemon and prints its result object.
///
/// A secret belongs into standard input, not into the command line.
#[derive(Args, Debug)]
#[command(after_help = CALL)]
pub(crate) struct Call {
    /// The method, such as system.ping
    pub(crate) method: String,
    /// Parameters, a JSON object ('-' reads it from standard input)
    #[arg(default_value = "{}", hide_default_value = true)]
    pub(crate) params: String,
}

/// Explains an error: likely causes, and what to do.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  frankctl explain grant.required\n  frankctl explain 3001\n  frankctl explain ms.7000222"
)]
pub(crate) struct Explain {
    /// Kind or code of an error, or a diagnosis
    #[arg(value_name = "KIND|CODE|DIAGNOSIS", allow_negative_numbers = true)]
    pub(crate) error: String,
}

/// Who may do what.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl access whoami")]
pub(crate) struct Access {
    #[command(subcommand)]
    pub(crate) action: AccessAction,
}

/// What to tell of access.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessAction {
    /// Tells who the daemon takes you for, and what you may do
    #[command(after_help = "Examples:\n  frankctl access whoami")]
    Whoami,
}

/// The daemon's settings.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl config show")]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

/// What to tell of the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Lists every setting, its value in force and where it comes from
    #[command(after_help = "Examples:\n  frankctl config show")]
    Show,
}

const EVENTS: &str = "\
Examples:
  frankctl events
  frankctl events --since 2h
  frankctl events -f --type message.sent --type message.failed
  frankctl events -f --since 0 -o jsonl";

const CALL: &str = "\
Examples:
  frankctl call system.ping
  frankctl call token.info '{\"profile\":\"alerts\"}'
  frankctl call message.send - < params.json";
