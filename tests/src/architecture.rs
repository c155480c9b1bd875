//! The floors of the daemon and the shape of every package, read from their source.
//!
//! A module of the daemon uses only lower floors; modules on one floor do not use each other; no circle of modules in any
//! package; no file over 800 lines; every file begins by saying what it is for; secrets are exposed only where they are used. The
//! rules work on a map of sources, so a test can inject an offence and see it found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Floors, the lowest first. Modules of one line do not use each other.
pub const FLOORS: &[&[&str]] = &[
    &["domain"],
    &["policy"],
    &["clock", "entropy", "fail_point"],
    &["tls"],
    &["store", "oauth", "smtp"],
    &["registry", "events"],
    &["tokens"],
    &["queue", "grants"],
    &["trials", "changes", "status"],
    &["rpc"],
    &["app"],
];

/// Longest file, in lines.
const LONGEST_FILE: usize = 800;

/// Where a secret may be exposed: a path of the repository, or a folder.
const EXPOSING: &[&str] = &[
    "daemon/src/oauth/",
    "daemon/src/smtp/",
    "daemon/src/store/seal",
    "daemon/src/rpc/token",
    "daemon/src/rpc/methods/token",
    "proto/src/secret.rs",
    "ctl/src/secrets.rs",
    "ctl/src/commands/token",
];

/// The packages whose modules may not form a circle.
const PACKAGES: &[&str] = &["proto", "daemon", "ctl"];

/// The modules of a package, each with its file.
type Modules<'a> = BTreeMap<Vec<String>, &'a Path>;

/// Sources by their path in the repository.
pub type Sources = BTreeMap<PathBuf, String>;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
}

/// Reads every `.rs` file beneath the given folders of the repository.
pub fn read_sources(root: &Path, folders: &[&str]) -> std::io::Result<Sources> {
    let mut sources = Sources::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
                sources.insert(name, std::fs::read_to_string(&path)?);
            }
        }
    }
    Ok(sources)
}

/// Every offence in these sources.
pub fn offences(sources: &Sources) -> Vec<Offence> {
    let mut found = BTreeSet::new();
    for (path, text) in sources {
        let mut offend = |what: String| {
            found.insert(Offence { path: path.clone(), what });
        };
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            offend(format!("has {lines} lines, over {LONGEST_FILE}"));
        }
        if !text.starts_with("//!") {
            offend("does not begin by saying what it is for (//!)".to_owned());
        }
        if in_production(text).contains(".expose()") && !EXPOSING.iter().any(|allowed| path.starts_with_text(allowed)) {
            offend("exposes a secret".to_owned());
        }
    }
    for package in PACKAGES {
        let modules: Modules<'_> =
            sources.keys().filter_map(|path| Some((module_of(package, path)?, path.as_path()))).collect();
        if *package == "daemon" {
            found.extend(broken_floors(sources, &modules));
        }
        found.extend(circles(sources, &modules));
    }
    found.into_iter().collect()
}

fn broken_floors<'a>(sources: &'a Sources, modules: &'a Modules<'_>) -> impl Iterator<Item = Offence> + 'a {
    modules.iter().flat_map(|(module, path)| {
        let used = paths_used(&sources[*path], module);
        used.into_iter()
            .filter_map(|used| Some(Offence { path: path.to_path_buf(), what: broken_floor(module, &used)? }))
    })
}

fn circles(sources: &Sources, modules: &Modules<'_>) -> Vec<Offence> {
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, path) in modules {
        for used in paths_used(&sources[*path], module) {
            if let Some(target) = longest_module(modules, &used)
                && target != *module
                && !target.starts_with(module)
                && !module.starts_with(&target)
            {
                edges.entry(module.clone()).or_default().insert(target);
            }
        }
    }
    let part = edges.keys().filter(|module| reaches(&edges, module));
    part.map(|module| Offence {
        path: modules[module].to_path_buf(),
        what: "is part of a circle of modules".to_owned(),
    })
    .collect()
}

trait StartsWithText {
    fn starts_with_text(&self, text: &str) -> bool;
}

impl StartsWithText for PathBuf {
    fn starts_with_text(&self, text: &str) -> bool {
        self.to_str().is_some_and(|path| path.starts_with(text))
    }
}

