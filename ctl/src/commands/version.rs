//! `version`: of this program and of the daemon.

use frankd_proto::API_VERSION;
use frankd_proto::methods::Empty;
use frankd_proto::methods::system as rpc;
use serde_json::json;

use crate::app::App;
use crate::args::Format;
use crate::failure::{Doing, Failure, exit};
use crate::session::Answer;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Does it. Without a daemon its own version is still printed, and the exit status is that of the failure.
pub(crate) async fn run(app: &mut App, client_only: bool) -> Result<u8, Failure> {
    if client_only {
        print(app, None)?;
        return Ok(exit::OK);
    }
    match daemon(app).await {
        Ok(answer) => {
            print(app, Some(&answer))?;
            Ok(exit::OK)
        }
        Err(failure) => {
            print(app, None)?;
            Err(failure)
        }
    }
}

async fn daemon(app: &App) -> Result<Answer<rpc::SystemInfo>, Failure> {
    let session = app.connect().await?;
    session.call::<rpc::Info>(Empty {}, Doing::new("ask the daemon for its version")).await
}

fn print(app: &mut App, daemon: Option<&Answer<rpc::SystemInfo>>) -> Result<(), Failure> {
    match app.format() {
        Format::Table => {
            let mut fields = vec![("frankctl", format!("{VERSION}  (contract {API_VERSION})"))];
            if let Some(Answer { value, .. }) = daemon {
                fields.push(("frankd", format!("{}  (contract {})", value.version, value.api)));
                fields.push(("store", value.store.clone()));
            }
            let mut page = app.page();
            if let Some(Answer { value, .. }) = daemon {
                fields.push(("started", page.moment(Some(value.started_at))));
            }
            page.fields(fields);
            app.data_page(&page.into_text())
        }
        Format::Name => app.data(format!("{VERSION}\n").as_bytes()),
        Format::Json | Format::Jsonl => {
            let object = json!({
                "client": {"version": VERSION, "api": API_VERSION},
                "daemon": daemon.map(|answer| &answer.raw),
            });
            app.data(format!("{object}\n").as_bytes())
        }
    }
}
