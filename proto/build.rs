//! Turns `errors.json`, the one list of error kinds, into the `Kind` type, and `diagnoses.json` into constants.

use std::fmt::Write as _;
use std::{env, error::Error, fs, path::Path};

#[derive(serde::Deserialize)]
struct Row {
    code: i32,
    kind: String,
    retryable: bool,
    exit: u8,
    summary: String,
    explain: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=errors.json");
    let rows: Vec<Row> = serde_json::from_str(&fs::read_to_string("errors.json")?)?;
    let mut out = String::new();
    writeln!(
        out,
        "/// What went wrong: the stable contract of an error. The list is `proto/errors.json`.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\n#[non_exhaustive]\npub enum Kind {{"
    )?;
    for row in &rows {
        writeln!(out, "    /// `{}`: {}.\n    {},", row.kind, row.summary, variant(&row.kind))?;
    }
    writeln!(out, "}}\n\n/// What is known of each kind, in the order of [`Kind`].\nconst ROWS: &[Row] = &[")?;
    for row in &rows {
        let Row { code, kind, retryable, exit, summary, explain } = row;
        writeln!(
            out,
            "    Row {{ kind: Kind::{}, code: {code}, name: {kind:?}, retryable: {retryable}, exit: {exit}, \
             summary: {summary:?}, explanation: {explain:?} }},",
            variant(kind)
        )?;
    }
    writeln!(out, "];")?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("kinds.rs"), out)?;
    diagnoses()
}

#[derive(serde::Deserialize)]
struct Diagnosis {
    id: String,
    class: String,
    says: String,
    fix: Option<String>,
}

fn diagnoses() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=diagnoses.json");
    let rows: Vec<Diagnosis> = serde_json::from_str(&fs::read_to_string("diagnoses.json")?)?;
    let mut out = String::new();
    let mut all = String::new();
    for Diagnosis { id, class, says, fix } in &rows {
        let name = id.replace(['.', '_'], "_").to_uppercase();
        let class = variant(class);
        writeln!(
            out,
            "/// `{id}`.\npub const {name}: Diagnosis = \
             Diagnosis {{ id: {id:?}, class: Class::{class}, says: {says:?}, fix: {fix:?} }};"
        )?;
        write!(all, "&{name}, ")?;
    }
    writeln!(out, "const ALL: &[&Diagnosis] = &[{all}];")?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("diagnoses.rs"), out)?;
    Ok(())
}

/// `grant.denied_by_user` becomes `GrantDeniedByUser`.
fn variant(kind: &str) -> String {
    kind.split(['.', '_']).map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
