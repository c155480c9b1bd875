//! Checks of single values that a caller gives. Each names the field at fault.

use std::collections::BTreeMap;

use frankd_proto::{Kind, SecretInput};
use jiff::Timestamp;
use url::{Host, Url};

use super::secrets::is_bare_name;
use crate::domain::{SecretSource, StoredSecret};

/// A value is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The kind of error that the caller gets.
    pub kind: Kind,
    /// The field, as a dotted path.
    pub field: String,
    /// What is wrong with it, in one sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Invalid {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { kind: Kind::ObjectInvalid, field: field.to_owned(), message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Names that frankd sets itself in an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect).
const RESERVED_AUTHORIZATION: &[&str] = &[
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Names that frankd sets itself in a token request (RFC 6749 §4.1.3, §4.4.2, §6, RFC 7521 §4).
const RESERVED_TOKEN: &[&str] = &[
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "scope",
    "username",
];

/// Names that frankd sets itself in a revocation request (RFC 7009 §2.1).
const RESERVED_REVOCATION: &[&str] =
    &["client_assertion", "client_assertion_type", "client_id", "client_secret", "token", "token_type_hint"];

/// A URL that a secret may go to: https, or http to loopback; no user, password or fragment, and no parameter of frankd's
/// own in its query (RFC 6749 §3.1 and §3.2: the query stays, and a parameter is sent once).
pub(super) fn endpoint(field: &str, text: &str) -> Result<(), Invalid> {
    if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        let message = format!("{field} must be a URL of visible ASCII characters, without white space or line ends");
        return Err(Invalid::new(field, message));
    }
    let url = Url::parse(text).map_err(|error| Invalid::new(field, format!("{field} is not a URL: {error}")))?;
    let secure = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    if !secure {
        return Err(Invalid::new(field, format!("{field} must be https, or http to a loopback address")));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(Invalid::new(field, format!("{field} must have no user, password or fragment")));
    }
    let reserved = match field {
        "authorization_endpoint" => RESERVED_AUTHORIZATION,
        "revocation_endpoint" => RESERVED_REVOCATION,
        _ => RESERVED_TOKEN,
    };
    match url.query_pairs().find(|(name, _)| reserved.contains(&name.as_ref())) {
        Some((name, _)) => Err(Invalid::new(
            field,
            format!("{field} must not have {name} in its query: frankd sets it itself, and a request carries it once"),
        )),
        None => Ok(()),
    }
}

/// A secret that people give as one line. One by reference is looked at when it is read.
pub(super) fn one_line(field: &str, secret: Option<&StoredSecret>) -> Result<(), Invalid> {
    match secret.map(|secret| &secret.source) {
        Some(SecretSource::Value(value)) if !value.is_one_line() => {
            Err(Invalid::new(field, format!("{field} must be one line without control characters")))
        }
        _ => Ok(()),
    }
}

/// A loopback redirect URI with `{port}` in the place of the port (RFC 8252 §7.3).
pub(super) fn redirect_template(text: &str) -> Result<(), Invalid> {
    let field = "redirect_uri";
    let wrong = || {
        Invalid::new(
            field,
            "redirect_uri must be http to 127.0.0.1, localhost or [::1] with {port} as its port, such as http://127.0.0.1:{port}/",
        )
    };
    if text.matches("{port}").count() != 1 || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(wrong());
    }
    let url = Url::parse(&text.replace("{port}", "54321")).map_err(|_| wrong())?;
    let good = url.scheme() == "http"
        && is_loopback(&url)
        && url.port() == Some(54321)
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if good { Ok(()) } else { Err(wrong()) }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Scheme, host and port: where a secret goes.
pub fn origin(text: &str) -> Option<url::Origin> {
    Url::parse(text).ok().map(|url| url.origin())
}

/// Scopes of the charset of RFC 6749 §3.3.
pub(super) fn scopes(field: &str, scopes: &[String]) -> Result<(), Invalid> {
    for (position, scope) in scopes.iter().enumerate() {
        let good = !scope.is_empty() && scope.bytes().all(|c| matches!(c, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if !good {
            return Err(Invalid::new(
                &format!("{field}[{position}]"),
                "a scope has visible ASCII characters without space, quote and backslash; give several as a list",
            ));
        }
    }
    Ok(())
}

/// Extra parameters of an authorization request.
pub(super) fn authorization_params(params: &BTreeMap<String, String>) -> Result<(), Invalid> {
    extra_params("authorization_params", params, RESERVED_AUTHORIZATION)
}

/// Extra parameters of a token request.
pub(super) fn token_params(params: &BTreeMap<String, String>) -> Result<(), Invalid> {
    extra_params("token_params", params, RESERVED_TOKEN)
}

fn extra_params(field: &str, params: &BTreeMap<String, String>, reserved: &[&str]) -> Result<(), Invalid> {
    for (name, value) in params {
        if reserved.contains(&name.as_str()) {
            return Err(Invalid::new(
                &format!("{field}.{name}"),
                format!("{name} is set by frankd itself; a request must not carry it twice"),
            ));
        }
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_graphic()) || value.chars().any(char::is_control) {
            return Err(Invalid::new(
                field,
                "parameters have visible ASCII names and values without control characters",
            ));
        }
    }
    Ok(())
}

/// Text without control characters, so that it can stand in a header, a SASL string and a log line.
pub(super) fn plain_text(field: &str, text: &str, longest: usize) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) {
        return Err(Invalid::new(field, format!("{field} must have 1 to {longest} octets and no control characters")));
    }
    Ok(())
}

