//! `frankctl profile …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use frankd_proto::{Flow, Name, OnDoubt, ProfileKind, TlsMode, TlsVersion};

use super::secret::{KnownSecret, Password};
use super::{Watch, values};

/// E-mail profiles and token holders.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl profile list\n  frankctl profile show alerts")]
pub(crate) struct Profile {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists profiles
    #[command(after_help = "Examples:\n  frankctl profile list\n  frankctl profile list --watch=5")]
    List(Watch),
    /// Shows a profile; of its password only a fingerprint
    #[command(after_help = "Examples:\n  frankctl profile show alerts")]
    Show {
        /// The profile
        name: Name,
        #[command(flatten)]
        watch: Watch,
    },
    /// Makes a profile
    #[command(after_help = CREATE)]
    Create(Box<Create>),
    /// Changes a profile; what is not given stays
    #[command(after_help = UPDATE)]
    Update(Box<Update>),
    /// Deletes a profile that has no waiting mail
    #[command(after_help = "Examples:\n  frankctl profile delete alerts --yes")]
    Delete {
        /// The profile
        name: Name,
        /// Refused unless the profile has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Stops delivery; mail is still accepted
    #[command(after_help = "Examples:\n  frankctl profile pause alerts --for 1h --reason 'provider maintenance'")]
    Pause {
        /// The profile
        name: Name,
        /// Resumes by itself after this time
        #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
        duration: Option<Duration>,
        /// Why, for people
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Starts delivery again
    #[command(after_help = "Examples:\n  frankctl profile resume alerts")]
    Resume {
        /// The profile
        name: Name,
    },
}

/// A new profile.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Its name
    pub(crate) name: Name,
    /// What it is
    #[arg(long, value_parser = values::words(ProfileKind::ALL, ProfileKind::as_str))]
    pub(crate) kind: ProfileKind,
    /// Makes it the default profile
    #[arg(long)]
    pub(crate) default: bool,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) known: KnownSecret,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) smtp: Smtp,
}

/// A change to a profile.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The profile
    pub(crate) name: Name,
    /// Refused unless the profile has this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
    /// Does it although live tokens go out of use
    #[arg(long)]
    pub(crate) confirm: bool,
    /// A new name
    #[arg(long, value_name = "NAME")]
    pub(crate) new_name: Option<Name>,
    /// What it is
    #[arg(long, value_parser = values::words(ProfileKind::ALL, ProfileKind::as_str))]
    pub(crate) kind: Option<ProfileKind>,
    /// Makes it the default profile, or stops it being it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) default: Option<bool>,
    /// Takes a value away
    #[arg(long, value_enum, value_name = "FIELD")]
    pub(crate) clear: Vec<Clearable>,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) known: KnownSecret,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) smtp: Smtp,
}

/// A value that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Clearable {
    /// The note
    Description,
    /// The client
    Client,
    /// The account
    Username,
    /// The password
    Password,
    /// The From address
    From,
    /// The least life of a token
    MinValid,
    /// The EHLO name
    EhloName,
    /// The certificates
    CaBundle,
    /// The limit of messages in a minute
    MessagesPerMinute,
}

/// Settings that a profile is made with or changed to.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// A note for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// How it gets tokens
    #[arg(long, value_parser = values::words(Flow::ALL, Flow::as_str), conflicts_with = "interactive")]
    pub(crate) flow: Option<Flow>,
    /// Another way to say --flow: true is interactive, false is client_credentials
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) interactive: Option<bool>,
    /// The OAuth2 client that it uses
    #[arg(long, value_name = "NAME")]
    pub(crate) client: Option<Name>,
    /// The account: the SASL user name, and the sign-in hint of a grant
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) username: Option<String>,
    /// Scope, in place of the client's; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// Extra parameter of the authorization request; may be given several times
    #[arg(long = "authorization-param", value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(crate) authorization_params: Vec<(String, String)>,
    /// Extra parameter of every token request; may be given several times
    #[arg(long = "token-param", value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(crate) token_params: Vec<(String, String)>,
    /// Envelope and From address of mail that names none; the account if absent
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// From address that chooses this profile, or *@DOMAIN; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allowed_from: Vec<String>,
    /// What to do when a delivery is in doubt, unless the message says
    #[arg(long, value_parser = values::words(OnDoubt::ALL, OnDoubt::as_str))]
    pub(crate) on_doubt: Option<OnDoubt>,
    /// Life that a token must still have to be used or handed out
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) min_valid: Option<Duration>,
}

/// The mail server of a profile.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Mail server")]
pub(crate) struct Smtp {
    /// Host name or address
    #[arg(long = "smtp-host", id = "smtp_host", value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Port
    #[arg(long = "smtp-port", id = "smtp_port", value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// When TLS begins
    #[arg(long, value_parser = values::words(TlsMode::ALL, TlsMode::as_str))]
    pub(crate) tls: Option<TlsMode>,
    /// Name to give in EHLO
    #[arg(long, value_name = "NAME")]
    pub(crate) ehlo_name: Option<String>,
    /// File of certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "PATH")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Oldest TLS version
    #[arg(long, value_name = "VERSION", value_parser = values::words(TlsVersion::ALL, TlsVersion::as_str))]
    pub(crate) min_tls_version: Option<TlsVersion>,
    /// Lets credentials go to a loopback host without TLS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) plaintext_on_loopback: Option<bool>,
    /// Most connections at once
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<u32>,
    /// Most messages on one connection
    #[arg(long, value_name = "N")]
    pub(crate) max_messages_per_connection: Option<u32>,
    /// Most messages in a minute
    #[arg(long, value_name = "N")]
    pub(crate) messages_per_minute: Option<u32>,
}

const CREATE: &str = "\
Examples:
  frankctl profile create alerts --kind oauth2_smtp --client m365 --interactive \\
      --username alerts@example.org
  frankctl profile create nightly --kind oauth2_smtp --client m365-app --interactive=false \\
      --username app@example.org
  frankctl profile create legacy --kind smtp --smtp-host mail.isp.example \\
      --username mailer --password-stdin
  frankctl profile create relay --kind smtp --smtp-host 10.0.0.25 --smtp-port 25 --tls none
  frankctl profile create calendar --kind token --client google --flow interactive";

const UPDATE: &str = "\
Examples:
  frankctl profile update alerts --default
  frankctl profile update alerts --messages-per-minute 20 --if-revision 4
  frankctl profile update legacy --smtp-host mail2.isp.example --password-stdin < new.password
  frankctl profile update alerts --clear from";
