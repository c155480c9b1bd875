//! frankctl, the thin command line of frankd.
//!
//! Everything is asked of the daemon over its socket; this program reads files, asks people, opens the browser of a
//! grant, and shows results. It keeps no state and has no rule of its own.
//!
//! # Layout
//!
//! - [`command`] is the grammar (`args`), and `docs/cli.md` its generated reference ([`reference()`]).
//! - `commands` has one file for each noun; `grant` is the sign-in with its loopback listener.
//! - `app` is a run: the surroundings ([`Io`]), the global options, printing and asking. `output` decides how results
//!   look, `failure` how errors do, `secrets` is where secrets enter, `clock` where time does.
//!
//! # Conventions
//!
//! Data goes to standard output and is, as JSON, exactly the result object of the method. Talk goes to standard error.
//! No secret is ever in arguments or environment.

mod app;
mod args;
mod clock;
mod commands;
mod completion;
mod failure;
mod grant;
mod host;
mod human;
mod io;
mod output;
mod reference;
mod rehearsal;
mod secrets;
mod session;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

pub use crate::clock::Clock;
pub use crate::completion::complete;
pub use crate::io::{Io, Terminal};
pub use crate::reference::{parse_line, reference};

use crate::app::App;
use crate::args::{Cli, Command};

/// The grammar of the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command line, program name first; gives the exit status.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, mut io: Io) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &mut io),
    };
    let mut app = App::new(io, cli.global);
    match commands::run(&mut app, cli.command).await {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => failure::exit::OK,
        Err(failure) => {
            // With standard error gone only the exit status is left to tell.
            let _ = app.say(failure.report());
            failure.exit_code()
        }
    }
}

/// Reads a command line. What clap cannot say in its grammar is checked here.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let Command::Grant(grant) = &cli.command
        && grant.action.is_some()
        && grant.start.is_given()
    {
        return Err(
            command.error(ErrorKind::ArgumentConflict, "a profile to grant and a command on grants exclude each other")
        );
    }
    Ok(cli)
}

/// Prints help, version, or what is wrong with the command line.
fn usage(error: &clap::Error, io: &mut Io) -> u8 {
    let text = error.render();
    let (stream, is_terminal) =
        if error.use_stderr() { (&mut io.stderr, io.terminal.stderr) } else { (&mut io.stdout, io.terminal.stdout) };
    let text = if is_terminal && !io.environment.contains_key("NO_COLOR") {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    // Nothing else is left to tell when the stream is gone.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    u8::try_from(error.exit_code()).unwrap_or(failure::exit::USAGE)
}
