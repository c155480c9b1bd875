//! `cargo demo`: the main job of frankd, shown step by step on servers of its own. Exits with 0 only if every step did
//! what it should.

use std::io::Write as _;
use std::process::ExitCode;

use frankd_tests::demo::{self, Options};

const USAGE: &str = "\
Usage: cargo demo [-- --keep]

Builds frankd and frankctl, starts an authorization server and a mail server in this process, and runs the main job.
  --keep    leaves everything running afterwards, to play with";

fn main() -> ExitCode {
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--keep" => options.keep = true,
            "-h" | "--help" => return say(USAGE, ExitCode::SUCCESS),
            other => return say(&format!("demo: {other:?} is not known\n{USAGE}"), ExitCode::from(2)),
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(&format!("demo: cannot start: {error}"), ExitCode::FAILURE),
    };
    match runtime.block_on(demo::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&demo::report(&error), ExitCode::FAILURE),
    }
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    // Nothing else is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}
