//! AUTH: the mechanisms, their refusals, and where credentials never go.

use frankd_proto::{Secret, TlsMode};

use super::script::{Stage, password, token};
use crate::domain::delivery::{Login, Stage as At, Trouble};

fn server(auth: &str, then: &[&str]) -> String {
    let hello = ["S: 220 mx", "C: EHLO client.example", "S: 250-mx"];
    format!("{}\nS: 250 {auth}\n{}", hello.join("\n"), then.join("\n"))
}

async fn refused(stage: &Stage, login: Login) -> Trouble {
    let failure = stage.open(login).await.expect_err("the login worked");
    assert_eq!(failure.fault.stage, At::Auth);
    failure.fault.trouble
}

/// `{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`
const CHALLENGE: &str =
    "S: 334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==";

#[tokio::test(start_paused = true)]
async fn a_challenge_is_read_answered_and_followed_by_the_refusal() {
    for (octets, exchange) in [
        (12, &["C: AUTH XOAUTH2 *", CHALLENGE][..]),
        (2000, &["C: AUTH XOAUTH2", "S: 334 ", "C: dXNlcj1yZWxheUB4*", CHALLENGE]),
    ] {
        let refusal = ["C: ", "S: 535-5.7.8 Username and Password not accepted.", "S: 535 5.7.8 see x"];
        let stage = Stage::new(&[&server("AUTH XOAUTH2", &[exchange, &refusal].concat())]);
        let Trouble::Challenged { reply, challenge } = refused(&stage, token(octets)).await else {
            panic!("another trouble");
        };
        assert_eq!((reply.code, reply.enhanced.as_deref()), (535, Some("5.7.8")));
        assert_eq!(reply.text, "Username and Password not accepted. see x");
        assert_eq!(challenge, "status=400, schemes=Bearer, scope=https://mail.google.com/");
        assert_eq!(stage.heard().await.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_is_not_json_is_answered_too() {
    for odd in ["S: 334 ", "S: 334", "S: 334 ***", "S: 334 bm90IGpzb24="] {
        let stage = Stage::new(&[&server("AUTH XOAUTH2", &["C: AUTH XOAUTH2 *", odd, "C: ", "S: 535 no"])]);
        let Trouble::Challenged { challenge, .. } = refused(&stage, token(12)).await else {
            panic!("another trouble");
        };
        assert_eq!(challenge, "", "{odd}");
    }
    let stage = Stage::new(&[&server("AUTH XOAUTH2", &["C: AUTH XOAUTH2 *", "S: 334", "C: ", "S: 334"])]);
    assert!(matches!(refused(&stage, token(12)).await, Trouble::Protocol(_)));
}

#[tokio::test(start_paused = true)]
async fn a_direct_refusal_keeps_the_servers_words() {
    for (says, code, enhanced) in [
        ("535 5.7.3 Authentication unsuccessful [AM0PR01.EURPRD.PROD.OUTLOOK.COM]", 535, Some("5.7.3")),
        ("454 4.7.0 Temporary authentication failure", 454, Some("4.7.0")),
        ("501 5.5.127 Token will expire soon", 501, Some("5.5.127")),
        ("535", 535, None),
        ("500 5.5.2 Line too long", 500, Some("5.5.2")),
    ] {
        let stage = Stage::new(&[&server("AUTH XOAUTH2", &["C: AUTH XOAUTH2 *", &format!("S: {says}")])]);
        let Trouble::Reply(reply) = refused(&stage, token(12)).await else {
            panic!("another trouble");
        };
        assert_eq!((reply.code, reply.enhanced.as_deref()), (code, enhanced));
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_token_goes_on_a_line_of_its_own() {
    // 466 octets of base64 fit beside "AUTH XOAUTH2 ", the rest does not.
    for (octets, two_steps) in [(300, false), (340, true), (2000, true), (8000, true)] {
        let exchange = if two_steps {
            vec!["C: AUTH XOAUTH2", "S: 334", "C: dXNlcj1yZWxheUB4*", "S: 235 ok"]
        } else {
            vec!["C: AUTH XOAUTH2 dXNlcj1yZWxheUB4*", "S: 235 ok"]
        };
        let stage = Stage::new(&[&server("AUTH XOAUTH2", &exchange)]);
        let session = stage.open(token(octets)).await.unwrap();
        let transcript = session.transcript().join("\n");
        assert!(!transcript.contains("dXNlcj1"), "{transcript}");
        drop(session);
        let heard = stage.heard().await;
        assert!(two_steps || heard.lines[1].len() + 2 <= 512);
        let response = heard.lines.last().unwrap().rsplit(' ').next().unwrap().len();
        assert_eq!(response, (35 + octets).div_ceil(3) * 4, "the whole token went out");
    }
}

#[tokio::test(start_paused = true)]
async fn passwords_go_by_plain_and_else_by_login() {
    let plain = ["C: AUTH PLAIN AHJlbGF5AGh1bnRlcjIhaHVudGVyMiE=", "S: 235 ok"];
    let login = [
        "C: AUTH LOGIN",
        "S: 334 VXNlcm5hbWU6",
        "C: cmVsYXk=",
        "S: 334 UGFzc3dvcmQ6",
        "C: aHVudGVyMiFodW50ZXIyIQ==",
        "S: 235 ok",
    ];
    for (offer, exchange, mechanism) in [
        ("AUTH LOGIN PLAIN XOAUTH2", &plain[..], "PLAIN"),
        ("AUTH=PLAIN", &plain, "PLAIN"),
        ("auth login xoauth2", &login, "LOGIN"),
    ] {
        let stage = Stage::new(&[&server(offer, exchange)]);
        let session = stage.open(password()).await.unwrap();
        assert_eq!(session.facts().mechanism, Some(mechanism));
        let transcript = session.transcript().join("\n");
        for secret in ["hunter2", "cmVsYXk", "aHVudGVy", "AHJlbGF5"] {
            assert!(!transcript.contains(secret), "{transcript}");
        }
        drop(session);
        assert_eq!(stage.heard().await.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_password_is_told_at_each_prompt() {
    for exchange in [
        &["C: AUTH LOGIN", "S: 504 5.7.4 Unrecognized authentication type"][..],
        &["C: AUTH LOGIN", "S: 334", "C: cmVsYXk=", "S: 535 5.7.8 who?"],
        &["C: AUTH LOGIN", "S: 334", "C: cmVsYXk=", "S: 334", "C: aHVudGVy*", "S: 535 5.7.8 no"],
    ] {
        let stage = Stage::new(&[&server("AUTH LOGIN", exchange)]);
        assert!(matches!(refused(&stage, password()).await, Trouble::Reply(_)));
        assert_eq!(stage.heard().await.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_meets_only_a_mechanism_of_its_kind() {
    for (offer, login) in [
        ("AUTH PLAIN LOGIN", token(12)),
        ("AUTH XOAUTH2 OAUTHBEARER", password()),
        ("SIZE", token(12)),
        ("SIZE", password()),
    ] {
        let stage = Stage::new(&[&server(offer, &[])]);
        assert!(matches!(refused(&stage, login).await, Trouble::Lacking(_)));
        assert_eq!(stage.heard().await.rest, "", "nothing may follow EHLO");
    }
}

#[tokio::test(start_paused = true)]
async fn octets_that_could_change_the_exchange_are_refused() {
    let with = |username: &str, secret: &str, token: bool| {
        let (username, secret) = (username.to_owned(), Secret::new(secret));
        if token { Login::Token { username, token: secret } } else { Login::Password { username, password: secret } }
    };
    for login in [
        with("a\x01auth=Bearer x", "t", true),
        with("a", "t\r\nMAIL FROM:<>", true),
        with("a", "t\x01", true),
        with("", "t", true),
        with("a", "", true),
        with("a\0b", "p", false),
        with("a", "p\0q", false),
    ] {
        let stage = Stage::new(&[&server("AUTH PLAIN XOAUTH2", &[])]);
        assert!(matches!(refused(&stage, login).await, Trouble::Lacking(_)));
        assert_eq!(stage.heard().await.rest, "");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_do_not_go_out_in_plaintext() {
    let offer = server("AUTH PLAIN XOAUTH2", &["!hold"]);
    for login in [token(12), password()] {
        let mut stage = Stage::new(&[&offer]);
        stage.to.plaintext_on_loopback = false;
        assert!(matches!(refused(&stage, login.clone()).await, Trouble::Lacking(_)));

        let mut stage = Stage::new(&["S: 220 mx"]);
        stage.to.host = "192.0.2.1".to_owned();
        assert!(matches!(refused(&stage, login).await, Trouble::Lacking(_)));
        assert_eq!(stage.heard().await.rest, "", "not even EHLO");
    }
    let mut stage = Stage::new(&[&server("SIZE", &[])]);
    stage.to.host = "192.0.2.1".to_owned();
    stage.to.plaintext_on_loopback = false;
    assert!(stage.open(Login::Anonymous).await.is_ok(), "a relay without credentials is fine");
    assert_eq!(stage.to.tls, TlsMode::None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_quotes_the_credentials_is_not_repeated() {
    let Login::Token { token: secret, .. } = token(40) else {
        panic!("no token");
    };
    let quoted = format!("S: 501 what is {}? and dXNlcj1yZWxheUB4LmV4YW1w?", secret.expose());
    let stage = Stage::new(&[&server("AUTH XOAUTH2", &["C: AUTH XOAUTH2 *", &quoted])]);
    let failure = stage.open(token(40)).await.unwrap_err();
    let shown = format!("{failure:?}");
    assert!(shown.contains("what is [hidden]? and [hidden]?"), "{shown}");
    assert!(!shown.contains("t0ken") && !shown.contains("dXNl"), "{shown}");
}
