//! What is printed, and how: one writer for data and one for talk.
//!
//! Text for people never carries a control character from elsewhere, and colour only repeats what a mark and a word
//! say already: the marks are coloured as they are written.

use std::collections::BTreeMap;

use comfy_table::{Row, Table, presets};
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::args::{Color, Format};
use crate::human;
use crate::io::Io;

/// Good.
pub(crate) const GOOD: &str = "✓";
/// Bad: something waits or is lost unless somebody acts.
pub(crate) const BAD: &str = "✗";
/// Will be bad.
pub(crate) const WARNING: &str = "⚠";

/// How a result is shown to people and in lists of names.
pub(crate) trait Render {
    /// The field whose array `-o jsonl` prints item by item.
    fn items(&self) -> Option<&'static str> {
        None
    }

    /// Writes the page for people.
    fn page(&self, page: &mut Page);

    /// What `-o name` prints, one to a line.
    fn names(&self) -> Vec<String>;

    /// The exit status that this result means.
    fn exit_code(&self) -> u8 {
        crate::failure::exit::OK
    }
}

/// Text for people, in the making.
#[derive(Debug)]
pub(crate) struct Page {
    /// The moment that relative times count from.
    pub(crate) now: Timestamp,
    /// Whether tables have all their columns, and nothing is cut short.
    pub(crate) wide: bool,
    text: String,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { now, wide: false, text: String::new() }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref().trim_end());
        self.text.push('\n');
    }

    /// Adds a table of which only a wide page has the columns after the first `narrow` ones.
    pub(crate) fn table_of<const N: usize>(&mut self, narrow: usize, header: [&str; N], rows: Vec<[String; N]>) {
        let columns = if self.wide { N } else { narrow };
        let cut = |row: [String; N]| row.into_iter().take(columns).collect();
        self.columns(&header[..columns.min(N)], rows.into_iter().map(cut).collect());
    }

    /// Adds a table; nothing but the header if there are no rows.
    pub(crate) fn table<const N: usize>(&mut self, header: [&str; N], rows: Vec<[String; N]>) {
        self.columns(&header, rows.into_iter().map(Vec::from).collect());
    }

    fn columns(&mut self, header: &[&str], rows: Vec<Vec<String>>) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header);
        for row in rows {
            table.add_row(Row::from(row.iter().map(|cell| one_line(cell)).collect::<Vec<_>>()));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(table.trim_fmt());
    }

    /// Adds labelled values, aligned; empty values are left out.
    pub(crate) fn fields(&mut self, fields: Vec<(&str, String)>) {
        let width = fields.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        for (label, value) in fields {
            if !value.is_empty() {
                self.line(format!("{label:<width$}  {}", one_line(&value)));
            }
        }
    }

    /// A moment as `fields` show it; empty if there is none.
    pub(crate) fn moment(&self, moment: Option<Timestamp>) -> String {
        moment.map_or_else(String::new, |moment| human::moment(moment, self.now))
    }

    /// A moment as tables show it; a dash if there is none.
    pub(crate) fn relative(&self, moment: Option<Timestamp>) -> String {
        moment.map_or_else(|| "–".to_owned(), |moment| human::relative(moment, self.now))
    }

    /// The whole text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Whether colours are used on a stream.
pub(crate) fn coloured(choice: Color, is_terminal: bool, io: &Io) -> bool {
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if io.variable("NO_COLOR").is_some() => false,
        Color::Auto if io.variable("CLICOLOR_FORCE").is_some_and(|v| v != "0") => true,
        Color::Auto => is_terminal && io.variable("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// Text for people as it goes to a stream: cleaned, and its marks coloured if asked for.
pub(crate) fn dress(text: &str, coloured: bool) -> String {
    let clean = human::clean(text);
    if !coloured {
        return clean.into_owned();
    }
    [(GOOD, 32), (BAD, 31), (WARNING, 33)].iter().fold(clean.into_owned(), |text, (mark, colour)| {
        text.replace(mark, &format!("\u{1b}[{colour}m{mark}\u{1b}[0m"))
    })
}

/// A result as it is printed.
#[derive(Debug)]
pub(crate) struct Shown {
    /// With its line ends; text for people is not yet dressed.
    pub(crate) text: String,
    /// The exit status that the result means.
    pub(crate) code: u8,
}

/// How results are to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The format.
    pub(crate) format: Format,
    /// Whether tables have all their columns.
    pub(crate) wide: bool,
    /// The moment that relative times count from.
    pub(crate) now: Timestamp,
}

impl Look {
    /// An empty page.
    pub(crate) fn page(self) -> Page {
        Page { wide: self.wide, ..Page::new(self.now) }
    }
}

/// Shows a result.
pub(crate) fn shown(raw: &RawValue, value: &dyn Render, look: Look) -> Shown {
    let text = match look.format {
        Format::Table => {
            let mut page = look.page();
            value.page(&mut page);
            page.into_text()
        }
        Format::Json => lines([raw.get()]),
        Format::Jsonl => match value.items().and_then(|key| items(raw, key)) {
            Some(items) => lines(items.iter().map(|item| item.get())),
            None => lines([raw.get()]),
        },
        Format::Name => lines(value.names()),
    };
    Shown { text, code: value.exit_code() }
}

/// Joins words with commas.
pub(crate) fn join<T: ToString>(words: impl IntoIterator<Item = T>, gap: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    words.join(gap)
}

/// `KEY=VALUE` pairs of a map.
pub(crate) fn pairs(map: &BTreeMap<String, String>) -> String {
    join(map.iter().map(|(key, value)| format!("{key}={value}")), " ")
}

/// Text of an optional value; empty if there is none.
pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(String::new, ToString::to_string)
}

fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        text.push_str(line.as_ref());
        text.push('\n');
        text
    })
}

fn items(raw: &RawValue, key: &str) -> Option<Vec<Box<RawValue>>> {
    let mut object: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw.get()).ok()?;
    serde_json::from_str(object.remove(key)?.get()).ok()
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let mut io = Io::process();
        io.environment.clear();
        assert!(coloured(Color::Auto, true, &io));
        assert!(!coloured(Color::Auto, false, &io));
        io.environment.insert("TERM".to_owned(), "dumb".to_owned());
        assert!(!coloured(Color::Auto, true, &io));
        assert!(coloured(Color::Always, false, &io));
        io.environment.insert("CLICOLOR_FORCE".to_owned(), "1".to_owned());
        assert!(coloured(Color::Auto, false, &io));
        io.environment.insert("NO_COLOR".to_owned(), "1".to_owned());
        assert!(!coloured(Color::Auto, true, &io));
    }

    #[test]
    fn a_page_is_aligned_and_foreign_escapes_are_defused() {
        let mut page = Page::new(Timestamp::UNIX_EPOCH);
        page.table(["A", "LONGER"], vec![["x\u{1b}[31m\ny".to_owned(), GOOD.to_owned()]]);
        page.fields(vec![("one", "1".to_owned()), ("three", "3".to_owned()), ("none", String::new())]);
        let text = dress(&page.into_text(), false);
        assert_eq!(text, "A         LONGER\nx\u{fffd}[31m y  ✓\none    1\nthree  3\n");
        assert_eq!(dress("✓ fine", true), "\u{1b}[32m✓\u{1b}[0m fine");
    }
}
