//! Makes a message (RFC 5322, RFC 2045) of the parts that a caller gives.
//!
//! Every text of the caller is checked before it gets near a header: no control character, so no line of its own. Date,
//! Message-ID and boundaries are given by the caller of this module: one clock and one seed make the same octets twice.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frankd_proto::methods::message::{Attachment, Compose};
use lettre::message::header::{self, ContentType, HeaderName, HeaderValue, Headers};
use lettre::message::{Attachment as Attached, Body, Mailbox, Mailboxes, Message, MultiPart, SinglePart};

use super::error::SubmitError;
use super::{address, encode};

/// Longest word of a header: longer ones cannot be folded under 998 octets together with their name.
const WORD_MAX: usize = 900;
/// Length that a line of addresses should not exceed (RFC 5322 §2.1.1).
const LINE_WANTED: usize = 76;

/// Fields that frankd writes itself, or that a server on the way writes.
const RESERVED: [&str; 16] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "received",
    "return-path",
    "dkim-signature",
    "authentication-results",
    "arc-seal",
    "arc-message-signature",
    "arc-authentication-results",
];

/// Mailboxes of a message, read and checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Parties {
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) bcc: Vec<Mailbox>,
    pub(super) reply_to: Vec<Mailbox>,
}

impl Parties {
    /// Reads all of them: one bad one refuses the message.
    pub(super) fn read(parts: &Compose) -> Result<Self, SubmitError> {
        let read = |name: &str, list: &[String]| {
            let one = |(i, text): (usize, &String)| mailbox(&format!("message.{name}[{i}]"), text);
            list.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            to: read("to", &parts.to)?,
            cc: read("cc", &parts.cc)?,
            bcc: read("bcc", &parts.bcc)?,
            reply_to: read("reply_to", &parts.reply_to)?,
        })
    }

    /// Addresses of To, Cc and Bcc.
    pub(super) fn recipients(&self) -> Vec<String> {
        let all = self.to.iter().chain(&self.cc).chain(&self.bcc);
        all.map(|mailbox| mailbox.email.to_string()).collect()
    }
}

/// One mailbox of the parameter `field`.
pub(super) fn mailbox(field: &str, text: &str) -> Result<Mailbox, SubmitError> {
    let mailbox = address::mailbox(text)
        .map_err(|error| SubmitError::BadAddress { field: field.to_owned(), reason: error.to_string() })?;
    if let Some(name) = &mailbox.name {
        check_words(field, name)?;
    }
    Ok(mailbox)
}

/// What makes one message differ from the next.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    /// For Date.
    pub(super) date: SystemTime,
    /// Message-ID, with the angle brackets.
    pub(super) message_id: String,
    /// Two boundaries that no body has in it.
    pub(super) boundaries: [String; 2],
}

/// Makes the message.
pub(super) fn compose(
    parts: &Compose,
    from: Mailbox,
    parties: &Parties,
    stamp: &Stamp,
) -> Result<Vec<u8>, SubmitError> {
    let mut builder = Message::builder()
        .header(header::Date::new(stamp.date))
        .header(header::MessageId::from(stamp.message_id.clone()))
        .from(from.clone());
    builder = builder.raw_header(address_list(HeaderName::new_from_ascii_str("From"), &[from]));
    for (name, list) in [("To", &parties.to), ("Cc", &parties.cc), ("Reply-To", &parties.reply_to)] {
        if !list.is_empty() {
            builder = builder.raw_header(address_list(HeaderName::new_from_ascii_str(name), list));
        }
    }
    if let Some(subject) = &parts.subject {
        check_words("message.subject", subject)?;
        builder = builder.raw_header(text(HeaderName::new_from_ascii_str("Subject"), subject));
    }
    for (name, value) in &parts.headers {
        builder = builder.raw_header(extra_header(name, value)?);
    }
    // The envelope is the queue's own affair; the builder wants one, with a recipient in it.
    let anybody = lettre::Address::new_dangerous("nobody", "invalid");
    let envelope = lettre::address::Envelope::new(None, vec![anybody]).map_err(|error| unmade(&error))?;
    let builder = builder.envelope(envelope);
    let message = match content(parts, &stamp.boundaries)? {
        Content::Single(part) => builder.singlepart(part),
        Content::Multi(part) => builder.multipart(part),
    };
    Ok(message.map_err(|error| unmade(&error))?.formatted())
}

