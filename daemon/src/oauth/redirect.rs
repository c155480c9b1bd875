//! Reading the redirect that ends an authorization request (RFC 6749 §4.1.2, RFC 9207).

use frankd_proto::Secret;
use url::form_urlencoded;

use super::opaque::mask;

/// Longest redirect, in octets.
pub const LONGEST: usize = 8 * 1024;

/// A redirect, as far as it can be read without knowing whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `state`.
    pub state: Secret,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
    /// What the server says.
    pub answer: Answer,
}

/// What the server says in a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The code.
    Code(Secret),
    /// There is none.
    Error {
        /// `error`.
        error: String,
        /// `error_description`.
        description: Option<String>,
    },
}

/// A text is not the redirect of an authorization request. Nothing of it is repeated here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// It is too long.
    #[error("the redirect is longer than 8 KiB")]
    TooLong,
    /// It has neither code nor error.
    #[error(
        "there is neither a code nor an error in the redirect: give the whole address of the page, from http to its end"
    )]
    Neither,
    /// It has both a code and an error.
    #[error("there are both a code and an error in the redirect")]
    Both,
    /// It has no state.
    #[error("there is no state in the redirect: give the whole address of the page, from http to its end")]
    NoState,
    /// A parameter is there twice (RFC 6749 §3.1 forbids it).
    #[error("{0} is in the redirect more than once")]
    Repeated(&'static str),
}

/// Reads a redirect: the whole URL, or its query alone. Space around it, as from pasting, is no part of it.
pub fn parse(redirect: &Secret) -> Result<Redirect, RedirectError> {
    let text = redirect.expose().trim();
    if text.len() > LONGEST {
        return Err(RedirectError::TooLong);
    }
    let text = text.split('#').next().unwrap_or_default();
    let query = match (text.split_once('?'), text.contains("://")) {
        (Some((before, query)), _) if !before.contains('=') => query,
        (_, true) if !text.contains('=') => "",
        _ => text,
    };
    let (mut code, mut error, mut state, mut issuer, mut description) = (None, None, None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let (name, place) = match &*name {
            "code" => ("code", &mut code),
            "error" => ("error", &mut error),
            "state" => ("state", &mut state),
            "iss" => ("iss", &mut issuer),
            "error_description" => ("error_description", &mut description),
            _ => continue,
        };
        if !value.is_empty() && place.replace(value.into_owned()).is_some() {
            return Err(RedirectError::Repeated(name));
        }
    }
    let answer = match (code, error) {
        (Some(_), Some(_)) => return Err(RedirectError::Both),
        (None, None) => return Err(RedirectError::Neither),
        (Some(code), None) => Answer::Code(Secret::new(code)),
        (None, Some(error)) => Answer::Error {
            error: plain(&mask(&error)),
            description: description.as_deref().map(|text| plain(&mask(text))),
        },
    };
    let state = Secret::new(state.ok_or(RedirectError::NoState)?);
    Ok(Redirect { state, issuer: issuer.as_deref().map(plain), answer })
}

/// Text that can stand in a message: short, and without control characters.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Redirect, RedirectError> {
        parse(&Secret::new(text))
    }

    #[test]
    fn a_whole_url_and_a_bare_query_are_read_alike() {
        let expected = Redirect {
            state: Secret::new("s t"),
            issuer: Some("https://as.example".to_owned()),
            answer: Answer::Code(Secret::new("4/0A+b")),
        };
        let query = "code=4%2F0A%2Bb&state=s+t&iss=https%3A%2F%2Fas.example&session_state=x";
        for text in [
            format!("http://127.0.0.1:5000/?{query}"),
            format!("http://localhost:5000?{query}#_=_"),
            format!("  ?{query}\n"),
            query.to_owned(),
        ] {
            assert_eq!(read(&text).as_ref(), Ok(&expected), "{text}");
        }
    }

    #[test]
    fn an_error_is_read_and_cannot_forge_a_line() {
        let redirect = read("error=access_denied&error_description=no%0d%0aEvil:+x&state=s").unwrap();
        let description = Some("noEvil: x".to_owned());
        assert_eq!(redirect.answer, Answer::Error { error: "access_denied".to_owned(), description });
    }

    #[test]
    fn what_is_no_redirect_is_refused() {
        for (text, expected) in [
            ("", RedirectError::Neither),
            ("http://127.0.0.1:5000/", RedirectError::Neither),
            ("code=", RedirectError::Neither),
            ("state=s", RedirectError::Neither),
            ("code=c&error=e&state=s", RedirectError::Both),
            ("code=c", RedirectError::NoState),
            ("error=access_denied", RedirectError::NoState),
            ("code=c&state=s&state=s", RedirectError::Repeated("state")),
            ("code=c&code=d&state=s", RedirectError::Repeated("code")),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
        }
        assert_eq!(read(&format!("code={}&state=s", "c".repeat(LONGEST))), Err(RedirectError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            let _ = read(&text);
        }
    }
}
