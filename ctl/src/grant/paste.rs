//! The way by hand: the person opens the address anywhere, and pastes the address of the last page.

use std::io::Write as _;

use frankd_proto::methods::grant::{GrantView, Started};
use tokio::sync::oneshot;

use super::wait::{self, Outcome};
use super::{finish, redirect_url, still_pending};
use crate::app::{App, MAX_LINE, stdin_failed};
use crate::failure::Failure;
use crate::host::Locator;
use crate::io::read_line;
use crate::secrets;

/// Says what to open, and takes what comes back until the grant is over.
pub(super) async fn run(app: &mut App, locator: Locator, started: &Started) -> Result<u8, Failure> {
    let grant = &started.grant;
    app.note("Open in any browser, on any machine:")?;
    app.say(format!("  {}", secrets::authorization_url(started)))?;
    app.note(format!(
        "Sign in. The browser ends at {}…, a page that does not load: that is right.",
        started.redirect_uri
    ))?;
    if app.io.terminal.stdin && app.global.no_input {
        return Err(still_pending(app, grant));
    }
    let mut over = std::pin::pin!(wait::over(locator.clone(), grant.id));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let pasted = tokio::select! {
            line = line(app) => line?,
            view = &mut over => return finish(app, &locator, Outcome::over(view?)).await,
            _ = &mut interrupt => {
                // The cursor stands behind the question.
                app.say("")?;
                return Err(still_pending(app, grant));
            }
        };
        let Some(url) = pasted.as_deref().and_then(redirect_url) else {
            return Err(still_pending(app, grant));
        };
        match wait::complete(&locator, Some(grant.id), url).await {
            Ok(outcome) => return finish(app, &locator, outcome).await,
            Err(failure) => again(app, &locator, grant, failure).await?,
        }
    }
}

/// Lets a person at a terminal try again while the grant still waits.
async fn again(app: &mut App, locator: &Locator, grant: &GrantView, failure: Failure) -> Result<(), Failure> {
    if app.may_ask() && wait::is_pending(locator, grant.id).await { app.say(failure.report()) } else { Err(failure) }
}

/// Asks for the address of the last page and reads a line, while other things can be waited for.
///
/// Reading blocks, so a thread does it; if nobody waits for it any more, it ends with the process.
pub(crate) async fn line(app: &mut App) -> Result<Option<String>, Failure> {
    let prompt = "Paste the whole address of that page here: ";
    let end = if app.io.terminal.stdin { "" } else { "\n" };
    write!(app.io.stderr, "{prompt}{end}")?;
    app.io.stderr.flush()?;
    let (sender, receiver) = oneshot::channel();
    let mut stdin = app.take_stdin();
    std::thread::spawn(move || {
        let line = read_line(&mut stdin, MAX_LINE);
        // The receiver may have stopped to wait.
        let _ = sender.send((stdin, line));
    });
    let Ok((stdin, line)) = receiver.await else {
        return Ok(None);
    };
    app.io.stdin = stdin;
    line.map_err(stdin_failed)
}