/// The source without its tests.
fn in_production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// The module path of a file of a package; empty for `lib.rs`. `main.rs` stands above all of them.
fn module_of(package: &str, path: &Path) -> Option<Vec<String>> {
    let inner = path.strip_prefix(package).ok()?.strip_prefix("src").ok()?.with_extension("");
    let mut parts: Vec<String> = inner.iter().filter_map(|part| part.to_str()).map(str::to_owned).collect();
    match parts.last().map(String::as_str) {
        Some("main") if parts.len() == 1 => return None,
        Some("mod" | "lib") => drop(parts.pop()),
        _ => {}
    }
    Some(parts)
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|line| line.contains(&module))
}

fn broken_floor(module: &[String], used: &[String]) -> Option<String> {
    let (own, other) = (module.first()?, used.first()?);
    if own == other {
        return None;
    }
    let Some(own_floor) = floor(own) else { return Some(format!("is in {own}, which has no floor")) };
    let other_floor = floor(other)?;
    match other_floor.cmp(&own_floor) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(format!("{own} uses {other}, which is on the same floor")),
        std::cmp::Ordering::Greater => Some(format!("{own} uses {other}, which is on a higher floor")),
    }
}

fn longest_module(modules: &Modules<'_>, used: &[String]) -> Option<Vec<String>> {
    (1..=used.len()).rev().map(|length| used[..length].to_vec()).find(|module| modules.contains_key(module))
}

/// Whether a module can be reached from itself.
fn reaches(edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>, module: &Vec<String>) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Vec<String>> = edges.get(module).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if next == module {
            return true;
        }
        if seen.insert(next) {
            open.extend(edges.get(next).into_iter().flatten());
        }
    }
    false
}

/// Every `crate::` and `super::` path in a source, resolved from the crate's root. Comments and texts are passed over.
fn paths_used(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let words = words(text);
    let mut found = Vec::new();
    let mut nested: Vec<(usize, String)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < words.len() {
        match words[at].as_str() {
            "mod" if words.get(at + 2).is_some_and(|word| word == "{") => {
                nested.push((depth, words[at + 1].clone()));
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if nested.last().is_some_and(|(outer, _)| *outer == depth) {
                    nested.pop();
                }
            }
            root @ ("crate" | "super") if words.get(at + 1).is_some_and(|word| word == "::") => {
                let mut base: Vec<String> = Vec::new();
                let mut next = at + 2;
                if root == "super" {
                    base = module.to_vec();
                    base.extend(nested.iter().map(|(_, name)| name.clone()));
                    base.pop();
                    while words.get(next).is_some_and(|word| word == "super") {
                        base.pop();
                        next += 2;
                    }
                }
                at = tree(&words, next, &base, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads a path, or a tree of paths in braces; gives the place of the word behind it.
fn tree(words: &[String], mut at: usize, base: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = base.to_vec();
    loop {
        match words.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while words.get(at).is_some_and(|word| word != "}") {
                    let before = at;
                    at = tree(words, at, &path, found);
                    while words.get(at).is_some_and(|word| word == "," || word == "as" || word == "_") {
                        at += 1;
                    }
                    at = at.max(before + 1);
                }
                return at + 1;
            }
            Some(word) if word.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_') => {
                if word != "self" {
                    path.push(word.to_owned());
                }
                at += 1;
            }
            _ => {}
        }
        if words.get(at).is_some_and(|word| word == "::") {
            at += 1;
        } else {
            found.push(path);
            return at;
        }
    }
}

/// Words, `::` and single marks of a source, without comments, texts and lifetimes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("::") {
            words.push("::".to_owned());
            rest = &rest[2..];
        } else if first == '"' {
            rest = behind_text(rest);
        } else if rest.starts_with("r#\"") {
            rest = rest[3..].find("\"#").map_or("", |end| &rest[3 + end + 2..]);
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            rest = &rest[3..];
        } else {
            if !first.is_whitespace() {
                words.push(first.to_string());
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    words
}

fn behind_text(rest: &str) -> &str {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &rest[at + 1..],
            _ => {}
        }
    }
    ""
}
