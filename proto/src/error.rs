//! Errors as they travel: a code, a sentence, and `data` for programs.
//!
//! `data.kind` is the stable contract; the list of kinds is `errors.json` beside this crate. `data.diagnosis` names the
//! exact cause where frankd knows it.

use jsonrpsee_types::ErrorObjectOwned;
use serde::{Deserialize, Serialize};

use crate::diagnosis::Diagnosis;

include!(concat!(env!("OUT_DIR"), "/kinds.rs"));

struct Row {
    kind: Kind,
    code: i32,
    name: &'static str,
    retryable: bool,
    exit: u8,
    summary: &'static str,
    explanation: &'static str,
}

impl Kind {
    /// Every kind, in the order of the registry.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.kind)
    }

    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The number that travels as the JSON-RPC error code.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.row().code
    }

    /// The dotted name that travels as `data.kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the same call may succeed later without a change.
    #[must_use]
    pub const fn retryable(self) -> bool {
        self.row().retryable
    }

    /// The exit status of frankctl.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self.row().exit
    }

    /// One lowercase clause that says what happened.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.row().summary
    }

    /// Likely causes and what to do, in sentences.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        self.row().explanation
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// The kind of that JSON-RPC error code.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::all().find(|kind| kind.code() == code)
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom(format_args!("unknown error kind {name:?}")))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The kind of an error as it travels: one that this version knows, or the name of one of a newer daemon.
///
/// So a caller that is older than the daemon loses neither the error's data nor its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A kind of the registry.
    Known(Kind),
    /// A kind that the registry of this version lacks, by its name.
    Unknown(String),
}

impl ErrorKind {
    /// The kind, if this version knows it.
    #[must_use]
    pub const fn known(&self) -> Option<Kind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Unknown(_) => None,
        }
    }

    /// The dotted name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Unknown(name) => name,
        }
    }

    /// The exit status of frankctl; an unknown kind fails for now if it is `retryable`, else for another reason.
    #[must_use]
    pub const fn exit_code(&self, retryable: bool) -> u8 {
        match self {
            Self::Known(kind) => kind.exit_code(),
            Self::Unknown(_) if retryable => Kind::OauthProviderUnavailable.exit_code(),
            Self::Unknown(_) => Kind::Internal.exit_code(),
        }
    }
}

impl From<Kind> for ErrorKind {
    fn from(kind: Kind) -> Self {
        Self::Known(kind)
    }
}

impl PartialEq<Kind> for ErrorKind {
    fn eq(&self, kind: &Kind) -> bool {
        self.known() == Some(*kind)
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ErrorKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Kind::from_name(&name).map_or(Self::Unknown(name), Self::Known))
    }
}

/// An error of a method.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// One sentence for a person.
    pub message: String,
    /// What a program looks at.
    pub data: ErrorData,
}

/// What an error carries for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorData {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether the same call may succeed later without a change.
    pub retryable: bool,
    /// How long to wait before that, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// What to do, often a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The parameter at fault, as a dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Id of the diagnosis in the error taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
    /// What the authorization server said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderError>,
    /// What the mail server said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpReply>,
}

/// An authorization server's own words (RFC 6749 §5.2), never with a secret in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderError {
    /// HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `error_description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
    /// The provider's id of the exchange, for its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// A mail server's own words (RFC 5321 §4.2, RFC 3463).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpReply {
    /// Reply code, 200 to 599.
    pub code: u16,
    /// Enhanced status code such as `5.7.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced: Option<String>,
    /// The text, lines joined by a space.
    pub text: String,
}

impl RpcError {
    /// An error of this kind, with a sentence of its own.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: ErrorData {
                kind: kind.into(),
                retryable: kind.retryable(),
                retry_after_s: None,
                hint: None,
                field: None,
                diagnosis: None,
                provider: None,
                smtp: None,
            },
        }
    }

    /// The kind of the error; one that this version does not know counts as internal.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.data.kind.known().unwrap_or(Kind::Internal)
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.hint = Some(hint.into());
        self
    }

    /// Names the parameter at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.data.field = Some(field.into());
        self
    }

    /// Adds how long to wait.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.data.retry_after_s = Some(seconds);
        self
    }

    /// Adds the diagnosis.
    #[must_use]
    pub fn diagnosis(mut self, diagnosis: &Diagnosis) -> Self {
        self.data.diagnosis = Some(diagnosis.id.to_owned());
        self
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        Self::owned(error.kind().code(), error.message, Some(error.data))
    }
}

impl From<&ErrorObjectOwned> for RpcError {
    /// Reads an error from the wire; one without our `data` gets the kind of its code.
    fn from(object: &ErrorObjectOwned) -> Self {
        let data = object.data().and_then(|raw| serde_json::from_str::<ErrorData>(raw.get()).ok());
        let kind = Kind::from_code(object.code()).unwrap_or(Kind::Internal);
        let mut error = Self::new(kind, object.message());
        if let Some(data) = data {
            error.data = data;
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_end_in_no_full_stop() {
        let mut codes = HashSet::new();
        let mut names = HashSet::new();
        for kind in Kind::all() {
            assert!(codes.insert(kind.code()), "{kind} has a code twice");
            assert!(names.insert(kind.name()), "{kind} is there twice");
            assert!(!kind.summary().ends_with('.'), "{kind}");
            assert!(kind.explanation().ends_with('.'), "{kind}");
        }
    }

    #[test]
    fn an_error_crosses_the_wire_whole() {
        let error = RpcError::new(Kind::GrantRequired, "profile \"alerts\" needs a grant")
            .hint("frankctl grant alerts")
            .diagnosis(&crate::diagnosis::TK_INVALID_GRANT_RT);
        let object = ErrorObjectOwned::from(error.clone());
        assert_eq!(object.code(), 3001);
        assert_eq!(RpcError::from(&object), error);
    }

    #[test]
    fn a_kind_of_a_newer_daemon_is_kept_with_all_that_came_with_it() {
        let data = serde_json::json!({
            "kind": "token.eaten", "retryable": true, "hint": "feed the dog", "field": "dog", "bone": 7
        });
        let object = ErrorObjectOwned::owned(3999, "the dog ate it", Some(&data));
        let error = RpcError::from(&object);
        assert_eq!((error.data.kind.name(), error.kind()), ("token.eaten", Kind::Internal));
        assert_eq!((error.data.hint.as_deref(), error.data.field.as_deref()), (Some("feed the dog"), Some("dog")));
        assert_eq!(error.data.kind.exit_code(true), Kind::OauthProviderUnavailable.exit_code());
        assert_eq!(serde_json::to_value(&error.data).unwrap()["kind"], "token.eaten");
    }
}
