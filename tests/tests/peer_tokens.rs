//! Tokens of a real authorization server (oidc-provider), kept by the real daemon.

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::Duration;

use frankd_tests::rig::Peer;
use frankd_tests::stage::Stage;
use frankd_tests::stopwatch::{Stopwatch, pause};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Two callers ask every 50 ms, never waiting, through three background refreshes of 5-second tokens.
#[test]
fn five_second_tokens_never_run_out_for_two_impatient_callers() -> Outcome {
    let Some(stage) = Stage::start_or_skip(&[Peer::AuthorizationServer]).transpose()? else { return Ok(()) };
    stage.rig.set_ttl("ClientCredentials", 5)?;
    stage.client("svc-basic")?;
    stage.profile(
        "tokens",
        "svc-basic",
        &["--kind", "token", "--flow", "client_credentials", "--scope", "smtp.send"],
    )?;
    stage.service.run(&["token", "get", "tokens", "--wait", "20s"])?;
    let last = stage.generation("tokens")? + 3;
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let socket = stage.service.socket();
            thread::spawn(move || ask_until(&socket, last))
        })
        .collect();
    let mut asked = 0;
    for caller in callers {
        asked += caller.join().map_err(|_| "a caller panicked")??;
    }
    assert!(asked > 40, "only {asked} questions");
    let requests = stage.rig.token_requests()?;
    assert!(requests.len() >= 4, "{requests:#?}");
    for (at, one) in requests.iter().enumerate() {
        assert_eq!(one.status, 200, "{one:?}");
        assert!(requests[at + 1..].iter().all(|other| !one.overlaps(other)), "two at once: {requests:#?}");
    }
    Ok(())
}

/// Asks for the token every 50 ms without waiting, until it has this generation. Every answer must be a token.
fn ask_until(socket: &Path, generation: u64) -> Result<u32, Box<dyn Error + Send + Sync>> {
    use frankd_proto::methods::token::{Get, GetParams, Info, OfProfile};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = Stopwatch::start();
    runtime.block_on(async {
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

/// Kills the daemon at each step of a refresh and starts it again; says whether the grant still works afterwards.
fn killed_at_each_step(client: &str) -> Result<Vec<(&'static str, bool)>, Box<dyn Error + Send + Sync>> {
    let Some(mut stage) = Stage::start_or_skip(&[Peer::AuthorizationServer]).transpose()? else {
        return Ok(Vec::new());
    };
    stage.rig.set_ttl("AccessToken", 600)?;
    stage.client(client)?;
    let scopes = ["--scope", "openid", "--scope", "offline_access", "--scope", "smtp.send"];
    stage.profile("person", client, &[&["--kind", "token", "--flow", "interactive"], &scopes[..]].concat())?;
    let mut kept = Vec::new();
    for step in STEPS {
        stage.grant("person", "alice")?;
        stage.service.stop()?;
        stage.service.fail_at(&format!("{step}=kill"));
        stage.service.start()?;
        // The answer never comes: the daemon dies on the way.
        let cut_short = stage.service.output(&["token", "refresh", "person"], "")?;
        // The last step is behind the answer: there the command may have it already.
        assert!(!cut_short.status.success() || step == "token.after_publish", "{step} was not reached");
        stage.service.wait_for_end()?;
        stage.service.fail_at("");
        stage.service.start()?;
        let refreshed = stage.service.output(&["token", "refresh", "person"], "")?;
        let usable = stage.service.output(&["token", "get", "person", "--wait", "20s"], "")?;
        kept.push((step, refreshed.status.success() && usable.status.success()));
    }
    Ok(kept)
}

/// A server that rotates strictly kills the family of a refresh token that is used again. So the one loss that no client
/// can prevent is a crash between the server's answer and the disk: there a person is asked, and the next grant works.
#[test]
fn a_kill_at_each_step_loses_no_grant_of_a_rotating_client_but_where_the_server_forbids_it() -> Outcome {
    for (step, kept) in killed_at_each_step("web-basic")? {
        assert_eq!(kept, step != "token.after_answer", "{step}");
    }
    Ok(())
}

#[test]
fn a_kill_at_each_step_loses_no_grant_of_a_client_whose_refresh_token_stays() -> Outcome {
    for (step, kept) in killed_at_each_step("web-norotate")? {
        assert!(kept, "{step}");
    }
    Ok(())
}
