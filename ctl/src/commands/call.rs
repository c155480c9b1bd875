//! `call`: a method by its name, parameters and result as they are.

use std::path::Path;

use frankd_proto::methods::{TABLE, table};
use serde_json::value::RawValue;

use crate::app::App;
use crate::args::daemon::Call;
use crate::failure::{Doing, Failure, exit};
use crate::output::join;

/// Does it.
pub(crate) async fn run(app: &mut App, args: Call) -> Result<u8, Failure> {
    let Call { method, params } = args;
    match table(&method) {
        Some(row) if row.subscription => {
            return Err(Failure::Usage(format!("{method} opens a subscription: frankctl events --follow")));
        }
        Some(_) => {}
        // A newer daemon may know it; the daemon is the judge.
        None => app.note(format!(
            "{method} is not a method of this version; it has: {}",
            join(TABLE.iter().map(|row| row.name), " ")
        ))?,
    }
    let text = if params == "-" { app.read_text(Path::new("-"))? } else { params };
    let wrong = |problem: &str| Failure::Usage(format!("the parameters are {problem}"));
    let params: Box<RawValue> =
        serde_json::from_str(text.trim()).map_err(|error| wrong(&format!("not JSON: {error}")))?;
    if !params.get().starts_with('{') {
        return Err(wrong("no JSON object"));
    }
    if app.rehearse_raw(&method, &params)? {
        return Ok(exit::OK);
    }
    let session = app.connect().await?;
    let doing = Doing::new(format!("call {method}"));
    let result = session.call_raw(&method, params, doing).await?;
    app.data(format!("{result}\n").as_bytes())?;
    Ok(exit::OK)
}
