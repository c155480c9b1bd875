//! One reply of the server, and its octets.

/// A reply: a code and one or more lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<Vec<u8>>,
}

impl Reply {
    /// Reads `"250 2.0.0 OK"`; several lines are separated by `\n`, each may repeat the code. A text that is no reply
    /// becomes the text of a 451.
    pub(super) fn of(text: impl AsRef<[u8]>) -> Self {
        let code_of = |line: &[u8]| -> Option<u16> { std::str::from_utf8(line.get(..3)?).ok()?.parse().ok() };
        let text = text.as_ref();
        let code = code_of(text);
        let lines = text
            .split(|octet| *octet == b'\n')
            .map(|line| if code.is_some() && code_of(line) == code { line.get(4..).unwrap_or_default() } else { line })
            .map(<[u8]>::to_vec)
            .collect();
        Self { code: code.unwrap_or(451), lines }
    }

    /// The octets on the wire. Without `enhanced`, an enhanced status code at the beginning of a line is left out.
    pub(super) fn octets(&self, enhanced: bool) -> Vec<u8> {
        let mut octets = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            let line = if enhanced { line.as_slice() } else { without_enhanced(line) };
            let last = number + 1 == self.lines.len();
            octets.extend_from_slice(self.code.to_string().as_bytes());
            if !last || !line.is_empty() {
                octets.push(if last { b' ' } else { b'-' });
            }
            octets.extend_from_slice(line);
            octets.extend_from_slice(b"\r\n");
        }
        octets
    }
}

/// The line behind its enhanced status code (RFC 2034 §4), if it has one.
fn without_enhanced(line: &[u8]) -> &[u8] {
    let Some((word, rest)) = line.iter().position(|octet| *octet == b' ').map(|at| (&line[..at], &line[at + 1..]))
    else {
        return line;
    };
    let parts: Vec<&[u8]> = word.split(|octet| *octet == b'.').collect();
    let numeric = parts.iter().all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    if parts.len() == 3 && numeric { rest } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_the_octets_of_its_text() {
        for (text, enhanced, octets) in [
            ("250 2.0.0 OK", true, "250 2.0.0 OK\r\n"),
            ("250 2.0.0 OK", false, "250 OK\r\n"),
            ("250-a\n250 b", true, "250-a\r\n250 b\r\n"),
            ("535 5.7.8 a\n5.7.8 b", false, "535-a\r\n535 b\r\n"),
            ("250", true, "250\r\n"),
            ("334 ", true, "334\r\n"),
        ] {
            assert_eq!(String::from_utf8(Reply::of(text).octets(enhanced)).unwrap(), octets, "{text}");
        }
    }
}
