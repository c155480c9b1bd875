//! The house as DESIGN and ARCHITECTURE.md draw it: floors, circles, sizes, and where secrets are exposed.

use std::path::{Path, PathBuf};

use frankd_tests::architecture::{FLOORS, Sources, offences, read_sources};

fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    read_sources(&root, &["proto/src", "daemon/src", "ctl/src"]).unwrap_or_default()
}

#[test]
fn the_house_stands() {
    let found = offences(&sources());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_module_of_the_daemon_has_a_floor() {
    let lib = &sources()[Path::new("daemon/src/lib.rs")];
    let modules: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))).collect();
    assert!(modules.len() > 10);
    for module in modules {
        let name = module.trim_end_matches(';');
        assert!(FLOORS.iter().any(|line| line.contains(&name)), "{name} has no floor");
    }
}

/// Each rule finds an offence that is put in on purpose, in the file named.
#[test]
fn each_rule_finds_its_offence() {
    for (path, text, what) in [
        ("daemon/src/policy/x.rs", "//! x\nuse crate::store::Store;", "higher floor"),
        ("daemon/src/policy/x.rs", "//! x\nfn f() { crate::clock::now(); }", "higher floor"),
        ("daemon/src/oauth/x.rs", "//! x\nuse crate::smtp::Network;", "same floor"),
        ("daemon/src/queue/x.rs", "//! x\nuse super::super::grants::Grants;", "same floor"),
        ("daemon/src/store/x.rs", "//! x\nuse crate::{domain::Client, rpc};", "higher floor"),
        ("daemon/src/tokens/x.rs", "//! x\nmod inner {\n use super::super::super::app::run; }", "higher floor"),
        ("daemon/src/domain/x.rs", &format!("//! x\n{}", "\n".repeat(800)), "over 800"),
        ("daemon/src/domain/x.rs", "use std::fmt;", "what it is for"),
        ("daemon/src/queue/x.rs", "//! x\nfn f(s: Secret) { s.expose(); }", "exposes a secret"),
        ("daemon/src/cellar/x.rs", "//! x\nuse crate::domain::Client;", "no floor"),
    ] {
        let mut sources = sources();
        sources.insert(PathBuf::from(path), text.to_owned());
        let found = offences(&sources);
        assert!(
            found.iter().any(|offence| offence.path == Path::new(path) && offence.what.contains(what)),
            "{path}: {text}: {found:#?}"
        );
    }
}

#[test]
fn a_circle_of_modules_is_found() {
    for folder in ["daemon/src/store", "ctl/src/store", "proto/src/store"] {
        let mut sources = sources();
        sources.insert(Path::new(folder).join("a.rs"), "//! a\nuse super::b::B;".to_owned());
        sources.insert(Path::new(folder).join("b.rs"), "//! b\nuse crate::store::a::A;".to_owned());
        let found = offences(&sources);
        assert_eq!(found.iter().filter(|offence| offence.what.contains("circle")).count(), 2, "{folder}: {found:#?}");
    }
}

#[test]
fn the_contract_knows_none_of_ours_and_the_daemon_no_client() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let depends = |package: &str, on: &str| {
        let manifest = std::fs::read_to_string(root.join(package).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap().to_owned();
        dependencies.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(on))
    };
    for on in ["frankd", "frankctl", "sled", "lettre", "oauth2", "hyper"] {
        assert!(!depends("proto", on), "proto depends on {on}");
    }
    for on in ["frankd", "sled", "lettre", "oauth2", "hyper"] {
        assert!(!depends("ctl", on), "ctl depends on {on}");
    }
    assert!(!depends("daemon", "frankctl") && depends("daemon", "frankd-proto") && depends("ctl", "frankd-proto"));
}
