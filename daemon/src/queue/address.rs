//! Reads addresses and address lists (RFC 5322 §3.4) and checks them as SMTP sees them (RFC 5321 §4.1.2).
//!
//! One reader for all ways in: a parameter, an envelope, a header field. What it gives has a domain in A-labels
//! (RFC 5890), so only a local part can need RFC 6531, and no character that could end a line or a command.

use std::fmt;

use lettre::Address;
use lettre::message::Mailbox;

/// Longest local part and longest path, in octets (RFC 5321 §4.5.3.1).
const LOCAL_MAX: usize = 64;
const ADDRESS_MAX: usize = 254;

/// A text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) struct BadAddress {
    /// The text, cut to what a person needs.
    text: String,
    reason: &'static str,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.text, self.reason)
    }
}

impl BadAddress {
    fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.trim().chars().take(80).collect(), reason }
    }
}

/// One address with or without a display name.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, BadAddress> {
    let mut all = list(text)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(BadAddress::new(text, "is more than one address")),
        (None, _) => Err(BadAddress::new(text, "is not an address")),
    }
}

/// An address of an envelope: no display name, angle brackets or none.
pub(super) fn path(text: &str) -> Result<String, BadAddress> {
    let mailbox = mailbox(text)?;
    if mailbox.name.is_some() {
        return Err(BadAddress::new(text, "has a display name, which an envelope cannot carry"));
    }
    Ok(mailbox.email.to_string())
}

/// A list as in To: mailboxes and groups, comments dropped.
pub(super) fn list(text: &str) -> Result<Vec<Mailbox>, BadAddress> {
    let tokens = tokens(text)?;
    let mut found = Vec::new();
    let mut part: Vec<Token> = Vec::new();
    let (mut in_group, mut in_angle) = (false, false);
    for token in tokens {
        match token {
            Token::Special(':') if !in_angle => {
                if in_group || part.is_empty() {
                    return Err(BadAddress::new(text, "has a colon in the wrong place"));
                }
                in_group = true;
                part.clear();
            }
            Token::Special(c @ (',' | ';')) if !in_angle => {
                if c == ';' && std::mem::take(&mut in_group) && part.is_empty() {
                    continue;
                }
                one(text, &std::mem::take(&mut part), &mut found)?;
            }
            other => {
                in_angle = match other {
                    Token::Special('<') => true,
                    Token::Special('>') => false,
                    _ => in_angle,
                };
                part.push(other);
            }
        }
    }
    if in_group {
        return Err(BadAddress::new(text, "has a group without its semicolon"));
    }
    one(text, &part, &mut found)?;
    Ok(found)
}

/// One mailbox of a list; an empty place (`a@b.example,,`) is none (RFC 5322 §4.4).
fn one(text: &str, part: &[Token], found: &mut Vec<Mailbox>) -> Result<(), BadAddress> {
    if part.is_empty() {
        return Ok(());
    }
    let Some(open) = part.iter().position(|t| *t == Token::Special('<')) else {
        found.push(Mailbox::new(None, address(text, part)?));
        return Ok(());
    };
    let (words, rest) = (&part[..open], &part[open + 1..]);
    let [inside @ .., Token::Special('>')] = rest else {
        return Err(BadAddress::new(text, "has unbalanced angle brackets"));
    };
    let mut name = String::new();
    for word in words {
        let (Token::Atom(word) | Token::Quoted(word)) = word else {
            return Err(BadAddress::new(text, "has a display name that needs quotes"));
        };
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
    }
    let name = (!name.is_empty()).then_some(name);
    found.push(Mailbox::new(name, address(text, inside)?));
    Ok(())
}

fn address(text: &str, tokens: &[Token]) -> Result<Address, BadAddress> {
    let [local, Token::Special('@'), domain] = tokens else {
        let has_at = tokens.contains(&Token::Special('@'));
        let reason = if has_at { "is not an address" } else { "has no domain" };
        return Err(BadAddress::new(text, reason));
    };
    let local = match local {
        Token::Atom(atom) => atom.clone(),
        Token::Quoted(content) if is_dot_atom(content) => content.clone(),
        Token::Quoted(content) => format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => return Err(BadAddress::new(text, "is not an address")),
    };
    let domain = match domain {
        Token::Atom(name) => ascii_domain(name).ok_or_else(|| BadAddress::new(text, "has no valid domain"))?,
        Token::Literal(literal) if is_ip_literal(literal) => literal.clone(),
        _ => return Err(BadAddress::new(text, "has no valid domain")),
    };
    if local.len() > LOCAL_MAX || local.len() + 1 + domain.len() > ADDRESS_MAX {
        return Err(BadAddress::new(text, "is too long"));
    }
    if let Token::Literal(_) = tokens[2] {
        // lettre takes no `[IPv6:…]`: its own check is for the local part alone.
        return match Address::new(&local, "literal.example") {
            Ok(_) => Ok(Address::new_dangerous(&local, &domain)),
            Err(_) => Err(BadAddress::new(text, "has no valid local part")),
        };
    }
    Address::new(&local, &domain).map_err(|_| BadAddress::new(text, "is not an address"))
}

fn is_dot_atom(text: &str) -> bool {
    let atext = |c: char| c.is_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}

/// The domain in A-labels. A number is no domain: an address of a host is written in brackets.
fn ascii_domain(name: &str) -> Option<String> {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    if name.is_ascii() {
        return Some(name.to_owned());
    }
    match url::Host::parse(name) {
        Ok(url::Host::Domain(ascii)) => Some(ascii),
        _ => None,
    }
}

