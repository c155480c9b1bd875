//! Reads replies of a mail server (RFC 5321 §4.2) from octets that arrive in any pieces.
//!
//! Invariants: at most [`LINE`] octets in a line and [`REPLY`] in a reply, so an endless reply ends the conversation and
//! not the memory. Lines may lack text, may end in a bare LF, and may be Latin-1: what is not UTF-8 is read as Latin-1.
//! No control character gets past this module.

use frankd_proto::error::SmtpReply;

/// Longest line, in octets with its end. RFC 5321 §4.5.3.1.5 says 512; some servers say more.
pub(super) const LINE: usize = 4 * 1024;

/// Longest reply, in octets.
pub(super) const REPLY: usize = 64 * 1024;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// The text of each line, without code and line end; at least one.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// First digit of the code.
    pub(super) const fn class(&self) -> u16 {
        self.code / 100
    }

    /// The reply as it is kept and shown: the enhanced code (RFC 2034) apart, the lines joined.
    pub(super) fn to_smtp(&self) -> SmtpReply {
        let enhanced = self.lines.first().and_then(|line| self.enhanced(line));
        let lines = self.lines.iter().map(|line| {
            let rest = enhanced.as_deref().and_then(|code| line.strip_prefix(code));
            rest.filter(|rest| rest.is_empty() || rest.starts_with(' ')).unwrap_or(line).trim()
        });
        let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        SmtpReply { code: self.code, enhanced, text }
    }

    fn enhanced(&self, line: &str) -> Option<String> {
        let word = line.split(' ').next()?;
        let mut parts = word.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit());
        let fits = class.len() == 1 && class.parse() == Ok(self.class()) && matches!(self.class(), 2 | 4 | 5);
        (fits && number(subject) && number(detail) && parts.next().is_none()).then(|| word.to_owned())
    }
}

/// Collects octets and gives whole replies.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    input: Vec<u8>,
    scanned: usize,
    size: usize,
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyReader {
    /// Where octets go as they arrive.
    pub(super) fn input(&mut self) -> &mut Vec<u8> {
        self.input.reserve(LINE);
        &mut self.input
    }

    /// Whether nothing is left over from the last whole reply.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.code.is_none()
    }

    /// The next whole reply, `None` if more octets are needed. An error says how the protocol is broken: what follows
    /// cannot be trusted.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, String> {
        loop {
            let found = self.input[self.scanned..].iter().position(|octet| *octet == b'\n');
            let length = found.map_or(self.input.len(), |at| self.scanned + at + 1);
            if length > LINE {
                return Err(format!("a reply line is longer than {LINE} octets"));
            }
            if found.is_none() {
                self.scanned = self.input.len();
                return Ok(None);
            }
            self.scanned = 0;
            self.size += length;
            if self.size > REPLY {
                return Err(format!("a reply is longer than {REPLY} octets"));
            }
            let line: Vec<u8> = self.input.drain(..length).collect();
            if let Some(reply) = self.line(&line)? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, String> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, last) = match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
                let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                match rest.first() {
                    None | Some(b' ') => (code, true),
                    Some(b'-') => (code, false),
                    Some(_) => return Err(not_a_reply(line)),
                }
            }
            _ => return Err(not_a_reply(line)),
        };
        if self.code.is_some_and(|first| first != code) {
            return Err(format!("the lines of one reply have different codes, then {code}"));
        }
        self.lines.push(text(line.get(4..).unwrap_or_default()));
        self.code = Some(code);
        if !last {
            return Ok(None);
        }
        self.size = 0;
        self.code = None;
        let lines = std::mem::take(&mut self.lines);
        Ok(Some(Reply { code, lines }))
    }
}

fn not_a_reply(line: &[u8]) -> String {
    let shown: String = text(line).chars().take(80).collect();
    format!("the server says what is no SMTP reply: {shown:?}")
}