/// A field of addresses, folded between them: lettre folds only within display names, and a long list makes a line over
/// 998 octets.
fn address_list(name: HeaderName, list: &[Mailbox]) -> HeaderValue {
    let mut encoded = String::new();
    let mut line = name.len() + 2;
    for (i, mailbox) in list.iter().enumerate() {
        let text = address(mailbox, line + 2);
        if i > 0 && line + text.len() > LINE_WANTED {
            encoded.push_str(",\r\n ");
            line = 1;
        } else if i > 0 {
            encoded.push_str(", ");
            line += 2;
        }
        encoded.push_str(&text);
        line = text.rsplit_once("\r\n").map_or(line + text.len(), |(_, last)| last.len());
    }
    // lettre reads the From field again to see that there is one.
    let plain = list.iter().map(|mailbox| mailbox.email.to_string()).collect::<Vec<_>>().join(", ");
    HeaderValue::dangerous_new_pre_encoded(name, plain, encoded)
}

/// One mailbox as it stands in a header. An encoded word takes the place of a quoted name (RFC 2047 §5 (3)).
fn address(mailbox: &Mailbox, column: usize) -> String {
    if let Some(name) = mailbox.name.as_deref().filter(|name| encode::is_needed(name)) {
        return format!("{} <{}>", encode::words(name, column), mailbox.email);
    }
    let mut one = Headers::new();
    one.set(header::To::from(Mailboxes::from(mailbox.clone())));
    one.to_string().trim_start_matches("To: ").trim_end().to_owned()
}

/// A field of text.
fn text(name: HeaderName, value: &str) -> HeaderValue {
    if encode::is_needed(value) {
        let encoded = encode::words(value, name.len() + 2);
        return HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), encoded);
    }
    HeaderValue::new(name, value.to_owned())
}

/// Content-Disposition with a file name that lettre would write as what looks like an encoded word.
#[derive(Clone)]
struct Disposition(String);

impl header::Header for Disposition {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Content-Disposition")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        let encoded = format!("attachment;{}", encode::parameter("filename", &self.0));
        HeaderValue::dangerous_new_pre_encoded(Self::name(), self.0.clone(), encoded)
    }
}

fn unmade(error: &lettre::error::Error) -> SubmitError {
    SubmitError::invalid("message", error.to_string())
}

fn extra_header(name: &str, value: &str) -> Result<HeaderValue, SubmitError> {
    let field = format!("message.headers.{}", name.escape_default());
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || lower.starts_with("content-") || lower.starts_with("resent-") {
        let reason = format!("the header {} is not set this way", name.escape_default());
        return Err(SubmitError::invalid(field, reason));
    }
    let graphic = name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
    match HeaderName::new_from_ascii(name.to_owned()) {
        Ok(checked) if graphic => {
            check_words(&field, value)?;
            Ok(text(checked, value))
        }
        _ => Err(SubmitError::invalid(field, "the name of a header has 1 to 76 visible ASCII characters and no colon")),
    }
}

/// Refuses what could end a line, and what cannot be folded.
fn check_words(field: &str, text: &str) -> Result<(), SubmitError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(SubmitError::invalid(field, "has a control character, such as a line end, in it"));
    }
    if text.split([' ', '\t']).any(|word| word.is_ascii() && word.len() > WORD_MAX) {
        return Err(SubmitError::invalid(field, "has a word of more than 900 characters in it"));
    }
    Ok(())
}

enum Content {
    Single(SinglePart),
    Multi(MultiPart),
}

fn content(parts: &Compose, [outer, inner]: &[String; 2]) -> Result<Content, SubmitError> {
    let text = parts.text.as_deref().map(|text| lines("message.text", text)).transpose()?;
    let html = parts.html.as_deref().map(|html| lines("message.html", html)).transpose()?;
    let alone = parts.attachments.is_empty();
    let shown = match (text, html) {
        (Some(text), Some(html)) => Content::Multi(
            multipart("alternative", inner)?.singlepart(SinglePart::plain(text)).singlepart(SinglePart::html(html)),
        ),
        (None, Some(html)) => Content::Single(SinglePart::html(ended_once(html, alone))),
        (text, None) => Content::Single(SinglePart::plain(ended_once(text.unwrap_or_default(), alone))),
    };
    if alone {
        return Ok(shown);
    }
    let mut mixed = multipart("mixed", outer)?;
    mixed = match shown {
        Content::Single(part) => mixed.singlepart(part),
        Content::Multi(part) => mixed.multipart(part),
    };
    for (i, attachment) in parts.attachments.iter().enumerate() {
        mixed = mixed.singlepart(attached(&format!("message.attachments[{i}]"), attachment)?);
    }
    Ok(Content::Multi(mixed))
}

