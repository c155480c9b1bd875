//! Texts about the command line agree with its grammar. `FRANKD_BLESS=1` rewrites the committed ones.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Command;
use frankd_proto::Kind;
use frankd_proto::diagnosis::Diagnosis;

use crate::harness::Run;

/// Compares a committed text with what it must be.
pub(crate) fn compare(path: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("FRANKD_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is out of date: run the test with FRANKD_BLESS=1", path.display());
}

fn each(command: &mut Command, path: &str, visit: &mut dyn FnMut(&str, &mut Command)) {
    visit(path, command);
    for child in command.get_subcommands_mut().filter(|child| child.get_name() != "help") {
        let path = format!("{path} {}", child.get_name());
        each(child, &path, visit);
    }
}

/// Joins lines that a backslash continues.
fn joined(text: &str) -> String {
    text.replace("\\\n", " ")
}

#[test]
fn the_reference_is_that_of_the_grammar() {
    compare("../docs/cli.md", &frankctl::reference());
}

#[test]
fn the_help_tree_is_as_committed() {
    let mut root = frankctl::command().term_width(100);
    root.build();
    let mut tree = String::new();
    each(&mut root, "frankctl", &mut |path, command| {
        // The global options are shown once.
        let is_root = path == "frankctl";
        let mut command = command.clone().mut_args(|arg| {
            let repeated = arg.is_global_set() && !is_root;
            arg.hide(repeated)
        });
        let _ = writeln!(tree, "$ {path} --help\n{}", command.render_long_help());
    });
    let lines: Vec<_> = tree.lines().map(str::trim_end).collect();
    compare("tests/suite/help.txt", &(lines.join("\n") + "\n"));
}

#[test]
fn every_example_is_a_command_and_every_command_has_one() {
    let mut root = frankctl::command();
    root.build();
    each(&mut root, "frankctl", &mut |path, command| {
        let help = command.get_after_long_help().or(command.get_after_help());
        let help = joined(&help.map(ToString::to_string).unwrap_or_default());
        let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  frankctl ")).collect();
        for example in &examples {
            assert_eq!(frankctl::parse_line(example.trim()), Ok(()));
        }
        assert!(!examples.is_empty(), "{path} has no example");
        assert!(command.get_about().is_some(), "{path} says nothing of itself");
    });
}

#[tokio::test]
async fn every_kind_is_explained_by_name_and_code_and_its_commands_exist() {
    for kind in Kind::all() {
        let by_name = Run::new(&["explain", kind.name()]).go().await;
        let by_code = Run::new(&["explain", &kind.code().to_string()]).go().await;
        assert_eq!((by_name.code, by_code.code), (0, 0), "{kind}");
        assert_eq!(by_name.stdout, by_code.stdout);
        for part in [kind.explanation(), kind.summary(), kind.name()] {
            assert!(by_name.stdout.contains(part), "{kind}: {}", by_name.stdout);
        }
        for command in by_name.stdout.split('`').skip(1).step_by(2) {
            if command.starts_with("frankctl ") {
                assert_eq!(frankctl::parse_line(&filled(command)), Ok(()), "{kind}");
            }
        }
        let json = Run::new(&["explain", kind.name(), "--json"]).go().await.stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["exit"], kind.exit_code());
    }
}

#[tokio::test]
async fn every_diagnosis_is_explained() {
    for diagnosis in Diagnosis::all() {
        // What is a kind too is explained as one.
        if Kind::from_name(diagnosis.id).is_some() {
            continue;
        }
        let page = Run::new(&["explain", diagnosis.id]).go().await;
        assert_eq!(page.code, 0, "{}", diagnosis.id);
        for part in [diagnosis.id, diagnosis.class.text(), &diagnosis.meaning()] {
            assert!(page.stdout.contains(part), "{part}: {}", page.stdout);
        }
        let json = Run::new(&["explain", diagnosis.id, "--json"]).go().await.stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["fix"].as_str(), diagnosis.remedy().as_deref());
        let fix = diagnosis.remedy().unwrap_or_default();
        let whole = Some(fix.as_str()).filter(|fix| fix.starts_with("frankctl "));
        let quoted = fix.split('`').skip(1).step_by(2).filter(|text| text.starts_with("frankctl "));
        let commands: Vec<_> = quoted.chain(whole).collect();
        assert_eq!(commands.is_empty(), !fix.contains("frankctl"), "{fix}");
        for command in commands {
            assert_eq!(frankctl::parse_line(&filled(command)), Ok(()), "{}", diagnosis.id);
        }
    }
    assert_eq!(Run::new(&["explain", "no.such"]).go().await.code, 3);
}

/// A command of a text with something in the place of its placeholders.
fn filled(command: &str) -> String {
    [
        ("PROFILE", "p"),
        ("CLIENT", "c"),
        ("ADDRESS", "a@b.example"),
        ("USERNAME", "a@b.example"),
        ("ACCOUNT", "a@b.example"),
        (" ID ", " msg_00000000000000000000000007 "),
        ("sent|retry|fail", "sent"),
    ]
    .iter()
    .fold(command.to_owned(), |command, (placeholder, value)| command.replace(placeholder, value))
}

#[tokio::test]
async fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = Run::new(&["completion", shell]).go().await;
        assert_eq!(outcome.code, 0);
        for word in ["frankctl", "COMPLETE"] {
            assert!(outcome.stdout.contains(word), "{shell}: {word}");
        }
    }
}
