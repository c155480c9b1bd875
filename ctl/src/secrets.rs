//! Where secrets enter frankctl: standard input, a file, a prompt without echo. Never the command line or environment.
//!
//! Also the one secret that a person has to see: the address of a sign-in page.

use std::path::Path;

use frankd_proto::methods::grant::Started;
use frankd_proto::{Secret, SecretInput};

use crate::app::App;
use crate::args::secret::Source;
use crate::failure::Failure;

/// Longest secret, in octets.
const MAX: usize = 64 * 1024;

/// Fetches a secret from where it is, or names it for the daemon to fetch. `what` names it in questions and errors.
pub(crate) fn fetch(app: &mut App, source: Source, what: &str) -> Result<SecretInput, Failure> {
    match source {
        Source::Credential(name) => Ok(SecretInput { credential: Some(name), ..SecretInput::default() }),
        Source::RefFile(name) => Ok(SecretInput { file: Some(name), ..SecretInput::default() }),
        Source::File(path) => read(app, &path, what),
        Source::Stdin if app.may_ask() => match ask(app, &format!("{what}: "))? {
            Some(secret) => Ok(SecretInput::value(secret)),
            None => Err(Failure::Usage(format!("the {what} is empty"))),
        },
        Source::Stdin => read(app, Path::new("-"), what),
    }
}

/// Asks for a secret without showing it; nothing if the answer is empty.
pub(crate) fn ask(app: &mut App, question: &str) -> Result<Option<Secret>, Failure> {
    app.io.stderr.flush()?;
    let answer = rpassword::prompt_password(question)
        .map_err(|source| Failure::Input { what: "the terminal".to_owned(), source })?;
    Ok(Some(Secret::new(answer)).filter(|secret| !secret.is_empty()))
}

/// The address that the person opens. It carries the grant's one-use `state`, so it goes to the person alone.
pub(crate) fn authorization_url(started: &Started) -> &str {
    started.authorization_url.expose()
}

fn read(app: &mut App, path: &Path, what: &str) -> Result<SecretInput, Failure> {
    // Wiped when it goes, with the line end that files have.
    let text = Secret::new(app.read_text(path)?);
    let line = text.expose();
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.len() {
        0 => Err(Failure::Usage(format!("the {what} is empty"))),
        1..=MAX => Ok(SecretInput::value(Secret::new(line))),
        _ => Err(Failure::Usage(format!("the {what} is longer than {MAX} octets"))),
    }
}
