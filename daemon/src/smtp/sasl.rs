//! AUTH (RFC 4954): XOAUTH2, PLAIN (RFC 4616) and LOGIN.
//!
//! Invariants: a token is never offered to a password mechanism, nor a password to XOAUTH2; credentials with octets that
//! could change the exchange are refused before anything is sent; a challenge is answered and the final reply read, so
//! that the connection stays in step.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use frankd_proto::Secret;

use super::ehlo::Capabilities;
use super::reply::Reply;
use super::wire::{Wire, limit};
use crate::domain::delivery::{Login, Trouble};

/// Longest command line with its end (RFC 5321 §4.5.3.1.4). Some servers read no more, whatever RFC 4954 §4 says, so a
/// longer initial response goes on a line of its own.
const COMMAND: usize = 512;

/// Logs in, and gives the mechanism that did it; none with [`Login::Anonymous`].
pub(super) async fn log_in(
    wire: &mut Wire,
    server: &Capabilities,
    login: &Login,
) -> Result<Option<&'static str>, Trouble> {
    let mechanism = match login {
        Login::Anonymous => return Ok(None),
        Login::Token { username, token } => {
            require(server, &["XOAUTH2"])?;
            check(username, "user name", |octet| octet < 0x20 || octet == 0x7f)?;
            check(token.expose(), "access token", |octet| !(0x20..0x7f).contains(&octet))?;
            xoauth2(wire, username, token).await?;
            "XOAUTH2"
        }
        Login::Password { username, password } => {
            let mechanism = require(server, &["PLAIN", "LOGIN"])?;
            check(username, "user name", |octet| octet < 0x20 || octet == 0x7f)?;
            check(password.expose(), "password", |octet| octet == 0)?;
            wire.redactor.learn(password.expose());
            if mechanism == "PLAIN" {
                plain(wire, username, password).await?;
            } else {
                login_prompts(wire, username, password).await?;
            }
            mechanism
        }
    };
    Ok(Some(mechanism))
}

fn require(server: &Capabilities, wanted: &[&'static str]) -> Result<&'static str, Trouble> {
    wanted.iter().find(|mechanism| server.offers(mechanism)).copied().ok_or_else(|| {
        let offered = if server.auth.is_empty() {
            "no AUTH at all".to_owned()
        } else {
            format!("AUTH {}", server.auth.join(" "))
        };
        Trouble::Lacking(format!("the server offers {offered}, not {}", wanted.join(" or ")))
    })
}

fn check(text: &str, what: &str, forbidden: impl Fn(u8) -> bool) -> Result<(), Trouble> {
    if text.is_empty() || text.bytes().any(forbidden) {
        return Err(Trouble::Lacking(format!("the {what} is empty or has characters that AUTH cannot carry")));
    }
    Ok(())
}

async fn xoauth2(wire: &mut Wire, username: &str, token: &Secret) -> Result<(), Trouble> {
    let response = format!("user={username}\x01auth=Bearer {}\x01\x01", token.expose());
    let response = Secret::new(BASE64.encode(response));
    wire.redactor.learn(token.expose());
    wire.redactor.learn(response.expose());
    let reply = first_response(wire, "XOAUTH2", &response).await?;
    if reply.class() != 3 {
        return finish(&reply);
    }
    // The challenge says why, and wants an empty answer before the refusal comes.
    let challenge = explain(wire, &reply);
    let reply = wire.ask("", limit::LOGIN).await?;
    match finish(&reply) {
        Err(Trouble::Reply(reply)) => Err(Trouble::Challenged { reply, challenge }),
        end => end,
    }
}

async fn plain(wire: &mut Wire, username: &str, password: &Secret) -> Result<(), Trouble> {
    let response = Secret::new(BASE64.encode(format!("\0{username}\0{}", password.expose())));
    wire.redactor.learn(response.expose());
    let reply = first_response(wire, "PLAIN", &response).await?;
    finish(&reply)
}

async fn login_prompts(wire: &mut Wire, username: &str, password: &Secret) -> Result<(), Trouble> {
    let reply = wire.ask("AUTH LOGIN", limit::LOGIN).await?;
    if reply.class() != 3 {
        return finish(&reply);
    }
    let name = BASE64.encode(username);
    let shown = format!("[user name, {} octets]", name.len());
    wire.secret_command(&name, &shown);
    wire.flush(limit::LOGIN).await?;
    let reply = wire.reply(limit::LOGIN).await?;
    if reply.class() != 3 {
        return finish(&reply);
    }
    let response = Secret::new(BASE64.encode(password.expose()));
    wire.redactor.learn(response.expose());
    let reply = respond(wire, &response).await?;
    finish(&reply)
}

/// Sends the initial response: with AUTH if the line is short enough, else after the server's prompt.
async fn first_response(wire: &mut Wire, mechanism: &str, response: &Secret) -> Result<Reply, Trouble> {
    let line = Secret::new(format!("AUTH {mechanism} {}", response.expose()));
    if line.len() + 2 <= COMMAND {
        let shown = format!("AUTH {mechanism} [{} octets]", response.len());
        wire.secret_command(line.expose(), &shown);
        wire.flush(limit::LOGIN).await?;
        return wire.reply(limit::LOGIN).await;
    }
    let reply = wire.ask(&format!("AUTH {mechanism}"), limit::LOGIN).await?;
    if reply.class() != 3 {
        return Ok(reply);
    }
    respond(wire, response).await
}

async fn respond(wire: &mut Wire, response: &Secret) -> Result<Reply, Trouble> {
    wire.secret_command(response.expose(), &format!("[{} octets]", response.len()));
    wire.flush(limit::LOGIN).await?;
    wire.reply(limit::LOGIN).await
}

fn finish(reply: &Reply) -> Result<(), Trouble> {
    match reply.class() {
        2 => Ok(()),
        3 => Err(Trouble::Protocol("the server went on asking after the last answer of AUTH".to_owned())),
        _ => Err(Trouble::Reply(reply.to_smtp())),
    }
}

/// What the JSON of a challenge says (RFC 7628 §3.2.2), in the fields that are known and cannot be a secret.
fn explain(wire: &mut Wire, reply: &Reply) -> String {
    let json = reply
        .lines
        .first()
        .and_then(|line| BASE64.decode(line.trim()).ok())
        .and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    let Some(json) = json else {
        return String::new();
    };
    let fields = ["status", "schemes", "scope", "openid-configuration"].iter().filter_map(|field| {
        let value = json.get(field)?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value: String = value.chars().filter(|c| !c.is_control()).take(200).collect();
        Some(format!("{field}={}", wire.redactor.clean(value)))
    });
    let said = fields.collect::<Vec<_>>().join(", ");
    wire.transcript.note(&format!("the challenge says {said}"));
    said
}
