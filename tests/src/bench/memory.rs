//! Resident memory of a daemon that has worked and rests.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::BenchError;
use super::lines::Lines;
use super::scene::{Scene, compose};
use crate::sandbox::SERVICE_MAILBOX;
use crate::stopwatch::pause;

/// Resident memory of a daemon, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// After its start, with nothing to do.
    pub started: u64,
    /// Right after the work.
    pub worked: u64,
    /// After the rest.
    pub rested: u64,
}

/// Gives a daemon so many profiles, lets each send a mail over TLS and refresh its token, and then rest for a while.
pub fn resident(programs: &Path, profiles: usize, rest: Duration) -> Result<Resident, BenchError> {
    let scene = Scene::set(programs)?;
    let started = resident_now(&scene)?;
    scene.client()?;
    let ca = scene.ca_file()?;
    let port = scene.sandbox.starttls_port.to_string();
    let mut lines = scene.connect()?;
    for n in 0..profiles {
        let name = format!("sender-{n}");
        let mut create = vec!["profile", "create", &name, "--kind", "oauth2_smtp", "--client", "sandbox"];
        create.extend(["--flow", "client_credentials", "--username", SERVICE_MAILBOX]);
        create.extend(["--smtp-host", "localhost", "--smtp-port", &port, "--tls", "starttls", "--ca-bundle", &ca]);
        scene.service.run(&create)?;
        mail(&mut lines, &name)?;
        refresh(&mut lines, &name)?;
    }
    let delivered = scene.sandbox.smtp.delivered();
    let over_tls = delivered.iter().filter(|mail| mail.tls).count();
    if over_tls != profiles {
        return Err(BenchError::Unfinished(format!("{over_tls} of {profiles} mails came over TLS")));
    }
    let worked = resident_now(&scene)?;
    pause(rest);
    Ok(Resident { started, worked, rested: resident_now(&scene)? })
}

fn mail(lines: &mut Lines, profile: &str) -> Result<(), BenchError> {
    let receipt = lines.call("message.send", &compose(profile))?;
    let done = lines.call("message.wait", &json!({"id": receipt["id"], "timeout_s": 30}))?;
    if done["state"] == "sent" { Ok(()) } else { Err(BenchError::Unfinished(format!("a mail is not sent: {done}"))) }
}

fn refresh(lines: &mut Lines, profile: &str) -> Result<(), BenchError> {
    let generation = |lines: &mut Lines| -> Result<u64, BenchError> {
        let info = lines.call("token.info", &json!({"profile": profile}))?;
        info["generation"].as_u64().ok_or_else(|| BenchError::Answer(format!("token.info: {info}")))
    };
    let before = generation(lines)?;
    lines.call("token.refresh", &json!({"profile": profile}))?;
    let after = generation(lines)?;
    if after > before { Ok(()) } else { Err(BenchError::Unfinished(format!("{profile} has its old token"))) }
}

/// `VmRSS` of the daemon (proc(5)), in KiB.
fn resident_now(scene: &Scene) -> Result<u64, BenchError> {
    let status = fs::read_to_string(format!("/proc/{}/status", scene.service.pid().unwrap_or_default()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse().ok());
    kib.ok_or_else(|| BenchError::Answer("the kernel does not tell VmRSS".to_owned()))
}
