//! `cargo bench -p frankd-tests [-- PART…]`: what frankd costs beside the least that the same work can cost on this machine,
//! as ratios. Parts: `token`, `accept`, `delivery`; all without a name. Exits with 0 only if every round did its work.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use frankd_tests::bench::{self, BenchError, Part, Size};
use frankd_tests::programs;

fn main() -> ExitCode {
    // Cargo adds `--bench` of its own.
    let names = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let parts = match names.map(|name| name.parse()).collect::<Result<Vec<Part>, _>>() {
        Ok(parts) if parts.is_empty() => Part::ALL.to_vec(),
        Ok(parts) => parts,
        Err(error) => return complain(&error, ExitCode::from(2)),
    };
    match run(&parts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, ExitCode::FAILURE),
    }
}

fn run(parts: &[Part]) -> Result<(), BenchError> {
    let own = std::env::current_exe()?;
    // This program is TARGET/release/deps/ratios-….
    let target = own.ancestors().nth(3).unwrap_or(Path::new("/"));
    let programs = programs::build("release", target)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", bench::machine())?;
    for part in parts {
        let rows = bench::run(*part, &programs, &Size::FULL)?;
        let file = target.join(format!("bench-{part}.json"));
        std::fs::write(&file, bench::json(*part, &rows).to_string())?;
        writeln!(out, "\n{}\nall rounds: {}", bench::table(&rows), file.display())?;
    }
    Ok(())
}

fn complain(error: &BenchError, code: ExitCode) -> ExitCode {
    // Nothing else is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "bench: {}", bench::report(error));
    code
}
