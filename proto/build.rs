//! Turns `errors.json`, the one list of error kinds, into the `Kind` type.

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
    writeln!(out, "}}\n\nimpl Kind {{\n    /// Every kind, in the order of the registry.\n    pub const ALL: &'static [Self] = &[")?;
    for row in &rows {
        writeln!(out, "        Self::{},", variant(&row.kind))?;
    }
    writeln!(out, "    ];\n")?;
    method(&mut out, "code", "i32", "The number that travels as the JSON-RPC error code.", &rows, |r| r.code.to_string())?;
    method(&mut out, "name", "&'static str", "The dotted name that travels as `data.kind`.", &rows, |r| format!("{:?}", r.kind))?;
    method(&mut out, "retryable", "bool", "Whether the same call may succeed later without a change.", &rows, |r| r.retryable.to_string())?;
    method(&mut out, "exit_code", "u8", "The exit status of frankctl.", &rows, |r| r.exit.to_string())?;
    method(&mut out, "summary", "&'static str", "One lowercase clause that says what happened.", &rows, |r| format!("{:?}", r.summary))?;
    method(&mut out, "explanation", "&'static str", "Likely causes and what to do, in sentences.", &rows, |r| format!("{:?}", r.explain))?;
    writeln!(out, "}}")?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("kinds.rs"), out)?;
    Ok(())
}

fn method(
    out: &mut String,
    name: &str,
    returns: &str,
    doc: &str,
    rows: &[Row],
    value: impl Fn(&Row) -> String,
) -> std::fmt::Result {
    writeln!(out, "    /// {doc}\n    #[must_use]\n    pub const fn {name}(self) -> {returns} {{\n        match self {{")?;
    for row in rows {
        writeln!(out, "            Self::{} => {},", variant(&row.kind), value(row))?;
    }
    writeln!(out, "        }}\n    }}\n")
}

/// `grant.denied_by_user` becomes `GrantDeniedByUser`.
fn variant(kind: &str) -> String {
    kind.split(['.', '_'])
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
