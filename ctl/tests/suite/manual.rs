//! The pages of `man` that are made from the grammar of frankctl.
//! `FRANKD_BLESS=1` rewrites them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::reference::compare;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man")
}

/// A line of text as roff reads it.
fn text(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

fn rendered(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut octets = Vec::new();
    write(&mut octets).unwrap();
    // Each piece defines the apostrophe anew; the head of a page has it once.
    let lines = String::from_utf8(octets).unwrap();
    lines.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el")).fold(
        String::new(),
        |mut page, line| {
            page.push_str(line.trim_end());
            page.push('\n');
            page
        },
    )
}

/// What stands below the options: examples, exit status.
fn after(command: &Command, heading: &str) -> String {
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut page = String::new();
    for block in help.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut lines: Vec<&str> = block.lines().collect();
        if let Some(title) = lines[0].strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            let _ = writeln!(page, ".{heading} {:?}", title.to_uppercase());
            lines.remove(0);
        } else {
            page.push_str(".PP\n");
        }
        page.push_str(".nf\n");
        for line in lines {
            let _ = writeln!(page, "{}", text(line));
        }
        page.push_str(".fi\n");
    }
    page
}

/// Synopsis, description and options.
fn body(man: &Man) -> String {
    rendered(|out| {
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)
    })
}

fn head(name: &str, about: &str) -> String {
    format!(
        ".\\\" Generated from the grammar of frankctl; a test compares them, and FRANKD_BLESS=1 rewrites this page.\n\
         .ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n\
         .TH {} 1 \"\" frankd \"Manual of frankd\"\n.SH NAME\n{} \\- {}\n",
        name.to_uppercase(),
        text(name),
        text(about)
    )
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|child| child.get_name() != "help")
}

/// `frankctl(1)`: the whole, and where the rest is.
fn whole(root: &Command) -> String {
    let mut page = head("frankctl", "the command line of frankd");
    page.push_str(&body(&Man::new(root.clone())));
    page.push_str(".SH COMMANDS\n");
    for child in shown(root) {
        let _ = writeln!(page, ".TP\n.BR frankctl\\-{} (1)\n{}", child.get_name(), text(&about(child)));
    }
    page.push_str(&after(root, "SH"));
    page.push_str(".SH \"SEE ALSO\"\n.BR frankd (8),\n.BR frankd.toml (5)\n");
    page
}

/// The page of a noun: its verbs one after the other, without the options that every command has.
fn of_noun(noun: &Command) -> String {
    let own = |command: &Command| {
        command.clone().mut_args(|arg| {
            let global = arg.is_global_set();
            arg.hide(global)
        })
    };
    let mut page = head(&format!("frankctl-{}", noun.get_name()), &about(noun));
    page.push_str(&body(&Man::new(own(noun))));
    for verb in shown(noun) {
        let _ = writeln!(page, ".SH \"{} {}\"", noun.get_name().to_uppercase(), verb.get_name().to_uppercase());
        page.push_str(&body(&Man::new(own(verb))).replace(".SH ", ".SS "));
        page.push_str(&after(verb, "SS"));
    }
    if shown(noun).next().is_none() {
        page.push_str(&after(noun, "SH"));
    }
    page.push_str(".SH \"SEE ALSO\"\n.BR frankctl (1)\nhas the options of every command,\n.BR frankd (8)\n");
    page
}

#[test]
fn the_pages_of_frankctl_are_those_of_the_grammar() {
    let mut root = frankctl::command();
    root.build();
    let mut made = vec![("frankctl.1".to_owned(), whole(&root))];
    made.extend(shown(&root).map(|noun| (format!("frankctl-{}.1", noun.get_name()), of_noun(noun))));
    for (name, page) in &made {
        compare(&format!("../packaging/man/{name}"), page);
    }
    let committed = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut generated: Vec<_> =
        committed.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".1")).collect();
    generated.sort();
    let mut names: Vec<_> = made.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(generated, names, "a page of a command that there is not");
}
