//! `completion`: a shell's script, from the grammar.

use crate::app::App;
use crate::failure::{Failure, exit};

/// Does it.
pub(crate) fn run(app: &mut App, shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "frankctl", &mut script);
    app.data(&script)?;
    Ok(exit::OK)
}