/// Octets as text: UTF-8, else Latin-1; control characters become spaces.
fn text(octets: &[u8]) -> String {
    let text = match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|octet| char::from(*octet)).collect(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(octets: &[u8]) -> Result<Vec<Reply>, String> {
        let mut reader = ReplyReader::default();
        reader.input().extend_from_slice(octets);
        let mut replies = Vec::new();
        while let Some(reply) = reader.next()? {
            replies.push(reply);
        }
        Ok(replies)
    }

    fn one(octets: &[u8]) -> SmtpReply {
        read(octets).unwrap()[0].to_smtp()
    }

    #[test]
    fn enhanced_codes_are_told_from_text() {
        let google = one(b"535-5.7.8 Username and Password not accepted.\r\n535 5.7.8  https://example.org/ x1\r\n");
        assert_eq!(google.code, 535);
        assert_eq!(google.enhanced.as_deref(), Some("5.7.8"));
        assert_eq!(google.text, "Username and Password not accepted. https://example.org/ x1");
        for (octets, enhanced, text) in [
            (&b"550 5.2.252 SendAsDenied\r\n"[..], Some("5.2.252"), "SendAsDenied"),
            (b"550 4.2.2 of another class\r\n", None, "4.2.2 of another class"),
            (b"250 2.0.0\r\n", Some("2.0.0"), ""),
            (b"250 2.0.0.1 no\r\n", None, "2.0.0.1 no"),
            (b"354 3.0.0 go\r\n", None, "3.0.0 go"),
            (b"250 SIZE 1000\r\n", None, "SIZE 1000"),
        ] {
            let reply = one(octets);
            assert_eq!((reply.enhanced.as_deref(), reply.text.as_str()), (enhanced, text));
        }
    }

    #[test]
    fn replies_without_text_in_latin_1_and_with_bare_line_feeds_are_read() {
        assert_eq!(one(b"250\r\n").text, "");
        assert_eq!(one(b"250-\r\n250\r\n").text, "");
        assert_eq!(one(b"550 Empf\xe4nger unbekannt\r\n").text, "Empfänger unbekannt");
        assert_eq!(one("550 Empfänger\n".as_bytes()).text, "Empfänger");
        assert_eq!(one(b"550 a\x1b[31m\x00b\r\n").text, "a [31m b");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for octets in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"25\r\n",
            b"150 no\r\n",
            b"600 no\r\n",
            b"250x\r\n",
            b"250-a\r\n251 b\r\n",
            b"\x16\x03\x01\x00\n",
        ] {
            assert!(read(octets).is_err(), "{octets:?}");
        }
    }

    #[test]
    fn an_endless_line_and_an_endless_reply_are_refused() {
        assert!(read(&vec![b'2'; LINE + 1]).is_err());
        assert!(read(&b"250-aaaa\r\n".repeat(REPLY / 10 + 1)).is_err());
        assert_eq!(read(&b"250 aaaa\r\n".repeat(REPLY / 10 + 1)).map(|r| r.len()), Ok(REPLY / 10 + 1));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            replies in prop::collection::vec((200u16..600, prop::collection::vec("[ -~]{0,40}", 1..4)), 1..6),
            cuts in prop::collection::vec(1usize..30, 1..40),
        ) {
            let mut octets = Vec::new();
            for (code, lines) in &replies {
                for (at, line) in lines.iter().enumerate() {
                    let mark = if at + 1 == lines.len() { ' ' } else { '-' };
                    octets.extend_from_slice(format!("{code}{mark}{line}\r\n").as_bytes());
                }
            }
            let whole = read(&octets);
            let mut reader = ReplyReader::default();
            let mut seen = Vec::new();
            let (mut at, mut cut) = (0, cuts.iter().cycle());
            while at < octets.len() {
                let end = (at + cut.next().unwrap()).min(octets.len());
                reader.input().extend_from_slice(&octets[at..end]);
                at = end;
                while let Some(reply) = reader.next().unwrap() {
                    seen.push(reply);
                }
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(whole, Ok(seen));
        }

        #[test]
        fn no_octets_do_harm(octets in prop::collection::vec(any::<u8>(), 0..2000), cut in 1usize..64) {
            let mut reader = ReplyReader::default();
            'all: for piece in octets.chunks(cut) {
                reader.input().extend_from_slice(piece);
                loop {
                    match reader.next() {
                        Ok(Some(reply)) => {
                            prop_assert!((200..600).contains(&reply.code));
                            prop_assert!(reply.lines.iter().all(|line| !line.chars().any(char::is_control)));
                        }
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }
}
