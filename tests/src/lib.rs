//! The end-to-end suite of frankd: what its tests are made of.
//!
//! - [`rig`]: servers and a browser that nobody here wrote.
//! - [`booted`]: a real systemd.
//! - [`skip`]: what happens to a test whose peers are not installed.

pub mod booted;
mod held;
pub mod rig;
pub mod skip;
