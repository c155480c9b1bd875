//! Delivery of queued messages of 2 KiB, beside a client that only speaks SMTP and sends the same octets over as many
//! connections: to the sandbox server, and to Postfix's smtp-sink.
//!
//! frankd's time runs from the moment when its paused profile may send until the server has the last message.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::lines::request;
use super::measure::{Row, Unit};
use super::scene::{Scene, compose, waiting};
use super::{BenchError, Size, load, plain_smtp};
use crate::rig::{Peer, Rig};
use crate::sandbox::Now;
use crate::sandbox::clock::within;
use crate::sandbox::smtp::{Behaviour, SmtpServer, Start};
use crate::skip;
use crate::stopwatch::{Stopwatch, pause};

const AIM: f64 = 0.7;
const UNIT: Unit = Unit::MessagesPerSecond;
/// Connections: as a profile has them by default, and many.
const CONNECTIONS: [usize; 2] = [3, 16];
/// Senders that fill the queue.
const FILLERS: usize = 64;
/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at what smtp-sink has counted.
const GLANCE: Duration = Duration::from_millis(2);

/// Measures a row for each server and number of connections; without smtp-sink on this machine, says so and leaves it out.
pub(super) fn run(programs: &Path, size: &Size) -> Result<Vec<Row>, BenchError> {
    let mut scene = Scene::set(programs)?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        rows.push(to_the_sandbox(&mut scene, size, connections)?);
    }
    if skip::available(&["smtp-sink"]) {
        let rig = Rig::start(&[Peer::SmtpSink])?;
        for connections in CONNECTIONS {
            rows.push(to_smtp_sink(&scene, &rig, size, connections)?);
        }
    }
    Ok(rows)
}

fn row(to: &str, connections: usize) -> Row {
    Row {
        name: format!("delivery to {to}, {connections} connections"),
        reference: "SMTP client without a queue",
        unit: UNIT,
        aim: AIM,
        rounds: Vec::new(),
    }
}

/// A sandbox server keeps what it gets, so each round has one of its own.
fn to_the_sandbox(scene: &mut Scene, size: &Size, connections: usize) -> Result<Row, BenchError> {
    let count = size.delivered;
    let mut servers = Vec::new();
    for _ in 0..2 * size.rounds {
        let server = SmtpServer::new(Behaviour { login_required: false, ..Behaviour::default() }, Now::real());
        let port = scene.runtime.block_on(scene.sandbox.listen(server.clone(), Start::Plain))?;
        servers.push((server, port));
    }
    let servers = std::cell::RefCell::new(servers);
    let next = || servers.borrow_mut().pop().ok_or_else(|| BenchError::Unfinished("a server is missing".to_owned()));
    let scene = &*scene;
    let raw = sample(scene)?;
    row("the sandbox", connections).measure(
        size.rounds,
        || {
            let (server, port) = next()?;
            let profile = fill(scene, port, connections, count)?;
            let watch = Stopwatch::start();
            scene.connect()?.call("profile.resume", &json!({"name": profile}))?;
            let arrived = within(PATIENCE, server.wait_for_delivered(count));
            scene.runtime.block_on(arrived).ok_or_else(|| late(server.delivered_count(), count))?;
            let took = watch.elapsed();
            emptied(scene, &profile)?;
            check(server.delivered_count(), count)?;
            Ok(UNIT.of(count, took))
        },
        || {
            let (server, port) = next()?;
            let took = plain_smtp::send(port, &raw, connections, count)?;
            check(server.delivered_count(), count)?;
            Ok(UNIT.of(count, took))
        },
    )
}

