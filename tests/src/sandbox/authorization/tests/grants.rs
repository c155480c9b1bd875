//! Codes, refresh tokens by each rotation, revocation, id_tokens.

use std::time::Duration;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_gets_a_token_of_its_own_that_ends_when_it_said() {
    let server = server();
    server.set_access_token_life(Duration::from_secs(5));
    let (status, answer) = service_token(&server).await;
    assert_eq!((status, &answer["expires_in"], &answer["token_type"]), (200, &5.into(), &"Bearer".into()));
    assert_eq!((answer.get("refresh_token"), &answer["scope"]), (None, &"smtp.send".into()));
    let token = text(&answer, "access_token");
    let owner = server.registry().owner_of(&token).unwrap();
    assert_eq!((owner.mailbox.as_str(), owner.client_id.as_str()), ("svc@sandbox.test", "svc"));
    tokio::time::advance(Duration::from_millis(4999)).await;
    assert!(server.registry().owner_of(&token).is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(server.registry().owner_of(&token).is_none());
}

#[tokio::test(start_paused = true)]
async fn one_clock_and_one_seed_hand_out_the_same_tokens() {
    let [first, second] = [service_token(&server()).await, service_token(&server()).await];
    assert_eq!(first, second);
    let server = server();
    assert_ne!(service_token(&server).await, service_token(&server).await);
}

#[tokio::test(start_paused = true)]
async fn a_token_can_be_made_too_long_for_an_auth_line() {
    let server = server();
    server.update_client("svc", |client| client.access_token_length = 1500);
    let token = text(&service_token(&server).await.1, "access_token");
    assert_eq!(token.len(), 1500);
    assert!(server.registry().owner_of(&token).is_some());
}

/// Exchanges a fresh code with one field changed; the status and the error.
async fn exchanged_with(server: &AuthorizationServer, name: &str, value: &str) -> (u16, String) {
    let back = walk(server, "smtp.send", &Decision::Allow).await;
    let code = back.one("code").unwrap().to_owned();
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    for field in &mut fields {
        if field.0 == name {
            field.1 = value;
        }
    }
    let (status, answer) = token(server, ("web", "s3cret"), &fields).await;
    (status, text(&answer, "error"))
}

#[tokio::test(start_paused = true)]
async fn a_code_is_good_only_for_the_request_that_it_came_from() {
    let server = server();
    for (name, value, error) in [
        ("code", "code-unknown", "invalid_grant"),
        ("code", "", "invalid_request"),
        ("redirect_uri", "http://127.0.0.1:4712/callback", "invalid_grant"),
        ("redirect_uri", "", "invalid_grant"),
        ("code_verifier", "another-verifier-of-forty-three-characters-", "invalid_grant"),
        ("code_verifier", "", "invalid_grant"),
    ] {
        assert_eq!(exchanged_with(&server, name, value).await, (400, error.into()), "{name}={value}");
    }
    assert_eq!(exchanged_with(&server, "none", "").await, (200, String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_code_ends_and_a_second_use_kills_what_the_first_brought() {
    let server = server();
    let back = walk(&server, "smtp.send", &Decision::Allow).await;
    let code = back.one("code").unwrap();
    let (_, answer) = exchange(&server, code).await;
    assert!(server.registry().owner_of(&text(&answer, "access_token")).is_some());
    assert_eq!(exchange(&server, code).await.1["error"], "invalid_grant");
    assert_eq!(server.token_requests("web").pop().unwrap().remark, Some(Remark::CodeReused));
    assert!(server.registry().owner_of(&text(&answer, "access_token")).is_none());
    assert_eq!(refresh(&server, &text(&answer, "refresh_token")).await.0, 400);

    let back = walk(&server, "smtp.send", &Decision::Allow).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(exchange(&server, back.one("code").unwrap()).await.1["error"], "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn strict_rotation_kills_the_family_when_an_old_token_comes_back() {
    let server = server();
    let (_, first) = consent(&server).await;
    let (_, answer) = refresh(&server, &first).await;
    let (access, second) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
    assert_ne!(first, second);
    assert_eq!(refresh(&server, &first).await.1["error"], "invalid_grant");
    assert_eq!(server.token_requests("web").pop().unwrap().remark, Some(Remark::RefreshTokenReused));
    assert_eq!(refresh(&server, &second).await.0, 400);
    assert!(server.registry().owner_of(&access).is_none());
}

#[tokio::test(start_paused = true)]
async fn grace_forgives_for_a_while_and_then_kills() {
    let server = server();
    server.update_client("web", |client| {
        client.rotation = Rotation::Grace(Duration::from_secs(10));
    });
    let (_, first) = consent(&server).await;
    assert_eq!(refresh(&server, &first).await.0, 200);
    tokio::time::advance(Duration::from_secs(9)).await;
    let (status, answer) = refresh(&server, &first).await;
    assert_eq!(status, 200);
    assert_eq!(server.token_requests("web").pop().unwrap().remark, Some(Remark::GraceUsed));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(refresh(&server, &first).await.0, 400);
    assert_eq!(refresh(&server, &text(&answer, "refresh_token")).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn the_other_rotations_keep_every_token_good() {
    let server = server();
    server.update_client("web", |client| client.rotation = Rotation::KeepsOld);
    let (_, first) = consent(&server).await;
    let second = text(&refresh(&server, &first).await.1, "refresh_token");
    assert_ne!(second, first);
    for token in [&first, &second, &first] {
        assert_eq!(refresh(&server, token).await.0, 200);
    }
    server.update_client("web", |client| client.rotation = Rotation::None);
    let (_, only) = consent(&server).await;
    for _ in 0..3 {
        let (status, answer) = refresh(&server, &only).await;
        assert_eq!((status, answer.get("refresh_token")), (200, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_dies_of_idleness_and_of_another_client() {
    let server = server();
    server.add_client(Client::interactive("web2", "s3cret2"));
    server.update_client("web", |client| {
        client.refresh_token_idle = Some(Duration::from_secs(100));
    });
    let (_, token) = consent(&server).await;
    let stolen = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    assert_eq!(super::token(&server, ("web2", "s3cret2"), &stolen).await.0, 400);
    tokio::time::advance(Duration::from_secs(99)).await;
    let second = text(&refresh(&server, &token).await.1, "refresh_token");
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(refresh(&server, &second).await.1["error"], "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_may_narrow_the_scope_but_not_widen_it() {
    let server = server();
    server.update_client("web", |client| client.rotation = Rotation::None);
    let back = walk(&server, "smtp.send email", &Decision::Allow).await;
    let token = text(&exchange(&server, back.one("code").unwrap()).await.1, "refresh_token");
    for (scope, status) in [("email", 200), ("smtp.send email", 200), ("smtp.send openid", 400)] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
        assert_eq!(super::token(&server, ("web", "s3cret"), &fields).await.0, status, "{scope}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_comes_when_the_providers_rule_says_so() {
    for (rule, scope, extra, comes) in [
        (RefreshTokens::OfflineAccess, "smtp.send", "", false),
        (RefreshTokens::OfflineAccess, "smtp.send offline_access", "", true),
        (RefreshTokens::AccessType, "smtp.send offline_access", "", false),
        (RefreshTokens::AccessType, "smtp.send", "&access_type=offline", true),
        (RefreshTokens::Never, "smtp.send offline_access", "&access_type=offline", false),
    ] {
        let server = server();
        server.update_client("web", |client| client.refresh_tokens = rule);
        let url = format!("{}{extra}", authorize_url(&server, scope));
        let back = Browser::of(&server).grant(&url, "alice", "pw", &Decision::Allow).await.unwrap();
        let form = Form::parse(back.split_once('?').unwrap().1).unwrap();
        let (_, answer) = exchange(&server, form.one("code").unwrap()).await;
        assert_eq!(answer.get("refresh_token").is_some(), comes, "{rule:?} {scope} {extra}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_token_names_the_person_that_signed_in() {
    let server = server();
    let back = walk(&server, "smtp.send openid", &Decision::Allow).await;
    let (_, answer) = exchange(&server, back.one("code").unwrap()).await;
    let id_token = text(&answer, "id_token");
    let parts: Vec<&str> = id_token.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!((text(&claims, "email").as_str(), text(&claims, "aud").as_str()), ("alice@sandbox.test", "web"));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    assert!(ring::hmac::verify(&key, signed.as_bytes(), &signature).is_ok());
}

#[tokio::test(start_paused = true)]
async fn revocation_takes_back_what_is_the_clients_own() {
    let server = server();
    server.add_client(Client::interactive("web2", "s3cret2"));
    let (access, token) = consent(&server).await;
    let revoke = async |client: &str, secret: &str, token: &str| {
        let request = post("/revoke", Some(&basic(client, secret)), &[("token", token)]);
        server.answer(request).await.unwrap().status().as_u16()
    };
    assert_eq!(revoke("web", "wrong", &token).await, 401);
    assert_eq!(revoke("web2", "s3cret2", &token).await, 200);
    assert_eq!(revoke("web", "s3cret", "unknown").await, 200);
    assert!(server.registry().owner_of(&access).is_some());
    assert_eq!(revoke("web", "s3cret", &access).await, 200);
    assert!(server.registry().owner_of(&access).is_none());
    let (status, answer) = refresh(&server, &token).await;
    assert_eq!(status, 200);
    assert_eq!(revoke("web", "s3cret", &text(&answer, "refresh_token")).await, 200);
    assert!(server.registry().owner_of(&text(&answer, "access_token")).is_none());
    assert_eq!(refresh(&server, &text(&answer, "refresh_token")).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn an_administrator_can_end_tokens_or_the_consent() {
    let server = server();
    let (access, token) = consent(&server).await;
    server.registry().end_access("alice@sandbox.test");
    assert!(server.registry().owner_of(&access).is_none());
    let (status, answer) = refresh(&server, &token).await;
    assert_eq!(status, 200);
    server.registry().revoke_mailbox("alice@sandbox.test");
    assert_eq!(refresh(&server, &text(&answer, "refresh_token")).await.1["error"], "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn every_secret_is_listed_for_a_search_of_the_logs() {
    let server = server();
    let (access, token) = consent(&server).await;
    let secrets = server.secrets();
    for secret in [access.as_str(), &token, "s3cret", "svc-secret", "pw"] {
        assert!(secrets.iter().any(|known| known == secret), "{secret}");
    }
}
