//! Mail by Dovecot's submission service into the mailboxes behind it, with tokens of oidc-provider.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use frankd_tests::rig::Peer;
use frankd_tests::stage::{Stage, text};
use frankd_tests::stopwatch::Stopwatch;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Strikes of the long scene, and messages that are queued meanwhile.
const STRIKES: usize = 20;
const MAILS: usize = 200;
/// Connections of the profile under strikes.
const CONNECTIONS: usize = 3;

/// A service that sends as svc@rig.test by Dovecot.
fn stage(tls: &str) -> Option<Result<Stage, Box<dyn Error + Send + Sync>>> {
    let stage = match Stage::start_or_skip(Peer::MAIL)? {
        Ok(stage) => stage,
        Err(error) => return Some(Err(error.into())),
    };
    let begin = || -> Outcome {
        stage.client("svc-basic")?;
        let mut options: Vec<String> =
            ["--kind", "oauth2_smtp", "--flow", "client_credentials", "--scope", "smtp.send"]
                .iter()
                .chain(&["--username", "svc@rig.test", "--default"])
                .map(|option| (*option).to_owned())
                .collect();
        options.extend(stage.submission(tls)?);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        stage.profile("alerts", "svc-basic", &options)?;
        Ok(())
    };
    Some(begin().map(|()| stage))
}

