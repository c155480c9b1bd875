//! AUTH (RFC 4954): PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER, with the response on the AUTH line or after a `334`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};

use super::behaviour::{Mechanism, TokenRefusal, Verdict};
use super::fault::{Act, Fault, Phase};
use super::mailbox::Login;
use super::reply::Reply;
use super::session::Session;
use super::wire::Over;

/// What a client showed.
struct Credentials {
    user: String,
    secret: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Carries an AUTH command out.
    pub(super) async fn auth(&mut self, argument: &str) -> Result<u16, Over> {
        let (name, initial) = argument.split_once(' ').map_or((argument, None), |(name, text)| (name, Some(text)));
        let mechanism = match self.acceptable_mechanism(name) {
            Ok(mechanism) => mechanism,
            Err(refusal) => return self.answer(Phase::Auth, None, |_| Reply::of(refusal)).await,
        };
        let first = if let Some(text) = initial {
            let fault = self.server.strikes(Phase::Auth);
            if fault.is_some() {
                return self.answer_struck(fault, |_| Reply::of("451 4.7.0 Not now")).await;
            }
            text.to_owned()
        } else {
            let prompt = if mechanism == Mechanism::Login { "334 VXNlcm5hbWU6" } else { "334 " };
            let code = self.answer(Phase::Auth, None, |_| Reply::of(prompt)).await?;
            if code != 334 {
                return Ok(code);
            }
            match self.response().await? {
                Ok(text) => text,
                Err(refusal) => return self.say(&Reply::of(refusal)).await,
            }
        };
        let credentials = match mechanism {
            Mechanism::Login => {
                self.say(&Reply::of("334 UGFzc3dvcmQ6")).await?;
                let second = self.response().await?;
                second.and_then(|second| login_credentials(&first, &second))
            }
            _ => decoded(&first).and_then(|text| credentials_of(mechanism, &text)),
        };
        match credentials {
            Ok(credentials) => self.log_in(mechanism, initial.is_some(), credentials).await,
            Err(refusal) => self.say(&Reply::of(refusal)).await,
        }
    }

    /// The mechanism if it may be used now, else the reply.
    fn acceptable_mechanism(&self, name: &str) -> Result<Mechanism, &'static str> {
        let behaviour = self.server.behaviour();
        if !self.greeted {
            return Err("503 5.5.1 Say EHLO first");
        }
        if self.login.is_some() {
            self.server.offence("AUTH after a login");
            return Err("503 5.5.1 Already authenticated");
        }
        if self.transaction.is_some() {
            self.server.offence("AUTH inside a mail transaction");
            return Err("503 5.5.1 Not inside a mail transaction");
        }
        let known = Mechanism::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
        let Some(mechanism) = known.filter(|known| self.mechanisms(&behaviour).contains(known)) else {
            self.server.offence(format!("AUTH {name} is not offered"));
            let over_tls = known.is_some_and(|known| behaviour.auth_over_tls.contains(&known));
            return Err(if over_tls && !self.wire.is_tls() {
                "530 5.7.0 Must issue a STARTTLS command first"
            } else {
                "504 5.7.4 Unrecognized authentication type"
            });
        };
        Ok(mechanism)
    }

    /// Reads the line after a `334`; the inner error is the reply to a line that is none.
    async fn response(&mut self) -> Result<Result<String, &'static str>, Over> {
        let line = self.wire.line().await?;
        let text = String::from_utf8_lossy(&line.octets).into_owned();
        self.note(&text);
        Ok(if line.length > self.server.behaviour().response_limit {
            Err("500 5.5.2 Line too long")
        } else if text == "*" {
            Err("501 5.7.0 Authentication cancelled")
        } else {
            Ok(text)
        })
    }

    async fn log_in(&mut self, mechanism: Mechanism, initial: bool, shown: Credentials) -> Result<u16, Over> {
        let behaviour = self.server.behaviour();
        let attempt = {
            let mut mailbox = self.server.mailbox();
            mailbox.logins.push(Login {
                at: self.server.0.now.read(),
                connection: self.number,
                mechanism,
                initial_response: initial,
                user: shown.user.clone(),
                secret: shown.secret.clone(),
                accepted: false,
            });
            mailbox.logins.len() - 1
        };
        let fault = self.server.strikes(Phase::Login);
        let bearer = matches!(mechanism, Mechanism::XOAuth2 | Mechanism::OAuthBearer);
        let verdict = if matches!(fault, Some(Fault(Act::RefuseToken))) {
            Verdict::Refused
        } else if bearer {
            (behaviour.token_check)(&shown.user, &shown.secret)
        } else if behaviour.passwords.contains(&(shown.user.clone(), shown.secret.clone())) {
            Verdict::Accepted
        } else {
            Verdict::Refused
        };
        let code = self
            .answer_struck(fault, |session| match verdict {
                Verdict::Accepted => session.let_in(attempt, shown.user),
                Verdict::ExpiresSoon => Reply::of("501 5.5.127 Token will expire soon"),
                Verdict::Unavailable => Reply::of("454 4.7.0 Temporary authentication failure"),
                Verdict::Refused if !bearer => Reply::of(&behaviour.password_refusal),
                Verdict::Refused => match &behaviour.token_refusal {
                    TokenRefusal::Direct(reply) => Reply::of(reply),
                    TokenRefusal::Challenge { json, .. } => Reply::of(format!("334 {}", STANDARD.encode(json))),
                },
            })
            .await?;
        if code == 334 { self.after_challenge(mechanism).await } else { Ok(code) }
    }

    /// Reads the client's answer to the error challenge, then refuses for good.
    async fn after_challenge(&mut self, mechanism: Mechanism) -> Result<u16, Over> {
        let line = self.wire.line().await?;
        let wanted: &[u8] = if mechanism == Mechanism::OAuthBearer { b"AQ==" } else { b"" };
        if line.octets != wanted {
            self.server.offence(format!("the answer to the {} error challenge is wrong", mechanism.name()));
        }
        let behaviour = self.server.behaviour();
        let (TokenRefusal::Direct(reply) | TokenRefusal::Challenge { reply, .. }) = &behaviour.token_refusal;
        self.say(&Reply::of(reply)).await
    }

    fn let_in(&mut self, attempt: usize, user: String) -> Reply {
        let most = self.server.behaviour().max_sessions_per_user;
        let mut mailbox = self.server.mailbox();
        if most.is_some_and(|most| mailbox.sessions_of(&user) >= most) {
            return Reply::of("432 4.3.2 Concurrent connections limit exceeded");
        }
        if let Some(login) = mailbox.logins.get_mut(attempt) {
            login.accepted = true;
        }
        mailbox.session(self.number, Some(&user));
        drop(mailbox);
        self.login = Some(user);
        Reply::of("235 2.7.0 Authentication successful")
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let text = if text == "=" { "" } else { text };
    let octets = STANDARD.decode(text).map_err(|_| "501 5.5.2 Invalid base64")?;
    String::from_utf8(octets).map_err(|_| "501 5.5.2 The credentials are not UTF-8")
}

