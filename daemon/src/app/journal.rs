//! Log lines in the journal's own form (systemd's native journal protocol).
//!
//! Each field of a line is one of the entry, `F_` before its name. The message carries the text of the error too, since
//! that is all that `journalctl -u frankd` shows.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest value, in octets: an entry fits into one datagram.
const LONGEST: usize = 16 * 1024;
/// Fields that say why: they stand behind the message.
const CAUSES: &[&str] = &["error", "cause"];

type Send = Box<dyn Fn(&[u8]) + std::marker::Send + Sync>;

/// Writes to the journal.
pub(super) struct Journal {
    send: Send,
}

impl Journal {
    /// The journal of this host, if it runs one.
    pub(super) fn of_host() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Where nobody listens, an empty datagram fails too.
        socket.send_to(&[], Path::new(SOCKET))?;
        // A line that cannot be written has nobody left who could be told.
        Ok(Self { send: Box::new(move |entry| drop(socket.send_to(entry, Path::new(SOCKET)))) })
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        let mut entry = Vec::with_capacity(512);
        put(&mut entry, "PRIORITY", priority(*metadata.level()));
        put(&mut entry, "SYSLOG_IDENTIFIER", "frankd");
        put(&mut entry, "TARGET", metadata.target());
        if let (Some(file), Some(number)) = (metadata.file(), metadata.line()) {
            put(&mut entry, "CODE_FILE", file);
            put(&mut entry, "CODE_LINE", &number.to_string());
        }
        for (name, value) in &line.fields {
            put(
                &mut entry,
                &format!("F_{}", name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
                value,
            );
        }
        put(&mut entry, "MESSAGE", &line.message());
        (self.send)(&entry);
    }
}

/// The priorities of syslog(3): a warning of ours is one of the journal's.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

/// Adds a field. A value with line ends goes with its length before it, in 64 bits, little-endian.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let fits = value.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST).last();
    let value = &value[..fits.unwrap_or_default()];
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// What a line says.
#[derive(Default)]
struct Line {
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn message(&self) -> String {
        let causes = self.fields.iter().filter(|(name, _)| CAUSES.contains(name));
        causes.fold(self.text.clone(), |text, (_, cause)| format!("{text}: {cause}"))
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.fields.push((field.name(), with_causes(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}

/// An error with all its causes.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn entries(work: impl FnOnce()) -> Vec<Vec<u8>> {
        let kept: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let writer = Arc::clone(&kept);
        let journal = Journal { send: Box::new(move |entry| writer.lock().unwrap().push(entry.to_vec())) };
        tracing::subscriber::with_default(Registry::default().with(journal), work);
        kept.lock().unwrap().clone()
    }

    #[test]
    fn the_message_carries_the_error_and_every_field_stands_for_itself() {
        let error = io::Error::other("disk on fire");
        let all = entries(|| tracing::warn!(target: "frankd::store", %error, id = 7, "a body cannot be deleted"));
        let text = String::from_utf8(all.concat()).unwrap();
        for line in [
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=frankd",
            "TARGET=frankd::store",
            "F_ERROR=disk on fire",
            "F_ID=7",
            "MESSAGE=a body cannot be deleted: disk on fire",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_value_cannot_forge_a_field_and_a_long_one_is_cut() {
        let all = entries(|| tracing::info!(user = "eve\nPRIORITY=0", "a\nMESSAGE={}", "é".repeat(LONGEST)));
        let entry = all.concat();
        let user = b"F_USER\n\x0e\0\0\0\0\0\0\0eve\nPRIORITY=0\n";
        assert!(entry.windows(user.len()).any(|found| found == user), "{}", String::from_utf8_lossy(&entry));
        assert!(entry.starts_with(b"PRIORITY=5\n") && entry.len() < 2 * LONGEST);
    }
}
