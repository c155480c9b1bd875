//! A person grants: real login and consent pages (oidc-provider) in a real browser (Chromium), and frankctl's own listener.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use frankd_tests::rig::Peer;
use frankd_tests::skip;
use frankd_tests::stage::Stage;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A mailbox that a person grants: alice@rig.test by Dovecot.
fn stage(peers: &[Peer]) -> Result<Option<Stage>, Box<dyn Error + Send + Sync>> {
    let Some(stage) = Stage::start_or_skip(peers).transpose()? else { return Ok(None) };
    stage.client("web-basic")?;
    let scopes = ["--scope", "openid", "--scope", "email", "--scope", "offline_access", "--scope", "smtp.send"];
    let mut options = vec!["--kind", "oauth2_smtp", "--flow", "interactive", "--username", "alice@rig.test"];
    options.extend(scopes);
    let submission = stage.submission("starttls")?;
    options.extend(submission.iter().map(String::as_str));
    stage.profile("alice", "web-basic", &options)?;
    Ok(Some(stage))
}

/// Begins `frankctl grant` with a listener of its own and gives the URL that it prints for the person.
fn begin(stage: &Stage) -> Result<(Child, String), Box<dyn Error + Send + Sync>> {
    let mut child =
        stage.service.ctl(&["grant", "alice", "--no-browser"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().ok_or("no stderr")?;
    let mut lines = BufReader::new(stderr).lines();
    let url = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.trim().starts_with("https://").then(|| line.trim().to_owned()))
        .ok_or("frankctl printed no URL")?;
    // Somebody has to go on reading, or frankctl would block on what it says.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok((child, url))
}

#[test]
fn a_person_signs_in_and_consents_in_chromium_and_the_waiting_mail_goes_out() -> Outcome {
    if !skip::available(&["chromium"]) {
        return Ok(());
    }
    let Some(stage) = stage(Peer::MAIL)? else { return Ok(()) };
    stage.service.run(&[
        "send",
        "--profile",
        "alice",
        "--to",
        "ops@rig.test",
        "-s",
        "waiting",
        "--text",
        "/dev/null",
    ])?;
    let held = stage.service.output(
        &["send", "--profile", "alice", "--to", "ops@rig.test", "-s", "2", "--text", "/dev/null", "--wait"],
        "",
    )?;
    assert_eq!(held.status.code(), Some(6), "mail waits for a grant: {}", String::from_utf8_lossy(&held.stderr));
    let (child, url) = begin(&stage)?;
    let page = stage.rig.chromium_grant(&url, "alice")?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(page.text.contains("alice"), "the page tells the truth: {}", page.text);
    let token = stage.service.json(&["token", "show", "alice"])?;
    assert_eq!(token["state"], "valid");
    assert_eq!(token["account"], "alice@rig.test");
    let sent = stage.service.until(std::time::Duration::from_secs(30), || {
        let sent = stage.service.json(&["queue", "list", "--state", "sent"])?;
        Ok(sent["items"].as_array().filter(|items| items.len() == 2).map(Vec::len))
    })?;
    assert_eq!((sent, stage.rig.mailbox("ops@rig.test")?.len()), (2, 2));
    Ok(())
}

#[test]
fn a_person_who_says_no_is_told_so_and_the_profile_stays_as_it_was() -> Outcome {
    if !skip::available(&["chromium"]) {
        return Ok(());
    }
    let Some(stage) = stage(&[Peer::AuthorizationServer, Peer::Sink, Peer::Dovecot])? else { return Ok(()) };
    stage.rig.set_ttl("AccessToken", 600)?;
    stage.grant("alice", "alice")?;
    let before = stage.generation("alice")?;
    let (child, url) = begin(&stage)?;
    stage.rig.chromium_denial(&url)?;
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(stage.generation("alice")?, before);
    assert_eq!(stage.service.json(&["token", "show", "alice"])?["state"], "valid");
    Ok(())
}

#[test]
fn another_account_than_the_profiles_is_said_at_once() -> Outcome {
    let Some(stage) = stage(Peer::MAIL)? else { return Ok(()) };
    stage.grant("alice", "mallory")?;
    let grants = stage.service.json(&["grant", "list"])?;
    let warnings = grants["items"][0]["warnings"].to_string();
    assert!(warnings.contains("mallory@rig.test") && warnings.contains("alice@rig.test"), "{warnings}");
    Ok(())
}

/// The daemon is killed between the start of a grant and its redirect; the grant ends well all the same, once.
#[test]
fn a_grant_survives_a_restart_and_is_taken_once() -> Outcome {
    let Some(mut stage) = stage(&[Peer::AuthorizationServer, Peer::Sink, Peer::Dovecot])? else { return Ok(()) };
    let started = stage.service.json(&["call", "grant.start", r#"{"profile":"alice","via":"paste"}"#])?;
    let url = started["authorization_url"].as_str().ok_or("no URL")?;
    let redirect = stage.rig.browserless_grant(url, "alice")?;
    stage.service.kill()?;
    stage.service.start()?;
    stage.service.run_with(&["grant", "complete"], &redirect)?;
    assert_eq!(stage.service.json(&["token", "show", "alice"])?["state"], "valid");
    let again = stage.service.output(&["grant", "complete"], &redirect)?;
    assert!(!again.status.success(), "the redirect was taken twice");
    assert_eq!(stage.service.json(&["token", "show", "alice"])?["state"], "valid");
    Ok(())
}
