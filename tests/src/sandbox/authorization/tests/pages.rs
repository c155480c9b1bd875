//! The pages: what a person sees, and where the browser is sent.

use super::*;

/// Opens `/authorize` with one parameter changed (or left out, when empty); status, and the redirect's error.
async fn opened(server: &AuthorizationServer, name: &str, value: &str) -> (u16, Option<String>) {
    let challenge = s256(VERIFIER);
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", "web"),
        ("redirect_uri", REDIRECT),
        ("state", "st"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value));
    let request = Request::get(format!("/authorize?{}", encode(&fields))).body(Bytes::new()).unwrap();
    let response = server.answer(request).await.unwrap();
    let back = response.headers().get(header::LOCATION).map(|location| {
        let query = location.to_str().unwrap().split_once('?').unwrap().1.to_owned();
        let form = Form::parse(&query).unwrap();
        assert_eq!((form.one("state"), form.one("iss")), (Some("st"), Some("https://login.sandbox.test")));
        form.one("error").unwrap().to_owned()
    });
    (response.status().as_u16(), back)
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_or_redirect_never_redirects() {
    let server = server();
    for (name, value) in [
        ("client_id", "nobody"),
        ("client_id", ""),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://127.0.0.1:1/elsewhere"),
    ] {
        assert_eq!(opened(&server, name, value).await, (400, None), "{name}={value}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_errors_go_back_with_state_and_issuer() {
    let server = server();
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("scope", "smtp.send unheard.of", "invalid_scope"),
    ] {
        assert_eq!(opened(&server, name, value).await, (303, Some(error.into())), "{name}={value}");
    }
    assert_eq!(opened(&server, "login_hint", "alice").await, (200, None));
}

#[tokio::test(start_paused = true)]
async fn the_pages_lead_back_with_a_code_state_and_issuer() {
    let server = server();
    let back = walk(&server, "smtp.send", &Decision::Allow).await;
    assert_eq!((back.one("state"), back.one("error")), (Some("st&te"), None));
    assert_eq!(back.one("iss"), Some("https://login.sandbox.test"));
    assert_eq!(exchange(&server, back.one("code").unwrap()).await.0, 200);
    server.omit_iss();
    assert_eq!(walk(&server, "smtp.send", &Decision::Allow).await.one("iss"), None);
}

#[tokio::test(start_paused = true)]
async fn a_person_can_say_no_on_either_page() {
    let server = server();
    for decision in [Decision::Cancel, Decision::Deny, Decision::AllowOnly(Vec::new())] {
        let back = walk(&server, "smtp.send", &decision).await;
        assert_eq!((back.one("error"), back.one("state")), (Some("access_denied"), Some("st&te")), "{decision:?}");
        assert_eq!(back.one("code"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_can_grant_less_than_was_asked() {
    let server = server();
    let only = Decision::AllowOnly(vec!["email".into()]);
    let back = walk(&server, "smtp.send email", &only).await;
    assert_eq!(exchange(&server, back.one("code").unwrap()).await.1["scope"], "email");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_said_on_the_page_and_can_be_tried_again() {
    let server = server();
    let url = authorize_url(&server, "smtp.send");
    let wrong = Browser::of(&server).grant(&url, "alice", "nope", &Decision::Allow).await.unwrap_err();
    assert_eq!(wrong.to_string(), "The login or the password is wrong.");
    assert!(Browser::of(&server).grant(&url, "alice", "pw", &Decision::Allow).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_cannot_become_html() {
    let server = server();
    let url = format!("{}&login_hint=%22%3E%3Cscript%3E", authorize_url(&server, "smtp.send"));
    let page = server.answer(Request::get(url).body(Bytes::new()).unwrap()).await.unwrap();
    let page = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(page.contains("&quot;&gt;&lt;script&gt;") && !page.contains("<script>"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn the_metadata_names_every_endpoint() {
    let server = server();
    let request = Request::get("/.well-known/oauth-authorization-server").body(Bytes::new()).unwrap();
    let metadata = json(&server.answer(request).await.unwrap());
    assert_eq!(metadata["issuer"], "https://login.sandbox.test");
    for name in ["authorization_endpoint", "token_endpoint", "revocation_endpoint"] {
        assert!(text(&metadata, name).starts_with("https://login.sandbox.test/"), "{name}");
    }
    let lost = server.answer(Request::get("/nowhere").body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(lost.status(), 404);
}
