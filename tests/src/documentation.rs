//! Every command that a text of ours prints, found in documents and sources, so that a test can parse each.
//!
//! - In Markdown: whatever a code block types, and every code span that begins with `frankctl`.
//! - In sources: in texts, whatever stands in backticks, begins a line, or follows a colon. Commands elsewhere in a
//!   sentence belong into backticks.
//! - Placeholders (`NAME`, `{profile}`) are filled with each of [`FILLINGS`]: one must fit.

use std::io;
use std::path::{Path, PathBuf};

use crate::architecture::read_sources;

/// What a placeholder may stand for.
pub const FILLINGS: &[&str] = &[
    "alerts",
    "msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H",
    "grt_01K3ZQ8W4V5T6R7P8N9M0K1J2H",
    "ops@example.org",
    "https://idp.example/token",
    "profile",
];

/// How commands of frankctl begin.
const FRANKCTL: &str = "frankctl ";
/// How command lines of the daemon begin: without an option they are its name in a sentence.
const FRANKD: &str = "frankd --";

/// A command that a text prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// The file.
    pub path: PathBuf,
    /// The command as it stands there, a long one in one line.
    pub line: String,
}

impl Printed {
    /// The command as somebody would type it, with each filling; one alone if there is nothing to fill.
    #[must_use]
    pub fn typed(&self) -> Vec<String> {
        let filled = |filling: &&str| fill(&self.line, filling);
        let mut typed: Vec<String> = FILLINGS.iter().map(filled).collect();
        typed.dedup();
        typed
    }
}

/// Every command that a document or source of the repository prints.
pub fn printed(root: &Path) -> io::Result<Vec<Printed>> {
    let mut found = Vec::new();
    for path in documents(root)? {
        let text = std::fs::read_to_string(root.join(&path))?;
        found.extend(in_markdown(&text, FRANKCTL).into_iter().map(|line| Printed { path: path.clone(), line }));
    }
    for (path, text) in read_sources(root, &["proto/src", "daemon/src", "ctl/src"])? {
        if !is_test(&path) {
            let texts = literals(in_production(&text));
            let lines = texts.iter().flat_map(|text| in_text(text));
            found.extend(lines.map(|line| Printed { path: path.clone(), line }));
        }
    }
    for path in
        ["proto/errors.json", "daemon/src/registry/presets.toml", "packaging/frankd.toml", "packaging/install.sh"]
    {
        let text = std::fs::read_to_string(root.join(path))?;
        let lines = text.lines().flat_map(in_text);
        found.extend(lines.map(|line| Printed { path: PathBuf::from(path), line }));
    }
    Ok(found)
}

/// Every command line of the daemon with an option, in the documents.
pub fn printed_of_daemon(root: &Path) -> io::Result<Vec<Printed>> {
    let mut found = Vec::new();
    for path in documents(root)? {
        let text = std::fs::read_to_string(root.join(&path))?;
        found.extend(in_markdown(&text, FRANKD).into_iter().map(|line| Printed { path: path.clone(), line }));
    }
    Ok(found)
}

/// The Markdown files of the top level and of `docs/`, by their path in the repository.
pub fn documents(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        for entry in std::fs::read_dir(root.join(folder))? {
            let path = Path::new(folder).join(entry?.file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs")
}

/// The source without its tests.
fn in_production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// The commands of a Markdown text.
fn in_markdown(text: &str, begin: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    let mut block = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            found.extend(typed_in(&std::mem::take(&mut block), begin));
        } else if in_block {
            block.push_str(line);
            block.push('\n');
        } else {
            found.extend(in_backticks(line, begin));
        }
    }
    found
}

/// The commands that a code block types: at the begin of a line, behind a pipe, in `$(…)`, behind `sudo`.
fn typed_in(block: &str, begin: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let commands = joined.lines().filter(|line| !line.contains("[OPTIONS]")).flat_map(|line| {
        line.match_indices(begin).filter_map(move |(at, _)| {
            let before = &line[..at];
            let substituted = before.ends_with("$(");
            let typed = before.trim().is_empty() || before.ends_with([' ', '`']) || substituted;
            let rest = &line[at..];
            let end = if substituted { rest.find(')') } else { rest.find(" # ") };
            let named = rest[begin.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '{');
            (typed && named && !before.contains('#')).then(|| rest[..end.unwrap_or(rest.len())].to_owned())
        })
    });
    commands.map(|line| squeezed(&line)).collect()
}

/// The commands of a text for people: in backticks, or at the begin of a line, or behind a colon.
fn in_text(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        found.extend(in_backticks(line, FRANKCTL));
        let bare: String = line.split('`').step_by(2).collect();
        let begins = bare.trim_start().starts_with(FRANKCTL).then_some(bare.as_str());
        let follows = bare.split_once(": ").filter(|(_, rest)| rest.trim_start().starts_with(FRANKCTL));
        if let Some(command) = begins.or(follows.map(|(_, rest)| rest)) {
            found.push(squeezed(command));
        }
    }
    found
}

