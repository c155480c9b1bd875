//! Servers and a browser that nobody here wrote, as peers of the tests: oidc-provider, Dovecot, Chromium.
//!
//! `tests/rig` starts them on loopback, in a temporary folder and with a test CA of their own, in about a second; a [`Rig`]
//! is one such set, and everything ends with it. All calls block.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::held::RigError;
use crate::held::{Held, rig_file};
use crate::skip;

/// A server that the rig can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// npm oidc-provider, with a fault switch in front.
    AuthorizationServer,
    /// The mail server behind Dovecot: mail lands in Maildirs.
    Sink,
    /// Dovecot's submission service, which takes the tokens of the authorization server.
    Dovecot,
    /// Postfix's smtp-sink, which takes everything quickly and keeps nothing.
    SmtpSink,
}

impl Peer {
    /// The peers of a whole mail from grant to mailbox.
    pub const MAIL: &'static [Self] = &[Self::AuthorizationServer, Self::Sink, Self::Dovecot];

    const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationServer => "as",
            Self::Sink => "sink",
            Self::Dovecot => "dovecot",
            Self::SmtpSink => "smtp-sink",
        }
    }
}

/// What happens to requests instead of their answer.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Fault {
    /// An answer of the test's choice.
    Status {
        /// HTTP status.
        status: u16,
        /// Body, said to be JSON.
        body: String,
        /// More headers, an object of strings.
        headers: Value,
    },
    /// HTML with status 200.
    Garbage,
    /// The connection is cut before the server reads the request.
    Reset,
    /// No answer, ever.
    Hang,
    /// The answer comes late.
    Slow {
        /// How late, in milliseconds.
        ms: u64,
    },
    /// The server commits and the answer is lost.
    DropResponse,
}

/// One request at the token endpoint, as the authorization server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TokenRequest {
    /// Client id.
    pub client: Option<String>,
    /// `client_credentials`, `authorization_code`, `refresh_token`, …
    pub grant_type: Option<String>,
    /// HTTP status of the answer.
    pub status: u16,
    /// Error code of the answer (RFC 6749 section 5.2).
    pub error: Option<String>,
    /// When it came in, milliseconds since 1970 by the server's clock.
    pub began_ms: u64,
    /// When it was answered, milliseconds since 1970 by the server's clock.
    pub ended_ms: u64,
}

impl TokenRequest {
    /// Whether both were in progress at one moment.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.began_ms < other.ended_ms && other.began_ms < self.ended_ms
    }
}

/// The page on which a browser ended.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// Its URL.
    pub url: String,
    /// Its text.
    pub text: String,
}

/// A running set of peers. It ends when this is dropped; after a panic its folder stays, for the logs in it.
#[derive(Debug)]
pub struct Rig {
    held: Held,
}

impl Rig {
    /// Starts `peers` and waits until each answers. Dovecot needs the other two of [`Peer::MAIL`].
    pub fn start(peers: &[Peer]) -> Result<Self, RigError> {
        let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
        Ok(Self { held: Held::start("bin/hold", &names, &[])? })
    }

    /// Starts `peers`; where one is not installed the calling test counts as skipped and gets nothing.
    ///
    /// # Panics
    /// If they do not start, and where one is not installed with `CI=true`.
    #[expect(clippy::panic, reason = "a test cannot go on without its peers, and should say why")]
    pub fn start_or_skip(peers: &[Peer]) -> Option<Self> {
        let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
        if !skip::available(&names) {
            return None;
        }
        match Self::start(peers) {
            Ok(rig) => Some(rig),
            Err(error) => panic!("{error}"),
        }
    }

    /// The folder with configuration, certificates, mail and logs.
    pub fn dir(&self) -> &Path {
        Path::new(self.held.value("RIG_DIR"))
    }

    /// The file with the test CA's certificate, PEM.
    pub fn ca_file(&self) -> PathBuf {
        PathBuf::from(self.held.value("RIG_CA"))
    }

    /// The test CA's certificate, PEM.
    pub fn ca_pem(&self) -> Result<String, RigError> {
        Ok(fs::read_to_string(self.ca_file())?)
    }

    /// The secret of every confidential client but `odd id:/%`.
    pub fn client_secret(&self) -> &str {
        self.held.value("RIG_SECRET")
    }

    /// The authorization server's issuer.
    pub fn issuer(&self) -> &str {
        self.held.value("RIG_ISSUER")
    }

    /// Where a person grants.
    pub fn authorization_endpoint(&self) -> String {
        format!("{}/auth", self.issuer())
    }

    /// Where tokens come from.
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// Where tokens are revoked.
    pub fn revocation_endpoint(&self) -> String {
        format!("{}/token/revocation", self.issuer())
    }

    /// Dovecot with STARTTLS, on `localhost`.
    pub fn submission_port(&self) -> u16 {
        self.port("DC_SUBMISSION")
    }

