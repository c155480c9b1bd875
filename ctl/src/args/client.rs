//! `frankctl client …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use frankd_proto::{Name, TlsVersion, TokenEndpointAuthMethod};

use super::secret::ClientSecret;
use super::{Watch, values};

/// OAuth2 clients.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  frankctl client presets\n  frankctl client list")]
pub(crate) struct Client {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with clients.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists clients
    #[command(after_help = "Examples:\n  frankctl client list\n  frankctl client list -o name")]
    List(Watch),
    /// Shows a client; of its secret only a fingerprint
    #[command(after_help = "Examples:\n  frankctl client show m365")]
    Show {
        /// The client
        name: Name,
        #[command(flatten)]
        watch: Watch,
    },
    /// Makes a client
    ///
    /// What is not given comes from the preset. Prints what to do at the provider, and the redirect URI to register.
    #[command(after_help = CREATE)]
    Create(Box<Create>),
    /// Changes a client; what is not given stays
    #[command(after_help = UPDATE)]
    Update(Box<Update>),
    /// Deletes a client that no profile uses
    #[command(after_help = "Examples:\n  frankctl client delete m365 --yes")]
    Delete {
        /// The client
        name: Name,
        /// Refused unless the client has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Lists what frankd knows of providers, or tells all of one
    #[command(after_help = "Examples:\n  frankctl client presets\n  frankctl client presets microsoft365")]
    Presets {
        /// Tells all of this one, with the steps at the provider
        name: Option<String>,
    },
}

/// A new client.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Its name
    pub(crate) name: Name,
    /// A preset of `frankctl client presets`
    #[arg(long)]
    pub(crate) preset: Option<String>,
    /// Directory (tenant) of presets that need one: an id or a domain
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// client_id at the provider
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: String,
    #[command(flatten)]
    pub(crate) secret: ClientSecret,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// A change to a client.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The client
    pub(crate) name: Name,
    /// Refused unless the client has this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
    /// Does it although live tokens go out of use
    #[arg(long)]
    pub(crate) confirm: bool,
    /// A new name
    #[arg(long, value_name = "NAME")]
    pub(crate) new_name: Option<Name>,
    /// client_id at the provider
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Takes a value away
    #[arg(long, value_enum, value_name = "FIELD")]
    pub(crate) clear: Vec<Clearable>,
    #[command(flatten)]
    pub(crate) secret: ClientSecret,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// A value that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Clearable {
    /// The note
    Description,
    /// The secret
    ClientSecret,
    /// The issuer
    Issuer,
    /// The authorization endpoint
    AuthorizationEndpoint,
    /// The revocation endpoint
    RevocationEndpoint,
    /// The certificates
    CaBundle,
}

/// Settings that a client is made with or changed to.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// A note for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// How the client proves itself at the token endpoint
    #[arg(long, value_name = "METHOD",
          value_parser = values::words(TokenEndpointAuthMethod::ALL, TokenEndpointAuthMethod::as_str))]
    pub(crate) token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
    /// Issuer (RFC 8414), checked against iss in the redirect
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// Authorization endpoint (RFC 8414)
    #[arg(long, value_name = "URL")]
    pub(crate) authorization_endpoint: Option<String>,
    /// Token endpoint (RFC 8414)
    #[arg(long, value_name = "URL")]
    pub(crate) token_endpoint: Option<String>,
    /// Revocation endpoint (RFC 7009)
    #[arg(long, value_name = "URL")]
    pub(crate) revocation_endpoint: Option<String>,
    /// Template of the loopback redirect URI; {port} stands for the port
    #[arg(long, value_name = "URI")]
    pub(crate) redirect_uri: Option<String>,
    /// Scope of profiles that name none; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// Extra parameter of the authorization request; may be given several times
    #[arg(long = "authorization-param", value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(crate) authorization_params: Vec<(String, String)>,
    /// Extra parameter of every token request; may be given several times
    #[arg(long = "token-param", value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(crate) token_params: Vec<(String, String)>,
    /// File of certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "PATH")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Oldest TLS version
    #[arg(long, value_name = "VERSION", value_parser = values::words(TlsVersion::ALL, TlsVersion::as_str))]
    pub(crate) min_tls_version: Option<TlsVersion>,
    /// Time to connect
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Time for a whole request
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) request_timeout: Option<Duration>,
}

const CREATE: &str = "\
Examples:
  frankctl client create m365 --preset microsoft365 --tenant example.org --client-id 4f0c…
  frankctl client create gmail --preset google --client-secret-stdin \\
      --client-id 123.apps.googleusercontent.com
  frankctl client create idp --client-id mailer --client-secret-file /root/idp.secret \\
      --authorization-endpoint https://idp.example/auth \\
      --token-endpoint https://idp.example/token --scope mail";

const UPDATE: &str = "\
Examples:
  frankctl client update m365 --client-secret-stdin --client-secret-expires 2027-08-27 < secret
  frankctl client update m365 --clear client_secret --token-endpoint-auth-method none";
