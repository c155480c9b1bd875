//! The end-to-end suite of frankd: what its tests, the demo and the benches are made of.
//!
//! - [`architecture`]: the rules of the house.
//! - [`documentation`]: the commands that our texts print.
//! - [`demo`]: the main job, shown.
//! - [`mod@bench`]: what frankd costs, beside the least that the same work can cost.
//! - [`sandbox`]: servers of our own that can be told to misbehave.
//! - [`mod@reference`]: the generated reference of the methods.
//! - [`rig`]: servers and a browser that nobody here wrote.
//! - [`booted`]: a real systemd.
//! - [`service`]: the real binaries.
//! - [`programs`]: how they are built.
//! - [`stage`]: both together.
//! - [`stopwatch`]: real time.
//! - [`trace`]: what a process asked of the kernel.
//! - [`small_disk`]: a disk that can be filled.
//! - [`leak`]: secrets that got out.
//! - [`skip`]: what happens to a test whose peers are not installed.

pub mod architecture;
pub mod bench;
pub mod booted;
pub mod demo;
pub mod documentation;
mod held;
pub mod leak;
pub mod programs;
pub mod reference;
pub mod rig;
pub mod sandbox;
pub mod service;
pub mod skip;
pub mod small_disk;
pub mod stage;
pub mod stopwatch;
pub mod trace;
