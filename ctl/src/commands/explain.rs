//! `explain`: what an error means and what to do, from the registry in proto. Asks no daemon.

use frankd_proto::Kind;

use crate::app::App;
use crate::args::Format;
use crate::args::daemon::Explain;
use crate::failure::{Doing, Failure, exit, fix};

/// Does it.
pub(crate) fn run(app: &mut App, args: &Explain) -> Result<u8, Failure> {
    let error = args.error.trim();
    let kind = match error.parse() {
        Ok(code) => Kind::from_code(code),
        Err(_) => Kind::from_name(error),
    };
    let Some(kind) = kind else {
        return Err(Failure::Unknown(format!("{error:?} is no kind or code of an error")));
    };
    match app.format() {
        Format::Table => {
            let mut page = app.page();
            page.line(format!("{kind} ({})", kind.code()));
            page.line(format!("  {}.", kind.summary()));
            page.line("");
            page.line(kind.explanation());
            page.line("");
            let retry = if kind.retryable() {
                "yes, the same call may succeed later"
            } else {
                "no, something must change first"
            };
            page.fields(vec![
                ("Fix", fix(kind, &Doing::default()).unwrap_or_default()),
                ("Retry", retry.to_owned()),
                ("Exit status", kind.exit_code().to_string()),
            ]);
            app.data_page(&page.into_text())?;
        }
        Format::Name => app.data(format!("{kind}\n").as_bytes())?,
        Format::Json | Format::Jsonl => {
            let object = serde_json::json!({
                "kind": kind.name(),
                "code": kind.code(),
                "retryable": kind.retryable(),
                "exit": kind.exit_code(),
                "summary": kind.summary(),
                "explain": kind.explanation(),
            });
            app.data(format!("{object}\n").as_bytes())?;
        }
    }
    Ok(exit::OK)
}
