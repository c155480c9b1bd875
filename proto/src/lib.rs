//! The contract between frankd and everybody who talks to it.
//!
//! One socket, JSON-RPC 2.0, methods named `noun.verb`, parameters by name only, results always objects. This crate
//! holds the words ([`vocabulary`], [`ids`], [`name`], [`secret`]), one parameter and one result type for each method
//! ([`methods`]), the error registry ([`error`]) and, with the feature `client`, [`connect`].
//!
//! # Changing the contract
//!
//! - Add a method: a marker type in its module of [`methods`], a row in [`methods::table`], a function in the daemon's
//!   `rpc`. Every test that walks the table then covers it.
//! - Results only grow. A caller ignores result fields that it does not know; the daemon refuses parameters that it does
//!   not know.
//! - Error kinds are added to `errors.json`, diagnoses to `diagnoses.json`, and never change their meaning. A caller keeps
//!   an error of a kind that it does not know ([`error::ErrorKind`]).
//! - No path, command or URL to fetch is ever a parameter.

#[cfg(feature = "client")]
mod connect;
pub mod diagnosis;
pub mod error;
pub mod ids;
pub mod method;
pub mod methods;
pub mod name;
pub mod patch;
pub mod secret;
pub mod vocabulary;

#[cfg(feature = "client")]
pub use connect::{ConnectError, Connection, Subscription, connect};
pub use error::{Kind, RpcError};
pub use ids::{ClientId, GrantId, MessageId, ProfileId};
pub use method::{Method, Need};
pub use name::Name;
pub use patch::Patch;
pub use secret::{Secret, SecretInput, SecretView};
pub use vocabulary::*;

/// Version of the contract, `major.minor`: additions raise the minor, removals the major.
pub const API_VERSION: &str = "1.0";
