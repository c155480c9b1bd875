//! `events`: what happened last, and with `--follow` what happens after it.

use std::fmt::Write as _;

use frankd_proto::methods::event as rpc;

use super::list;
use crate::app::App;
use crate::args::Format;
use crate::args::daemon::Events;
use crate::args::values::Mark;
use crate::failure::{Doing, Failure};
use crate::human;
use crate::output::{Page, Render};
use crate::session;

/// How many events are listed if nothing else is said.
const LATEST: u32 = 20;
/// Most events of one call.
const PAGE: u32 = 1000;

/// Does it.
pub(crate) async fn run(app: &mut App, args: Events) -> Result<u8, Failure> {
    let Events { follow, types, since, profile, limit } = args;
    let (since_seq, since) = match since {
        None => (None, None),
        Some(Mark::Seq(seq)) => (Some(seq), None),
        Some(Mark::Moment(moment)) => (None, Some(moment.before(app.io.clock.now()))),
    };
    let from_the_end = since_seq.is_none() && since.is_none();
    let number = limit.unwrap_or(if from_the_end { LATEST } else { PAGE });
    let mut params = rpc::ListParams { since_seq, since, types: list(types), profile, ..rpc::ListParams::default() };
    match (number, from_the_end) {
        (0, _) if follow => return self::follow(app, &params, None).await,
        (0, _) => return Err(Failure::Usage("--limit 0 lists nothing: it is for --follow".to_owned())),
        (_, true) => params.last = Some(number),
        (_, false) => params.limit = Some(number),
    }
    let session = app.connect().await?;
    let doing = || Doing::new("list the events");
    if !follow {
        let answer = session.call::<rpc::List>(params, doing()).await?;
        let code = app.print(&answer)?;
        say_lost(app, &answer.value)?;
        if !from_the_end && answer.value.events.len() == number as usize {
            app.note(format!("There may be more: the same command with --since {}", answer.value.next_seq))?;
        }
        return Ok(code);
    }
    loop {
        let listed = session.call::<rpc::List>(params.clone(), doing()).await?.value;
        say_lost(app, &listed)?;
        for event in &listed.events {
            print(app, event)?;
        }
        params.since_seq = Some(listed.next_seq);
        if from_the_end || listed.events.len() < number as usize {
            return self::follow(app, &params, Some(listed.next_seq)).await;
        }
    }
}

fn say_lost(app: &mut App, listed: &rpc::Events) -> Result<(), Failure> {
    if listed.lost { app.note("Earlier events are no longer kept.") } else { Ok(()) }
}

/// Prints what happens after `since_seq`, or from now on.
async fn follow(app: &mut App, filter: &rpc::ListParams, since_seq: Option<u64>) -> Result<u8, Failure> {
    let doing = || Doing::new("follow the events");
    let rpc::ListParams { types, profile, .. } = filter.clone();
    let session = app.connect().await?;
    let mut events = session.subscribe(rpc::SubscribeParams { since_seq, types, profile }).await?;
    while let Some(event) = events.next().await {
        print(app, &event.map_err(|error| session::refused(doing(), error))?)?;
    }
    Err(session::ended(doing()))
}

fn print(app: &mut App, event: &rpc::Event) -> Result<(), Failure> {
    match app.format() {
        Format::Table => app.data_page(&format!("{}\n", line(event))),
        Format::Name => app.data(format!("{}\n", event.event_type).as_bytes()),
        Format::Json | Format::Jsonl => {
            let json = serde_json::to_string(event)
                .map_err(|source| Failure::Answer { method: rpc::SUBSCRIBE.to_owned(), source })?;
            app.data(format!("{json}\n").as_bytes())
        }
    }
}

fn line(event: &rpc::Event) -> String {
    let mut line = format!("{:>6}  {}  {:<22}", event.seq, human::absolute(event.at), event.event_type);
    let names = [event.profile.as_ref(), event.client.as_ref()];
    for name in names.into_iter().flatten() {
        line.push_str("  ");
        line.push_str(name.as_str());
    }
    if let Some(object) = &event.object {
        line.push_str("  ");
        line.push_str(object);
    }
    for (key, value) in &event.data {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let _ = write!(line, "  {key}={}", value.replace('\n', " "));
    }
    line
}

impl Render for rpc::Events {
    fn items(&self) -> Option<&'static str> {
        Some("events")
    }

    fn page(&self, page: &mut Page) {
        for event in &self.events {
            page.line(line(event));
        }
    }

    fn names(&self) -> Vec<String> {
        self.events.iter().map(|event| event.event_type.to_string()).collect()
    }
}