fn login_credentials(user: &str, password: &str) -> Result<Credentials, &'static str> {
    Ok(Credentials { user: decoded(user)?, secret: decoded(password)? })
}

/// Takes a mechanism's message apart; what does not fit its grammar exactly is an error.
fn credentials_of(mechanism: Mechanism, text: &str) -> Result<Credentials, &'static str> {
    let parts = match mechanism {
        Mechanism::Plain => plain(text),
        Mechanism::XOAuth2 => xoauth2(text),
        Mechanism::OAuthBearer => oauthbearer(text),
        Mechanism::Login => None,
    };
    let well_formed =
        parts.filter(|shown| !shown.user.is_empty() && !shown.secret.contains(['\u{1}', '\r', '\n', '\0']));
    well_formed.ok_or("501 5.5.2 Malformed credentials")
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`.
fn plain(text: &str) -> Option<Credentials> {
    let parts: Vec<&str> = text.split('\0').collect();
    let [authorization, user, password] = parts[..] else {
        return None;
    };
    let own = authorization.is_empty() || authorization == user;
    own.then(|| Credentials { user: user.into(), secret: password.into() })
}

/// `user=U ^A auth=Bearer T ^A ^A`.
fn xoauth2(text: &str) -> Option<Credentials> {
    let (user, rest) = text.strip_prefix("user=")?.split_once('\u{1}')?;
    let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\u{1}\u{1}")?;
    Some(Credentials { user: user.into(), secret: token.into() })
}

/// RFC 7628 §3.1: `n,a=U, ^A key=value ^A … ^A`, the user name in GS2 escapes (RFC 5801 §4).
fn oauthbearer(text: &str) -> Option<Credentials> {
    let (header, pairs) = text.split_once('\u{1}')?;
    let user = header.strip_prefix("n,a=")?.strip_suffix(',')?;
    if user.contains(',') {
        return None;
    }
    let user = user.replace("=2C", ",").replace("=3D", "=");
    let pairs = pairs.strip_suffix("\u{1}\u{1}")?;
    let token = pairs.split('\u{1}').find_map(|pair| pair.strip_prefix("auth=Bearer "))?;
    Some(Credentials { user, secret: token.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_not_exact_are_refused() {
        let good: [(Mechanism, &str); 3] = [
            (Mechanism::Plain, "\0a@b\0tok"),
            (Mechanism::XOAuth2, "user=a@b\u{1}auth=Bearer tok\u{1}\u{1}"),
            (Mechanism::OAuthBearer, "n,a=a@b,\u{1}host=h\u{1}port=587\u{1}auth=Bearer tok\u{1}\u{1}"),
        ];
        for (mechanism, text) in good {
            let shown = credentials_of(mechanism, text).ok().unwrap();
            assert_eq!((shown.user.as_str(), shown.secret.as_str()), ("a@b", "tok"), "{mechanism:?}");
        }
        for (mechanism, text) in [
            (Mechanism::Plain, "a@b\0tok"),
            (Mechanism::Plain, "other\0a@b\0tok"),
            (Mechanism::XOAuth2, "user=a@b\u{1}auth=Bearer tok\u{1}"),
            (Mechanism::XOAuth2, "user=a@b\u{1}auth=bearer tok\u{1}\u{1}"),
            (Mechanism::XOAuth2, "user=a@b\u{1}auth=Bearer t\r\nok\u{1}\u{1}"),
            (Mechanism::XOAuth2, "user=a@b\u{1}auth=Bearer t\u{1}auth=Bearer u\u{1}\u{1}"),
            (Mechanism::OAuthBearer, "n,a=a,b,\u{1}auth=Bearer tok\u{1}\u{1}"),
            (Mechanism::OAuthBearer, "tok"),
        ] {
            assert!(credentials_of(mechanism, text).is_err(), "{mechanism:?} {text:?}");
        }
        let escaped = credentials_of(Mechanism::OAuthBearer, "n,a=a=2Cb=3D,\u{1}auth=Bearer tok\u{1}\u{1}");
        assert_eq!(escaped.ok().unwrap().user, "a,b=");
    }
}
