//! Reads the sources of `proto`: methods, structs and words with their doc comments, line by line.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::architecture::read_sources;

/// Everything that the sources declare.
#[derive(Debug, Default)]
pub(super) struct Contract {
    methods: Vec<Method>,
    types: BTreeMap<String, Vec<Type>>,
}

/// A method as declared.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) module: String,
    pub(super) params: String,
    pub(super) output: String,
}

/// A type as declared.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) doc: String,
    pub(super) kind: Kind,
}

/// What a type is.
#[derive(Debug)]
pub(super) enum Kind {
    /// An object.
    Struct(Vec<Field>),
    /// One of some words.
    Words(Vec<Word>),
}

/// A field of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) kind: String,
    has_default: bool,
}

impl Field {
    /// Whether it may be absent.
    pub(super) const fn optional(&self) -> bool {
        self.has_default
    }
}

/// A word and what it means.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) name: String,
    pub(super) doc: String,
}

impl Contract {
    /// Reads every file of a folder.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut contract = Self::default();
        for (path, text) in read_sources(folder, &[""])? {
            let module = path.with_extension("").display().to_string();
            let mut reader = Reader { module, contract: &mut contract, doc: Vec::new(), attributes: String::new() };
            let production = text.split("#[cfg(test)]").next().unwrap_or_default();
            reader.read(&mut production.lines());
        }
        // A subscription is no call, so no macro declares it.
        contract.methods.push(Method {
            name: "event.subscribe".to_owned(),
            doc: "Opens a subscription to events. Its notifications are called `event`; `event.unsubscribe` with the \
                  subscription's id in an array ends it, and so does the end of the connection."
                .to_owned(),
            module: "methods/event".to_owned(),
            params: "SubscribeParams".to_owned(),
            output: "Event".to_owned(),
        });
        Ok(contract)
    }

    /// The method of that name.
    pub(super) fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The type that this name means in a module: its own, or the one there is elsewhere.
    pub(super) fn find(&self, name: &str, module: &str) -> Option<&Type> {
        let named = self.types.get(name)?;
        named.iter().find(|found| found.module == module).or_else(|| named.first().filter(|_| named.len() == 1))
    }

    /// A description with references read: `See [`T::f`]` becomes what is said there.
    pub(super) fn resolved(&self, doc: &str) -> String {
        let said = doc.strip_prefix("See [`").and_then(|rest| {
            let (path, rest) = rest.split_once("`]")?;
            let (name, field) = path.split_once("::")?;
            let Kind::Struct(fields) = &self.types.get(name)?.first()?.kind else { return None };
            let found = fields.iter().find(|known| known.name == field)?;
            let rest = rest.trim_start_matches('.');
            Some(if rest.starts_with(';') {
                format!("{}{rest}", found.doc.trim_end_matches('.'))
            } else {
                format!("{}{rest}", found.doc)
            })
        });
        said.unwrap_or_else(|| doc.to_owned())
            .replace("[`crate::", "`")
            .replace("[`", "`")
            .replace("`]", "`")
            .replace("::", ".")
    }
}

struct Reader<'a> {
    module: String,
    contract: &'a mut Contract,
    doc: Vec<String>,
    attributes: String,
}

impl Reader<'_> {
    fn read<'t>(&mut self, lines: &mut impl Iterator<Item = &'t str>) {
        while let Some(line) = lines.next() {
            let line = line.trim();
            if self.notes(line) {
                continue;
            }
            if line == "method!(" {
                self.method(lines);
            } else if line == "words!(" {
                self.words(lines);
            } else if let Some(name) = line.strip_prefix("pub struct ") {
                let (name, open) = (first_word(name), name.ends_with('{'));
                self.object(name, open, lines);
            } else if let Some(name) = line.strip_prefix("pub enum ")
                && self.attributes.contains("rename_all = \"snake_case\"")
            {
                self.variants(first_word(name), lines);
            }
            self.forget();
        }
    }

    /// Keeps doc comments and attributes for what follows them.
    fn notes(&mut self, line: &str) -> bool {
        if let Some(doc) = line.strip_prefix("///") {
            self.doc.push(doc.trim().to_owned());
        } else if line.starts_with("#[") {
            self.attributes.push_str(line);
        } else {
            return false;
        }
        true
    }

    fn forget(&mut self) {
        self.doc.clear();
        self.attributes.clear();
    }

    /// What is said of the thing that comes now.
    fn said(&mut self) -> String {
        std::mem::take(&mut self.doc).join(" ").trim().to_owned()
    }

    fn method<'t>(&mut self, lines: &mut impl Iterator<Item = &'t str>) {
        self.forget();
        let mut declared = String::new();
        for line in lines.map(str::trim).take_while(|line| *line != ");") {
            if !self.notes(line) {
                declared.push_str(line);
            }
        }
        let mut parts = declared.splitn(2, "=>");
        let (head, tail) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let name = head.split('"').nth(1).unwrap_or_default().to_owned();
        let params = head.rsplit(',').next().unwrap_or_default().trim().to_owned();
        let output = tail.split(',').next().unwrap_or_default().trim().to_owned();
        let (doc, module) = (self.said(), self.module.clone());
        self.contract.methods.push(Method { name, doc, module, params, output });
    }

    fn object<'t>(&mut self, name: &str, open: bool, lines: &mut impl Iterator<Item = &'t str>) {
        let doc = self.said();
        self.forget();
        let mut fields = Vec::new();
        let body = lines.map(str::trim).take_while(|line| open && *line != "}");
        for line in body {
            if self.notes(line) {
                continue;
            }
            if let Some((field, kind)) = line.strip_prefix("pub ").and_then(|line| line.split_once(": ")) {
                let renamed = self.attributes.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next());
                fields.push(Field {
                    name: renamed.unwrap_or(field).to_owned(),
                    kind: kind.trim_end_matches(',').to_owned(),
                    has_default: self.attributes.contains("serde(default"),
                    doc: self.said(),
                });
            }
            self.forget();
        }
        self.keep(name, doc, Kind::Struct(fields));
    }

    fn variants<'t>(&mut self, name: &str, lines: &mut impl Iterator<Item = &'t str>) {
        let doc = self.said();
        self.forget();
        let mut words = Vec::new();
        for line in lines.map(str::trim).take_while(|line| *line != "}") {
            if !self.notes(line) {
                let word = snake_case(line.trim_end_matches(','));
                words.push(Word { name: word, doc: self.said() });
                self.forget();
            }
        }
        self.keep(name, doc, Kind::Words(words));
    }

    fn words<'t>(&mut self, lines: &mut impl Iterator<Item = &'t str>) {
        self.forget();
        let (mut name, mut doc, mut words) = (String::new(), String::new(), Vec::new());
        for line in lines.map(str::trim).take_while(|line| *line != ");") {
            if self.notes(line) {
                continue;
            }
            if let Some(declared) = line.strip_suffix(" {") {
                (name, doc) = (declared.to_owned(), self.said());
            } else if let Some((_, word)) = line.split_once(" = ") {
                let word = word.trim_matches([',', '"']).to_owned();
                words.push(Word { name: word, doc: self.said() });
            }
            self.forget();
        }
        self.keep(&name, doc, Kind::Words(words));
    }

    fn keep(&mut self, name: &str, doc: String, kind: Kind) {
        let declared = Type { name: name.to_owned(), module: self.module.clone(), doc, kind };
        self.contract.types.entry(name.to_owned()).or_default().push(declared);
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}

fn snake_case(variant: &str) -> String {
    let mut word = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(c.to_lowercase());
    }
    word
}
