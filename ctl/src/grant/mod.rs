//! A grant as the person sees it: a sign-in page in the browser, a redirect that comes back, and the truth at the end.
//!
//! The daemon owns verifier, `state` and tokens; frankctl owns browser, loopback port and prompt. A grant survives
//! everything that happens here: whoever ends the waiting is told how to complete it later.

mod browser;
mod http;
mod listener;
mod paste;
mod spinner;
mod wait;

use frankd_proto::methods::client::Named;
use frankd_proto::methods::grant::{CompleteParams, Completed, GrantView, StartParams, Started};
use frankd_proto::methods::{grant as rpc, profile};
use frankd_proto::{GrantId, GrantVia, Name, Secret};

use self::browser::Browser;
use self::http::{Expected, Page, Status};
use self::listener::{Listener, Redirect, Serving};
use self::spinner::Spinner;
use self::wait::Outcome;
use crate::app::App;
use crate::args::Format;
use crate::args::grant::Start;
use crate::failure::{Doing, Failure, exit};
use crate::host::Locator;
use crate::io::Io;
use crate::output::{WARNING, join};
use crate::session::{Answer, Session};
use crate::{human, secrets};

/// How the redirect comes back.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// To a loopback port of this machine.
    Loopback {
        /// Whether the browser is opened.
        open: bool,
    },
    /// By hand.
    Paste,
}

/// Grants a profile access.
pub(crate) async fn run(app: &mut App, profile: Name, args: &Start) -> Result<u8, Failure> {
    let (way, why) = choose(args, &app.io);
    if app.global.dry_run {
        return rehearse(app, profile, &way).await;
    }
    let locator = app.locator()?;
    let session = locator.connect().await?;
    let account = introduce(app, &session, &profile).await?;
    if let Some(why) = why {
        app.note(why)?;
    }
    match way {
        Way::Loopback { open } => loopback(app, &locator, &session, profile, open, account).await,
        Way::Paste => {
            let started = start(&session, &profile, GrantVia::Paste, None).await?;
            paste::run(app, locator, &started).await
        }
    }
}

/// Prints how the grant would be started; a port is free now, as it would be then.
async fn rehearse(app: &mut App, profile: Name, way: &Way) -> Result<u8, Failure> {
    let (via, port) = match way {
        Way::Loopback { .. } => {
            let listener = Listener::bind().await.map_err(Failure::Listen)?;
            (GrantVia::ClientLoopback, Some(listener.port()))
        }
        Way::Paste => (GrantVia::Paste, None),
    };
    app.rehearse::<rpc::Start>(&StartParams { profile, via, port })?;
    Ok(exit::OK)
}

/// Prints a completed grant: who signed in, what it is good for, and what was waiting for it.
fn print(app: &mut App, answer: &Answer<Completed>, waiting: Option<u64>) -> Result<u8, Failure> {
    app.print(answer)?;
    if let Some(waiting) = waiting.filter(|waiting| *waiting > 0) {
        let were = if waiting == 1 { "was" } else { "were" };
        app.note(format!("{} {were} waiting for this grant; sending now.", human::count(waiting, "message")))?;
    }
    Ok(exit::OK)
}

/// Completes a grant with an address that a person has at hand.
pub(crate) async fn finish_pasted(app: &mut App, id: Option<GrantId>) -> Result<u8, Failure> {
    if app.io.terminal.stdin && app.global.no_input {
        return Err(Failure::Usage("the address is read from standard input with --no-input".to_owned()));
    }
    let locator = app.locator()?;
    let line = paste::line(app).await?;
    let url =
        line.as_deref().and_then(redirect_url).ok_or_else(|| Failure::Usage("no address was given".to_owned()))?;
    if app.rehearse::<rpc::Complete>(&CompleteParams { id, redirect_url: url.clone() })? {
        return Ok(exit::OK);
    }
    let outcome = wait::complete(&locator, id, url).await?;
    finish(app, &locator, outcome).await
}

/// Chooses the way, and says why if it was not asked for.
fn choose(args: &Start, io: &Io) -> (Way, Option<&'static str>) {
    if args.paste {
        return (Way::Paste, None);
    }
    if args.no_browser || args.browser {
        return (Way::Loopback { open: args.browser }, None);
    }
    if io.variable("SSH_CONNECTION").or(io.variable("SSH_TTY")).is_some() {
        return (
            Way::Paste,
            Some(
                "This is an SSH session, and a browser elsewhere cannot reach a port of this machine: \
                 the address of the last page is pasted (--browser uses a browser here).",
            ),
        );
    }
    if io.variable("DISPLAY").or(io.variable("WAYLAND_DISPLAY")).is_none() {
        return (
            Way::Paste,
            Some(
                "There is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set): \
                 the address of the last page is pasted (--no-browser waits for it on a port of this machine).",
            ),
        );
    }
    (Way::Loopback { open: true }, None)
}

