//! Logins: every mechanism, in both forms, accepted and refused in each way.

use super::*;

fn bearer(token: &str) -> String {
    let text = format!("n,a=a@sandbox.test,\u{1}host=mail\u{1}port=587\u{1}auth=Bearer {token}\u{1}\u{1}");
    STANDARD.encode(text)
}

fn plain(password: &str) -> String {
    STANDARD.encode(format!("\0a@sandbox.test\0{password}"))
}

#[tokio::test(start_paused = true)]
async fn every_mechanism_lets_in_with_and_without_an_initial_response() {
    let server = server(behaviour());
    for (mechanism, response) in [("XOAUTH2", xoauth2("good")), ("OAUTHBEARER", bearer("good")), ("PLAIN", plain("pw"))]
    {
        let mut wire = greeted(&server).await;
        assert!(wire.ask(&format!("AUTH {mechanism} {response}")).await.starts_with("235 "), "{mechanism}");
        let mut wire = greeted(&server).await;
        assert_eq!(wire.ask(&format!("AUTH {mechanism}")).await, "334", "{mechanism}");
        assert!(wire.ask(&response).await.starts_with("235 "), "{mechanism}");
    }
    let mut wire = greeted(&server).await;
    assert_eq!(wire.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6");
    assert_eq!(wire.ask(&STANDARD.encode("a@sandbox.test")).await, "334 UGFzc3dvcmQ6");
    assert!(wire.ask(&STANDARD.encode("pw")).await.starts_with("235 "));
    let mut wire = greeted(&server).await;
    let named = format!("AUTH LOGIN {}", STANDARD.encode("a@sandbox.test"));
    assert_eq!(wire.ask(&named).await, "334 UGFzc3dvcmQ6");
    assert!(wire.ask(&STANDARD.encode("pw")).await.starts_with("235 "));
    let logins = server.logins();
    assert_eq!(logins.len(), 8);
    assert!(logins.iter().all(|login| login.accepted && login.user == "a@sandbox.test"));
    let forms: Vec<bool> = logins.iter().map(|login| login.initial_response).collect();
    assert_eq!(forms, [true, false, true, false, true, false, false, true]);
    assert_eq!(server.offences(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_told_by_challenge_and_then_by_535() {
    let server = server(behaviour());
    let mut wire = greeted(&server).await;
    let challenge = wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("bad"))).await;
    let told = STANDARD.decode(challenge.strip_prefix("334 ").unwrap()).unwrap();
    assert_eq!(told, br#"{"status":"401","schemes":"bearer","scope":"smtp.send"}"#);
    assert_eq!(wire.ask("").await, "535 5.7.8 Authentication failed");
    assert!(wire.ask(&format!("AUTH OAUTHBEARER {}", bearer("bad"))).await.starts_with("334 "));
    assert_eq!(wire.ask("AQ==").await, "535 5.7.8 Authentication failed");
    assert_eq!(server.offences(), Vec::<String>::new());
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("bad"))).await.starts_with("334 "));
    assert!(wire.ask(&xoauth2("bad")).await.starts_with("535 "), "sending the token again is wrong");
    assert_eq!(server.offences(), ["the answer to the XOAUTH2 error challenge is wrong"]);
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good"))).await.starts_with("235 "));
}

#[tokio::test(start_paused = true)]
async fn the_real_servers_refuse_in_their_own_words() {
    let check = behaviour().token_check;
    let open = |behaviour: Behaviour| {
        let auth_before_tls = behaviour.auth_over_tls.clone();
        server(Behaviour { auth_before_tls, token_check: Arc::clone(&check), ..behaviour })
    };
    let mut wire = greeted(&open(Behaviour::microsoft())).await;
    let reply = wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("bad"))).await;
    assert_eq!(reply, "535 5.7.3 Authentication unsuccessful [sandbox]");
    assert!(wire.ask(&format!("AUTH OAUTHBEARER {}", bearer("good"))).await.starts_with("504 "));
    let mut wire = greeted(&open(Behaviour::google())).await;
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("bad"))).await.starts_with("334 "));
    let reply = wire.ask("").await;
    assert!(reply.starts_with("535-5.7.8 Username") && reply.contains("|535 5.7.8  https://"), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn the_check_decides_the_reply() {
    let server = server(behaviour());
    let mut wire = greeted(&server).await;
    for (token, reply) in
        [("short", "501 5.5.127 Token will expire soon"), ("broken", "454 4.7.0 Temporary authentication failure")]
    {
        assert_eq!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2(token))).await, reply);
    }
    let reply = wire.ask(&format!("AUTH PLAIN {}", plain("wrong"))).await;
    assert_eq!(reply, "535 5.7.8 Authentication credentials invalid");
}

