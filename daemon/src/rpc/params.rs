//! Parameters: read by name only, and what a caller is told when they are wrong.
//!
//! An error names the parameter and says what it must be. It never repeats a value: a secret in the wrong place stays out
//! of error texts. Texts of serde are taken apart here, because they are the only place where it says what it expected.

use frankd_proto::methods::TABLE;
use frankd_proto::{Kind, RpcError};
use serde::de::DeserializeOwned;

/// Longest name of a caller's own that an error repeats, in characters.
const LONGEST_ECHO: usize = 64;

/// Reads parameters. `None` and an empty object are the same.
pub(super) fn read<P: DeserializeOwned>(params: Option<&str>) -> Result<P, RpcError> {
    let text = params.map_or("{}", str::trim_start);
    if !text.starts_with('{') {
        return Err(RpcError::new(Kind::InvalidParams, "parameters are given by name, in an object")
            .hint(r#"write "params": {"name": value}, not a list of values"#));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    P::deserialize(serde_path_to_error::Deserializer::new(&mut deserializer, &mut track))
        .map_err(|error| explain(&path_of(&track.path()), &error.to_string()))
}

/// Names the method and, if one is near, the one that was probably meant.
pub(super) fn unknown_method(name: &str) -> RpcError {
    let near = nearest(name, TABLE.iter().map(|row| row.name));
    let error = RpcError::new(Kind::MethodNotFound, format!("there is no method `{}`", echo(name)));
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`system.info` tells the version of the contract"),
    }
}

/// The path of serde without the part that it could not name.
fn path_of(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    let known = text.trim_end_matches('?').trim_end_matches('.');
    echo(known)
}

fn explain(path: &str, serde: &str) -> RpcError {
    let invalid = |message: String| RpcError::new(Kind::InvalidParams, message);
    let text = serde.rsplit_once(" at line ").map_or(serde, |(text, _)| text);
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (name, rest) = rest.split_once('`').unwrap_or((rest, ""));
        let field = join(parent(path, name), &echo(name));
        let error = invalid(format!("there is no parameter `{field}`")).field(field);
        return match nearest(name, quoted(rest)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(known(rest)),
        };
    }
    for (prefix, what) in [("missing field `", "is missing"), ("duplicate field `", "is given twice")] {
        if let Some(name) = text.strip_prefix(prefix).and_then(|rest| rest.split('`').next()) {
            let field = join(parent(path, name), name);
            return invalid(format!("parameter `{field}` {what}")).field(field);
        }
    }
    let must = must_be(path, text);
    if path.is_empty() {
        invalid(format!("the parameters {must}"))
    } else {
        invalid(format!("parameter `{path}` {must}")).field(path)
    }
}

/// serde names an unknown or missing member sometimes in the path and sometimes not.
fn parent<'a>(path: &'a str, name: &str) -> &'a str {
    let own = path.strip_suffix(name).unwrap_or(path);
    own.strip_suffix('.').unwrap_or(own)
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// What a value must be, in words, from serde's text. Only what follows the last `expected` is serde's own; what comes
/// before it may hold the caller's value.
fn must_be(path: &str, text: &str) -> String {
    let serde = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant `"];
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    if let Some(expected) = expected.filter(|_| serde.iter().any(|own| text.starts_with(own))) {
        return match expected {
            "u8" => whole(u8::MAX.into()),
            "u16" => whole(u16::MAX.into()),
            "u32" => whole(u32::MAX.into()),
            "u64" | "usize" => whole(u64::MAX),
            "i32" | "i64" => "must be a whole number".to_owned(),
            "f32" | "f64" => "must be a number".to_owned(),
            "a string" | "str" | "string" | "a borrowed string" => "must be a string".to_owned(),
            "a boolean" => "must be true or false".to_owned(),
            "a sequence" => "must be a list".to_owned(),
            "a map" => "must be an object".to_owned(),
            other if other.starts_with("struct ") => "must be an object".to_owned(),
            other if other.starts_with('`') || other.starts_with("one of `") => {
                format!("must be one of: {}", quoted(other).collect::<Vec<_>>().join(", "))
            }
            other => format!("must be {other}"),
        };
    }
    // Texts of the contract's own types are fixed and hold no value; every other text might.
    let own = ["a name has ", "not an id: "];
    if let Some(own) = own.iter().find(|own| text.starts_with(**own)) {
        return format!("is not acceptable: {own}{}", &text[own.len()..]);
    }
    let last = path.rsplit('.').next().unwrap_or(path);
    if last.ends_with("_at") || last == "since" {
        return "must be a time such as 2026-01-31T13:00:00Z, at most 9999-12-30T22:00:00Z".to_owned();
    }
    "is not acceptable".to_owned()
}

fn whole(most: u64) -> String {
    format!("must be a whole number from 0 to {most}")
}

/// The words in back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn known(rest: &str) -> String {
    let names: Vec<_> = quoted(rest).collect();
    if names.is_empty() { "it takes no parameters".to_owned() } else { format!("known are: {}", names.join(", ")) }
}

