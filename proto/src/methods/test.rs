//! `test.*`: the test tools. Each gives a report that shows what was sent, what came back, and what to do.

use serde::{Deserialize, Serialize};

use super::OPERATE;
use crate::error::ErrorKind;
use crate::name::Name;

method!(
    /// Sends one mail now, outside the queue, and reports every stage.
    Email = "test.email", EmailParams => EmailReport, OPERATE
);

/// Parameters of `test.email`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailParams {
    /// The profile to test.
    pub profile: Name,
    /// Whom to write to.
    pub to: String,
    /// Subject; one that says what this is if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Text; one that says what this is if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Answer of `test.email`. A refused mail is a report, not an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmailReport {
    /// Whether the server took the mail.
    pub ok: bool,
    /// Stage by stage, up to the one that failed.
    pub stages: Vec<Stage>,
    /// Message-ID of the mail, if it got that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// What went wrong, in the words of errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ErrorKind>,
    /// Id of the diagnosis in the error taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
    /// What is wrong, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The conversation, without credentials.
    pub transcript: Vec<String>,
}

/// A stage of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// The access token at hand or fetched.
    Token,
    /// The host's addresses.
    Dns,
    /// The connection.
    Tcp,
    /// The TLS handshake, and STARTTLS before it.
    Tls,
    /// What the server can do.
    Ehlo,
    /// The login.
    Auth,
    /// The sender.
    Mail,
    /// The recipient.
    Rcpt,
    /// The message and the server's last word.
    Data,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Which.
    pub name: StageName,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was seen: addresses, TLS version, the server's own words.
    pub detail: String,
}
