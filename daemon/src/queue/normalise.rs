//! Brings a message (RFC 5322) into the one form that is kept and sent.
//!
//! - Line ends become CRLF: a bare LF anywhere, a bare CR in the body. A bare CR in the header is refused: a program that
//!   guards its header against LF alone would let a field be smuggled in by it. NUL is refused (RFC 5321 §2.3.8 has no place for it).
//! - Bcc fields are taken out. Date and Message-ID are put on top if they are missing. Nothing else changes: every other
//!   octet of header and body stays as given, in its order.
//! - A header line over 998 octets is refused (RFC 5322 §2.1.1). A long body line stays: only who wrote it can encode it
//!   without changing its meaning, many servers take it, and one that does not says so.
//! - A header with octets over 127 must be UTF-8 (RFC 6532), and then needs SMTPUTF8.
//!
//! It works on a message as it comes: the header is kept until it is whole, the body goes on at once.

use std::ops::Range;

use super::address::{self, BadAddress};
use super::words;

/// Longest line of a header, without its end, in octets.
const LINE_MAX: usize = 998;
/// Longest header, in octets. Providers take 64 to 256 KiB.
const HEADER_MAX: usize = 1024 * 1024;
/// Longest subject that is kept for people, in characters.
const SUBJECT_MAX: usize = 200;

/// What is known of a message in the form that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Normal {
    /// Header and body with CRLF line ends, the last line ended, in octets.
    pub(super) size: u64,
    /// Addresses of From and Sender.
    pub(super) authors: Vec<String>,
    /// Addresses of To, Cc and Bcc in their order; empty if they were not asked for.
    pub(super) recipients: Vec<String>,
    /// Message-ID, with the angle brackets.
    pub(super) message_id: String,
    /// Subject, decoded and cut.
    pub(super) subject: Option<String>,
    /// Whether it has octets over 127.
    pub(super) eight_bit: bool,
    /// Whether its header has some.
    pub(super) utf8_header: bool,
}

/// Fields for a message that comes without them.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    /// Value of Date.
    pub(super) date: String,
    /// What stands before the `@` of Message-ID.
    pub(super) id_left: String,
}

/// A message cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It has a NUL.
    #[error("line {0} has a NUL, which mail cannot carry")]
    Nul(usize),
    /// Its header has a bare CR.
    #[error("line {0} of the header has a carriage return in it")]
    BareCr(usize),
    /// A line of its header is no field.
    #[error("line {0} is not a header field")]
    NotAField(usize),
    /// A line of its header is too long.
    #[error("line {0} of the header is longer than 998 octets")]
    LongLine(usize),
    /// Its header is too long.
    #[error("the header is longer than 1 MiB")]
    LongHeader,
    /// Its header is neither ASCII nor UTF-8.
    #[error("the header has octets over 127 that are not UTF-8")]
    Charset,
    /// A field is there twice that must be there once (RFC 5322 §3.6).
    #[error("the header has the field {0} twice")]
    Twice(&'static str),
    /// It has no From.
    #[error("the header has no From")]
    NoFrom,
    /// An address of its header is none.
    #[error("{field}: {cause}")]
    Address {
        /// Name of the field.
        field: &'static str,
        /// Why.
        cause: BadAddress,
    },
}

/// Brings `raw` into the form that is kept; `recipients` says whether those of the header are wanted.
pub(super) fn normalise(raw: &[u8], missing: Missing, recipients: bool) -> Result<(Normal, Vec<u8>), Malformed> {
    let mut octets = Vec::with_capacity(raw.len() + raw.len() / 32 + 256);
    let mut normaliser = Normaliser::new(missing, recipients);
    normaliser.push(raw, &mut octets)?;
    Ok((normaliser.finish(&mut octets)?, octets))
}

/// Brings a message into the form that is kept while it comes.
pub(super) struct Normaliser {
    missing: Missing,
    recipients: bool,
    /// The line that is being read, from 1.
    line: usize,
    /// Octets written.
    size: u64,
    part: Part,
}

enum Part {
    /// The header so far, and where its last line begins.
    Header { raw: Vec<u8>, line: usize },
    /// The body: what the header said, and how the octets before ended.
    Body { normal: Normal, end: LineEnd },
}

/// How what was written of a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    /// With CRLF.
    Written,
    /// A CR came, and what it is depends on what follows it.
    CrPending,
    /// Within a line.
    None,
}

impl Normaliser {
    /// `recipients` says whether those of the header are wanted.
    pub(super) const fn new(missing: Missing, recipients: bool) -> Self {
        Self { missing, recipients, line: 1, size: 0, part: Part::Header { raw: Vec::new(), line: 0 } }
    }

