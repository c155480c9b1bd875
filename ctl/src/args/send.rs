//! `frankctl send`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use frankd_proto::{Name, OnDoubt, Priority};

use super::values::{self, Moment};

/// Queues a mail. It is on disk when the command returns.
#[derive(Args, Debug, Default)]
#[command(after_help = SEND)]
pub(crate) struct Send {
    /// The profile to send with; chosen by the From address if absent
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<Name>,
    /// From address; with --eml the envelope sender ('' is the null sender)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// To address; with --eml an envelope recipient; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<String>,
    /// Cc address; may be given several times
    #[arg(long, value_name = "ADDRESS", conflicts_with = "eml")]
    pub(crate) cc: Vec<String>,
    /// Bcc address: a recipient that no header names; may be given several times
    #[arg(long, value_name = "ADDRESS", conflicts_with = "eml")]
    pub(crate) bcc: Vec<String>,
    /// Reply-To address; may be given several times
    #[arg(long, value_name = "ADDRESS", conflicts_with = "eml")]
    pub(crate) reply_to: Vec<String>,
    /// Subject
    #[arg(short, long, value_name = "TEXT", conflicts_with = "eml")]
    pub(crate) subject: Option<String>,
    /// File of the plain text ('-' is standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "eml")]
    pub(crate) text: Option<PathBuf>,
    /// File of the HTML ('-' is standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "eml")]
    pub(crate) html: Option<PathBuf>,
    /// File to attach; may be given several times
    #[arg(short, long, value_name = "FILE", conflicts_with = "eml")]
    pub(crate) attach: Vec<PathBuf>,
    /// More header field; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = values::header, conflicts_with = "eml")]
    pub(crate) headers: Vec<(String, String)>,
    /// File of a whole message, RFC 5322 ('-' is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) eml: Option<PathBuf>,
    /// Not before this time: RFC 3339, a date, or a duration from now
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    pub(crate) at: Option<Moment>,
    /// Given up after this time, whatever holds it
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) expires: Option<Duration>,
    /// Which mail goes first
    #[arg(long, value_parser = values::words(Priority::ALL, Priority::as_str))]
    pub(crate) priority: Option<Priority>,
    /// What to do when the delivery is in doubt; as the profile says if absent
    #[arg(long, value_parser = values::words(OnDoubt::ALL, OnDoubt::as_str))]
    pub(crate) on_doubt: Option<OnDoubt>,
    /// The same key with the same message gives the first receipt again
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Waits until the message is final, held or in doubt, at most this long [default: 2m]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "2m",
          value_parser = values::duration)]
    pub(crate) wait: Option<Duration>,
}

const SEND: &str = "\
Examples:
  frankctl send --to ops@example.org -s 'disk full' --text - < msg.txt
  frankctl send --to a@example.org --cc b@example.org -s Report --text body.txt -a report.pdf
  frankctl send --profile alerts --eml message.eml --to a@example.org
  frankctl send --to a@example.org -s Reminder --text body.txt --at +2h --expires 1d

Exit status with --wait:
  0 sent, 6 held until somebody grants access, 8 still waiting or held otherwise,
  9 failed, expired, cancelled or partly sent, 10 in doubt";
