//! The world: the whole daemon in one process on paused time, between sandbox servers, over pipes in memory.
//!
//! Nothing here opens a socket or a file, and nothing waits on real time: hours and days pass in an instant, suspends and
//! stepped clocks included. What a test asserts is what a caller of the daemon sees, or what its servers saw.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod calendar;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod herd;
#[cfg(test)]
mod hourly;
#[cfg(test)]
mod input;
#[cfg(test)]
mod login;
#[cfg(test)]
mod phases;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod same;
#[cfg(test)]
mod straight;
#[cfg(test)]
mod time;
#[cfg(test)]
mod trust;
