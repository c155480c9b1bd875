//! `events`: what happened, and with `--follow` what happens.

use std::fmt::Write as _;

use frankd_proto::methods::event as rpc;

use super::list;
use crate::app::App;
use crate::args::Format;
use crate::args::daemon::Events;
use crate::failure::{Doing, Failure};
use crate::human;
use crate::output::{Page, Render};
use crate::session;

/// Does it.
pub(crate) async fn run(app: &mut App, args: Events) -> Result<u8, Failure> {
    let Events { follow, types, since_seq, profile, limit } = args;
    let types = list(types);
    if follow {
        let params = rpc::SubscribeParams { since_seq, types, profile };
        return self::follow(app, params).await;
    }
    let params = rpc::ListParams { since_seq, types, profile, limit, wait_s: None };
    let session = app.connect().await?;
    let answer = session.call::<rpc::List>(params, Doing::new("list the events")).await?;
    let code = app.print(&answer)?;
    if answer.value.lost {
        app.note("Earlier events are no longer kept.")?;
    }
    Ok(code)
}

async fn follow(app: &mut App, params: rpc::SubscribeParams) -> Result<u8, Failure> {
    let doing = || Doing::new("follow the events");
    let session = app.connect().await?;
    let mut events = session.subscribe(params).await?;
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| session::refused(doing(), error))?;
        match app.format() {
            Format::Table => app.data_page(&format!("{}\n", line(&event)))?,
            Format::Name => app.data(format!("{}\n", event.event_type).as_bytes())?,
            Format::Json | Format::Jsonl => {
                let json = serde_json::to_string(&event)
                    .map_err(|source| Failure::Answer { method: rpc::SUBSCRIBE.to_owned(), source })?;
                app.data(format!("{json}\n").as_bytes())?;
            }
        }
    }
    Err(session::ended(doing()))
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
