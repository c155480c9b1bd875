//! A client must prove itself in its own way, exactly.

use super::*;

/// Asks for a token with this request; the status and the error.
async fn refusal(server: &AuthorizationServer, request: Request<Bytes>) -> (u16, String) {
    let response = server.answer(request).await.unwrap();
    (response.status().as_u16(), text(&json(&response), "error"))
}

const CREDENTIALS_GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test(start_paused = true)]
async fn each_method_is_taken_only_from_the_client_that_has_it() {
    let server = server();
    let client = |method| Client::service("svc", "svc-secret", "svc@sandbox.test").with_auth_method(method);
    let (header, id, secret) = (basic("svc", "svc-secret"), ("client_id", "svc"), ("client_secret", "svc-secret"));
    let by_header = || post("/token", Some(&header), &[CREDENTIALS_GRANT]);
    let by_body = || post("/token", None, &[CREDENTIALS_GRANT, id, secret]);
    let by_name = || post("/token", None, &[CREDENTIALS_GRANT, id]);
    for (method, taken) in [(AuthMethod::Basic, 0), (AuthMethod::Post, 1), (AuthMethod::None, 2)] {
        server.add_client(client(method));
        for (number, request) in [by_header(), by_body(), by_name()].into_iter().enumerate() {
            let expected = if number == taken { (200, String::new()) } else { (401, "invalid_client".into()) };
            assert_eq!(refusal(&server, request).await, expected, "{method:?} {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_proofs_and_broken_requests_are_refused() {
    let server = server();
    let good = basic("svc", "svc-secret");
    let plain = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let both = [CREDENTIALS_GRANT, ("client_secret", "svc-secret")];
    let other = [CREDENTIALS_GRANT, ("client_id", "web")];
    for (request, expected) in [
        (post("/token", Some(&basic("svc", "wrong")), &[CREDENTIALS_GRANT]), (401, "invalid_client")),
        (post("/token", Some(&basic("nobody", "x")), &[CREDENTIALS_GRANT]), (401, "invalid_client")),
        (post("/token", Some("Basic !!!"), &[CREDENTIALS_GRANT]), (401, "invalid_client")),
        (post("/token", Some(&plain("svc")), &[CREDENTIALS_GRANT]), (401, "invalid_client")),
        (post("/token", None, &[CREDENTIALS_GRANT]), (401, "invalid_client")),
        (post("/token", Some(&good), &both), (400, "invalid_request")),
        (post("/token", Some(&good), &other), (400, "invalid_request")),
        (post("/token", Some(&good), &[CREDENTIALS_GRANT, CREDENTIALS_GRANT]), (400, "invalid_request")),
        (post("/token", Some(&good), &[]), (400, "invalid_request")),
        (post("/token?grant_type=client_credentials", Some(&good), &[]), (400, "invalid_request")),
        (post("/token", Some(&good), &[("grant_type", "password")]), (400, "unsupported_grant_type")),
        (post("/token", Some(&good), &[("grant_type", "refresh_token")]), (400, "unauthorized_client")),
        (post("/token", Some(&good), &[CREDENTIALS_GRANT, ("scope", "unheard.of")]), (400, "invalid_scope")),
    ] {
        let shown = format!("{:?} {:?}", request.headers(), request.body());
        assert_eq!(refusal(&server, request).await, (expected.0, expected.1.to_owned()), "{shown}");
    }
    let mut request = post("/token", Some(&good), &[CREDENTIALS_GRANT]);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    assert_eq!(refusal(&server, request).await.1, "invalid_request");
    let get = Request::get("/token").header(header::AUTHORIZATION, good).body(Bytes::new()).unwrap();
    assert_eq!(refusal(&server, get).await.1, "invalid_request");
}

#[tokio::test(start_paused = true)]
async fn basic_credentials_must_be_form_encoded() {
    let server = server();
    let (id, secret) = ("odd id:/%", "p%40ss:w+rd &=");
    server.add_client(Client::service(id, secret, "svc@sandbox.test"));
    let raw = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let encoded = post("/token", Some(&basic(id, secret)), &[CREDENTIALS_GRANT]);
    assert_eq!(refusal(&server, encoded).await.0, 200);
    assert_eq!(refusal(&server, post("/token", Some(&raw), &[CREDENTIALS_GRANT])).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_secret_can_be_replaced_while_the_old_one_still_works() {
    let server = server();
    server.update_client("svc", |client| client.secrets.insert(0, "newer".into()));
    for (secret, status) in [("svc-secret", 200), ("newer", 200), ("newest", 401)] {
        assert_eq!(token(&server, ("svc", secret), &[CREDENTIALS_GRANT]).await.0, status, "{secret}");
    }
    server.update_client("svc", |client| client.secrets.truncate(1));
    assert_eq!(service_token(&server).await.0, 401);
}