/// A caller's own word, shortened and without control characters.
fn echo(text: &str) -> String {
    let mut out: String =
        text.chars().take(LONGEST_ECHO).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST_ECHO).is_some() {
        out.push('…');
    }
    out
}

/// The candidate that is a typing mistake away, if there is one.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_ECHO {
        return None;
    }
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Number of octets to insert, delete, replace or swap to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (last[j - 1] + same).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use frankd_proto::methods::{client, event, message, token};

    use super::*;

    fn refused<P: DeserializeOwned + std::fmt::Debug>(params: &str) -> RpcError {
        let error = read::<P>(Some(params)).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidParams);
        error
    }

    fn field_of<P: DeserializeOwned + std::fmt::Debug>(params: &str) -> String {
        refused::<P>(params).data.field.unwrap_or_default()
    }

    #[test]
    fn the_field_is_named_by_its_dotted_path() {
        type Send = message::SendParams;
        assert_eq!(field_of::<token::GetParams>(r#"{"profile":"a","extra":1}"#), "extra");
        assert_eq!(field_of::<token::GetParams>(r"{}"), "profile");
        assert_eq!(field_of::<token::GetParams>(r#"{"profile":"a","profile":"b"}"#), "profile");
        assert_eq!(field_of::<token::GetParams>(r#"{"profile":"a","wait_s":"x"}"#), "wait_s");
        assert_eq!(field_of::<Send>(r#"{"message":{"too":[]}}"#), "message.too");
        assert_eq!(
            field_of::<Send>(r#"{"message":{"attachments":[{"name":"a"}]}}"#),
            "message.attachments[0].content_b64"
        );
        assert_eq!(field_of::<Send>(r#"{"message":{"to":"a@b"}}"#), "message.to");
        assert_eq!(field_of::<Send>(r#"{"send_at":"noon"}"#), "send_at");
        assert_eq!(field_of::<Send>(r#"{"priority":"urgent"}"#), "priority");
    }

    #[test]
    fn a_number_out_of_range_is_told_the_range_and_a_late_time_the_last_one() {
        for (params, most) in [(r#"{"limit":9223372036854775808}"#, "4294967295"), (r#"{"limit":-1}"#, "4294967295")] {
            let error = refused::<event::ListParams>(params);
            assert!(error.message.ends_with(&format!("from 0 to {most}")), "{}", error.message);
        }
        let late = refused::<message::SendParams>(r#"{"send_at":"9999-12-31T00:00:00Z"}"#);
        assert!(late.message.contains("at most 9999-12-30"), "{}", late.message);
        assert!(read::<message::SendParams>(Some(r#"{"send_at":"9999-12-30T22:00:00Z"}"#)).is_ok());
    }

    #[test]
    fn what_was_probably_meant_is_said() {
        let hint = |error: RpcError| error.data.hint.unwrap_or_default();
        assert_eq!(hint(refused::<token::GetParams>(r#"{"profil":"a"}"#)), "did you mean `profile`?");
        let known = hint(refused::<token::GetParams>(r#"{"zzzzzz":"a"}"#));
        assert_eq!(known, "known are: profile, min_valid_s, wait_s");
        assert_eq!(hint(unknown_method("mesage.send")), "did you mean `message.send`?");
        assert_eq!(hint(unknown_method("message.sned")), "did you mean `message.send`?");
        assert!(!hint(unknown_method("zzz")).contains("mean"));
    }

    #[test]
    fn no_value_of_the_caller_is_repeated() {
        let texts = [
            refused::<token::GetParams>(r#"{"profile":"hunter2, expected hunter2","wait_s":1}"#),
            refused::<token::GetParams>(r#"{"profile":"a","wait_s":"hunter2, expected u32"}"#),
            refused::<message::SendParams>(r#"{"send_at":"hunter2"}"#),
            refused::<message::SendParams>(r#"{"priority":"hunter2"}"#),
            refused::<message::ById>(r#"{"id":"hunter2"}"#),
            refused::<client::CreateParams>(r#"{"client_secret":"hunter2"}"#),
            refused::<client::CreateParams>(r#"{"client_secret":{"value":["hunter2"]}}"#),
            refused::<event::ListParams>(r#"{"types":["hunter2"]}"#),
        ];
        for error in texts {
            let all = format!("{error:?}");
            assert!(!all.contains("hunter2"), "{all}");
            assert!(error.data.field.is_some(), "{all}");
        }
    }

    #[test]
    fn positional_parameters_and_other_shapes_are_refused_and_absent_ones_are_empty() {
        for bad in ["[]", r#"["a"]"#, "1", r#""a""#, " [1]"] {
            assert!(refused::<event::ListParams>(bad).message.contains("by name"), "{bad}");
        }
        assert!(read::<event::ListParams>(None).is_ok());
        assert!(read::<event::ListParams>(Some(" {} ")).is_ok());
        assert_eq!(read::<token::GetParams>(None).unwrap_err().data.field.as_deref(), Some("profile"));
    }

    #[test]
    fn a_long_or_strange_name_is_shortened() {
        let error = unknown_method(&format!("a\n{}", "x".repeat(500)));
        assert!(error.message.len() < 120 && !error.message.contains('\n'), "{}", error.message);
    }
}
