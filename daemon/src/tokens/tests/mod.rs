//! Tokens on paused time.

mod crash;
mod herd;
mod life;
mod refusals;
mod upkeep;

use super::bench::*;
use super::*;
