//! The reference of the socket's methods, made from the contract: its table, and the words of its sources.
//!
//! Names, needs and sockets come from the compiled table. Parameters, results and their descriptions come from the
//! sources of `proto`, which have one shape; whatever does not have it is an error, never left out.

mod contract;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use frankd_proto::Capability;
use frankd_proto::error::Kind;
use frankd_proto::method::{MethodInfo, Need};
use frankd_proto::methods::TABLE;

use contract::{Contract, Field, Kind as TypeKind, Type};

/// The sources cannot be read as a contract.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A file.
    #[error("read the sources of proto")]
    Io(#[from] io::Error),
    /// A method of the table is not declared by `method!`.
    #[error("the method {0} is not found in the sources")]
    NoMethod(&'static str),
    /// A type is not declared as the reader expects.
    #[error("the type {name}, which {wanted_by} uses, is not found in the sources")]
    NoType {
        /// Its name.
        name: String,
        /// Who refers to it.
        wanted_by: String,
    },
    /// Two types of one name would share a heading.
    #[error("two types are called {0}")]
    TwoTypes(String),
}

/// The reference in Markdown, from `proto/src` beneath `root`.
pub fn methods(root: &Path) -> Result<String, ReferenceError> {
    let contract = Contract::read(&root.join("proto/src"))?;
    let mut page = Page { contract: &contract, out: String::new(), open: Vec::new(), seen: BTreeSet::new() };
    page.overview();
    for row in TABLE {
        page.method(row)?;
    }
    page.types()?;
    page.errors();
    Ok(page.out)
}

struct Page<'a> {
    contract: &'a Contract,
    out: String,
    /// Types that were referred to and are not described yet.
    open: Vec<&'a Type>,
    seen: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Page<'a> {
    fn overview(&mut self) {
        self.line("## Methods\n\n| method | needs | sockets |\n|---|---|---|");
        for row in TABLE {
            let anchor = row.name.replace('.', "");
            let sockets = if row.on_submit_socket { "control, submit" } else { "control" };
            self.line(&format!("| [`{}`](#{anchor}) | {} | {sockets} |", row.name, needs(row.needs)));
        }
        self.line("");
    }

    fn method(&mut self, row: &'static MethodInfo) -> Result<(), ReferenceError> {
        let method = self.contract.method(row.name).ok_or(ReferenceError::NoMethod(row.name))?;
        let sockets = if row.on_submit_socket { "control, submit" } else { "control" };
        self.line(&format!("### {}\n\n{}", row.name, method.doc));
        self.line(&format!("\nNeeds: {}. Sockets: {sockets}.\n", needs(row.needs)));
        let params = self.find(&method.params, &method.module, row.name)?;
        match &params.kind {
            TypeKind::Struct(fields) if fields.is_empty() => self.line("No parameters.\n"),
            TypeKind::Struct(fields) => self.fields("parameter", fields, params)?,
            TypeKind::Words(_) => return Err(ReferenceError::NoMethod(row.name)),
        }
        let output = self.refer(&method.output, &method.module, row.name)?;
        let what = if row.subscription { "Items" } else { "Result" };
        self.line(&format!("{what}: {output}.\n"));
        Ok(())
    }

    /// Describes every type that was referred to, and those that they refer to.
    fn types(&mut self) -> Result<(), ReferenceError> {
        let mut described: Vec<(&str, String)> = Vec::new();
        let above = std::mem::take(&mut self.out);
        while let Some(kind) = self.open.pop() {
            if described.iter().any(|(name, _)| *name == kind.name) {
                return Err(ReferenceError::TwoTypes(kind.name.clone()));
            }
            self.line(&format!("### {}\n\n{}\n", kind.name, kind.doc));
            match &kind.kind {
                TypeKind::Struct(fields) => self.fields("field", fields, kind)?,
                TypeKind::Words(words) => {
                    self.line("| word | means |\n|---|---|");
                    for word in words {
                        self.line(&format!("| `{}` | {} |", word.name, cell(&word.doc)));
                    }
                    self.line("");
                }
            }
            described.push((&kind.name, std::mem::take(&mut self.out)));
        }
        described.sort();
        self.out = above;
        self.line("## Objects and words\n");
        for (_, text) in described {
            self.out.push_str(&text);
        }
        Ok(())
    }

    fn errors(&mut self) {
        self.line(
            "## Errors\n\nAn error answer has a `code`, a `message` for people and `data` ([ErrorData](#errordata)); \
             `data.kind` is what a program looks at.\n\n| code | kind | may pass | |\n|---|---|---|---|",
        );
        for kind in Kind::all() {
            let passes = if kind.retryable() { "yes" } else { "no" };
            self.line(&format!("| {} | `{kind}` | {passes} | {} |", kind.code(), cell(kind.summary())));
        }
    }

    fn fields(&mut self, what: &str, fields: &'a [Field], of: &'a Type) -> Result<(), ReferenceError> {
        self.line(&format!("| {what} | type | |\n|---|---|---|"));
        for field in fields {
            let kind = self.refer(&field.kind, &of.module, &of.name)?;
            let mark = match (field.optional(), what) {
                (true, _) => "",
                (false, "parameter") => " (required)",
                (false, _) => " (always)",
            };
            let doc = self.contract.resolved(&field.doc);
            self.line(&format!("| `{}`{mark} | {kind} | {} |", field.name, cell(&doc)));
        }
        self.line("");
        Ok(())
    }

    /// A Rust type in the words of JSON, with links to what is described here.
    fn refer(&mut self, kind: &str, module: &str, by: &str) -> Result<String, ReferenceError> {
        if let Some((outer, inner)) = kind.strip_suffix('>').and_then(|kind| kind.split_once('<')) {
            return Ok(match outer {
                "Option" => self.refer(inner, module, by)?,
                "Patch" => format!("{} or null", self.refer(inner, module, by)?),
                "Vec" => format!("array of {}", self.refer(inner, module, by)?),
                "BTreeMap" => "object of strings".to_owned(),
                _ => "object".to_owned(),
            });
        }
        let name = kind.rsplit("::").next().unwrap_or(kind);
        let word = match name {
            "String" => "string",
            "Secret" => "string, a secret",
            "bool" => "boolean",
            "u16" | "u32" | "u64" | "i32" => "integer",
            "f64" => "number",
            "Timestamp" => "time",
            "Name" => "name",
            "Value" => "any",
            "Kind" | "ErrorKind" => "[error kind](#errors)",
            _ if name.ends_with("Id") => "id",
            _ => {
                let found = self.find(name, module, by)?;
                if self.seen.insert((&found.module, &found.name)) {
                    self.open.push(found);
                }
                return Ok(format!("[{name}](#{})", name.to_lowercase()));
            }
        };
        Ok(word.to_owned())
    }

    fn find(&self, name: &str, module: &str, by: &str) -> Result<&'a Type, ReferenceError> {
        let missing = || ReferenceError::NoType { name: name.to_owned(), wanted_by: by.to_owned() };
        self.contract.find(name, module).ok_or_else(missing)
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }
}

fn needs(need: Need) -> String {
    let one = |capability: &Capability| format!("`{capability}`");
    match need {
        Need::Nobody => "nothing".to_owned(),
        Need::Any(any) => any.iter().map(one).collect::<Vec<_>>().join(" or "),
        Need::OwnOr { own, all } => format!("{} for one's own, {} for all", one(&own), one(&all)),
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
