//! Tokens of a real authorization server (oidc-provider), kept by the real daemon.

use std::thread;
use std::time::Duration;

use frankd_tests::rig::{Peer, Rig};
use frankd_tests::service::{Service, ServiceError};
use frankd_tests::stopwatch::{Stopwatch, pause};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The daemon and the authorization server, with a client of each name.
fn set_up(clients: &[&str]) -> Option<(Service, Rig)> {
    let service = Service::start_or_skip()?;
    let rig = Rig::start_or_skip(&[Peer::AuthorizationServer])?;
    let service = service.unwrap_or_else(|error| unavailable(&error));
    for client in clients {
        make_client(&service, &rig, client).unwrap_or_else(|error| unavailable(&error));
    }
    Some((service, rig))
}

#[expect(clippy::panic, reason = "the test cannot go on")]
fn unavailable<T>(error: &ServiceError) -> T {
    panic!("{error}")
}

fn make_client(service: &Service, rig: &Rig, client: &str) -> Result<(), ServiceError> {
    let ca = rig.ca_file();
    let endpoint = rig.token_endpoint();
    let authorization = rig.authorization_endpoint();
    service.run_with(
        &[
            "client",
            "create",
            client,
            "--client-id",
            client,
            "--client-secret-stdin",
            "--token-endpoint",
            &endpoint,
            "--authorization-endpoint",
            &authorization,
            "--redirect-uri",
            "http://127.0.0.1:{port}/callback",
            "--issuer",
            rig.issuer(),
            "--ca-bundle",
            &ca.to_string_lossy(),
        ],
        rig.client_secret(),
    )?;
    Ok(())
}

/// A person grants by paste, walking the server's own forms.
fn grant(service: &Service, rig: &Rig, profile: &str) -> Result<(), Box<dyn std::error::Error>> {
    let started: Value = serde_json::from_str(&service.run(&[
        "call",
        "grant.start",
        &json!({"profile": profile, "via": "paste"}).to_string(),
    ])?)?;
    let url = started["authorization_url"].as_str().ok_or("no URL")?;
    let redirect = rig.browserless_grant(url, "alice")?;
    let id = started["grant"]["id"].as_str().ok_or("no id")?;
    service.run_with(&["grant", "complete", id], &redirect)?;
    Ok(())
}

/// Two callers ask every 50 ms, never waiting, through three background refreshes of 5-second tokens.
#[test]
fn five_second_tokens_never_run_out_for_two_impatient_callers() -> Outcome {
    let Some((service, rig)) = set_up(&["svc-basic"]) else { return Ok(()) };
    rig.set_ttl("ClientCredentials", 5)?;
    service.run(&[
        "profile",
        "create",
        "tokens",
        "--kind",
        "token",
        "--client",
        "svc-basic",
        "--flow",
        "client_credentials",
        "--scope",
        "smtp.send",
    ])?;
    service.run(&["token", "get", "tokens", "--wait", "20s"])?;
    let first = service.json(&["token", "show", "tokens"])?["generation"].as_u64().ok_or("no generation")?;
    let socket = service.socket();
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let socket = socket.clone();
            thread::spawn(move || ask_until(&socket, first + 3))
        })
        .collect();
    let mut asked = 0;
    for caller in callers {
        asked += caller.join().map_err(|_| "a caller panicked")??;
    }
    assert!(asked > 40, "only {asked} questions");
    let requests = rig.token_requests()?;
    assert!(requests.len() >= 4, "{requests:#?}");
    for (at, one) in requests.iter().enumerate() {
        assert_eq!(one.status, 200, "{one:?}");
        assert!(requests[at + 1..].iter().all(|other| !one.overlaps(other)), "two at once: {requests:#?}");
    }
    Ok(())
}

/// Asks for the token every 50 ms without waiting, until it has this generation. Every answer must be a token.
fn ask_until(socket: &std::path::Path, generation: u64) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = Stopwatch::start();
    runtime.block_on(async {
        use frankd_proto::methods::token::{Get, GetParams, Info, OfProfile};
        let connection = frankd_proto::connect(socket).await?;
        let profile: frankd_proto::Name = "tokens".parse()?;
        let mut asked = 0;
        loop {
            let params = GetParams { profile: profile.clone(), min_valid_s: None, wait_s: Some(0) };
            let token = connection.call::<Get>(params).await?;
            assert!(token.warnings.is_empty(), "{:?}", token.warnings);
            asked += 1;
            let info = connection.call::<Info>(OfProfile { profile: profile.clone() }).await?;
            if info.generation >= generation {
                return Ok(asked);
            }
            assert!(watch.elapsed() < Duration::from_secs(60), "the token is not refreshed: {info:?}");
            pause(Duration::from_millis(50));
        }
    })
}

/// Numbered steps of a refresh at which the daemon is killed.
const STEPS: [&str; 5] =
    ["token.before_intent", "token.after_intent", "token.after_answer", "token.after_commit", "token.after_publish"];

/// Kills the daemon at each step of a refresh and starts it again; says whether a token is there afterwards.
fn killed_at_each_step(client: &str, profile: &str) -> Result<Vec<(&'static str, bool)>, Box<dyn std::error::Error>> {
    let Some((mut service, rig)) = set_up(&[client]) else { return Ok(Vec::new()) };
    rig.set_ttl("AccessToken", 600)?;
    service.run(&[
        "profile",
        "create",
        profile,
        "--kind",
        "token",
        "--client",
        client,
        "--flow",
        "interactive",
        "--scope",
        "openid",
        "--scope",
        "offline_access",
        "--scope",
        "smtp.send",
    ])?;
    let mut kept = Vec::new();
    for step in STEPS {
        grant(&service, &rig, profile)?;
        service.stop()?;
        service.fail_at(&format!("{step}=kill"));
        service.start()?;
        // The answer never comes: the daemon dies on the way.
        let _ = service.output(&["token", "refresh", profile], "")?;
        service.wait_for_end()?;
        service.fail_at("");
        service.start()?;
        let refreshed = service.output(&["token", "refresh", profile], "")?;
        let usable = service.output(&["token", "get", profile, "--wait", "20s"], "")?;
        kept.push((step, refreshed.status.success() && usable.status.success()));
    }
    Ok(kept)
}

/// A server that rotates strictly has the old refresh token's family killed by its reuse. So the one loss that no client
/// can prevent is a crash between the server's answer and the disk; there a person is asked, and the grant that follows
/// works.
#[test]
fn a_kill_at_each_step_loses_no_grant_of_a_rotating_client_but_where_the_server_forbids_it() -> Outcome {
    for (step, kept) in killed_at_each_step("web-basic", "rotating")? {
        assert_eq!(kept, step != "token.after_answer", "{step}");
    }
    Ok(())
}

#[test]
fn a_kill_at_each_step_loses_no_grant_of_a_client_whose_refresh_token_stays() -> Outcome {
    for (step, kept) in killed_at_each_step("web-norotate", "staying")? {
        assert!(kept, "{step}");
    }
    Ok(())
}
