//! `application/x-www-form-urlencoded`, read strictly and written correctly, and HTML text made safe.
//!
//! A parameter that comes twice is an error (RFC 6749 §3.1 and §3.2), and so is a broken percent sequence: real servers
//! differ in what they let pass, so the sandbox lets nothing pass.

use url::form_urlencoded;

/// Why a form could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// A percent sequence or the UTF-8 behind it is broken.
    #[error("a parameter is not form-encoded")]
    Encoding,
    /// A parameter comes more than once.
    #[error("the parameter {0} comes more than once")]
    Repeated(String),
}

/// The parameters of a query or body, each at most once.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `text`; parameters without a value count as absent (RFC 6749 §3.1).
    pub(super) fn parse(text: &str) -> Result<Self, FormError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name).ok_or(FormError::Encoding)?;
            let value = decode(value).ok_or(FormError::Encoding)?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Repeated(name));
            }
            pairs.push((name, value));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// The value of `name`, if it is there and not empty.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names that are there, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Decodes one form-encoded name or value; `None` if it is not one.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'!'..=b'~' => octet,
            _ => return None,
        });
    }
    String::from_utf8(octets).ok()
}

/// Writes `pairs` as a query or body.
pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Makes `text` harmless in HTML text and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Undoes [`escape`].
pub(super) fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_strictly() {
        let form = Form::parse("a=1&b=x+y%26z&empty=&c").unwrap();
        assert_eq!(form.one("b"), Some("x y&z"));
        assert_eq!((form.one("empty"), form.one("c")), (None, None));
        assert_eq!(Form::parse("a=1&a=1").unwrap_err(), FormError::Repeated("a".into()));
        for broken in ["a=%4", "a=%zz", "a=%ff", "a=caf\u{e9}"] {
            assert_eq!(Form::parse(broken).unwrap_err(), FormError::Encoding, "{broken}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let odd = "p%40ss:w+rd &=\u{e9}";
        assert_eq!(Form::parse(&encode(&[("secret", odd)])).unwrap().one("secret"), Some(odd));
        assert_eq!(unescape(&escape("<a href='x'>&amp;\"")), "<a href='x'>&amp;\"");
    }
}
