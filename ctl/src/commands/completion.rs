//! `completion`: the script that makes a shell ask frankctl.

use crate::app::App;
use crate::completion;
use crate::failure::{Failure, exit};

/// Does it.
pub(crate) fn run(app: &mut App, shell: clap_complete::Shell) -> Result<u8, Failure> {
    let script = completion::script(&shell.to_string())
        .ok_or_else(|| Failure::Unknown(format!("there is no completion for {shell}")))?;
    app.data(&script)?;
    Ok(exit::OK)
}
