//! The grammar of the command line. The doc comments here are the help texts.
//!
//! No option takes a secret as its value, and every line of an `Examples:` block is parsed by a test.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod grant;
pub(crate) mod profile;
pub(crate) mod queue;
pub(crate) mod secret;
pub(crate) mod send;
pub(crate) mod token;
pub(crate) mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The command line of frankd: OAuth2 clients, e-mail profiles, tokens and the outgoing queue.
///
/// Data goes to standard output, talk to standard error. With `-o json` the data is exactly the result object of the
/// daemon's method.
#[derive(Debug, Parser)]
#[command(
    name = "frankctl",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    after_long_help = AFTER
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The daemon's socket, unix:///PATH [env: FRANKD_HOST]
    #[arg(short = 'H', long, global = true, value_name = "ADDRESS", value_parser = values::address)]
    pub(crate) host: Option<PathBuf>,
    /// Output format: table, wide, json, jsonl or name [default: table]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) output: Option<Output>,
    /// The same as --output json
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Says nothing but data and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(crate) color: Color,
    /// Never asks; fails naming the option that is missing
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Answers yes to questions before something that cannot be undone
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Checks the command line and prints the call of the daemon's method as JSON, secrets as «set», but sends nothing
    ///
    /// Whether the daemon would take it is not found out: it is not asked. Commands that change nothing do what they
    /// do without it.
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
}

impl Global {
    /// The output format; a wide table is a table.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            _ if self.json => Format::Json,
            None | Some(Output::Table | Output::Wide) => Format::Table,
            Some(Output::Json) => Format::Json,
            Some(Output::Jsonl) => Format::Jsonl,
            Some(Output::Name) => Format::Name,
        }
    }

    /// Whether tables have all their columns.
    pub(crate) fn is_wide(&self) -> bool {
        !self.json && self.output == Some(Output::Wide)
    }
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people, wide or not.
    Table,
    /// The result object.
    Json,
    /// A list item by item.
    Jsonl,
    /// Names or ids alone.
    Name,
}

/// How data shall be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people; may change
    Table,
    /// Like table, with all columns and nothing cut short
    Wide,
    /// The result object of the daemon's method; only grows
    Json,
    /// Lists item by item, one JSON object to a line
    Jsonl,
    /// Names or ids alone, one to a line
    Name,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR or TERM=dumb is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Showing a result again as it changes.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// Shows it again as things happen, at most once in SECS seconds [default: 1]
    #[arg(long, value_name = "SECS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = values::duration)]
    pub(crate) watch: Option<Duration>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tells in one glance whether mail flows, when it will stop, and what to type
    ///
    /// Exit status 1 when something needs attention.
    #[command(after_help = "Examples:\n  frankctl status\n  frankctl status --watch\n  frankctl status -o json")]
    Status(Watch),
    /// OAuth2 clients: endpoints, client id, secret
    Client(client::Client),
    /// E-mail profiles and token holders
    Profile(profile::Profile),
    /// Grants a profile access: a person signs in once
    Grant(grant::Grant),
    /// Tokens of profiles
    Token(token::Token),
    /// Queues a mail
    Send(Box<send::Send>),
    /// The outgoing queue
    Queue(queue::Queue),
    /// Test tools: reports of what was sent, what came back, and what to do
    Test(daemon::Test),
    /// What happened
    Events(daemon::Events),
    /// Calls a method of the daemon
    Call(daemon::Call),
    /// Explains an error
    Explain(daemon::Explain),
    /// Who may do what
    Access(daemon::Access),
    /// The daemon's settings
    Config(daemon::Config),
    /// Makes the daemon read its configuration again
    ///
    /// A wrong configuration changes nothing.
    #[command(after_help = "Examples:\n  frankctl reload")]
    Reload,
    /// Prints a shell's completion script
    ///
    /// The script asks frankctl for what fits: commands and options, and, of the daemon, names of clients and profiles
    /// and ids of messages and grants. Without an answer in half a second there is none of these.
    #[command(after_help = COMPLETION)]
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Versions of frankctl and of the daemon
    #[command(after_help = "Examples:\n  frankctl version\n  frankctl version --client")]
    Version {
        /// Only of frankctl; does not ask the daemon
        #[arg(long)]
        client: bool,
    },
}

const COMPLETION: &str = "\
Examples:
  frankctl completion bash > /etc/bash_completion.d/frankctl
  frankctl completion zsh > /usr/local/share/zsh/site-functions/_frankctl
  frankctl completion fish > ~/.config/fish/completions/frankctl.fish";

const AFTER: &str = "\
Examples:
  frankctl client create m365 --preset microsoft365 --tenant example.org --client-id 4f0c…
  frankctl profile create alerts --kind oauth2_smtp --client m365 --interactive \\
      --username alerts@example.org
  frankctl grant alerts
  frankctl send --profile alerts --to ops@example.org -s 'disk full' --text - < msg.txt
  frankctl status

Output formats:
  table  for people; may change
  wide   like table, with all columns and nothing cut short
  json   exactly the result object of the daemon's method; only grows
  jsonl  lists item by item, one JSON object to a line
  name   names or ids alone, one to a line

With --dry-run a command that would change something prints the method and its
parameters, and sends nothing. Checks that are the daemon's are not made then.

The daemon is looked for at FRANKD_HOST, at the user's own socket, at
/run/frankd/control.sock, and where that is forbidden at /run/frankd/submit.sock.

Exit status:
  0   success, healthy
  1   failed for another reason; status: something needs attention
  2   the command line or a parameter is wrong
  3   there is no such object
  4   the daemon's policy forbids it
  5   the daemon cannot be reached
  6   a person must grant access
  7   conflict: exists, in use, changed meanwhile
  8   timed out, or still waiting
  9   refused for good by the provider or the mail server
  10  failed for now, or in doubt";