fn to_smtp_sink(scene: &Scene, rig: &Rig, size: &Size, connections: usize) -> Result<Row, BenchError> {
    let count = size.delivered;
    let port = rig.smtp_sink_port();
    let raw = sample(scene)?;
    row("smtp-sink", connections).measure(
        size.rounds,
        || {
            let before = sunk(rig)?;
            let profile = fill(scene, port, connections, count)?;
            let watch = Stopwatch::start();
            scene.connect()?.call("profile.resume", &json!({"name": profile}))?;
            while sunk(rig)? < before + count {
                if watch.elapsed() > PATIENCE {
                    return Err(late(sunk(rig)? - before, count));
                }
                pause(GLANCE);
            }
            let took = watch.elapsed();
            emptied(scene, &profile)?;
            check(sunk(rig)? - before, count)?;
            Ok(UNIT.of(count, took))
        },
        || {
            let before = sunk(rig)?;
            let took = plain_smtp::send(port, &raw, connections, count)?;
            check(sunk(rig)? - before, count)?;
            Ok(UNIT.of(count, took))
        },
    )
}

/// Makes a profile, queues the messages while it is paused, and gives its name.
fn fill(scene: &Scene, port: u16, connections: usize, count: usize) -> Result<String, BenchError> {
    let listed = scene.connect()?.call("profile.list", &json!({}))?;
    let profile = format!("relay-{}", listed["items"].as_array().map_or(0, Vec::len));
    scene.paused_relay(&profile, port, connections)?;
    let fillers = FILLERS.min(count);
    let send = request("message.send", &compose(&profile));
    load::send(&scene.service.socket(), &send, fillers, count / fillers)?;
    let rest = count % fillers;
    if rest > 0 {
        load::send(&scene.service.socket(), &send, rest, 1)?;
    }
    let queued = waiting(&mut scene.connect()?, &profile)?;
    if queued == count { Ok(profile) } else { Err(BenchError::Unfinished(format!("{queued} of {count} are queued"))) }
}

/// Waits until the daemon has settled everything.
fn emptied(scene: &Scene, profile: &str) -> Result<(), BenchError> {
    let mut lines = scene.connect()?;
    let watch = Stopwatch::start();
    loop {
        let left = waiting(&mut lines, profile)?;
        if left == 0 {
            return Ok(());
        }
        if watch.elapsed() > PATIENCE {
            return Err(BenchError::Unfinished(format!("{left} messages are delivered and not settled")));
        }
        pause(GLANCE);
    }
}

/// The octets of a message, as it is delivered.
fn sample(scene: &Scene) -> Result<Vec<u8>, BenchError> {
    let mut lines = scene.connect()?;
    if !lines.call("profile.list", &json!({}))?.to_string().contains("\"sample\"") {
        scene.paused_relay("sample", 9, 1)?;
    }
    let receipt = lines.call("message.send", &compose("sample"))?;
    let raw = lines.call("message.raw", &json!({"id": receipt["id"]}))?;
    let octets = raw["raw_b64"].as_str().and_then(|text| STANDARD.decode(text).ok());
    octets.ok_or_else(|| BenchError::Answer("message.raw has no octets".to_owned()))
}

/// How many messages smtp-sink has counted: it writes `sess=1 quit=0 mesg=2` and a carriage return after each.
fn sunk(rig: &Rig) -> Result<usize, BenchError> {
    let mut log = File::open(rig.dir().join("log/smtp-sink.log"))?;
    let length = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(length.saturating_sub(256)))?;
    let mut tail = String::new();
    log.read_to_string(&mut tail)?;
    // The last one may be half written.
    let whole = tail.rsplit_once('\r').map_or("", |(whole, _)| whole);
    let count = whole.rsplit_once("mesg=").map_or("0", |(_, count)| count).trim();
    count.parse().map_err(|_| BenchError::Answer(format!("smtp-sink counts {count:?}")))
}

fn check(arrived: usize, count: usize) -> Result<(), BenchError> {
    if arrived == count { Ok(()) } else { Err(BenchError::Unfinished(format!("{arrived} of {count} arrived"))) }
}

fn late(arrived: usize, count: usize) -> BenchError {
    BenchError::Unfinished(format!("{arrived} of {count} arrived in {PATIENCE:?}"))
}