/// The commands in backticks of one line.
fn in_backticks(line: &str, begin: &str) -> Vec<String> {
    let spans = line.split('`').skip(1).step_by(2);
    spans
        .map(|span| span.strip_prefix("sudo ").unwrap_or(span))
        .filter(|span| span.starts_with(begin))
        .map(squeezed)
        .collect()
}

/// In one line, without doubled spaces outside quotes being any difference.
fn squeezed(command: &str) -> String {
    command.trim().trim_end_matches(['.', ',']).to_owned()
}

/// A command with its placeholders filled, and without the dots that stand for more.
fn fill(line: &str, filling: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let at_word = out.is_empty() || out.ends_with([' ', '=', '\'', '"']);
        if let Some(end) = placeholder(rest).filter(|_| at_word || first == '{') {
            out.push_str(filling);
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out.replace(" …", "")
}

/// The length of the placeholder that the text begins with: `{name}`, or a word in capitals.
fn placeholder(text: &str) -> Option<usize> {
    if let Some(inner) = text.strip_prefix('{') {
        let end = inner.find('}')?;
        let name = inner[..end].chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        // The template of a redirect URI is meant as it stands.
        return (name && &inner[..end] != "port").then_some(end + 2);
    }
    let end = text.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(text.len());
    let whole = text[end..].chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '\'' | '"' | '|'));
    (end > 1 && whole).then_some(end)
}

/// The texts of a Rust source, with escapes and continued lines read.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let end = raw.find("\"#").unwrap_or(raw.len());
            found.push(raw[..end].to_owned());
            rest = raw.get(end + 2..).unwrap_or_default();
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest = rest.get(3..).unwrap_or_default();
        } else if first == '"' {
            let (text, behind) = literal(&rest[1..]);
            found.push(text);
            rest = behind;
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Reads a text up to its closing mark; gives it and what is behind.
fn literal(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, &source[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((at, '\n')) => {
                    let behind = source[at..].trim_start();
                    let (more, end) = literal(behind);
                    text.push_str(&more);
                    return (text, end);
                }
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            c => text.push(c),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_markdown() {
        let text = "Say `frankctl status`, or `sudo frankctl reload`; not frankctl alone.\n\
                    ```sh\n$ frankctl client create a --client-id x \\\n    --scope y < secret   # a note\n\
                    curl -H \"$(frankctl token get a --format bearer)\" u\n  printf x | frankctl send --to a@b\n\
                    # frankctl in a remark\nUsage: frankctl [OPTIONS]\n```\n";
        assert_eq!(
            in_markdown(text, FRANKCTL),
            [
                "frankctl status",
                "frankctl reload",
                "frankctl client create a --client-id x      --scope y < secret  ",
                "frankctl token get a --format bearer",
                "frankctl send --to a@b",
            ]
            .map(|line| line.trim().to_owned())
        );
    }

    #[test]
    fn commands_are_found_in_sources() {
        let source = r#"
            // "frankctl in a remark"
            a(f!("frankctl grant {}", x)); b('"'); c("to mend it: `frankctl token show {profile}`, then wait");
            d("Next:  frankctl profile \
               list"); e("where frankctl runs"); g("frankctl: no"); h("Examples:\n  frankctl a\n  frankctl b \\\n  c");
        "#;
        let found: Vec<String> = literals(source).iter().flat_map(|text| in_text(text)).collect();
        assert_eq!(
            found,
            [
                "frankctl grant {}",
                "frankctl token show {profile}",
                "frankctl profile list",
                "frankctl a",
                "frankctl b    c",
            ]
        );
    }

    #[test]
    fn placeholders_are_filled() {
        let typed = |line: &str| Printed { path: PathBuf::new(), line: line.to_owned() }.typed()[0].clone();
        assert_eq!(typed("frankctl grant {profile}"), "frankctl grant alerts");
        assert_eq!(
            typed("frankctl queue resolve ID --outcome sent|retry"),
            "frankctl queue resolve alerts --outcome sent|retry"
        );
        assert_eq!(
            typed("frankctl client update C1 --client-secret-stdin …"),
            "frankctl client update C1 --client-secret-stdin"
        );
        assert_eq!(typed("frankctl --host unix:///PATH status"), "frankctl --host unix:///PATH status");
        assert_eq!(
            typed("frankctl client create x --redirect-uri 'http://h:{port}/'"),
            "frankctl client create x --redirect-uri 'http://h:{port}/'"
        );
    }
}
