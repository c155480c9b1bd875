//! Pure rules: no tokio, no files, no sockets, no clock, no randomness.
//!
//! Time and jitter are parameters. A machine is fed by `handle_*`, says by `poll_timeout` when it wants to be asked again,
//! and by `poll` what is to be done.

pub mod access;
pub mod classify;
pub mod flow;
pub mod grant;
pub mod life;
pub mod rate;
pub mod refresh;
pub mod retry;