    /// Takes the next octets of the message, and adds to `out` what can go on.
    pub(super) fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if let Some(at) = octets.iter().position(|octet| *octet == 0) {
            return Err(Malformed::Nul(self.line + line_ends(&octets[..at])));
        }
        self.line += line_ends(octets);
        let before = out.len();
        match &mut self.part {
            Part::Header { raw, line } => {
                raw.extend_from_slice(octets);
                if let Some(end) = header_end(raw, line) {
                    let raw = std::mem::take(raw);
                    let mut normal = self.header(&raw[..end], out)?;
                    out.extend_from_slice(b"\r\n");
                    let mut line_end = LineEnd::Written;
                    write_body(&raw[end..], &mut normal, &mut line_end, out);
                    self.part = Part::Body { normal, end: line_end };
                } else if raw.len() > HEADER_MAX {
                    return Err(Malformed::LongHeader);
                }
            }
            Part::Body { normal, end } => write_body(octets, normal, end, out),
        }
        self.size += (out.len() - before) as u64;
        Ok(())
    }

    /// Ends the message.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<Normal, Malformed> {
        let before = out.len();
        let mut normal = match std::mem::replace(&mut self.part, Part::Header { raw: Vec::new(), line: 0 }) {
            Part::Header { raw, .. } => self.header(&raw, out)?,
            Part::Body { normal, end } => {
                if end != LineEnd::Written {
                    out.extend_from_slice(b"\r\n");
                }
                normal
            }
        };
        normal.size = self.size + (out.len() - before) as u64;
        Ok(normal)
    }

    /// Reads the whole header and writes it as it is kept.
    fn header(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<Normal, Malformed> {
        if raw.len() > HEADER_MAX {
            return Err(Malformed::LongHeader);
        }
        let header = Header { raw, fields: fields(raw)? };
        let mut authors = Vec::new();
        header.addresses("From", &mut authors)?;
        if authors.is_empty() {
            return Err(Malformed::NoFrom);
        }
        header.addresses("Sender", &mut authors)?;
        for name in ["From", "Sender", "Date", "Message-ID", "Subject"] {
            if header.named(name).count() > 1 {
                return Err(Malformed::Twice(name));
            }
        }
        let mut recipients = Vec::new();
        if self.recipients {
            for name in ["To", "Cc", "Bcc"] {
                header.addresses(name, &mut recipients)?;
            }
        }
        let given = header.value("Message-ID").map(|value| value.trim().to_owned());
        let message_id = given.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| {
            let domain = authors[0].rsplit_once('@').map_or("localhost", |(_, domain)| domain);
            format!("<{}@{domain}>", self.missing.id_left)
        });
        let start = out.len();
        if header.named("Date").next().is_none() {
            out.extend_from_slice(format!("Date: {}\r\n", self.missing.date).as_bytes());
        }
        if given.as_deref().is_none_or(str::is_empty) {
            out.extend_from_slice(format!("Message-ID: {message_id}\r\n").as_bytes());
        }
        header.write(out, given.as_deref() == Some(""));
        let utf8_header = !out[start..].is_ascii();
        Ok(Normal {
            size: 0,
            eight_bit: utf8_header,
            subject: header.value("Subject").map(|value| readable(&value)),
            authors,
            recipients,
            message_id,
            utf8_header,
        })
    }
}

fn line_ends(octets: &[u8]) -> usize {
    octets.iter().filter(|octet| **octet == b'\n').count()
}

/// Where the header ends, behind its empty line, if that is there; `start` is where the first line that was not whole
/// begins.
fn header_end(raw: &[u8], start: &mut usize) -> Option<usize> {
    while let Some(length) = raw[*start..].iter().position(|octet| *octet == b'\n') {
        let line = &raw[*start..*start + length];
        *start += length + 1;
        if line.is_empty() || line == b"\r" {
            return Some(*start);
        }
    }
    None
}

fn readable(subject: &str) -> String {
    let decoded = words::decode(subject.trim());
    let clean = decoded.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(SUBJECT_MAX).collect()
}

/// One field: its name, and its lines from the first to the last continuation.
struct Field {
    name: Range<usize>,
    lines: Vec<Range<usize>>,
}

struct Header<'a> {
    raw: &'a [u8],
    fields: Vec<Field>,
}

