//! Misbehaviour: what is decided and what is not, when it is answered, and in which octets.

use std::io::ErrorKind;
use std::time::Duration;

use super::*;

async fn asked(server: &AuthorizationServer) -> std::io::Result<Response<Bytes>> {
    let request = post("/token", Some(&basic("svc", "svc-secret")), &[("grant_type", "client_credentials")]);
    server.answer(request).await
}

/// The answer to a token request that `fault` strikes.
async fn struck(fault: Fault) -> Response<Bytes> {
    let server = server();
    server.fail(Endpoint::Token, fault, 1);
    asked(&server).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_its_endpoint_so_often_and_in_its_turn() {
    let server = server();
    server.fail(Endpoint::Token, Fault::unavailable(), 2);
    server.fail(Endpoint::Token, Fault::too_many_requests(17), 1);
    server.fail(Endpoint::Revocation, Fault::unavailable(), 1);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(asked(&server).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 429, 200]);
    let faults: Vec<_> = server.token_requests("svc").iter().map(|entry| entry.fault).collect();
    assert_eq!(faults, [Some("unavailable"), Some("unavailable"), Some("too_many_requests"), None]);
    server.behave();
    let revoke = post("/revoke", Some(&basic("svc", "svc-secret")), &[("token", "x")]);
    assert_eq!(server.answer(revoke).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_has_rotated_the_token_and_a_reset_has_not() {
    let server = server();
    let (_, token) = consent(&server).await;
    let request = || {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        post("/token", Some(&basic("web", "s3cret")), &fields)
    };
    server.fail(Endpoint::Token, Fault::reset(), 1);
    assert_eq!(server.answer(request()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(!server.token_requests("web").pop().unwrap().granted);
    server.fail(Endpoint::Token, Fault::drop_response(), 1);
    assert_eq!(server.answer(request()).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let entry = server.token_requests("web").pop().unwrap();
    assert_eq!((entry.granted, entry.remark), (true, Some(Remark::Rotated)));
    let response = server.answer(request()).await.unwrap();
    assert_eq!(json(&response)["error"], "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn slow_decides_after_the_wait_and_late_before_it() {
    let server = server();
    let patience = Duration::from_secs(3);
    server.fail(Endpoint::Token, Fault::slow(Duration::from_secs(5)), 1);
    assert!(within(patience, asked(&server)).await.is_none());
    assert!(server.token_requests("svc").is_empty());
    server.fail(Endpoint::Token, Fault::late(Duration::from_secs(5)), 1);
    assert!(within(patience, asked(&server)).await.is_none());
    assert!(server.token_requests("svc").pop().unwrap().granted);
    server.fail(Endpoint::Token, Fault::late(Duration::from_secs(2)), 1);
    assert_eq!(within(patience, asked(&server)).await.unwrap().unwrap().status(), 200);
    server.fail(Endpoint::Token, Fault::hang(), 1);
    assert!(within(Duration::from_secs(86_400), asked(&server)).await.is_none());
    server.set_latency(Duration::from_secs(2));
    assert!(within(Duration::from_secs(1), asked(&server)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn overlaps_are_counted_by_client_and_end_with_the_caller() {
    let server = server();
    server.set_latency(Duration::from_secs(1));
    let (first, second) = tokio::join!(asked(&server), asked(&server));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!((server.max_concurrent(), server.max_concurrent_of("svc"), server.max_concurrent_of("web")), (2, 2, 0));

    let server = self::server();
    server.fail(Endpoint::Token, Fault::hang(), 1);
    assert!(within(Duration::from_secs(1), asked(&server)).await.is_none());
    asked(&server).await.unwrap();
    assert_eq!(server.max_concurrent(), 1, "a caller that left is not counted any more");
}

#[tokio::test(start_paused = true)]
async fn altered_answers_have_the_octets_that_they_promise() {
    let fields = |response: &Response<Bytes>| json(response);
    for (written, part) in [
        (struck(Fault::field("expires_in", json!("3600"))).await, r#""expires_in":"3600""#),
        (struck(Fault::field("expires_in", json!(3600.0))).await, r#""expires_in":3600.0"#),
        (struck(Fault::field("expires_in", json!(1e20))).await, r#""expires_in":1e+20"#),
        (struck(Fault::field("expires_in", Value::Null)).await, r#""expires_in":null"#),
        (struck(Fault::field("token_type", json!("bearer"))).await, r#""token_type":"bearer""#),
        (struck(Fault::scope_as_array()).await, r#""scope":["smtp.send"]"#),
        (struck(Fault::scope("email")).await, r#""scope":"email""#),
        (struck(Fault::field("access_token", json!("a\r\nb"))).await, r#""access_token":"a\r\nb""#),
    ] {
        let body = String::from_utf8(written.body().to_vec()).unwrap();
        assert!(body.contains(part), "{body}");
        assert_eq!(written.status(), 200);
    }
    assert!(fields(&struck(Fault::without("token_type")).await).get("token_type").is_none());
    let twice = struck(Fault::repeated("access_token")).await;
    assert_eq!(String::from_utf8_lossy(twice.body()).matches("\"access_token\":").count(), 2);
    assert!(text(&fields(&twice), "access_token").starts_with("at-"), "the last one is the real one");
    assert!(struck(Fault::bom()).await.body().starts_with(b"\xef\xbb\xbf{"));
    assert_eq!(struck(Fault::padded_to(1 << 20)).await.body().len(), 1 << 20);
    assert_eq!(struck(Fault::status_of_answer(201)).await.status(), 201);
    let skewed = struck(Fault::date_skewed(3600)).await;
    assert_eq!(skewed.headers()["date"], "Mon, 23 Nov 2026 13:00:00 GMT");
    assert_eq!(struck(Fault::header("content-type", "text/html")).await.headers()["content-type"], "text/html");
}

#[tokio::test(start_paused = true)]
async fn answers_given_instead_are_as_told() {
    let limited = struck(Fault::too_many_requests(17)).await;
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"17".parse().unwrap()));
    let moved = struck(Fault::redirect("https://elsewhere.example/token")).await;
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (302, &"https://elsewhere.example/token".parse().unwrap())
    );
    let portal = struck(Fault::html_200()).await;
    assert!(portal.status() == 200 && portal.body().starts_with(b"<!DOCTYPE html>"));
    let error = struck(Fault::error(200, "temporarily_unavailable")).await;
    assert_eq!((error.status().as_u16(), text(&json(&error), "error").as_str()), (200, "temporarily_unavailable"));
    let microsoft = json!({"error": "invalid_grant", "error_codes": [700_082], "suberror": "bad_token"});
    assert_eq!(json(&struck(Fault::error_object(400, &microsoft)).await), microsoft);
}

#[tokio::test(start_paused = true)]
async fn the_tables_of_answers_hold_what_they_say() {
    for (name, fault) in Fault::lenient_answers() {
        let answer = struck(fault).await;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(answer.status().is_success() && body.contains("\"access_token\":\"at-"), "{name}: {body}");
    }
    for (name, fault) in Fault::useless_answers() {
        let server = server();
        server.fail(Endpoint::Token, fault, 1);
        if let Ok(answer) = asked(&server).await {
            let parsed: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let token = text(&parsed, "access_token");
            let usable = !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic());
            let bearer = text(&parsed, "token_type").eq_ignore_ascii_case("bearer");
            let small = answer.body().len() <= 1 << 16;
            assert!(!(answer.status().is_success() && usable && bearer && small), "{name}");
        }
    }
}