/// A number within its bounds.
pub(super) fn within(field: &str, value: u32, least: u32, most: u32) -> Result<u32, Invalid> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("{field} must be from {least} to {most}")))
    }
}

/// PEM certificates, at least one.
pub(super) fn ca_bundle(field: &str, pem: &str) -> Result<(), Invalid> {
    crate::tls::certificates(pem).map(drop).map_err(|error| Invalid::new(field, error.to_string()))
}

/// A secret as given: exactly one of its forms, and what can be seen of it is in order.
pub(super) fn secret(field: &str, input: SecretInput, now: Timestamp) -> Result<StoredSecret, Invalid> {
    let SecretInput { value, credential, file, expires_at } = input;
    let source = match (value, credential, file) {
        (Some(value), None, None) => {
            if value.is_empty() || value.len() > 16 * 1024 {
                return Err(Invalid::new(field, "a secret has 1 to 16,384 octets"));
            }
            SecretSource::Value(value)
        }
        (None, Some(name), None) if is_bare_name(&name) => SecretSource::Credential(name),
        (None, None, Some(name)) if is_bare_name(&name) => SecretSource::File(name),
        (None, Some(_), None) | (None, None, Some(_)) => {
            return Err(Invalid::new(field, "a secret by reference is one bare file name, without a path"));
        }
        _ => {
            return Err(Invalid::new(field, "a secret is given as exactly one of value, credential and file"));
        }
    };
    Ok(StoredSecret { source, updated_at: now, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_only_to_https_or_loopback() {
        for good in
            ["https://login.example/token", "http://127.0.0.1:8080/token", "http://localhost/t", "http://[::1]:1/t"]
        {
            assert_eq!(endpoint("token_endpoint", good), Ok(()), "{good}");
        }
        for bad in [
            "http://login.example/token",
            "ftp://localhost/",
            "https://u:p@h/",
            "https://h/#f",
            "token",
            "http://127.0.0.1.example/",
            "https://h/\r\ntok",
            "https://h/\ttok",
            " https://h/",
            "https://h/ ",
            "https://h/\u{7f}",
            "https://h/?client_id=evil",
            "https://h/?tenant=1&gr%61nt_type=password",
        ] {
            assert!(endpoint("token_endpoint", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_stays_but_for_what_frankd_says_itself() {
        for (field, good, bad) in [
            ("authorization_endpoint", "token=1&hd=x", "state=fixed"),
            ("authorization_endpoint", "p=signin", "redirect_uri=https://evil.example"),
            ("token_endpoint", "p=signin", "refresh_token=x"),
            ("revocation_endpoint", "state=1", "token=x"),
            ("mtls_token_endpoint", "p=signin", "client_assertion=x"),
        ] {
            assert_eq!(endpoint(field, &format!("https://h/?{good}")), Ok(()), "{field}?{good}");
            let Err(error) = endpoint(field, &format!("https://h/?{bad}")) else { panic!("{field}?{bad}") };
            assert_eq!(error.field, field);
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_refused() {
        for bad in ["AAAA", "", "MAo="] {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{bad}\n-----END CERTIFICATE-----\n");
            assert_eq!(ca_bundle("smtp.ca_bundle", &pem).unwrap_err().field, "smtp.ca_bundle", "{bad:?}");
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        assert_eq!(ca_bundle("ca_bundle", &ca), Ok(()));
    }

    #[test]
    fn a_redirect_is_loopback_with_a_port_to_fill_in() {
        for good in ["http://127.0.0.1:{port}/", "http://localhost:{port}/callback", "http://[::1]:{port}/"] {
            assert_eq!(redirect_template(good), Ok(()), "{good}");
        }
        for bad in [
            "http://127.0.0.1/",
            "https://127.0.0.1:{port}/",
            "http://example.org:{port}/",
            "http://127.0.0.1:80/{port}",
            "http://127.0.0.1:{port}/?a=b",
            "http://127.0.0.1:{port}/\r\n",
            " http://127.0.0.1:{port}/",
        ] {
            assert!(redirect_template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reserved_parameters_are_refused_by_name() {
        let params = BTreeMap::from([("grant_type".to_owned(), "password".to_owned())]);
        let Err(error) = token_params(&params) else { panic!("accepted") };
        assert_eq!(error.field, "token_params.grant_type");
        assert_eq!(authorization_params(&BTreeMap::from([("prompt".to_owned(), "consent".to_owned())])), Ok(()));
    }
}
