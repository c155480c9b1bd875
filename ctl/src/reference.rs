//! The reference of the command line, made from its grammar, and a reader of documented command lines.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// `docs/cli.md`: every command with its options and examples, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut root = crate::command();
    root.build();
    let mut out = String::from(
        "# frankctl\n\n\
         <!-- Generated from the grammar of frankctl; a test compares them, and FRANKD_BLESS=1 rewrites this page. -->\n\n",
    );
    section(&root, "frankctl", &mut out);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Parses a documented command line: one command of a shell that begins with `frankctl`, maybe with a redirection.
///
/// Words may be quoted; what follows `<`, `>` or `|` is the shell's. The error says what does not fit the grammar.
pub fn parse_line(line: &str) -> Result<(), String> {
    let words = words(line)?;
    if words.first().is_none_or(|word| word != "frankctl") {
        return Err(format!("{line:?} does not begin with frankctl"));
    }
    match crate::parse(words.into_iter().map(Into::into)) {
        // Asking for help or the version is no mistake.
        Err(error) if error.use_stderr() => Err(format!("{line}\n{error}")),
        _ => Ok(()),
    }
}

fn section(command: &Command, path: &str, out: &mut String) {
    let _ = writeln!(out, "## {path}\n");
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(out, "{}\n", paragraphs(about));
    }
    let mut usage = command.clone();
    let _ = writeln!(out, "```text\n{}\n```\n", usage.render_usage());
    let visible: Vec<&Command> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
    for child in &visible {
        let about = child.get_about().map(ToString::to_string).unwrap_or_default();
        let anchor = format!("{path} {}", child.get_name()).replace(' ', "-");
        let _ = writeln!(out, "- [`{}`](#{anchor}): {about}", child.get_name());
    }
    if !visible.is_empty() {
        out.push('\n');
    }
    let is_root = path == "frankctl";
    let shown = |arg: &&Arg| (is_root || !arg.is_global_set()) && arg.get_id() != "help" && !arg.is_hide_set();
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    for arg in &arguments {
        let _ = writeln!(out, "- {}", argument(arg));
    }
    if !arguments.is_empty() {
        out.push('\n');
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = writeln!(out, "```text\n{after}\n```\n");
    }
    for child in visible {
        section(child, &format!("{path} {}", child.get_name()), out);
    }
}

fn argument(arg: &Arg) -> String {
    let mut line = format!("`{arg}`");
    if let Some(short) = arg.get_short() {
        line = format!("`-{short}`, {line}");
    }
    if let Some(help) = arg.get_long_help().or(arg.get_help()) {
        let _ = write!(line, ": {}", paragraphs(help).replace("\n\n", " "));
    }
    let words: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !words.is_empty() {
        let _ = write!(line, " (one of {})", words.join(", "));
    }
    line
}

/// Help text as Markdown: a template such as `{port}` and a pattern such as `*@` are no markup.
fn paragraphs(text: &StyledStr) -> String {
    text.to_string().trim().replace('*', "\\*")
}

fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '<' | '>' | '|') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("{line:?} has an open quotation mark"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_lines_are_read_as_a_shell_would() {
        for good in [
            "frankctl send --to a@b.example -s 'disk full' --text - < msg.txt",
            "frankctl call token.info '{\"profile\":\"alerts\"}'",
            "frankctl queue cat msg_01K3ZQ8W4V5T6R7P8N9M0K1J2H > message.eml",
            "frankctl grant alerts --paste",
            "frankctl grant --profile list",
            "frankctl grant list --profile alerts -o json",
            "frankctl grant -o json list",
            "frankctl help",
        ] {
            assert_eq!(parse_line(good), Ok(()), "{good}");
        }
        for bad in [
            "frankd --version",
            "frankctl grant",
            "frankctl grant alerts list",
            "frankctl grant --paste list",
            "frankctl client create m365 --client-id x --client-secret hunter2",
            "frankctl profile create a --kind smtp --password hunter2",
            "frankctl client create m365 --client-id x --client-secret-stdin --client-secret-credential y",
            "frankctl nonsense",
            "frankctl send --to 'a",
        ] {
            assert!(parse_line(bad).is_err(), "{bad}");
        }
    }
}