/// An empty multipart with this boundary: lettre's own constructors draw one at random first.
fn multipart(subtype: &str, boundary: &str) -> Result<MultiPart, SubmitError> {
    let content_type = ContentType::parse(&format!("multipart/{subtype}; boundary=\"{boundary}\""))
        .map_err(|error| SubmitError::invalid("message", error.to_string()))?;
    Ok(MultiPart::builder().header(content_type).build())
}

/// The text with CRLF line ends.
fn lines(field: &str, text: &str) -> Result<String, SubmitError> {
    if text.contains('\0') {
        return Err(SubmitError::invalid(field, "has a NUL in it"));
    }
    Ok(text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n"))
}

/// The writer ends the only part of a message with CRLF: a text that has one already loses it.
fn ended_once(text: String, alone: bool) -> String {
    match text.strip_suffix("\r\n") {
        Some(without) if alone => without.to_owned(),
        _ => text,
    }
}

/// An attachment is always base64, so that its octets arrive as they are.
fn attached(field: &str, attachment: &Attachment) -> Result<SinglePart, SubmitError> {
    check_words(&format!("{field}.name"), &attachment.name)?;
    if attachment.name.is_empty() {
        return Err(SubmitError::invalid(format!("{field}.name"), "a file needs a name"));
    }
    let media_type = attachment.content_type.as_deref().unwrap_or("application/octet-stream");
    let field_type = format!("{field}.content_type");
    check_words(&field_type, media_type)?;
    let content_type =
        ContentType::parse(media_type).map_err(|_| SubmitError::invalid(field_type.as_str(), "is not a media type"))?;
    let lower = media_type.to_ascii_lowercase();
    if lower.starts_with("multipart/") || lower.starts_with("message/") {
        let reason =
            "multipart and message types may not be encoded (RFC 2046 §5.2.1): attach it as application/octet-stream";
        return Err(SubmitError::invalid(field_type, reason));
    }
    let octets = STANDARD
        .decode(&attachment.content_b64)
        .map_err(|error| SubmitError::invalid(format!("{field}.content_b64"), format!("is not base64: {error}")))?;
    let body = Body::new_with_encoding(octets, header::ContentTransferEncoding::Base64)
        .map_err(|_| SubmitError::invalid(field, "cannot be encoded"))?;
    if encode::is_needed(&attachment.name) {
        let part = SinglePart::builder().header(Disposition(attachment.name.clone()));
        return Ok(part.header(content_type).body(body));
    }
    Ok(Attached::new(attachment.name.clone()).body(body, content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            date: SystemTime::UNIX_EPOCH,
            message_id: "<1@b.example>".to_owned(),
            boundaries: ["=_outer".to_owned(), "=_inner".to_owned()],
        }
    }

    fn parts() -> Compose {
        Compose {
            to: vec!["C D <c@d.example>".to_owned(), "e@d.example".to_owned()],
            subject: Some("Hello".to_owned()),
            text: Some("line one\nline two\n".to_owned()),
            ..Compose::default()
        }
    }

    fn made(parts: &Compose) -> Result<String, SubmitError> {
        let from = mailbox("message.from", "A <a@b.example>")?;
        let octets = compose(parts, from, &Parties::read(parts)?, &stamp())?;
        Ok(String::from_utf8(octets).unwrap())
    }

    fn field(parts: &Compose) -> String {
        match made(parts).unwrap_err() {
            SubmitError::BadAddress { field, .. } | SubmitError::Invalid { field, .. } => field,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_text_is_a_small_plain_message() {
        assert_eq!(
            made(&parts()).unwrap(),
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@b.example>\r\nFrom: A <a@b.example>\r\n\
             To: \"C D\" <c@d.example>, e@d.example\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nline one\r\nline two\r\n"
        );
    }

    #[test]
    fn text_html_and_files_nest_as_readers_expect() {
        let parts = Compose {
            html: Some("<p>Grüße</p>".to_owned()),
            attachments: vec![Attachment {
                name: "Bericht für \"Q3\".csv".to_owned(),
                content_type: Some("text/csv; charset=utf-8".to_owned()),
                content_b64: STANDARD.encode("a,b\n1,2\n"),
            }],
            bcc: vec!["hidden@d.example".to_owned()],
            cc: vec!["f@d.example".to_owned()],
            reply_to: vec!["r@b.example".to_owned()],
            headers: [("X-Job".to_owned(), "Größe 7".to_owned())].into(),
            ..parts()
        };
        let text = made(&parts).unwrap();
        let order = [
            "Cc: f@d.example\r\n",
            "Reply-To: r@b.example\r\n",
            "X-Job: =?utf-8?b?",
            "Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n\r\n--=_outer\r\n",
            "Content-Type: multipart/alternative; boundary=\"=_inner\"\r\n\r\n--=_inner\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "line one\r\nline two\r\n\r\n--=_inner\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
            "--=_inner--\r\n",
            "--=_outer\r\nContent-Disposition: attachment;\r\n filename",
            "Content-Type: text/csv; charset=utf-8\r\n",
            "Content-Transfer-Encoding: base64\r\n\r\nYSxiCjEsMgo=\r\n",
            "--=_outer--\r\n",
        ];
        let mut from = 0;
        for piece in order {
            let at = text[from..].find(piece);
            from += at.unwrap_or_else(|| panic!("{piece:?} is missing or out of order in\n{text}"));
        }
        assert!(!text.contains("hidden@"), "{text}");
        assert!(text.is_ascii());
        assert!(text.split("\r\n").all(|line| line.len() <= 998));
        assert_eq!(made(&parts).unwrap(), text, "the same twice");
    }

    #[test]
    fn readers_get_back_what_was_given_even_if_it_looks_encoded_or_has_spaces_between_words() {
        let texts = ["=?utf-8?q?fake?=", "ü  ü", "ü ü", "Grüße  an =?x?", "a =?utf-8?b?YQ==?= b", "  ä", "plain  text"];
        for given in texts {
            let parts = Compose {
                subject: Some(given.to_owned()),
                headers: [("X-Note".to_owned(), given.to_owned())].into(),
                to: vec![format!("\"{given}\" <c@d.example>")],
                ..parts()
            };
            let made = made(&parts).unwrap();
            let header = made.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
            let shown = |name: &str| {
                let value = header.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
                super::super::words::decode(value)
            };
            assert_eq!(shown("Subject"), given);
            assert_eq!(shown("X-Note"), given);
            assert_eq!(shown("To").rsplit_once(' ').unwrap().0.trim_matches('"').trim(), given.trim(), "{made}");
            assert!(!made.contains("=?utf-8?q?fake?="), "{made}");
        }
        let name = "=?utf-8?q?a?=.txt".to_owned();
        let file = Attachment { name, content_type: None, content_b64: String::new() };
        let text = made(&Compose { attachments: vec![file], ..parts() }).unwrap();
        assert!(text.contains("filename*=utf-8''%3D%3Futf-8%3Fq%3Fa%3F%3D.txt\r\n"), "{text}");
    }

    #[test]
    fn a_long_list_is_folded() {
        let to: Vec<String> = (0..300).map(|i| format!("recipient-{i}@department.example")).collect();
        let named = "Jürgen von und zu Überlingen <j@d.example>".to_owned();
        let parts = Compose { to: to.clone(), cc: vec![named; 30], ..parts() };
        let text = made(&parts).unwrap();
        assert!(text.split("\r\n").all(|line| line.len() <= 130), "{text}");
        let header = text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        let list = header.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
        assert_eq!(list, to.join(", "));
    }

    #[test]
    fn a_line_end_in_any_field_is_refused_by_its_name() {
        let evil = |plain: &str| {
            vec![
                format!("{plain}\r\nBcc: v@d.example"),
                format!("{plain}\nX: y"),
                format!("{plain}\rX"),
                format!("{plain}\0"),
            ]
        };
        for bad in evil("x") {
            let mut cases: Vec<(&str, Compose)> = vec![
                ("message.subject", Compose { subject: Some(bad.clone()), ..parts() }),
                ("message.headers.X-A", Compose { headers: [("X-A".to_owned(), bad.clone())].into(), ..parts() }),
            ];
            for address in [
                format!("{bad}@d.example"),
                format!("c@{bad}"),
                format!("\"{bad}\" <c@d.example>"),
                format!("{bad} <c@d.example>"),
                format!("c@d.example{}", &bad[1..]),
            ] {
                let list = vec!["ok@d.example".to_owned(), address];
                cases.push(("message.to[1]", Compose { to: list.clone(), ..parts() }));
                cases.push(("message.cc[1]", Compose { cc: list.clone(), ..parts() }));
                cases.push(("message.bcc[1]", Compose { bcc: list.clone(), ..parts() }));
                cases.push(("message.reply_to[1]", Compose { reply_to: list, ..parts() }));
            }
            let file = Attachment { name: "a".to_owned(), content_type: None, content_b64: String::new() };
            cases.push((
                "message.attachments[0].name",
                Compose { attachments: vec![Attachment { name: bad.clone(), ..file.clone() }], ..parts() },
            ));
            let odd_type = Attachment { content_type: Some(format!("text/plain; name=\"{bad}\"")), ..file };
            cases.push(("message.attachments[0].content_type", Compose { attachments: vec![odd_type], ..parts() }));
            for (expected, parts) in cases {
                assert_eq!(field(&parts), expected, "{parts:?}");
            }
            assert!(matches!(mailbox("message.from", &bad), Err(SubmitError::BadAddress { .. })));
            let name = Compose { headers: [(format!("X-{bad}"), "v".to_owned())].into(), ..parts() };
            assert!(field(&name).starts_with("message.headers.X-x"), "{}", field(&name));
        }
        assert_eq!(field(&Compose { text: Some("a\0b".to_owned()), ..parts() }), "message.text");
    }

    #[test]
    fn headers_that_frankd_writes_are_refused_by_name() {
        for name in [
            "From",
            "to",
            "BCC",
            "Date",
            "message-ID",
            "MIME-Version",
            "Content-Type",
            "content-anything",
            "Received",
            "DKIM-Signature",
            "Resent-To",
            "Subject",
        ] {
            let parts = Compose { headers: [(name.to_owned(), "x".to_owned())].into(), ..parts() };
            assert_eq!(field(&parts), format!("message.headers.{name}"));
        }
        for name in ["", "a b", "a:b", "é", &"x".repeat(77)] {
            let parts = Compose { headers: [(name.to_owned(), "x".to_owned())].into(), ..parts() };
            assert!(field(&parts).starts_with("message.headers."), "{name}");
        }
        for name in ["X-Priority", "In-Reply-To", "List-Unsubscribe", "Auto-Submitted"] {
            let parts = Compose { headers: [(name.to_owned(), "<x>".to_owned())].into(), ..parts() };
            assert!(made(&parts).unwrap().contains(&format!("\r\n{name}: <x>\r\n")));
        }
    }

    #[test]
    fn one_bad_part_refuses_the_message_by_its_path() {
        let file = |content_type: Option<&str>, content: &str| Compose {
            attachments: vec![Attachment {
                name: "f".to_owned(),
                content_type: content_type.map(str::to_owned),
                content_b64: content.to_owned(),
            }],
            ..parts()
        };
        let to = ["a@b.example", "b@c.example", "no address"].map(str::to_owned).to_vec();
        assert_eq!(field(&Compose { to, ..parts() }), "message.to[2]");
        assert_eq!(field(&Compose { cc: vec!["a@b.example, c@d.example".to_owned()], ..parts() }), "message.cc[0]");
        assert_eq!(field(&file(None, "not base64!")), "message.attachments[0].content_b64");
        assert_eq!(field(&file(Some("text"), "")), "message.attachments[0].content_type");
        assert_eq!(field(&file(Some("Message/rfc822"), "")), "message.attachments[0].content_type");
        assert_eq!(field(&Compose { subject: Some("x".repeat(1000)), ..parts() }), "message.subject");
    }
}