/// Says what is about to be granted; gives the account.
async fn introduce(app: &mut App, session: &Session, name: &Name) -> Result<Option<String>, Failure> {
    let doing = Doing::profile("grant access to", name);
    let params = Named { name: name.clone() };
    let profile = session.call::<profile::Get>(params, doing).await?.value;
    let mut parts = Vec::new();
    parts.extend(profile.username.clone());
    parts.extend(profile.client.iter().map(|client| format!("client {client}")));
    if !profile.scopes.is_empty() {
        parts.push(format!("scopes {}", join(&profile.scopes, " ")));
    }
    app.note(format!("Profile {name} ({})", parts.join(", ")))?;
    Ok(profile.username)
}

async fn start(session: &Session, profile: &Name, via: GrantVia, port: Option<u16>) -> Result<Started, Failure> {
    let doing = Doing::profile("grant access to", profile);
    let params = StartParams { profile: profile.clone(), via, port };
    session.call::<rpc::Start>(params, doing).await.map(|answer| answer.value)
}

async fn loopback(
    app: &mut App,
    locator: &Locator,
    session: &Session,
    profile: Name,
    open: bool,
    account: Option<String>,
) -> Result<u8, Failure> {
    let listener = Listener::bind().await.map_err(Failure::Listen)?;
    let port = listener.port();
    let started = start(session, &profile, GrantVia::ClientLoopback, Some(port)).await?;
    let Some(expected) = Expected::of(&started.redirect_uri, port) else {
        let doing = Doing::new("cancel the grant");
        let id = started.grant.id;
        session.call::<rpc::Cancel>(rpc::ById { id }, doing).await?;
        return Err(Failure::Usage(format!(
            "the client's redirect URI {} does not lead to a port of this machine: frankctl grant {profile} --paste",
            started.redirect_uri
        )));
    };
    let mut serving = listener.serve(expected);
    let url = secrets::authorization_url(&started);
    let browser = open.then(|| Browser::open(url, app.io.variable("PATH").unwrap_or_default()));
    match &browser {
        Some(Ok(_)) => app.note("Opening your browser. If nothing happens, open:")?,
        Some(Err(error)) => app.say(format!("The browser cannot be opened: {error}. Open:"))?,
        None => app.note("Open in a browser on this machine:")?,
    }
    app.say(format!("  {url}"))?;
    let spinner = Spinner::start(app, &started.grant, account.as_deref())?;
    let browser = browser.and_then(Result::ok);
    attend(app, locator, &started.grant, &mut serving, Waiting { spinner, browser }).await
}

/// What goes on while the person signs in.
struct Waiting {
    spinner: Spinner,
    browser: Option<Browser>,
}

/// Waits for redirects until the grant is over, and answers each with the truth.
async fn attend(
    app: &mut App,
    locator: &Locator,
    grant: &GrantView,
    serving: &mut Serving,
    mut waiting: Waiting,
) -> Result<u8, Failure> {
    let mut over = std::pin::pin!(wait::over(locator.clone(), grant.id));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            Some(redirect) = serving.redirects.recv() => {
                waiting.spinner.say("finishing");
                let tried = wait::complete(locator, Some(grant.id), redirect.url.clone()).await;
                let page = page(&grant.profile, &tried);
                answer_all(redirect, &mut serving.redirects, page).await;
                match tried {
                    Ok(outcome) => {
                        waiting.spinner.stop();
                        return finish(app, locator, outcome).await;
                    }
                    // Somebody else's request, or a stale page: the right one may still come.
                    Err(failure) if wait::is_pending(locator, grant.id).await => {
                        let report = failure.report();
                        waiting.spinner.suspend(|| app.say(report))?;
                    }
                    Err(failure) => {
                        waiting.spinner.stop();
                        return Err(failure);
                    }
                }
            }
            view = &mut over => {
                waiting.spinner.stop();
                return finish(app, locator, Outcome::over(view?)).await;
            }
            _ = &mut interrupt => {
                waiting.spinner.stop();
                return Err(still_pending(app, grant));
            }
            () = waiting.spinner.turn(app.io.clock) => {
                if waiting.browser.as_mut().is_some_and(Browser::has_failed) {
                    waiting.browser = None;
                    waiting.spinner.suspend(|| app.say("The browser did not open; the address is above."))?;
                }
            }
        }
    }
}

