//! The frankd service.

use std::process::ExitCode;

use frankd::app::command_line::CommandLine;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match CommandLine::read(std::env::args_os().skip(1)) {
        Ok(line) => frankd::app::run::main(&line),
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}
