//! `frankctl queue …`.

use clap::{Args, Subcommand};
use frankd_proto::{DoubtOutcome, MessageId, MessageState, Name};

use super::values::Moment;
use super::{Watch, values};

/// The outgoing queue.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl queue summary\n  frankctl queue list --state held")]
pub(crate) struct Queue {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with messages.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists messages, the newest first
    #[command(after_help = LIST)]
    List(List),
    /// Shows a message: its recipients, its last attempt
    #[command(after_help = "Examples:\n  frankctl queue show msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H --transcript")]
    Show {
        /// Its id
        id: MessageId,
        /// Shows the conversation with the mail server too
        #[arg(long)]
        transcript: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Prints a message as it is sent
    #[command(after_help = "Examples:\n  frankctl queue cat msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H > message.eml")]
    Cat {
        /// Its id
        id: MessageId,
    },
    /// Counts messages by profile
    #[command(after_help = "Examples:\n  frankctl queue summary --watch")]
    Summary(Watch),
    /// Holds messages until they are released
    #[command(after_help = "Examples:\n  frankctl queue hold --profile alerts --reason 'wrong text'")]
    Hold(Selection),
    /// Lets held messages go
    #[command(after_help = "Examples:\n  frankctl queue release msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H")]
    Release(Selection),
    /// Tries messages now
    #[command(after_help = "Examples:\n  frankctl queue retry --profile alerts")]
    Retry(Selection),
    /// Calls messages off: what was not sent yet is not sent
    #[command(after_help = "Examples:\n  frankctl queue cancel msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H --yes")]
    Cancel(Selection),
    /// Decides what is in doubt after a lost connection or a crash
    #[command(after_help = "Examples:\n  frankctl queue resolve msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H --outcome sent")]
    Resolve {
        /// Ids of messages
        #[arg(value_name = "ID", required = true)]
        ids: Vec<MessageId>,
        /// What became of them
        #[arg(long, value_parser = values::words(DoubtOutcome::ALL, DoubtOutcome::as_str))]
        outcome: DoubtOutcome,
    },
}

/// Which messages to list.
#[derive(Args, Debug, Default)]
pub(crate) struct List {
    /// Only messages of this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<Name>,
    /// Only messages in this state
    #[arg(long, value_parser = values::words(MessageState::ALL, MessageState::as_str))]
    pub(crate) state: Option<MessageState>,
    /// Only messages to this recipient
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Option<String>,
    /// Only messages queued at or after this time: RFC 3339, a date, or a duration ago
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    pub(crate) since: Option<Moment>,
    /// Most messages to list
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Goes on after this message
    #[arg(long, value_name = "ID")]
    pub(crate) cursor: Option<MessageId>,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

/// Which messages to change.
#[derive(Args, Debug, Default)]
pub(crate) struct Selection {
    /// Ids of messages
    #[arg(value_name = "ID", required_unless_present = "profile", conflicts_with = "profile")]
    pub(crate) ids: Vec<MessageId>,
    /// All waiting messages of this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<Name>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

const LIST: &str = "\
Examples:
  frankctl queue list
  frankctl queue list --profile alerts --state held
  frankctl queue list --since 2h --to ops@example.org -o jsonl";
