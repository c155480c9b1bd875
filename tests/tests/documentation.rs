//! The documents are true: every command that a text prints exists, and the generated pages are those of the sources.

use std::path::{Path, PathBuf};

use frankd::app::command_line::CommandLine;
use frankd_proto::error::Kind;
use frankd_proto::{EventType, methods};
use frankd_tests::architecture::read_sources;
use frankd_tests::documentation::{Printed, documents, printed, printed_of_daemon};
use frankd_tests::reference;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Why frankctl would not take the command, whatever its placeholders stand for.
fn refused(command: &Printed) -> Option<String> {
    let mut first = None;
    for typed in command.typed() {
        match frankctl::parse_line(&typed) {
            Ok(()) => return None,
            Err(why) => first = first.or(Some(why)),
        }
    }
    first
}

#[test]
fn every_command_that_a_text_prints_exists() {
    let printed = printed(&root()).unwrap();
    for part in ["README.md", "docs/first-mail.md", "proto/errors.json", "daemon/src", "ctl/src/args"] {
        assert!(printed.iter().any(|command| command.path.starts_with(part)), "no command is found in {part}");
    }
    let refused: Vec<String> = printed
        .iter()
        .filter_map(|command| Some(format!("{}: {}", command.path.display(), refused(command)?)))
        .collect();
    assert!(refused.is_empty(), "{} of {} commands:\n{}", refused.len(), printed.len(), refused.join("\n"));
}

#[test]
fn every_command_line_of_the_daemon_in_a_document_exists() {
    let printed = printed_of_daemon(&root()).unwrap();
    assert!(printed.iter().any(|command| command.line.contains("--recover")), "{printed:?}");
    for command in printed {
        let arguments = command.line.split_whitespace().skip(1).map(Into::into);
        assert!(CommandLine::read(arguments).is_ok(), "{}: {}", command.path.display(), command.line);
    }
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let command = |line: &str| Printed { path: PathBuf::new(), line: line.to_owned() };
    for wrong in ["frankctl grant {profile} --carrier-pigeon", "frankctl nonsense NAME", "frankctl queue show NAME X"] {
        assert!(refused(&command(wrong)).is_some(), "{wrong}");
    }
    for right in ["frankctl grant {}", "frankctl queue show ID", "frankctl {what} list"] {
        assert_eq!(refused(&command(right)), None, "{right}");
    }
}

#[test]
fn the_method_reference_is_that_of_the_contract() {
    let path = root().join("docs/rpc.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mark = page.find("<!-- Generated from proto").unwrap();
    let end = mark + page[mark..].find("-->\n").unwrap() + "-->\n".len();
    let generated = format!("{}\n{}", &page[..end], reference::methods(&root()).unwrap());
    if std::env::var_os("FRANKD_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    } else {
        assert!(page == generated, "docs/rpc.md is not that of proto: FRANKD_BLESS=1 rewrites it");
    }
}

#[test]
fn every_setting_of_the_shipped_configuration_is_described_with_its_default() {
    let shipped = std::fs::read_to_string(root().join("packaging/frankd.toml")).unwrap();
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let manual = std::fs::read_to_string(root().join("packaging/man/frankd.toml.5")).unwrap();
    let mut section = "";
    let mut keys = 0;
    for line in shipped.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, rest)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = "))
            && !section.is_empty()
        {
            let default = rest.split('#').next().unwrap().trim();
            let row = format!("| `{section}.{key}` | `{default}` |");
            assert!(page.contains(&row), "docs/configuration.md has no row {row}");
            let entry = format!(".BR {section}.{key} \" = {default}\"\n");
            assert!(manual.contains(&entry), "frankd.toml.5 has not: {entry}");
            keys += 1;
        }
    }
    assert!(keys >= 20, "{keys} settings are found in packaging/frankd.toml");
}

#[test]
fn every_kind_method_and_event_that_a_document_names_exists() {
    let nouns =
        ["access", "client", "daemon", "event", "grant", "message", "oauth", "object", "profile", "smtp", "token"];
    let known = |name: &str| {
        Kind::from_name(name).is_some() || methods::table(name).is_some() || name.parse::<EventType>().is_ok()
    };
    let mut named = 0;
    for path in documents(&root()).unwrap() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        for span in text.split('`').skip(1).step_by(2) {
            let dotted = span.split_once('.').filter(|(noun, word)| {
                nouns.contains(noun) && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
            if dotted.is_some_and(|(_, word)| !matches!(word, "sh" | "rs" | "sock" | "md" | "exchange" | "unsubscribe"))
            {
                assert!(known(span), "{} names {span}, which there is not", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named} are named");
}

/// Every kind is an answer that somebody may get: it stands in the sources, apart from tests and from frankctl's advice.
#[test]
fn every_kind_of_error_can_occur() {
    let mut sources = String::new();
    for (path, text) in read_sources(&root(), &["daemon/src"]).unwrap() {
        let of_tests = |part: &std::ffi::OsStr| matches!(part.to_str(), Some("tests" | "tests.rs"));
        if !path.iter().any(of_tests) {
            sources.push_str(text.split("#[cfg(test)]").next().unwrap());
        }
    }
    for path in ["proto/src/connect.rs", "ctl/src/grant/wait.rs", "ctl/src/session.rs"] {
        sources.push_str(&std::fs::read_to_string(root().join(path)).unwrap());
    }
    let absent: Vec<_> = Kind::all()
        .filter(|kind| {
            let variant = format!("Kind::{kind:?}");
            let whole = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            !sources.match_indices(&variant).any(|(at, _)| whole(&sources[at + variant.len()..]))
        })
        .map(Kind::name)
        .collect();
    assert!(absent.is_empty(), "proto/errors.json has kinds that nothing answers with: {absent:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in documents(&root()).unwrap() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || file.contains(' ') {
                continue;
            }
            let target = if file.is_empty() { root().join(&path) } else { root().join(&path).with_file_name(file) };
            let target = target.components().collect::<PathBuf>();
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let found = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{}: {link} leads to no heading", path.display());
            }
        }
    }
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
