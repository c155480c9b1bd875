//! `queue list|show|cat|summary|hold|release|retry|cancel|resolve`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use frankd_proto::methods::queue as summary;
use frankd_proto::methods::{Empty, message as rpc};
use frankd_proto::{MessageId, Method};

use super::message;
use crate::app::App;
use crate::args::Format;
use crate::args::queue::{Action, List, Selection};
use crate::failure::{Doing, Failure, exit};
use crate::output::{Page, Render, join};
use crate::{human, watch};

/// Does it.
pub(crate) async fn run(app: &mut App, action: Action) -> Result<u8, Failure> {
    match action {
        Action::List(args) => list(app, args).await,
        Action::Show { id, transcript, watch } => {
            let doing = Doing::new(format!("show message {id}"));
            if transcript && watch.watch.is_none() {
                return show(app, id, doing).await;
            }
            watch::show::<rpc::Get>(app, &rpc::ById { id }, doing, watch).await
        }
        Action::Cat { id } => cat(app, id).await,
        Action::Summary(watch) => {
            watch::show::<summary::Summary>(app, &Empty {}, Doing::new("count the queue"), watch).await
        }
        Action::Hold(selection) => change::<rpc::Hold>(app, selection, "hold").await,
        Action::Release(selection) => change::<rpc::Release>(app, selection, "release").await,
        Action::Retry(selection) => change::<rpc::Retry>(app, selection, "retry").await,
        Action::Cancel(selection) => {
            app.confirm(&format!("cancel {}", what(&selection)))?;
            change::<rpc::Cancel>(app, selection, "cancel").await
        }
        Action::Resolve { ids, outcome } => {
            let doing = Doing::new(format!("resolve {}", human::count(ids.len() as u64, "message")));
            app.alter::<rpc::Resolve>(&rpc::ResolveParams { ids, outcome }, doing).await
        }
    }
}

async fn list(app: &mut App, args: List) -> Result<u8, Failure> {
    let now = app.io.clock.now();
    let params = rpc::ListParams {
        profile: args.profile,
        state: args.state,
        to: args.to,
        since: args.since.map(|since| since.before(now)),
        limit: args.limit,
        cursor: args.cursor,
    };
    let doing = Doing::new("list the queue");
    if args.watch.watch.is_some() {
        return watch::show::<rpc::List>(app, &params, doing, args.watch).await;
    }
    let session = app.connect().await?;
    let answer = session.call::<rpc::List>(params, doing).await?;
    let code = app.print(&answer)?;
    if let Some(cursor) = answer.value.next_cursor {
        app.note(format!("There are more: the same command with --cursor {cursor}"))?;
    }
    Ok(code)
}

async fn show(app: &mut App, id: MessageId, doing: Doing) -> Result<u8, Failure> {
    let session = app.connect().await?;
    let answer = session.call::<rpc::Get>(rpc::ById { id }, doing).await?;
    let code = app.print(&answer)?;
    if app.format() == Format::Table {
        app.data_page(&message::transcript(&answer.value))?;
    }
    Ok(code)
}

async fn cat(app: &mut App, id: MessageId) -> Result<u8, Failure> {
    let session = app.connect().await?;
    let doing = Doing::new(format!("read message {id}"));
    let answer = session.call::<rpc::Raw>(rpc::ById { id }, doing).await?;
    if app.format() != Format::Table {
        app.data(format!("{}\n", answer.raw).as_bytes())?;
        return Ok(exit::OK);
    }
    let octets = BASE64_STANDARD
        .decode(&answer.value.raw_b64)
        .map_err(|error| Failure::Input { what: format!("message {id}"), source: std::io::Error::other(error) })?;
    if app.io.terminal.stdout {
        // A mail may carry anything; a terminal is not to be driven by it.
        app.data_page(&String::from_utf8_lossy(&octets).replace("\r\n", "\n"))?;
    } else {
        app.data(&octets)?;
    }
    Ok(exit::OK)
}

async fn change<M>(app: &mut App, selection: Selection, verb: &str) -> Result<u8, Failure>
where
    M: Method<Params = rpc::Selection, Output = rpc::Changed>,
{
    let doing = Doing::new(format!("{verb} {}", what(&selection)));
    let Selection { ids, profile, reason } = selection;
    let whole = profile.is_some();
    let code = app.alter::<M>(&rpc::Selection { ids, profile, reason }, doing).await?;
    // Of a whole queue what can be changed is: messages that cannot are no failure.
    Ok(if whole { exit::OK } else { code })
}

fn what(selection: &Selection) -> String {
    match (&selection.profile, &selection.ids[..]) {
        (Some(profile), _) => format!("all waiting messages of profile {profile}"),
        (None, [id]) => format!("message {id}"),
        (None, ids) => human::count(ids.len() as u64, "message"),
    }
}

impl Render for summary::QueueSummary {
    fn items(&self) -> Option<&'static str> {
        Some("profiles")
    }

    fn page(&self, page: &mut Page) {
        let row = |queue: &summary::ProfileQueue| {
            [
                queue.profile.to_string(),
                queue.waiting.to_string(),
                queue.due.to_string(),
                queue.sending.to_string(),
                queue.held.to_string(),
                queue.in_doubt.to_string(),
                human::size(queue.bytes),
                queue.oldest_at.map_or_else(|| "–".to_owned(), |oldest| human::between(oldest, page.now)),
                join(&queue.gates, ", "),
            ]
        };
        let rows = self.profiles.iter().map(row).collect();
        page.table(["PROFILE", "WAITING", "DUE", "SENDING", "HELD", "IN DOUBT", "SIZE", "OLDEST", "GATES"], rows);
        page.line(format!("{} waiting, {}", human::count(self.waiting, "message"), human::size(self.bytes)));
    }

    fn names(&self) -> Vec<String> {
        self.profiles.iter().map(|queue| queue.profile.to_string()).collect()
    }
}
