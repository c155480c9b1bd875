//! The words that travel: kinds, states, capabilities. Each is one lower-case word on the wire and on disk.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants are single words on the wire, with `as_str` and `Display` of the same words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of this list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| UnknownWord {
                    word: text.to_owned(),
                    known: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A word is not one of a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of: {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

words!(
    /// What a caller may do. A set, not a ladder.
    Capability {
        /// See states, events and other callers' messages; no secrets, no tokens.
        Observe = "observe",
        /// Queue mail and handle one's own messages.
        Submit = "submit",
        /// Be handed access tokens.
        ReadToken = "read_token",
        /// Grant, refresh, test, pause, and handle everybody's messages.
        Operate = "operate",
        /// Create, change and delete clients and profiles; reload.
        Administer = "administer",
    }
);

words!(
    /// What a profile is.
    ProfileKind {
        /// Classic SMTP: user and password, or no credentials at all.
        Smtp = "smtp",
        /// SMTP with an OAuth2 token.
        Oauth2Smtp = "oauth2_smtp",
        /// A token alone, for other local programs.
        Token = "token",
    }
);

words!(
    /// How a profile gets tokens.
    Flow {
        /// A person grants once, by an authorization code (RFC 6749 §4.1).
        Interactive = "interactive",
        /// The client asks in its own name (RFC 6749 §4.4).
        ClientCredentials = "client_credentials",
    }
);

words!(
    /// How a client proves itself at the token endpoint (RFC 7591 §2).
    TokenEndpointAuthMethod {
        /// HTTP Basic with the form-encoded id and secret (RFC 6749 §2.3.1).
        ClientSecretBasic = "client_secret_basic",
        /// `client_id` and `client_secret` in the body.
        ClientSecretPost = "client_secret_post",
        /// A public client: `client_id` alone.
        None = "none",
    }
);

words!(
    /// When TLS begins.
    TlsMode {
        /// From the first octet (RFC 8314; port 465).
        Implicit = "implicit",
        /// By STARTTLS, required (RFC 3207; port 587).
        Starttls = "starttls",
        /// Never. Refused for a profile with credentials, but for loopback hosts that the profile allows.
        None = "none",
    }
);

words!(
    /// The oldest TLS version that is accepted.
    TlsVersion {
        /// RFC 5246.
        Tls12 = "1.2",
        /// RFC 8446.
        Tls13 = "1.3",
    }
);

words!(
    /// A SASL mechanism that frankd speaks.
    SaslMechanism {
        /// The de-facto OAuth2 mechanism of Google and Microsoft.
        Xoauth2 = "XOAUTH2",
        /// RFC 4616.
        Plain = "PLAIN",
        /// The older password mechanism in two prompts.
        Login = "LOGIN",
    }
);

words!(
    /// State of a profile's token slot.
    TokenState {
        /// Nothing yet; the first token is on its way, or the profile needs none.
        None = "none",
        /// Good, and refreshing works.
        Valid = "valid",
        /// Good, but refreshing fails.
        AtRisk = "at_risk",
        /// Over; frankd goes on trying by itself.
        Expired = "expired",
        /// A person must grant.
        NeedsGrant = "needs_grant",
        /// An operator must correct the client or profile.
        Misconfigured = "misconfigured",
    }
);

words!(
    /// State of an authorization in progress.
    GrantState {
        /// Waiting for the person.
        Pending = "pending",
        /// The code is being exchanged.
        Exchanging = "exchanging",
        /// The token is stored.
        Completed = "completed",
        /// The person or a policy said no.
        Denied = "denied",
        /// The exchange failed.
        Failed = "failed",
        /// Nobody finished it in time.
        Expired = "expired",
        /// Somebody called it off.
        Cancelled = "cancelled",
    }
);

words!(
    /// How the redirect comes back to the daemon.
    GrantVia {
        /// frankctl listens on loopback, on the machine where the person's browser runs.
        ClientLoopback = "client_loopback",
        /// The person pastes the address of the last page.
        Paste = "paste",
    }
);

words!(
    /// State of one recipient of a message.
    RecipientState {
        /// Not settled yet.
        Pending = "pending",
        /// The server took the message for this recipient.
        Sent = "sent",
        /// Refused for good.
        Failed = "failed",
        /// Waited longer than it may.
        Expired = "expired",
        /// Called off.
        Cancelled = "cancelled",
        /// The server may or may not have it, and the caller asked to decide.
        InDoubt = "in_doubt",
    }
);

words!(
    /// State of a message, derived from its recipients, its schedule, its holds and its profile's gates.
    MessageState {
        /// Waits for its `send_at`.
        Scheduled = "scheduled",
        /// Ready to go.
        Queued = "queued",
        /// Being delivered.
        Sending = "sending",
        /// Waits for its next attempt.
        Deferred = "deferred",
        /// Waits behind a gate or an operator's hold.
        Held = "held",
        /// Waits for `message.resolve`.
        InDoubt = "in_doubt",
        /// All recipients sent.
        Sent = "sent",
        /// Some recipients sent, the others final.
        Partial = "partial",
        /// No recipient sent, at least one refused.
        Failed = "failed",
        /// No recipient sent, and time ran out.
        Expired = "expired",
        /// Called off before any recipient was sent.
        Cancelled = "cancelled",
    }
);

impl MessageState {
    /// Whether nothing will happen to the message any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Partial | Self::Failed | Self::Expired | Self::Cancelled)
    }
}