    /// Dovecot with TLS from the first octet, on `localhost`.
    pub fn submissions_port(&self) -> u16 {
        self.port("DC_SUBMISSIONS")
    }

    /// The sink, without TLS and AUTH.
    pub fn sink_port(&self) -> u16 {
        self.port("SINK_SMTP")
    }

    /// smtp-sink, without TLS and AUTH.
    pub fn smtp_sink_port(&self) -> u16 {
        self.port("SMTP_SINK")
    }

    /// Everything that the authorization server noted since it started, or since [`Self::clear_events`].
    pub fn events(&self) -> Result<Vec<Value>, RigError> {
        Ok(serde_json::from_str(&self.admin("GET", "/events", "")?)?)
    }

    /// The requests at the token endpoint among [`Self::events`]; those that a fault kept from the server are not.
    pub fn token_requests(&self) -> Result<Vec<TokenRequest>, RigError> {
        let events = self.events()?;
        let requests = events.into_iter().filter(|event| event["kind"] == "token");
        Ok(requests.map(serde_json::from_value).collect::<Result<_, _>>()?)
    }

    /// Empties the list of events.
    pub fn clear_events(&self) -> Result<(), RigError> {
        self.admin("POST", "/events/clear", "").map(drop)
    }

    /// Sets how long things of a kind live from now on: `AccessToken` (of a person), `ClientCredentials`, `RefreshToken`, …
    pub fn set_ttl(&self, kind: &str, seconds: u32) -> Result<(), RigError> {
        self.admin("POST", "/ttl", &serde_json::json!({ kind: seconds }).to_string()).map(drop)
    }

    /// Lets the next `count` requests at `path` (`/token`, `/token/introspection`, …) meet a fault.
    pub fn fault(&self, path: &str, fault: &Fault, count: u32) -> Result<(), RigError> {
        let mut body = serde_json::to_value(fault)?;
        body["path"] = path.into();
        body["count"] = count.into();
        self.admin("POST", "/fault", &body.to_string()).map(drop)
    }

    /// Takes back all faults.
    pub fn clear_faults(&self) -> Result<(), RigError> {
        self.admin("POST", "/fault/clear", "").map(drop)
    }

    /// Logs in as `login` and consents, without a browser; gives the URL that the authorization server redirects to.
    ///
    /// Nothing needs to listen there. Any login exists, except `nobody`; its mailbox is `LOGIN@rig.test`.
    pub fn browserless_grant(&self, url: &str, login: &str) -> Result<String, RigError> {
        self.node("as/browserless.mjs", &[url, login])
    }

    /// Cancels at the login page, without a browser; gives the URL that the authorization server redirects to.
    pub fn browserless_denial(&self, url: &str) -> Result<String, RigError> {
        self.node("as/browserless.mjs", &[url, "--deny"])
    }

    /// Lets headless Chromium log in as `login`, consent, and follow the redirect to whoever listens there.
    pub fn chromium_grant(&self, url: &str, login: &str) -> Result<Page, RigError> {
        Ok(serde_json::from_str(&self.node("browser/consent.mjs", &[url, login])?)?)
    }

    /// Lets headless Chromium cancel at the login page and follow the redirect.
    pub fn chromium_denial(&self, url: &str) -> Result<Page, RigError> {
        Ok(serde_json::from_str(&self.node("browser/consent.mjs", &[url, "--deny"])?)?)
    }

    /// Revokes a token of a client, behind the back of whoever holds it (RFC 7009).
    pub fn revoke(&self, token: &str, client: &str) -> Result<(), RigError> {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "--cacert"])
            .arg(self.ca_file())
            .args(["-u", &format!("{client}:{}", self.client_secret()), "--data-urlencode", &format!("token={token}")])
            .arg(self.revocation_endpoint())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(RigError::Script { script: "curl".to_owned(), said })
    }

    /// The messages in a mailbox, in the order of arrival, each with the lines on top that servers add.
    pub fn mailbox(&self, address: &str) -> Result<Vec<Vec<u8>>, RigError> {
        let folder = Path::new(self.held.value("RIG_MAIL")).join(address.to_lowercase()).join("Maildir/new");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.sort();
        Ok(files.iter().map(fs::read).collect::<io::Result<_>>()?)
    }

    fn port(&self, name: &str) -> u16 {
        self.held.value(name).parse().unwrap_or_default()
    }

    fn node(&self, script: &str, arguments: &[&str]) -> Result<String, RigError> {
        let mut command = Command::new("node");
        command.arg(rig_file(script)).args(arguments).envs(self.held.values()).stdin(Stdio::null());
        let answer = command.output()?;
        if !answer.status.success() {
            let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
            return Err(RigError::Script { script: script.to_owned(), said });
        }
        Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> Result<String, RigError> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port("AS_ADMIN")))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // HTTP/1.0, so that the answer ends with the connection.
        write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }
}
