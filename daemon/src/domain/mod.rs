//! The nouns of frankd: plain data, no behaviour that reads time, randomness, files or sockets.
//!
//! Everything here that is stored is written as JSON inside a sealed record with a format version of its own (see
//! `store`): a field is only ever added, with `#[serde(default)]`.

pub mod answer;
pub mod caller;
pub mod client;
pub mod delivery;
pub mod event;
pub mod gate;
pub mod grant;
pub mod message;
pub mod profile;
#[cfg(any(test, feature = "fakes"))]
pub mod sample;
pub mod secret;
pub mod settings;
pub mod token;

pub use caller::{Caller, SocketKind};
pub use client::Client;
pub use event::{NewEvent, StoredEvent};
pub use gate::Gate;
pub use grant::Grant;
pub use message::{Claim, Message, Phase, Recipient};
pub use profile::{Profile, Submission};
pub use secret::{SecretSource, StoredSecret};
pub use settings::Settings;
pub use token::{Failure, Intent, Quarantined, SlotIdentity, TokenSet, TokenSlot};