/// Gives the same page to the redirect and to its repetitions, such as a reload while the code was exchanged.
async fn answer_all(first: Redirect, more: &mut tokio::sync::mpsc::Receiver<Redirect>, page: Page) {
    first.answer(page.clone()).await;
    while let Ok(redirect) = more.try_recv() {
        redirect.answer(page.clone()).await;
    }
}

/// Says how a grant ended.
async fn finish(app: &mut App, locator: &Locator, outcome: Outcome) -> Result<u8, Failure> {
    match outcome {
        Outcome::Completed { answer, waiting } => print(app, &answer, waiting),
        Outcome::Over(view) => {
            wait::check(&view.value)?;
            if app.format() != Format::Table {
                return app.print(&view);
            }
            app.note("The grant was completed elsewhere.")?;
            wait::show_token(app, locator, &view.value).await
        }
    }
}

/// The page for the browser: what really happened.
fn page(profile: &Name, tried: &Result<Outcome, Failure>) -> Page {
    let closing = "You can close this page.".to_owned();
    let granted = |view: &GrantView| {
        let who = view.account.as_ref().map_or_else(String::new, |who| format!(" as {who}"));
        let mut paragraphs = vec![format!("frankd has access for profile {profile}{who}.")];
        paragraphs.extend(view.warnings.iter().map(|warning| format!("{WARNING} {warning}")));
        paragraphs.push(closing.clone());
        Page::new(Status::Ok, "Access granted", paragraphs)
    };
    let refused = |failure: &Failure| {
        let mut paragraphs = failure.sentences();
        paragraphs.push("The terminal where frankctl runs says more.".to_owned());
        Page::new(Status::BadRequest, "Access was not granted", paragraphs)
    };
    match tried {
        Ok(Outcome::Completed { answer, .. }) => granted(&answer.value.grant),
        Ok(Outcome::Over(view)) => match wait::check(&view.value) {
            Ok(()) => granted(&view.value),
            Err(failure) => refused(&failure),
        },
        Err(failure) => refused(failure),
    }
}

/// The waiting ended and the grant did not.
fn still_pending(app: &App, grant: &GrantView) -> Failure {
    Failure::Pending {
        what: format!(
            "The grant {} for profile {} stays pending; it ends {}.",
            grant.id,
            grant.profile,
            human::relative(grant.expires_at, app.io.clock.now())
        ),
        next: format!("`frankctl grant complete {}` asks for the address of the last page", grant.id),
    }
}

/// Takes the redirect URL that a person gave.
fn redirect_url(line: &str) -> Option<Secret> {
    let line = line.trim();
    (!line.is_empty()).then(|| Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use frankd_proto::{Kind, RpcError};

    #[test]
    fn the_way_is_what_was_asked_for_or_what_fits_the_place() {
        let way = |args: &Start, environment: &[(&str, &str)]| {
            let mut io = Io::process();
            io.environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let (way, why) = choose(args, &io);
            (way, why.is_some())
        };
        let open = Way::Loopback { open: true };
        let plain = Start::default();
        assert_eq!(way(&plain, &[("DISPLAY", ":0")]), (open, false));
        assert_eq!(way(&plain, &[]), (Way::Paste, true));
        assert_eq!(way(&plain, &[("DISPLAY", ":10"), ("SSH_CONNECTION", "x")]), (Way::Paste, true));
        let browser = Start { browser: true, ..Start::default() };
        assert_eq!(way(&browser, &[]), (Way::Loopback { open: true }, false));
        let alone = Start { no_browser: true, ..Start::default() };
        assert_eq!(way(&alone, &[("DISPLAY", ":0")]), (Way::Loopback { open: false }, false));
    }

    #[test]
    fn the_page_of_a_refusal_has_the_providers_words_escaped() {
        let mut error = RpcError::new(Kind::GrantDeniedByUser, "the person said no");
        error.data.provider = Some(frankd_proto::error::ProviderError {
            error: Some("access_denied".to_owned()),
            error_description: Some("<script>alert(1)</script>".to_owned()),
            ..Default::default()
        });
        let tried = Err(crate::session::refused(Doing::new("complete the grant"), error));
        let text = String::from_utf8(page(&"alerts".parse().unwrap(), &tried).to_http()).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 "));
        assert!(text.contains("access_denied: &lt;script&gt;"), "{text}");
        assert!(text.contains("The person said no.") && !text.contains("error: failed"), "{text}");
        assert!(!text.contains("<script>"));
    }
}
