//! The little HTTP that a redirect needs: one request is judged, one page is answered.
//!
//! Pure: octets in, octets out. Nothing of a request is ever repeated in an answer.

use std::fmt::Write as _;

use frankd_proto::Secret;

/// Longest request head, in octets.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// What a redirect of this grant looks like (RFC 8252 §7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Host and port of the redirect URI, in lower case.
    pub(crate) authority: String,
    /// Its path; never empty, since `http://localhost` comes back as `http://localhost/`.
    pub(crate) path: String,
}

impl Expected {
    /// Reads a redirect URI that leads to `port` of this machine; nothing if it leads elsewhere.
    pub(crate) fn of(redirect_uri: &str, port: u16) -> Option<Self> {
        let rest = redirect_uri.strip_prefix("http://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = authority.to_ascii_lowercase();
        let host = authority.strip_suffix(&format!(":{port}"))?;
        if !matches!(host, "localhost" | "127.0.0.1" | "[::1]") || rest.contains('#') {
            return None;
        }
        let path = rest.split('?').next().filter(|path| !path.is_empty()).unwrap_or("/");
        Some(Self { path: path.to_owned(), authority })
    }
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A redirect of an authorization server: its whole URL.
    Redirect(Secret),
    /// Anything else.
    Refused(Status),
}

/// Status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The grant is complete.
    Ok,
    /// No HTTP, or a redirect without a code or error.
    BadRequest,
    /// Another path, such as `/favicon.ico`.
    NotFound,
    /// Another method than GET.
    MethodNotAllowed,
    /// Another Host: somebody made a name point here (DNS rebinding).
    MisdirectedRequest,
    /// More than [`MAX_HEAD`].
    TooLarge,
    /// Too many at once.
    Busy,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::MisdirectedRequest => "421 Misdirected Request",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Busy => "503 Service Unavailable",
        }
    }
}

/// A page for the person at the browser.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    status: Status,
    title: String,
    paragraphs: Vec<String>,
}

impl Page {
    /// A page; its texts are escaped when it is written.
    pub(crate) fn new(status: Status, title: impl Into<String>, paragraphs: Vec<String>) -> Self {
        Self { status, title: title.into(), paragraphs }
    }

    /// The page of a refused request: the status alone.
    pub(crate) fn refused(status: Status) -> Self {
        Self::new(status, status.line(), Vec::new())
    }

    /// The whole answer, head and body.
    pub(crate) fn to_http(&self) -> Vec<u8> {
        let title = escape(&self.title);
        let mut body = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body><h1>{title}</h1>\n"
        );
        for paragraph in &self.paragraphs {
            let _ = writeln!(body, "<p>{}</p>", escape(paragraph));
        }
        body.push_str("</body></html>\n");
        let allow = if self.status == Status::MethodNotAllowed { "Allow: GET\r\n" } else { "" };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
            self.status.line(),
            body.len()
        )
        .into_bytes()
    }
}

/// Judges a request by its head (everything up to the empty line).
pub(crate) fn judge(head: &[u8], expected: &Expected) -> Verdict {
    match read(head, expected) {
        Ok(url) => Verdict::Redirect(url),
        Err(status) => Verdict::Refused(status),
    }
}

fn read(head: &[u8], expected: &Expected) -> Result<Secret, Status> {
    let head = std::str::from_utf8(head).map_err(|_| Status::BadRequest)?;
    let mut lines = head.split("\r\n");
    let mut request = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (request.next(), request.next(), request.next(), request.next())
    else {
        return Err(Status::BadRequest);
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(Status::BadRequest);
    }
    if method != "GET" {
        return Err(Status::MethodNotAllowed);
    }
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.eq_ignore_ascii_case(&expected.authority) => {}
        (Some(_), None) => return Err(Status::MisdirectedRequest),
        _ => return Err(Status::BadRequest),
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != expected.path {
        return Err(Status::NotFound);
    }
    let has = |key: &str| query.split('&').any(|pair| pair.split('=').next() == Some(key));
    if !has("state") || !(has("code") || has("error")) {
        return Err(Status::BadRequest);
    }
    Ok(Secret::new(format!("http://{}{target}", expected.authority)))
}

fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        Expected::of("http://localhost:8080/cb", 8080).unwrap()
    }

    fn status(head: &str) -> Option<Status> {
        match judge(head.as_bytes(), &expected()) {
            Verdict::Redirect(_) => None,
            Verdict::Refused(status) => Some(status),
        }
    }

    #[test]
    fn only_redirect_uris_of_this_port_are_waited_for() {
        let of = |uri| Expected::of(uri, 8080).map(|e| (e.authority, e.path));
        let pair = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
        assert_eq!(of("http://localhost:8080"), pair("localhost:8080", "/"));
        assert_eq!(of("http://127.0.0.1:8080/a?b=c"), pair("127.0.0.1:8080", "/a"));
        assert_eq!(of("http://[::1]:8080/"), pair("[::1]:8080", "/"));
        for elsewhere in [
            "https://localhost:8080/",
            "http://localhost/",
            "http://localhost:80801/",
            "http://localhost.evil.example:8080/",
            "http://user@localhost:8080/",
            "http://example.org:8080/",
        ] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_redirect_is_taken_whole() {
        let head = "GET /cb?state=s&code=a%2Fb HTTP/1.1\r\nhost: LOCALHOST:8080\r\nAccept: */*\r\n\r\n";
        let url = Secret::new("http://localhost:8080/cb?state=s&code=a%2Fb");
        assert_eq!(judge(head.as_bytes(), &expected()), Verdict::Redirect(url));
        assert_eq!(status("GET /cb?error=access_denied&state=s HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"), None);
    }

    #[test]
    fn everything_else_is_refused() {
        let host = "Host: localhost:8080\r\n\r\n";
        for (head, refused) in [
            (format!("POST /cb?code=a&state=b HTTP/1.1\r\n{host}"), Status::MethodNotAllowed),
            (format!("HEAD /cb?code=a&state=b HTTP/1.1\r\n{host}"), Status::MethodNotAllowed),
            (format!("GET /favicon.ico HTTP/1.1\r\n{host}"), Status::NotFound),
            (format!("GET /cb/?code=a&state=b HTTP/1.1\r\n{host}"), Status::NotFound),
            (format!("GET http://localhost:8080/cb?code=a&state=b HTTP/1.1\r\n{host}"), Status::NotFound),
            (format!("GET /cb HTTP/1.1\r\n{host}"), Status::BadRequest),
            (format!("GET /cb?code=a HTTP/1.1\r\n{host}"), Status::BadRequest),
            (format!("GET /cb?xcode=a&state=b HTTP/1.1\r\n{host}"), Status::BadRequest),
            (format!("GET /cb?code=a&state=b\r\n{host}"), Status::BadRequest),
            (format!("GET /cb?code=é&state=b HTTP/1.1\r\n{host}"), Status::BadRequest),
            (format!("GET /cb?code=a&state=b HTTP/2\r\n{host}"), Status::BadRequest),
            (format!("GET /cb?code=a&state=b HTTP/1.1\r\nHost: a\r\n{host}"), Status::BadRequest),
            ("GET /cb?code=a&state=b HTTP/1.1\r\n\r\n".to_owned(), Status::BadRequest),
            (
                "GET /cb?code=a&state=b HTTP/1.1\r\nHost: rebound.example:8080\r\n\r\n".to_owned(),
                Status::MisdirectedRequest,
            ),
            ("GET /cb?code=a&state=b HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), Status::MisdirectedRequest),
            ("\u{16}\u{3}\u{1}".to_owned(), Status::BadRequest),
        ] {
            assert_eq!(status(&head), Some(refused), "{head:?}");
        }
    }

    #[test]
    fn pages_are_escaped_and_carry_their_headers() {
        let page = Page::new(Status::BadRequest, "<b>", vec!["a & \"b\"\u{7}<script>'".to_owned()]);
        let text = String::from_utf8(page.to_http()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        for header in [
            "Cache-Control: no-store",
            "Referrer-Policy: no-referrer",
            "Content-Security-Policy: default-src 'none'",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ] {
            assert!(head.lines().any(|line| line == header), "{header}");
        }
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(body.contains("<h1>&lt;b&gt;</h1>"));
        assert!(body.contains("<p>a &amp; &quot;b&quot; &lt;script&gt;&#39;</p>"));
    }
}