#[tokio::test(start_paused = true)]
async fn a_long_token_fits_only_behind_the_334() {
    let dovecot = Behaviour::dovecot();
    let limits =
        Behaviour { auth_line_limit: dovecot.auth_line_limit, response_limit: dovecot.response_limit, ..behaviour() };
    let server = server(limits);
    let mut wire = greeted(&server).await;
    let fits = "x".repeat(1031 - "AUTH XOAUTH2 \r\n".len());
    assert!(!wire.ask(&format!("AUTH XOAUTH2 {fits}")).await.starts_with("500"));
    assert_eq!(wire.ask(&format!("AUTH XOAUTH2 x{fits}")).await, "500 5.5.2 Line too long");
    assert_eq!(wire.ask("AUTH XOAUTH2").await, "334");
    let long = "y".repeat(4000);
    assert!(wire.ask(&xoauth2(&long)).await.starts_with("334 "), "read, and refused as a token");
    assert!(wire.ask("").await.starts_with("535 "));
    assert_eq!(wire.ask("AUTH XOAUTH2").await, "334");
    assert_eq!(wire.ask(&"z".repeat(8189)).await, "500 5.5.2 Line too long");
}

#[tokio::test(start_paused = true)]
async fn broken_exchanges_are_refused() {
    let server = server(behaviour());
    let mut wire = greeted(&server).await;
    assert_eq!(wire.ask("AUTH XOAUTH2 !!!").await, "501 5.5.2 Invalid base64");
    assert_eq!(
        wire.ask(&format!("AUTH XOAUTH2 {}", STANDARD.encode("nonsense"))).await,
        "501 5.5.2 Malformed credentials"
    );
    assert_eq!(wire.ask("AUTH XOAUTH2").await, "334");
    assert_eq!(wire.ask("*").await, "501 5.7.0 Authentication cancelled");
    assert!(wire.ask("AUTH GSSAPI").await.starts_with("504 "));
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good"))).await.starts_with("235 "));
    assert!(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good"))).await.starts_with("503 "));
    let mut wire = connect(&server, Start::Plain);
    wire.reply().await;
    assert!(wire.ask("AUTH XOAUTH2").await.starts_with("503 "), "EHLO comes first");
}

#[tokio::test(start_paused = true)]
async fn logins_can_fail_by_number_and_by_rule() {
    let server = server(behaviour());
    server.misbehave(Rule::once(Phase::Login, Fault::reply("454 4.7.0 Too many login attempts")).after(2));
    server
        .misbehave(Rule::once(Phase::Login, Fault::reply("535-5.7.3 Authentication\n535 5.7.3 unsuccessful")).after(3));
    server.misbehave(Rule::once(Phase::Login, Fault::refuse_token()).after(4));
    let mut replies = Vec::new();
    for _ in 0..6 {
        let mut wire = greeted(&server).await;
        replies.push(wire.ask(&format!("AUTH XOAUTH2 {}", xoauth2("good"))).await);
    }
    assert_eq!(replies[2], "454 4.7.0 Too many login attempts");
    assert_eq!(replies[3], "535-5.7.3 Authentication|535 5.7.3 unsuccessful");
    assert!(replies[4].starts_with("334 "));
    assert!([0, 1, 5].iter().all(|at| replies[*at].starts_with("235 ")), "{replies:?}");
    let accepted: Vec<bool> = server.logins().iter().map(|login| login.accepted).collect();
    assert_eq!(accepted, [true, true, false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_user_and_connections_are_limited() {
    let server = server(Behaviour { max_sessions_per_user: Some(2), max_connections: Some(3), ..behaviour() });
    let first = logged_in(&server).await;
    let _second = logged_in(&server).await;
    let mut third = greeted(&server).await;
    let login = format!("AUTH XOAUTH2 {}", xoauth2("good"));
    assert_eq!(third.ask(&login).await, "432 4.3.2 Concurrent connections limit exceeded");
    let mut fourth = connect(&server, Start::Plain);
    assert_eq!(fourth.reply().await, "421 4.7.0 Too many connections, try again later");
    assert_eq!(fourth.reply().await, "");
    drop(first);
    tokio::task::yield_now().await;
    assert!(third.ask(&login).await.starts_with("235 "));
    assert_eq!((server.connections(), server.open_connections(), server.max_concurrent()), (4, 2, 4));
}

#[tokio::test(start_paused = true)]
async fn ehlo_can_forget_the_login() {
    let server = server(Behaviour { ehlo_forgets_login: true, ..behaviour() });
    let mut wire = logged_in(&server).await;
    assert!(wire.ask("EHLO again").await.starts_with("250-"));
    assert!(wire.ask("MAIL FROM:<a@sandbox.test>").await.starts_with("530 5.7.57"));
}