impl Header<'_> {
    fn named<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b Field> {
        self.fields.iter().filter(move |field| self.raw[field.name.clone()].eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The unfolded value of the first field of that name (RFC 5322 §2.2.3).
    fn value(&self, name: &str) -> Option<String> {
        self.named(name).next().map(|field| self.unfolded(field))
    }

    fn unfolded(&self, field: &Field) -> String {
        let octets: Vec<u8> = field.lines.iter().flat_map(|line| &self.raw[line.clone()]).copied().collect();
        let text = String::from_utf8_lossy(&octets);
        text.split_once(':').map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    fn addresses(&self, name: &'static str, found: &mut Vec<String>) -> Result<(), Malformed> {
        for field in self.named(name) {
            let list =
                address::list(&self.unfolded(field)).map_err(|cause| Malformed::Address { field: name, cause })?;
            found.extend(list.iter().map(|mailbox| mailbox.email.to_string()));
        }
        Ok(())
    }

    /// Writes all fields but Bcc, and but Message-ID if that is empty and so replaced.
    fn write(&self, octets: &mut Vec<u8>, without_id: bool) {
        let dropped = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"Bcc")
                || name.eq_ignore_ascii_case(b"Resent-Bcc")
                || (without_id && name.eq_ignore_ascii_case(b"Message-ID"))
        };
        for field in self.fields.iter().filter(|field| !dropped(&self.raw[field.name.clone()])) {
            for line in &field.lines {
                octets.extend_from_slice(&self.raw[line.clone()]);
                octets.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// The fields of a header, which may end with an empty line.
fn fields(raw: &[u8]) -> Result<Vec<Field>, Malformed> {
    let mut fields: Vec<Field> = Vec::new();
    let mut start = 0;
    let mut number = 0;
    while start < raw.len() {
        number += 1;
        let (line, next) = line(raw, start);
        start = next;
        if line.is_empty() {
            break;
        }
        let text = &raw[line.clone()];
        if text.contains(&b'\r') {
            return Err(Malformed::BareCr(number));
        }
        if text.len() > LINE_MAX {
            return Err(Malformed::LongLine(number));
        }
        if std::str::from_utf8(text).is_err() {
            return Err(Malformed::Charset);
        }
        if let (b' ' | b'\t', Some(field)) = (text[0], fields.last_mut()) {
            field.lines.push(line);
        } else {
            let name = field_name(text).ok_or(Malformed::NotAField(number))?;
            fields.push(Field { name: line.start..line.start + name, lines: vec![line] });
        }
    }
    Ok(fields)
}

/// The line at `start` without its end, and where the next one begins.
fn line(raw: &[u8], start: usize) -> (Range<usize>, usize) {
    match raw[start..].iter().position(|octet| *octet == b'\n') {
        Some(length) if length > 0 && raw[start + length - 1] == b'\r' => {
            (start..start + length - 1, start + length + 1)
        }
        Some(length) => (start..start + length, start + length + 1),
        None => (start..raw.len(), raw.len()),
    }
}

/// The length of the field name that the line begins with. White space before the colon is taken as old mail has it (RFC 5322 §4.5.8).
fn field_name(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(|octet| (33..=126).contains(octet))).then_some(name.len())
}

/// Writes the next octets of the body with CRLF line ends.
fn write_body(octets: &[u8], normal: &mut Normal, end: &mut LineEnd, out: &mut Vec<u8>) {
    normal.eight_bit |= !octets.is_ascii();
    let mut rest = octets;
    if *end == LineEnd::CrPending && !rest.is_empty() {
        out.extend_from_slice(b"\r\n");
        *end = LineEnd::Written;
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
    while let Some(at) = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')) {
        out.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match (rest[at], after) {
            (b'\r', []) => {
                *end = LineEnd::CrPending;
                return;
            }
            (b'\r', [b'\n', after @ ..]) => after,
            _ => after,
        };
        out.extend_from_slice(b"\r\n");
        *end = LineEnd::Written;
    }
    if !rest.is_empty() {
        out.extend_from_slice(rest);
        *end = LineEnd::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Missing {
        Missing { date: "Tue, 24 Nov 2026 12:00:00 +0000".to_owned(), id_left: "01J0".to_owned() }
    }

    /// A message as it is kept, and what is known of it.
    struct Kept {
        octets: Vec<u8>,
        normal: Normal,
    }

    impl std::ops::Deref for Kept {
        type Target = Normal;

        fn deref(&self) -> &Normal {
            &self.normal
        }
    }

    fn normal(raw: impl AsRef<[u8]>) -> Kept {
        let (normal, octets) = normalise(raw.as_ref(), missing(), true).unwrap();
        assert_eq!(normal.size, octets.len() as u64);
        Kept { octets, normal }
    }

    fn refused(raw: impl AsRef<[u8]>) -> Malformed {
        normalise(raw.as_ref(), missing(), true).unwrap_err()
    }

    const WHOLE: &str = "From: a@b.example\r\nTo: c@d.example\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\
                         Message-ID: <1@b.example>\r\nSubject: s\r\n\r\n";

    #[test]
    fn a_whole_message_stays_as_it_is_octet_for_octet() {
        for body in [
            "text\r\n",
            "",
            ".\r\n..\r\n.x\r\n",
            "\r\n\r\n",
            "From the start\r\n\tindented\r\n trailing blank \r\n",
            "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\u{1}\u{7f}\r\n--b--\r\n",
            &format!("{}\r\n", "x".repeat(5000)),
        ] {
            let raw = format!("{WHOLE}{body}");
            assert_eq!(normal(&raw).octets, raw.as_bytes(), "{body:?}");
        }
        let header_alone = &WHOLE[..WHOLE.len() - 2];
        assert_eq!(normal(header_alone).octets, header_alone.as_bytes());
    }

    #[test]
    fn odd_but_lawful_headers_stay_as_they_are() {
        for extra in [
            "Received: from x by y;\r\n\tTue, 24 Nov 2026 12:00:00 +0000\r\n",
            "X-Folded: a\r\n \r\n b\r\n",
            "X-Space : value\r\n",
            "X-Empty:\r\n",
            "X-Tab:\tvalue\u{1b}[0m\r\n",
            "DKIM-Signature: v=1; b=abc\r\n  def==\r\n",
            "x-UPPER-lower: MiXeD  double  spaces \r\nX-Twice: 1\r\nX-Twice: 2\r\n",
            "X-Utf8: Grüße\r\n",
        ] {
            let raw = format!("{extra}{WHOLE}text\r\n");
            assert_eq!(normal(&raw).octets, raw.as_bytes());
        }
    }

    #[test]
    fn line_ends_become_crlf_and_the_last_line_is_ended() {
        let raw = WHOLE.replace("\r\n", "\n");
        let bodies = [
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\rb", "a\r\nb\r\n"),
            ("a\r\n.\rb\n.\n", "a\r\n.\r\nb\r\n.\r\n"),
            ("a\r\r\nb\n\r", "a\r\n\r\nb\r\n\r\n"),
            ("no end", "no end\r\n"),
        ];
        for (body, expected) in bodies {
            let octets = normal(format!("{raw}{body}")).octets;
            assert_eq!(String::from_utf8_lossy(&octets), format!("{WHOLE}{expected}"), "{body:?}");
        }
    }

    #[test]
    fn bcc_goes_and_its_addresses_are_recipients() {
        let raw = "From: a@b.example\nBcc: hidden@d.example,\n\tmore@d.example\nTo: C <c@d.example>\nbCC : last@d.example\n\
                   Resent-Bcc: r@d.example\nCc: e@d.example\n\nbody";
        let normal = normal(raw);
        let text = String::from_utf8(normal.octets.clone()).unwrap();
        assert_eq!(
            normal.recipients,
            ["c@d.example", "e@d.example", "hidden@d.example", "more@d.example", "last@d.example"]
        );
        assert_eq!(
            text,
            "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <01J0@b.example>\r\nFrom: a@b.example\r\n\
             To: C <c@d.example>\r\nCc: e@d.example\r\n\r\nbody\r\n"
        );
    }

    #[test]
    fn date_and_message_id_are_added_only_where_they_are_missing() {
        assert_eq!(normal(format!("{WHOLE}x")).message_id, "<1@b.example>");
        let with_date = normal("From: a@b.example\r\nDate: today\r\n\r\nx");
        assert!(with_date.octets.starts_with(b"Message-ID: <01J0@b.example>\r\nFrom:"));
        let empty_id = normal("From: a@b.example\r\nmessage-id:\r\n\r\nx");
        let text = String::from_utf8(empty_id.octets.clone()).unwrap();
        assert_eq!(text.to_ascii_lowercase().matches("message-id").count(), 1, "{text}");
        let folded = normal("From: a@b.example\r\nMessage-ID:\r\n <long@b.example>\r\n\r\nx");
        assert_eq!(folded.message_id, "<long@b.example>");
        assert!(!folded.octets.windows(4).any(|w| w == b"01J0"));
    }

    #[test]
    fn what_the_wire_needs_is_known() {
        let ascii = normal(format!("{WHOLE}plain"));
        assert!(!ascii.eight_bit && !ascii.utf8_header);
        let body = normal(format!("{WHOLE}Grüße").as_bytes());
        assert!(body.eight_bit && !body.utf8_header);
        let latin = normal([WHOLE.as_bytes(), b"Gr\xfc\xdfe"].concat());
        assert!(latin.eight_bit);
        let header = normal(format!("X-Name: Grüße\r\n{WHOLE}plain"));
        assert!(header.eight_bit && header.utf8_header);
        let subject =
            normal(format!("From: a@b.example\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n {}\r\n\r\n", "x".repeat(300)));
        let subject = subject.subject.clone().unwrap();
        assert!(subject.starts_with("Grüße x"), "{subject}");
        assert_eq!(subject.chars().count(), 200);
    }

    #[test]
    fn what_could_be_smuggled_is_refused() {
        assert_eq!(refused("From: a@b.example\r\nSubject: x\rBcc: v@d.example\r\n\r\n"), Malformed::BareCr(2));
        assert_eq!(refused("From: a@b.example\r\r\n\r\nbody"), Malformed::BareCr(1));
        assert_eq!(refused("From: a@b.example\n\nli\0ne"), Malformed::Nul(3));
        assert_eq!(refused("From: a@b.example\nFROM : e@d.example\n\n"), Malformed::Twice("From"));
        assert_eq!(
            refused("From: a@b.example\nSender: e@d.example\nsender: f@d.example\n\n"),
            Malformed::Twice("Sender")
        );
        assert_eq!(
            refused("From: a@b.example\nMessage-Id: <1@b>\nMessage-ID: <2@b>\n\n"),
            Malformed::Twice("Message-ID")
        );
    }

    #[test]
    fn what_is_no_message_is_refused_by_line() {
        assert_eq!(refused("hello\nworld"), Malformed::NotAField(1));
        assert_eq!(refused(" folded: first\n\n"), Malformed::NotAField(1));
        assert_eq!(
            refused("From a@b.example Tue Nov 24 12:00:00 2026\nFrom: a@b.example\n\n"),
            Malformed::NotAField(1)
        );
        assert_eq!(refused("From: a@b.example\nX y: z\n\n"), Malformed::NotAField(2));
        assert_eq!(refused("From: a@b.example\nno colon\n\n"), Malformed::NotAField(2));
        assert_eq!(refused(""), Malformed::NoFrom);
        assert_eq!(refused("\nFrom: a@b.example\n"), Malformed::NoFrom);
        assert_eq!(refused(b"From: a@b.example\nX: \xfc\n\n"), Malformed::Charset);
        assert_eq!(refused(format!("From: a@b.example\nX: {}\n\n", "x".repeat(1000))), Malformed::LongLine(2));
        assert!(matches!(refused("From: root\n\n"), Malformed::Address { field: "From", .. }));
        assert!(matches!(refused("From: a@b.example\nTo: c@d.example, e\n\n"), Malformed::Address { field: "To", .. }));
        assert!(normalise(b"From: a@b.example\nTo: e\n\n", missing(), false).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_crlf_ends_a_line_and_twice_is_once(body in proptest::collection::vec(1u8.., 0..80), bare in "[\r\n.a]{0,30}") {
            let raw = [WHOLE.as_bytes(), &body, bare.as_bytes()].concat();
            let once = normal(&raw).octets;
            for (at, octet) in once.iter().enumerate() {
                match octet {
                    b'\r' => proptest::prop_assert_eq!(once.get(at + 1), Some(&b'\n')),
                    b'\n' => proptest::prop_assert_eq!(once[at - 1], b'\r'),
                    _ => {}
                }
            }
            proptest::prop_assert_eq!(normal(&once).octets, once);
        }

        #[test]
        fn how_it_is_cut_into_pieces_makes_no_difference(
            head in "([A-Z]: [a-z]{0,5}(\r\n|\n)){0,3}",
            body in "[\r\n.aü]{0,40}",
            cuts in proptest::collection::vec(0usize..120, 0..6),
        ) {
            let raw = format!("From: a@b.example\r\n{head}\r\n{body}").into_bytes();
            let whole = normal(&raw);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(raw.len())).chain([0, raw.len()]).collect();
            cuts.sort_unstable();
            let (mut pieces, mut octets) = (Normaliser::new(missing(), true), Vec::new());
            for ends in cuts.windows(2) {
                pieces.push(&raw[ends[0]..ends[1]], &mut octets).unwrap();
            }
            let normal = pieces.finish(&mut octets).unwrap();
            proptest::prop_assert_eq!(&octets, &whole.octets);
            proptest::prop_assert_eq!(&normal, &*whole);
        }
    }
}