fn is_ip_literal(literal: &str) -> bool {
    let inside = &literal[1..literal.len() - 1];
    match inside.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("ipv6:") => rest.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => inside.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A run of characters that are not special, dots included.
    Atom(String),
    /// The content of a quoted string, unescaped.
    Quoted(String),
    /// A domain literal, brackets included.
    Literal(String),
    /// One of `< > , ; : @`.
    Special(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, BadAddress> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(BadAddress::new(text, "has a control character"));
    }
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => {}
            '(' => skip_comment(text, &mut chars)?,
            '"' => tokens.push(Token::Quoted(quoted(text, &mut chars)?)),
            '[' => {
                let mut literal = String::from('[');
                for c in chars.by_ref() {
                    literal.push(c);
                    if c == ']' {
                        break;
                    }
                }
                if !literal.ends_with(']') {
                    return Err(BadAddress::new(text, "has an open bracket"));
                }
                tokens.push(Token::Literal(literal));
            }
            '<' | '>' | ',' | ';' | ':' | '@' => tokens.push(Token::Special(c)),
            ')' | ']' | '\\' => return Err(BadAddress::new(text, "has a character in the wrong place")),
            first => {
                let mut atom = String::from(first);
                while let Some(next) = chars.next_if(|c| !" \t()<>[]:;@\\,\"".contains(*c)) {
                    atom.push(next);
                }
                tokens.push(Token::Atom(atom));
            }
        }
    }
    Ok(tokens)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted(text: &str, chars: &mut Chars<'_>) -> Result<String, BadAddress> {
    let mut content = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(content),
            '\\' => content.extend(chars.next()),
            c => content.push(c),
        }
    }
    Err(BadAddress::new(text, "has an open quote"))
}

fn skip_comment(text: &str, chars: &mut Chars<'_>) -> Result<(), BadAddress> {
    let mut depth = 1u32;
    while let Some(c) = chars.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => drop(chars.next()),
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err(BadAddress::new(text, "has an open comment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        list(text).unwrap().iter().map(|m| m.email.to_string()).collect()
    }

    #[test]
    fn lists_as_people_and_programs_write_them_are_read() {
        for (text, expected) in [
            ("a@b.example", &["a@b.example"][..]),
            ("A <a@b.example>, \"B, C\" <c@d.example>", &["a@b.example", "c@d.example"]),
            ("a@b.example (a, comment (nested\\)) ), c@d.example", &["a@b.example", "c@d.example"]),
            ("friends: a@b.example, B <b@b.example>; , c@d.example", &["a@b.example", "b@b.example", "c@d.example"]),
            ("undisclosed-recipients:;", &[]),
            ("a@b.example;c@d.example", &["a@b.example", "c@d.example"]),
            ("a@b.example,, ,c@d.example,", &["a@b.example", "c@d.example"]),
            ("=?utf-8?Q?J=C3=BCrgen?= <j@b.example>", &["j@b.example"]),
            ("John Q. Public <jqp@b.example>", &["jqp@b.example"]),
            ("Jürgen\t<j@bücher.example>", &["j@xn--bcher-kva.example"]),
            ("\"john doe\"@b.example", &["\"john doe\"@b.example"]),
            ("\"john\"@b.example", &["john@b.example"]),
            ("jürgen@b.example", &["jürgen@b.example"]),
            ("root@localhost", &["root@localhost"]),
            ("a@[192.0.2.1], b@[IPv6:2001:db8::1]", &["a@[192.0.2.1]", "b@[IPv6:2001:db8::1]"]),
            ("o'neil+tag=x@b.example", &["o'neil+tag=x@b.example"]),
        ] {
            assert_eq!(addresses(text), expected, "{text}");
        }
        assert_eq!(mailbox("\"B, C\" <c@d.example>").unwrap().name.as_deref(), Some("B, C"));
    }

    #[test]
    fn what_is_no_address_is_refused_whole() {
        for text in [
            "root",
            "a b@c.example",
            "a@b.example c",
            "a@b@c.example",
            "@c.example",
            "a@",
            "<a@b.example",
            "a@b.example>",
            "A <a@b.example> trailing",
            "<@relay.example:a@b.example>",
            "a..b@c.example",
            "a@b..example",
            "a@-b.example>",
            "a@127.0.0.1",
            "a@[not an ip]",
            "\"open@b.example",
            "a@b.example (open",
            "group: a@b.example",
            "a\\b@c.example",
            "a@b.example\r\nRCPT TO:<x@y.example>",
            "\"a\r\nb\"@c.example",
            "a@b.example\0",
            "\"a\u{1}\"@b.example",
            &format!("{}@b.example", "x".repeat(65)),
            &format!("a@{}.example", "x.".repeat(130)),
        ] {
            assert!(list(text).is_err(), "{text:?}: {:?}", list(text));
        }
        assert!(mailbox("a@b.example, c@d.example").is_err());
        assert!(mailbox("").is_err());
        assert!(path("A <a@b.example>").is_err());
        assert_eq!(path("<a@b.example>").as_deref(), Ok("a@b.example"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_can_end_a_line_or_an_angle(text in "\\PC{0,60}|[a-c@<>\"\\\\(),.:; \\r\\n\\t]{0,40}") {
            for mailbox in list(&text).unwrap_or_default() {
                let address = mailbox.email.to_string();
                proptest::prop_assert!(!address.chars().any(char::is_control), "{address:?}");
                let quoted = address.starts_with('"');
                proptest::prop_assert!(quoted || !address.contains(['<', '>', ' ']), "{address:?}");
                proptest::prop_assert_eq!(addresses(&address), [address]);
            }
        }
    }
}
