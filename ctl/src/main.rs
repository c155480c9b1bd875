//! The program: a shell that completes a word is answered; else one thread, one runtime, and the exit status of
//! [`frankctl::run`].

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match frankctl::complete(std::env::args_os()) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nothing else is left to tell when standard error is gone too.
            let _ = writeln!(std::io::stderr(), "frankctl: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(frankctl::run(std::env::args_os(), frankctl::Io::process()));
    // A thread may still wait for a line of standard input; the process does not wait for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}
