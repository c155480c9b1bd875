//! `token.get` with a good token, beside a bare echo of as many octets: on one connection, and with one connection a call.

use std::path::Path;

use serde_json::json;

use super::echo::Echo;
use super::lines::{Lines, holds, request};
use super::measure::{Row, Unit};
use super::scene::Scene;
use super::{BenchError, Size};
use crate::stopwatch::Stopwatch;

const AIM: f64 = 1.5;
const UNIT: Unit = Unit::MicrosecondsPerCall;

/// Measures both rows.
pub(super) fn run(programs: &Path, size: &Size) -> Result<Vec<Row>, BenchError> {
    let scene = Scene::set(programs)?;
    let service = &scene.service;
    scene.client()?;
    let create = "profile create api --kind token --client sandbox --flow client_credentials";
    service.run(&create.split(' ').collect::<Vec<_>>())?;

    let get = request("token.get", &json!({"profile": "api"}));
    let answer = scene.connect()?.ask(&get)?.to_vec();
    let echo = Echo::start(&service.folder().join("echo.sock"), get.len(), &answer)?;
    let socket = service.socket();
    let kept = row("token.get, one kept connection").measure(
        size.rounds,
        || on_one_connection(&socket, &get, size.calls),
        || on_one_connection(echo.socket(), &get, size.calls),
    )?;
    let fresh = row("token.get, one connection a call").measure(
        size.rounds,
        || a_connection_each(&socket, &get, size.connections),
        || a_connection_each(echo.socket(), &get, size.connections),
    )?;
    Ok(vec![kept, fresh])
}

fn row(name: &str) -> Row {
    Row { name: name.to_owned(), reference: "echo of the same octets", unit: UNIT, aim: AIM, rounds: Vec::new() }
}

fn on_one_connection(socket: &Path, get: &[u8], calls: usize) -> Result<f64, BenchError> {
    let mut lines = Lines::connect(socket)?;
    let watch = Stopwatch::start();
    for _ in 0..calls {
        check(lines.ask(get)?)?;
    }
    Ok(UNIT.of(calls, watch.elapsed()))
}

fn a_connection_each(socket: &Path, get: &[u8], calls: usize) -> Result<f64, BenchError> {
    let watch = Stopwatch::start();
    for _ in 0..calls {
        check(Lines::connect(socket)?.ask(get)?)?;
    }
    Ok(UNIT.of(calls, watch.elapsed()))
}

fn check(answer: &[u8]) -> Result<(), BenchError> {
    if holds(answer, b"\"access_token\":\"") {
        return Ok(());
    }
    Err(BenchError::Answer(String::from_utf8_lossy(answer).into_owned()))
}
