//! What the demo prints: chapters, commands as typed, their output, and what was checked.

use std::io::{self, IsTerminal as _, Write as _};

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    coloured: bool,
}

impl Screen {
    /// Colours on a terminal, unless NO_COLOR is set.
    pub(super) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: io::stdout().is_terminal() && !refused }
    }

    /// Begins a chapter.
    pub(super) fn chapter(self, title: &str) {
        self.line(&format!("\n{}", self.dressed("1", &format!("── {title}"))));
    }

    /// Tells something.
    pub(super) fn tell(self, text: &str) {
        self.line(text);
    }

    /// Shows a command as it is typed.
    pub(super) fn command(self, line: &str) {
        self.line(&self.dressed("1", &format!("$ {line}")));
    }

    /// Shows a line of output.
    pub(super) fn output(self, line: &str) {
        self.line(format!("  {line}").trim_end());
    }

    /// Shows what was checked and found good.
    pub(super) fn good(self, what: &str) {
        self.line(&format!("{} {what}", self.dressed("32", "✓")));
    }

    fn dressed(self, style: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    #[expect(clippy::unused_self, reason = "whoever writes has the screen")]
    fn line(self, text: &str) {
        // A reader that went away does not change what is checked.
        let _ = writeln!(io::stdout(), "{text}");
    }
}
