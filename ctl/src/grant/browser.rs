//! Opens the person's browser, by the desktop's own means and without a shell.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that was asked to open the browser.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
}

impl Browser {
    /// Asks `xdg-open`, looked for in `path`, to open an address.
    pub(crate) fn open(url: &str, path: &str) -> io::Result<Self> {
        let program = path
            .split(':')
            .map(|dir| Path::new(dir).join("xdg-open"))
            .find(|program| program.is_absolute() && program.is_file())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "xdg-open is not installed"))?;
        let child = Command::new(program)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C that ends the waiting must not end the browser.
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    /// Whether it gave up.
    pub(crate) fn has_failed(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(status)) if !status.success())
    }
}
