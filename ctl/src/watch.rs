//! `--watch`: shows a result again as things happen.
//!
//! Redraws on events, not by polling, and at most once in the given time; now and then without an event too, so that
//! "in 52 min" stays true.

use std::fmt::Write as _;
use std::time::Duration;

use frankd_proto::methods::event::SubscribeParams;
use frankd_proto::{Method, Subscription};

use crate::app::{App, Run};
use crate::args::{Format, Watch};
use crate::clock;
use crate::failure::{Doing, Failure};
use crate::output::{self, Render};
use crate::session::{self, Request};

/// Longest time without a redraw.
const STALE: Duration = Duration::from_secs(30);
/// Shortest time between two redraws, whatever was asked for.
const SHORTEST: Duration = Duration::from_millis(100);

/// Calls a method and prints its result, again and again with `--watch`.
pub(crate) fn show<'a, M>(app: &'a mut App, params: &M::Params, doing: Doing, watch: Watch) -> Run<'a>
where
    M: Method,
    M::Output: Render + 'static,
{
    let request = Request::new::<M>(params, doing);
    match watch.watch {
        None => Box::pin(app.make(request)),
        Some(pace) => Box::pin(repeat(app, request, pace)),
    }
}

async fn repeat(app: &mut App, request: Result<Request, Failure>, pace: Duration) -> Result<u8, Failure> {
    let request = request?;
    let session = app.connect().await?;
    // First the subscription, then the result: what happens between them is not missed.
    let mut events = session.subscribe(SubscribeParams::default()).await?;
    let mut first = true;
    loop {
        let shown = session.make(&request, app.look()).await?;
        draw(app, &shown.text, first)?;
        first = false;
        clock::sleep(pace.max(SHORTEST)).await;
        next_change(&mut events).await?;
    }
}

fn draw(app: &mut App, text: &str, first: bool) -> Result<(), Failure> {
    if app.format() != Format::Table {
        return app.data(text.as_bytes());
    }
    let coloured = output::coloured(app.global.color, app.io.terminal.stdout, &app.io);
    let text = output::dress(text, coloured);
    let may_move = app.io.terminal.stdout && app.io.variable("TERM").is_none_or(|term| term != "dumb");
    let mut frame = String::new();
    if may_move {
        // Each line erases its old rest and the last one what is below, so nothing flickers.
        frame.push_str(if first { "\u{1b}[2J\u{1b}[H" } else { "\u{1b}[H" });
        let _ = write!(frame, "{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"));
    } else {
        frame.push_str(if first { "" } else { "\n" });
        frame.push_str(&text);
    }
    app.data(frame.as_bytes())
}

/// Waits until something happened since the last redraw, or the picture is stale.
async fn next_change(events: &mut Subscription) -> Result<(), Failure> {
    let Some(event) = clock::deadline(STALE, events.next()).await else {
        return Ok(());
    };
    let mut event = event;
    loop {
        match event {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(session::refused(Doing::new("follow the events"), error)),
            None => return Err(session::ended(Doing::new("follow the events"))),
        }
        // Those that are here already are one change.
        event = tokio::select! {
            biased;
            event = events.next() => event,
            () = std::future::ready(()) => return Ok(()),
        };
    }
}
