//! The error taxonomy: what exactly is wrong, whose part it is, and what to do.
//!
//! The list is `diagnoses.json` beside this crate; the daemon's classifiers take ids and words from here, so that
//! `data.diagnosis` is always an id that `frankctl explain` knows. In texts `{detail}` stands for the server's own words,
//! `{profile}`, `{client}`, `{username}`, `{host}`, `{port}` for what is configured, and `{account}`, `{audience}` for what
//! a token says of itself.

include!(concat!(env!("OUT_DIR"), "/diagnoses.rs"));

/// What is wrong, as exactly as frankd can tell.
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The dotted id that travels as `data.diagnosis`.
    pub id: &'static str,
    /// Who has to do something.
    pub class: Class,
    /// What is wrong: a clause with marks for names.
    pub says: &'static str,
    /// What to do, if there is more to it than to wait: often a command, with marks for names.
    pub fix: Option<&'static str>,
}

/// Who has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nobody: frankd tries again by itself.
    Retry,
    /// The person whose account it is: grant again.
    Person,
    /// Whoever operates frankd: correct client, profile or host.
    Operator,
    /// An administrator at the provider.
    Provider,
    /// Whoever sent the message: it is refused for good.
    Final,
}

impl Class {
    /// One clause for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Retry => "frankd tries again by itself",
            Self::Person => "a person must grant again",
            Self::Operator => "an operator must correct something",
            Self::Provider => "an administrator at the provider must act",
            Self::Final => "the message is refused for good",
        }
    }

    /// The word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Person => "person",
            Self::Operator => "operator",
            Self::Provider => "provider",
            Self::Final => "final",
        }
    }
}

impl Diagnosis {
    /// Every diagnosis, in the order of the list.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        ALL.iter().copied()
    }

    /// The diagnosis of that id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        Self::all().find(|diagnosis| diagnosis.id == id)
    }

    /// What is wrong, where nobody's names are known.
    #[must_use]
    pub fn meaning(&self) -> String {
        anonymous(&self.says.replace(": {detail}", ""))
    }

    /// What to do, where nobody's names are known.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        self.fix.map(anonymous)
    }
}

fn anonymous(text: &str) -> String {
    [
        ("{profile}", "PROFILE"),
        ("{client}", "CLIENT"),
        ("{username}", "USERNAME"),
        ("{host}", "the server"),
        ("{port}", "PORT"),
        ("{account}", "ACCOUNT"),
        ("{audience}", "another service"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (mark, word)| text.replace(mark, word))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_is_there_once_and_says_something_without_marks() {
        let mut ids = HashSet::new();
        for diagnosis in Diagnosis::all() {
            assert!(ids.insert(diagnosis.id), "{} is there twice", diagnosis.id);
            assert_eq!(Diagnosis::find(diagnosis.id), Some(diagnosis));
            for text in [diagnosis.meaning(), diagnosis.remedy().unwrap_or_else(|| "wait".to_owned())] {
                assert!(!text.is_empty() && !text.contains(['{', '}']) && !text.ends_with('.'), "{text}");
            }
            let stuck = diagnosis.fix.is_none() && matches!(diagnosis.class, Class::Person);
            assert!(!stuck, "{} leaves a person without a way out", diagnosis.id);
        }
    }
}
