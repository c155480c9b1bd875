//! `explain`: what an error means and what to do, from the registries in proto. Asks no daemon.

use frankd_proto::Kind;
use frankd_proto::diagnosis::Diagnosis;

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
    match (kind, Diagnosis::find(error)) {
        (Some(kind), _) => explain_kind(app, kind)?,
        (None, Some(diagnosis)) => explain_diagnosis(app, diagnosis)?,
        (None, None) => {
            return Err(Failure::Unknown(format!("{error:?} is no kind or code of an error, and no diagnosis")));
        }
    }
    Ok(exit::OK)
}

fn explain_diagnosis(app: &mut App, diagnosis: &Diagnosis) -> Result<(), Failure> {
    match app.format() {
        Format::Table => {
            let mut page = app.page();
            page.line(diagnosis.id);
            page.line(format!("  {}.", diagnosis.meaning()));
            page.line("");
            page.fields(vec![
                ("Fix", diagnosis.remedy().unwrap_or_default()),
                ("Who", diagnosis.class.text().to_owned()),
            ]);
            app.data_page(&page.into_text())?;
        }
        Format::Name => app.data(format!("{}\n", diagnosis.id).as_bytes())?,
        Format::Json | Format::Jsonl => {
            let object = serde_json::json!({
                "diagnosis": diagnosis.id,
                "class": diagnosis.class.name(),
                "summary": diagnosis.meaning(),
                "fix": diagnosis.remedy(),
            });
            app.data(format!("{object}\n").as_bytes())?;
        }
    }
    Ok(())
}

fn explain_kind(app: &mut App, kind: Kind) -> Result<(), Failure> {
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
    Ok(())
}
