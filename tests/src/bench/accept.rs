//! `message.send` of 2 KiB of text, on disk before the receipt, beside append and fdatasync in groups as large as there are
//! senders.
//!
//! The reference writes as many octets as frankd keeps of a message, does nothing else, and knows its groups beforehand.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::lines::request;
use super::measure::{Row, Unit};
use super::scene::{Scene, compose, waiting};
use super::{BenchError, Size, load};
use crate::stopwatch::Stopwatch;

const AIM: f64 = 0.5;
const UNIT: Unit = Unit::MessagesPerSecond;
/// Senders of each row, and how many times the messages of one sender a round has.
const SENDERS: [(usize, usize); 3] = [(1, 1), (16, 8), (64, 16)];

/// Measures a row for each number of senders.
pub(super) fn run(programs: &Path, size: &Size) -> Result<Vec<Row>, BenchError> {
    let scene = Scene::set(programs)?;
    // Nothing listens there, and nothing is sent: the profile is paused.
    scene.paused_relay("bench", 9, 1)?;
    let mut lines = scene.connect()?;
    let params = compose("bench");
    let receipt = lines.call("message.send", &params)?;
    let kept = lines.call("message.get", &json!({"id": receipt["id"]}))?;
    let octets = kept["size_bytes"].as_u64().and_then(|size| usize::try_from(size).ok());
    let octets = octets.ok_or_else(|| BenchError::Answer(format!("message.get: {kept}")))?;
    let send = request("message.send", &params);
    let socket = scene.service.socket();
    let file = scene.service.folder().join("appended");
    let mut rows = Vec::new();
    for (senders, times) in SENDERS {
        let each = (size.accepted * times).div_ceil(senders);
        let count = senders * each;
        let row = Row {
            name: format!("message.send, {senders} senders"),
            reference: "append + fdatasync",
            unit: UNIT,
            aim: AIM,
            rounds: Vec::new(),
        };
        let row = row.measure(
            size.rounds,
            || {
                let before = waiting(&mut lines, "bench")?;
                let took = load::send(&socket, &send, senders, each)?;
                let added = waiting(&mut lines, "bench")? - before;
                if added != count {
                    return Err(BenchError::Unfinished(format!("{added} of {count} messages are queued")));
                }
                Ok(UNIT.of(count, took))
            },
            || Ok(UNIT.of(count, append(&file, octets, senders, each)?)),
        )?;
        rows.push(row);
    }
    Ok(rows)
}

/// Appends `groups` groups of `group` records, each group synced.
fn append(path: &Path, octets: usize, group: usize, groups: usize) -> Result<Duration, BenchError> {
    let mut file = File::create(path)?;
    let record = vec![b'x'; octets];
    let watch = Stopwatch::start();
    for _ in 0..groups {
        for _ in 0..group {
            file.write_all(&record)?;
        }
        file.sync_data()?;
    }
    let took = watch.elapsed();
    let (written, wanted) = (file.metadata()?.len(), octets * group * groups);
    fs::remove_file(path)?;
    if written != wanted as u64 {
        return Err(BenchError::Unfinished(format!("{written} of {wanted} octets were appended")));
    }
    Ok(took)
}