words!(
    /// Why mail is held.
    HoldReason {
        /// An operator held the message.
        Operator = "operator",
        /// An operator paused the profile.
        Paused = "paused",
        /// The profile needs a person's grant.
        GrantRequired = "grant_required",
        /// The mail server refuses the login.
        AuthRefused = "auth_refused",
        /// The OAuth2 client is misconfigured or its secret ended.
        ClientFault = "client_fault",
        /// The account reached a limit, is full, or may not send by SMTP.
        AccountLimit = "account_limit",
        /// The host cannot be reached or cannot be trusted.
        HostFault = "host_fault",
        /// The profile was deleted, or sends no mail any more.
        NoProfile = "no_profile",
    }
);

words!(
    /// What to do with a message whose delivery is in doubt after a lost connection or a crash.
    OnDoubt {
        /// Send again with the same Message-ID: at least once.
        Retry = "retry",
        /// Wait for `message.resolve`: at most once.
        Hold = "hold",
    }
);

words!(
    /// What an operator says of a message in doubt.
    DoubtOutcome {
        /// It arrived.
        Sent = "sent",
        /// Send it again.
        Retry = "retry",
        /// Give it up.
        Fail = "fail",
    }
);

words!(
    /// Which mail goes first within a profile.
    Priority {
        /// Before everything else.
        High = "high",
        /// As usual.
        Normal = "normal",
        /// When nothing else waits.
        Low = "low",
    }
);

words!(
    /// What happened. The sequence number of an event is durable.
    EventType {
        /// A new access token is stored.
        TokenRefreshed = "token.refreshed",
        /// A refresh failed; it is tried again.
        TokenRefreshFailed = "token.refresh_failed",
        /// Refreshing keeps failing and the token nears its end.
        TokenAtRisk = "token.at_risk",
        /// A refresh token was refused and set aside.
        TokenQuarantined = "token.quarantined",
        /// An access token was handed to a caller.
        TokenHandedOut = "token.handed_out",
        /// A person must grant.
        GrantRequired = "grant.required",
        /// A grant began.
        GrantStarted = "grant.started",
        /// A grant ended with a token.
        GrantCompleted = "grant.completed",
        /// A grant ended without one.
        GrantFailed = "grant.failed",
        /// A grant will end by itself.
        GrantExpiring = "grant.expiring",
        /// A client was made.
        ClientCreated = "client.created",
        /// A client was changed; `changed` names the fields, never their values.
        ClientUpdated = "client.updated",
        /// A client was deleted.
        ClientDeleted = "client.deleted",
        /// A client secret will end.
        ClientSecretExpiring = "client.secret_expiring",
        /// A message was accepted.
        MessageQueued = "message.queued",
        /// All recipients of a message are settled, at least one of them sent.
        MessageSent = "message.sent",
        /// An attempt did not finish the message.
        MessageDeferred = "message.deferred",
        /// An operator held a message.
        MessageHeld = "message.held",
        /// An operator released a message.
        MessageReleased = "message.released",
        /// A message was refused for good.
        MessageFailed = "message.failed",
        /// A message waited longer than it may.
        MessageExpired = "message.expired",
        /// A message was called off.
        MessageCancelled = "message.cancelled",
        /// The server may or may not have taken a message.
        MessageInDoubt = "message.in_doubt",
        /// A profile was made.
        ProfileCreated = "profile.created",
        /// A profile was changed; `changed` names the fields, never their values.
        ProfileUpdated = "profile.updated",
        /// A profile was deleted.
        ProfileDeleted = "profile.deleted",
        /// An operator paused a profile.
        ProfilePaused = "profile.paused",
        /// An operator resumed a profile.
        ProfileResumed = "profile.resumed",
        /// A gate closed: the profile's mail waits.
        ProfileHeld = "profile.held",
        /// A gate opened.
        ProfileReleased = "profile.released",
        /// A caller was refused.
        AccessDenied = "access.denied",
        /// The configuration was read again.
        ConfigReloaded = "config.reloaded",
        /// The configuration was wrong; the old one stays.
        ConfigReloadFailed = "config.reload_failed",
        /// The disk is nearly full.
        StoreLowSpace = "store.low_space",
        /// The daemon is up.
        DaemonStarted = "daemon.started",
        /// The daemon is going down.
        DaemonStopping = "daemon.stopping",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_serde_and_of_display_is_one() -> Result<(), serde_json::Error> {
        for event in EventType::ALL {
            assert_eq!(serde_json::to_string(event)?, format!("\"{event}\""));
            assert_eq!(event.as_str().parse(), Ok(*event));
        }
        Ok(())
    }
}
