//! The application: finds its places, loads its settings, listens, and comes and goes as the service manager expects.
//!
//! In this order: [`command_line`], [`logging`] and [`hardening`] before the first thread; [`paths`], [`settings_file`],
//! the store; [`sockets`], inherited ones before any of our own; the owners and the server; [`notify`] ready. Then
//! [`lifecycle`] until the end.

pub mod accounts;
pub mod command_line;
pub mod compose;
pub mod hardening;
mod headline;
mod journal;
pub mod lifecycle;
pub mod logging;
mod logins;
pub mod notify;
pub mod paths;
mod recovery;
mod reload;
pub mod run;
mod schema;
pub mod settings_file;
pub mod sockets;
