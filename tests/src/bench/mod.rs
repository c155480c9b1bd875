//! What frankd costs, beside the least that the same work can cost on the same machine: ratios, measured in one run.
//!
//! Each row has rounds, and each round measures frankd and its reference one after the other, in turns first and second:
//! what the machine does meanwhile meets both. A row's ratio is the median of its rounds' ratios. The daemon is the real
//! program, run as a process on the file system that the reference uses. A round that did not do all of its work is an
//! error, not a figure.

mod accept;
mod delivery;
mod echo;
mod lines;
mod load;
mod measure;
mod memory;
mod plain_smtp;
mod scene;
mod token;

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::programs::BuildError;
use crate::rig::RigError;
use crate::sandbox::SandboxError;
use crate::service::ServiceError;

pub use measure::{Row, json, machine, table};
pub use memory::{Resident, resident};

/// Something was not measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no such part.
    #[error("there is no part {0:?}; parts are token, accept, delivery")]
    Part(String),
    /// A file, a socket or a process failed.
    #[error("a file, socket or process failed")]
    Io(#[from] io::Error),
    /// The programs do not build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The daemon or frankctl failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The sandbox servers did not start.
    #[error("the sandbox servers did not start")]
    Sandbox(#[from] SandboxError),
    /// The rig did not start smtp-sink.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// An answer is not JSON.
    #[error("an answer is not JSON")]
    Json(#[from] serde_json::Error),
    /// An answer is not what was asked for.
    #[error("not what was asked for: {0}")]
    Answer(String),
    /// A round did not do its work.
    #[error("a round did not do its work: {0}")]
    Unfinished(String),
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `token.get` beside a bare echo on a Unix socket.
    Token,
    /// `message.send` beside append and fdatasync.
    Accept,
    /// Delivery beside a client that only speaks SMTP.
    Delivery,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Token, Self::Accept, Self::Delivery];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Accept => "accept",
            Self::Delivery => "delivery",
        })
    }
}

impl FromStr for Part {
    type Err = BenchError;

    fn from_str(name: &str) -> Result<Self, BenchError> {
        let known = Self::ALL.into_iter().find(|part| part.to_string() == name);
        known.ok_or_else(|| BenchError::Part(name.to_owned()))
    }
}

/// How much each round does.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rounds.
    pub rounds: usize,
    /// Calls on one kept connection.
    pub calls: usize,
    /// Calls with a connection each.
    pub connections: usize,
    /// Messages that one sender queues; many senders queue more each round, see `accept`.
    pub accepted: usize,
    /// Messages that are delivered.
    pub delivered: usize,
}

impl Size {
    /// What the figures in docs/performance.md are from.
    pub const FULL: Self = Self { rounds: 5, calls: 20_000, connections: 5_000, accepted: 1_000, delivered: 10_000 };
    /// As little as shows that the bench works.
    pub const SMOKE: Self = Self { rounds: 1, calls: 5, connections: 5, accepted: 2, delivered: 20 };
}

/// Measures a part with the programs of a folder.
pub fn run(part: Part, programs: &Path, size: &Size) -> Result<Vec<Row>, BenchError> {
    match part {
        Part::Token => token::run(programs, size),
        Part::Accept => accept::run(programs, size),
        Part::Delivery => delivery::run(programs, size),
    }
}

/// An error with all its causes.
#[must_use]
pub fn report(error: &BenchError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
