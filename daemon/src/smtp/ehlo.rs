//! EHLO (RFC 5321 §4.1.1.1): the name that frankd gives, and what the server says that it can do.

use super::reply::Reply;

/// What a server offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// The lines as they came, without the server's name.
    pub(super) lines: Vec<String>,
    /// RFC 3207.
    pub(super) starttls: bool,
    /// RFC 2920.
    pub(super) pipelining: bool,
    /// RFC 6152.
    pub(super) eight_bit: bool,
    /// RFC 6531.
    pub(super) smtputf8: bool,
    /// RFC 1870.
    pub(super) size: bool,
    /// The largest message in octets, if the server has a limit.
    pub(super) size_limit: Option<u64>,
    /// SASL mechanisms, in upper case.
    pub(super) auth: Vec<String>,
}

impl Capabilities {
    /// Reads the reply to EHLO. Keywords are read in any case.
    pub(super) fn read(reply: &Reply) -> Self {
        let mut read = Self { lines: reply.lines.iter().skip(1).cloned().collect(), ..Self::default() };
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Old servers write "AUTH=LOGIN".
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => read.starttls = true,
                Some("PIPELINING") => read.pipelining = true,
                Some("8BITMIME") => read.eight_bit = true,
                Some("SMTPUTF8") => read.smtputf8 = true,
                Some("SIZE") => {
                    let limit = words.next().and_then(|number| number.parse().ok());
                    read.size = true;
                    read.size_limit = limit.filter(|octets| *octets > 0);
                }
                Some("AUTH") => {
                    for mechanism in words {
                        if !read.offers(mechanism) {
                            read.auth.push(mechanism.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        read
    }

    /// Whether the server offers a SASL mechanism.
    pub(super) fn offers(&self, mechanism: &str) -> bool {
        self.auth.iter().any(|offered| offered == mechanism)
    }
}

/// Whether a name can stand in EHLO.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_[]:".contains(&octet))
}

/// The host's own name for EHLO, fully qualified where the host knows it.
///
/// Some servers refuse `localhost` and address literals (Google's relay with 421), so the kernel's node name is used
/// even if it has no dot, and looked up in `/etc/hosts` for a longer one.
pub fn host_name() -> String {
    let system = rustix::system::uname();
    let node = system.nodename().to_string_lossy();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    qualify(&node, &hosts)
}

fn qualify(node: &str, hosts: &str) -> String {
    let node = node.trim_end_matches('.');
    if node.contains('.') && is_name(node) && !is_local(node) {
        return node.to_owned();
    }
    let longer = hosts.lines().find_map(|line| {
        let names: Vec<&str> = line.split('#').next()?.split_whitespace().skip(1).collect();
        let mine = names.iter().any(|name| name.eq_ignore_ascii_case(node));
        let qualified = |name: &&&str| name.contains('.') && is_name(name) && !is_local(name);
        names.iter().find(qualified).filter(|_| mine).map(|name| (*name).to_owned())
    });
    if let Some(longer) = longer {
        return longer;
    }
    if is_name(node) && !is_local(node) {
        node.to_owned()
    } else {
        // RFC 5321 §4.1.3: the literal is for hosts that have no name.
        "[127.0.0.1]".to_owned()
    }
}

fn is_local(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    first.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_read_in_any_case_and_form() {
        let lines = [
            "mx.example greets you",
            "size 35882577",
            "Pipelining",
            "8BITMIME",
            "AUTH=LOGIN PLAIN",
            "auth XOAUTH2 login",
            "STARTTLS",
            "X-NOTHING",
        ];
        let reply = Reply { code: 250, lines: lines.map(str::to_owned).to_vec() };
        let read = Capabilities::read(&reply);
        assert_eq!((read.size, read.size_limit), (true, Some(35_882_577)));
        assert!(read.pipelining && read.eight_bit && read.starttls && !read.smtputf8);
        assert_eq!(read.auth, ["LOGIN", "PLAIN", "XOAUTH2"]);
        assert_eq!(read.lines.len(), 7);
    }

    #[test]
    fn a_size_of_zero_or_none_is_no_limit() {
        for (line, size) in [("SIZE", true), ("SIZE 0", true), ("SIZE x", true), ("X", false)] {
            let reply = Reply { code: 250, lines: vec!["mx".to_owned(), line.to_owned()] };
            let read = Capabilities::read(&reply);
            assert_eq!((read.size, read.size_limit), (size, None), "{line}");
        }
    }

    #[test]
    fn the_name_is_the_longest_that_the_host_knows() {
        let hosts = "127.0.0.1 localhost localhost.localdomain\n127.0.1.1 web1.example.org web1 # me\n::1 localhost\n";
        for (node, name) in [
            ("web1.example.net", "web1.example.net"),
            ("web1", "web1.example.org"),
            ("WEB1", "web1.example.org"),
            ("db2", "db2"),
            ("localhost", "[127.0.0.1]"),
            ("localhost.localdomain", "[127.0.0.1]"),
            ("", "[127.0.0.1]"),
            ("no name", "[127.0.0.1]"),
        ] {
            assert_eq!(qualify(node, hosts), name, "{node:?}");
        }
    }

    #[test]
    fn this_host_has_a_name_that_fits() {
        assert!(is_name(&host_name()));
    }
}
