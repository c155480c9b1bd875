//! Tests that need more than a Rust toolchain, and what happens where that is missing.
//!
//! A test that cannot run prints `skipped: WHY`, adds a line to the file that `FRANKD_TEST_SKIPS` names, so that
//! `tests/run` counts it, and ends. With `CI=true` it fails instead: there, everything has to run.

use std::env;
use std::fs::File;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use crate::held::rig_file;

/// Says why one of `what` cannot run here: a name that `tests/rig/bin/missing` knows, or any program.
pub fn missing(what: &[&str]) -> Option<String> {
    let answer = Command::new(rig_file("bin/missing")).args(what).stdin(Stdio::null()).output();
    let why = match answer {
        Ok(answer) => String::from_utf8_lossy(&answer.stdout).trim().replace('\n', "; "),
        Err(error) => format!("tests/rig/bin/missing does not run: {error}"),
    };
    (!why.is_empty()).then_some(why)
}

/// Whether all of `what` can run here. If not, the calling test counts as skipped, or fails with `CI=true`.
///
/// Use: `if !available(&["php"]) { return; }`
pub fn available(what: &[&str]) -> bool {
    let Some(why) = missing(what) else { return true };
    skip(&why);
    false
}

/// Counts the calling test as skipped; it has to return at once.
///
/// # Panics
/// With `CI=true`.
pub fn skip(why: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "may not be skipped with CI=true: {why}");
    // Not by print macros, which the test harness captures.
    let _ = writeln!(io::stdout(), "skipped: {why}");
    let Some(list) = env::var_os("FRANKD_TEST_SKIPS") else {
        return;
    };
    let test = env::var("NEXTEST_TEST_NAME")
        .unwrap_or_else(|_| thread::current().name().unwrap_or("a test without a name").to_owned());
    let written = File::options().append(true).create(true).open(list).and_then(|mut list| {
        // One write, since tests run side by side.
        list.write_all(format!("{test}: {why}\n").as_bytes())
    });
    assert!(written.is_ok(), "the list of skipped tests cannot be written");
}
