//! frankd: one daemon that owns OAuth2 tokens and a durable outgoing mail queue for a whole machine.
//!
//! # Floors
//!
//! A module uses only lower floors; modules on one floor do not use each other. `tests/tests/architecture.rs` holds it.
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 5 | [`app`] | builds the real parts, wires them, runs them |
//! | 4 | [`rpc`] | the socket: one function for each method, which calls one owner |
//! | 3c | [`trials`] [`changes`] [`status`] | what crosses owners: test tools, updates, the one-glance state |
//! | 3b | [`queue`] [`grants`] | owners that use tokens |
//! | 3a | [`tokens`] | the token slots |
//! | 2c | [`registry`] [`events`] | clients and profiles; what happened |
//! | 2b | [`store`] [`oauth`] [`smtp`] | the seams to disk and wires, each with a fake |
//! | 2a | [`tls`] | one rustls configuration for both wires |
//! | 1b | [`clock`] [`entropy`] [`fail_point`] | the only readers of time and randomness; where tests stop the process |
//! | 1a | [`policy`] | pure rules |
//! | 0 | [`domain`] | nouns |

pub mod app;
pub mod changes;
pub mod clock;
pub mod domain;
pub mod entropy;
pub mod events;
pub mod fail_point;
pub mod grants;
pub mod oauth;
pub mod policy;
pub mod queue;
pub mod registry;
pub mod rpc;
pub mod smtp;
pub mod status;
pub mod store;
pub mod tls;
pub mod tokens;
pub mod trials;
