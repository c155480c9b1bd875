//! What every command works with: the surroundings, the global options, and the ways to print and to ask.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::pin::Pin;

use frankd_proto::Method;
use serde_json::value::{RawValue, to_raw_value};

use crate::args::{Format, Global};
use crate::failure::{Doing, Failure, exit};
use crate::host::Locator;
use crate::io::{Io, read_line};
use crate::output::{self, Look, Page, Render, Shown};
use crate::rehearsal;
use crate::session::{Answer, Request, Session, unreadable};

/// A command at work: the exit status comes at its end.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Result<u8, Failure>> + 'a>>;

/// A run of frankctl.
#[derive(Debug)]
pub(crate) struct App {
    /// The surroundings.
    pub(crate) io: Io,
    /// The global options.
    pub(crate) global: Global,
}

impl App {
    pub(crate) fn new(io: Io, global: Global) -> Self {
        Self { io, global }
    }

    /// Connects to the daemon.
    pub(crate) async fn connect(&self) -> Result<Session, Failure> {
        self.locator()?.connect().await
    }

    /// Where the daemon is looked for.
    pub(crate) fn locator(&self) -> Result<Locator, Failure> {
        Locator::new(self.global.host.as_deref(), &self.io)
    }

    /// Connects, calls one method, prints its result; gives the exit status that it means.
    pub(crate) fn show<M>(&mut self, params: &M::Params, doing: Doing) -> Run<'_>
    where
        M: Method,
        M::Output: Render + 'static,
    {
        Box::pin(self.make(Request::new::<M>(params, doing)))
    }

    /// The same for a method that changes something: with `--dry-run` the call is printed and not made.
    pub(crate) fn alter<M>(&mut self, params: &M::Params, doing: Doing) -> Run<'_>
    where
        M: Method,
        M::Output: Render + 'static,
    {
        Box::pin(self.change(Request::new::<M>(params, doing)))
    }

    async fn change(&mut self, request: Result<Request, Failure>) -> Result<u8, Failure> {
        let request = request?;
        if self.rehearse_raw(request.method, &request.params)? {
            return Ok(exit::OK);
        }
        self.make(Ok(request)).await
    }

    /// With `--dry-run` prints a call. Says whether it did: then the call is not to be made.
    pub(crate) fn rehearse<M: Method>(&mut self, params: &M::Params) -> Result<bool, Failure> {
        let params = to_raw_value(params).map_err(|source| unreadable(M::NAME, source))?;
        self.rehearse_raw(M::NAME, &params)
    }

    /// With `--dry-run` prints a call of a method by its name. Says whether it did.
    pub(crate) fn rehearse_raw(&mut self, method: &str, params: &RawValue) -> Result<bool, Failure> {
        if !self.global.dry_run {
            return Ok(false);
        }
        let call = rehearsal::call(method, params).map_err(|source| unreadable(method, source))?;
        self.data(format!("{call}\n").as_bytes())?;
        self.note("Nothing was sent; whether the daemon would take it is not known.")?;
        Ok(true)
    }

    /// Makes a prepared call, prints its result; gives the exit status that it means.
    pub(crate) async fn make(&mut self, request: Result<Request, Failure>) -> Result<u8, Failure> {
        let request = request?;
        let session = self.connect().await?;
        let shown = session.make(&request, self.look()).await?;
        self.print_shown(&shown)
    }

    /// Prints a result in the format that was asked for; gives the exit status that it means.
    pub(crate) fn print<T: Render>(&mut self, answer: &Answer<T>) -> Result<u8, Failure> {
        let shown = output::shown(&answer.raw, &answer.value, self.look());
        self.print_shown(&shown)
    }

    fn print_shown(&mut self, shown: &Shown) -> Result<u8, Failure> {
        if self.format() == Format::Table {
            self.data_page(&shown.text)?;
        } else {
            self.data(shown.text.as_bytes())?;
        }
        Ok(shown.code)
    }

    /// Prints octets on standard output as they are.
    pub(crate) fn data(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.io.stdout.write_all(octets)?;
        Ok(self.io.stdout.flush()?)
    }

    /// Prints text for people on standard output.
    pub(crate) fn data_page(&mut self, text: &str) -> Result<(), Failure> {
        let coloured = output::coloured(self.global.color, self.io.terminal.stdout, &self.io);
        let text = output::dress(text, coloured);
        self.data(text.as_bytes())
    }

    /// Says something on standard error, unless quiet.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.global.quiet {
            return Ok(());
        }
        self.say(text)
    }

    /// Says something on standard error even if quiet: what cannot be left out.
    pub(crate) fn say(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        let coloured = output::coloured(self.global.color, self.io.terminal.stderr, &self.io);
        let text = output::dress(text.as_ref(), coloured);
        writeln!(self.io.stderr, "{}", text.trim_end_matches('\n'))?;
        Ok(self.io.stderr.flush()?)
    }

    /// An empty page of now.
    pub(crate) fn page(&self) -> Page {
        self.look().page()
    }

    /// How results are to be shown.
    pub(crate) fn look(&self) -> Look {
        Look { format: self.format(), wide: self.global.is_wide(), now: self.io.clock.now() }
    }

    /// The output format.
    pub(crate) fn format(&self) -> Format {
        self.global.format()
    }

    /// Whether questions may be asked.
    pub(crate) fn may_ask(&self) -> bool {
        self.io.terminal.stdin && !self.global.no_input
    }

    /// Asks before something that cannot be undone. Without a terminal only `--yes` is an answer.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<(), Failure> {
        if self.global.yes || self.global.dry_run {
            return Ok(());
        }
        if !self.may_ask() {
            return Err(Failure::Usage(format!("{question} needs --yes, since nobody can be asked here")));
        }
        let answer = self.ask(&format!("{question}? [y/N] "))?;
        if matches!(answer.as_deref().map(str::trim), Some("y" | "Y" | "yes")) {
            Ok(())
        } else {
            Err(Failure::Usage("not done: the answer was not yes".to_owned()))
        }
    }

    /// Asks a question on standard error and reads a line of standard input.
    pub(crate) fn ask(&mut self, question: &str) -> Result<Option<String>, Failure> {
        write!(self.io.stderr, "{question}")?;
        self.io.stderr.flush()?;
        read_line(&mut self.io.stdin, MAX_LINE).map_err(stdin_failed)
    }

    /// Reads a file, or standard input where the path is `-`.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Vec<u8>, Failure> {
        if path == Path::new("-") {
            let mut octets = Vec::new();
            self.io.stdin.read_to_end(&mut octets).map_err(stdin_failed)?;
            return Ok(octets);
        }
        std::fs::read(path).map_err(|source| Failure::Input { what: path.display().to_string(), source })
    }

    /// Reads text from a file, or from standard input where the path is `-`.
    pub(crate) fn read_text(&mut self, path: &Path) -> Result<String, Failure> {
        String::from_utf8(self.read(path)?).map_err(|_| Failure::Input {
            what: path.display().to_string(),
            source: io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"),
        })
    }

    /// Takes standard input away, to be read elsewhere.
    pub(crate) fn take_stdin(&mut self) -> Box<dyn Read + Send> {
        std::mem::replace(&mut self.io.stdin, Box::new(io::empty()))
    }
}

/// Longest line that is read as an answer, in octets: a redirect URL of the largest size fits.
pub(crate) const MAX_LINE: usize = 16 * 1024;

/// Standard input cannot be read.
pub(crate) fn stdin_failed(source: io::Error) -> Failure {
    Failure::Input { what: "standard input".to_owned(), source }
}