/// The message below the header fields that servers add on the way.
fn as_sent(delivered: &[u8]) -> String {
    let text = String::from_utf8_lossy(delivered).replace("\r\n", "\n");
    let mut kept = String::new();
    let mut in_trace = false;
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    for line in head.lines() {
        if !line.starts_with([' ', '\t']) {
            in_trace =
                ["received:", "return-path:", "delivered-to:"].iter().any(|name| line.to_lowercase().starts_with(name));
        }
        if !in_trace {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    format!("{kept}\n{body}")
}

fn arrives(tls: &str) -> Outcome {
    let Some(stage) = stage(tls).transpose()? else { return Ok(()) };
    let raw = "From: svc@rig.test\nTo: ops@rig.test\nSubject: dots\nDate: Tue, 24 Nov 2026 12:00:00 +0000\n\
               Message-ID: <dots@rig.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
               Content-Transfer-Encoding: 8bit\n\n.\n..a line with two dots\nüber\n.\n";
    let sent = stage.service.output(&["send", "--eml", "-", "--wait", "-o", "json"], raw)?;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let mailbox = stage.rig.mailbox("ops@rig.test")?;
    assert_eq!(mailbox.len(), 1);
    assert_eq!(as_sent(&mailbox[0]).trim_end(), raw.trim_end());
    Ok(())
}

#[test]
fn a_mail_arrives_as_it_was_given_by_starttls() -> Outcome {
    arrives("starttls")
}

#[test]
fn a_mail_arrives_as_it_was_given_by_implicit_tls() -> Outcome {
    arrives("implicit")
}

#[test]
fn a_mail_of_parts_arrives_with_its_attachment_and_every_recipient() -> Outcome {
    let Some(stage) = stage("starttls").transpose()? else { return Ok(()) };
    let attachment = stage.service.folder().join("report.bin");
    std::fs::write(&attachment, [0, 1, 2, 255])?;
    let mut arguments = vec!["send", "--to", "a@rig.test", "--cc", "b@rig.test", "--bcc", "c@rig.test"];
    let attachment = attachment.to_string_lossy().into_owned();
    arguments.extend(["-s", "Grüße", "--text", "-", "-a", &attachment, "--wait"]);
    stage.service.run_with(&arguments, "see the file\n")?;
    for address in ["a@rig.test", "b@rig.test", "c@rig.test"] {
        let mailbox = stage.rig.mailbox(address)?;
        assert_eq!(mailbox.len(), 1, "{address}");
        let mail = String::from_utf8_lossy(&mailbox[0]).into_owned();
        assert!(mail.contains("AAEC/w==") && !mail.contains("c@rig.test\r\nBcc"), "{mail}");
        assert!(!mail.to_lowercase().contains("\nbcc:"), "{mail}");
    }
    Ok(())
}

/// The mail server refuses the token in use; one forced refresh and one retry bring the mail through.
#[test]
fn an_expired_token_is_refused_and_recovered_from() -> Outcome {
    let Some(mut stage) = stage("starttls").transpose()? else { return Ok(()) };
    stage.rig.set_ttl("ClientCredentials", 600)?;
    stage.service.run(&["send", "--to", "first@rig.test", "-s", "1", "--text", "/dev/null", "--wait"])?;
    let before = stage.generation("alerts")?;
    // The server forgets every token that it gave out: the one in use is as good as expired, and only the mail server knows.
    let token = stage.service.run(&["token", "get", "alerts"])?;
    stage.rig.revoke(token.trim(), "svc-basic")?;
    // A kept connection would need no login.
    stage.service.stop()?;
    stage.service.start()?;
    stage.service.run(&["send", "--to", "second@rig.test", "-s", "2", "--text", "/dev/null", "--wait"])?;
    assert_eq!(stage.rig.mailbox("second@rig.test")?.len(), 1);
    assert!(stage.generation("alerts")? > before, "the token was not refreshed");
    Ok(())
}

#[test]
fn a_refused_recipient_fails_alone_and_a_greylisted_one_waits() -> Outcome {
    let Some(stage) = stage("starttls").transpose()? else { return Ok(()) };
    let arguments = [
        "send",
        "--to",
        "ok@rig.test",
        "--to",
        "reject@rig.test",
        "-s",
        "x",
        "--text",
        "/dev/null",
        "--wait",
        "-o",
        "json",
    ];
    let output = stage.service.output(&arguments, "")?;
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    let list = stage.service.json(&["queue", "list"])?;
    let message = &list["items"][0];
    assert_eq!(message["state"], "partial");
    let states: BTreeMap<&str, &str> = message["recipients"]
        .as_array()
        .ok_or("no recipients")?
        .iter()
        .filter_map(|r| Some((r["address"].as_str()?, r["state"].as_str()?)))
        .collect();
    assert_eq!(states, BTreeMap::from([("ok@rig.test", "sent"), ("reject@rig.test", "failed")]));
    Ok(())
}

#[test]
fn test_email_reports_every_stage_and_stops_where_it_fails() -> Outcome {
    let Some(stage) = stage("starttls").transpose()? else { return Ok(()) };
    let report = stage.service.json(&["test", "email", "alerts", "--to", "ops@rig.test"])?;
    let stages: Vec<&str> =
        report["stages"].as_array().ok_or("no stages")?.iter().filter_map(|stage| stage["name"].as_str()).collect();
    assert_eq!(stages, ["token", "dns", "tcp", "tls", "ehlo", "auth", "mail", "rcpt", "data"]);
    assert_eq!(report["ok"], true);
    let refused = stage.service.output(&["test", "email", "alerts", "--to", "reject@rig.test", "-o", "json"], "")?;
    assert!(!refused.status.success());
    let report: Value = serde_json::from_slice(&refused.stdout)?;
    let last = report["stages"].as_array().and_then(|stages| stages.last()).ok_or("no stages")?;
    assert_eq!((last["name"].as_str(), last["ok"].as_bool()), (Some("rcpt"), Some(false)));
    assert!(last["detail"].as_str().unwrap_or_default().contains("550"), "{last}");
    Ok(())
}

/// 200 mails while kill -9 strikes the daemon 20 times: some of the strikes fall between the mark on disk and the
/// settlement, most find a claimed message. Nothing is lost, and what arrives twice was said to be in doubt.
#[test]
fn two_hundred_mails_survive_twenty_strikes() -> Outcome {
    let Some(mut stage) = stage("starttls").transpose()? else { return Ok(()) };
    stage.service.run(&["profile", "update", "alerts", "--max-connections", &CONNECTIONS.to_string()])?;
    let ids = queue_all(&stage)?;
    let (mut found_claimed, mut after_mark) = (0, 0);
    for strike in 0..STRIKES {
        // Every third strike waits for the fail point between mark and settlement; the others fall on the first claim.
        stage.service.kill()?;
        let point = if strike % 3 == 0 { "queue.after_mark:2=kill" } else { "queue.after_claim:2=kill" };
        stage.service.fail_at(point);
        stage.service.run_to_its_end()?;
        stage.service.fail_at("");
        stage.service.start()?;
        let started = last_event(&stage, "daemon.started")?;
        let claimed = started["data"]["claims_not_sent"].as_u64().unwrap_or(0);
        let doubt = started["data"]["claims_in_doubt"].as_u64().unwrap_or(0);
        found_claimed += usize::from(claimed + doubt > 0);
        after_mark += usize::from(doubt > 0);
    }
    assert!(found_claimed >= 15, "{found_claimed} strikes found a claimed message");
    assert!(after_mark >= 5, "{after_mark} strikes fell between mark and settlement");
    all_settle(&stage)?;
    let in_doubt: BTreeSet<String> = events(&stage, "message.in_doubt")?
        .iter()
        .filter_map(|event| event["object"].as_str().map(str::to_owned))
        .collect();
    assert!(!in_doubt.is_empty());
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for mail in stage.rig.mailbox("strikes@rig.test")? {
        let mail = String::from_utf8_lossy(&mail).into_owned();
        let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).ok_or("no Message-ID")?;
        *arrived.entry(id.trim().to_owned()).or_default() += 1;
    }
    let mut twice = 0;
    for (id, message_id) in &ids {
        let copies = arrived.get(message_id).copied().unwrap_or(0);
        assert!(copies >= 1, "{id} is lost");
        if copies > 1 {
            assert!(in_doubt.contains(id), "{id} arrived {copies} times and was never in doubt");
            twice += copies - 1;
        }
    }
    assert!(twice <= CONNECTIONS * STRIKES, "{twice} duplicates");
    Ok(())
}

/// Queues the mails while the profile is paused; gives their ids and Message-IDs.
fn queue_all(stage: &Stage) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>> {
    let message = json!({"to": ["strikes@rig.test"], "subject": "strike", "text": "x"});
    let params = json!({"profile": "alerts", "message": message}).to_string();
    stage.service.run(&["profile", "pause", "alerts"])?;
    let mut ids = Vec::new();
    for _ in 0..MAILS {
        let receipt = stage.service.json(&["call", "message.send", &params])?;
        ids.push((text(&receipt, "id")?.to_owned(), text(&receipt, "message_id")?.to_owned()));
    }
    stage.service.run(&["profile", "resume", "alerts"])?;
    Ok(ids)
}

fn all_settle(stage: &Stage) -> Outcome {
    let watch = Stopwatch::start();
    stage.service.until(Duration::from_secs(120), || {
        let summary = stage.service.json(&["queue", "summary"])?;
        Ok((summary["waiting"] == 0).then_some(()))
    })?;
    assert!(watch.elapsed() < Duration::from_secs(120));
    Ok(())
}

fn events(stage: &Stage, kind: &str) -> Result<Vec<Value>, Box<dyn Error + Send + Sync>> {
    let events = stage.service.json(&["events", "--type", kind, "--limit", "1000"])?;
    Ok(events["events"].as_array().cloned().unwrap_or_default())
}

fn last_event(stage: &Stage, kind: &str) -> Result<Value, Box<dyn Error + Send + Sync>> {
    Ok(events(stage, kind)?.pop().ok_or("no such event")?)
}
