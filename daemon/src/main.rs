//! The frankd service: see [`frankd::app`].

use std::process::ExitCode;

use frankd::app::command_line::CommandLine;
use frankd::app::run;

fn main() -> ExitCode {
    run::main(CommandLine::read(std::env::args_os().skip(1)))
}
