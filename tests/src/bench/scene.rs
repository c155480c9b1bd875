//! What every part begins with: a daemon on an empty store, and the sandbox servers.

use std::path::Path;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::BenchError;
use super::lines::Lines;
use crate::sandbox::{SERVICE_CLIENT, Sandbox};
use crate::service::Service;

/// Octets of a message's text.
const TEXT: usize = 2048;

/// A daemon, and the runtime in which the sandbox servers run.
pub(super) struct Scene {
    pub(super) runtime: Runtime,
    pub(super) sandbox: Sandbox,
    pub(super) service: Service,
}

impl Scene {
    /// Starts the servers and a daemon that logs as it does for a user.
    pub(super) fn set(programs: &Path) -> Result<Self, BenchError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let sandbox = runtime.block_on(Sandbox::start())?;
        let mut service = Service::new(programs.to_owned())?;
        service.env("FRANKD_LOG", "info");
        service.start()?;
        Ok(Self { runtime, sandbox, service })
    }

    /// A connection to the daemon.
    pub(super) fn connect(&self) -> Result<Lines, BenchError> {
        Ok(Lines::connect(&self.service.socket())?)
    }

    /// Makes the client `sandbox`, by which a service gets tokens of the sandbox's authorization server.
    pub(super) fn client(&self) -> Result<(), BenchError> {
        let (ca, endpoint) = (self.ca_file()?, format!("{}/token", self.sandbox.issuer));
        let mut create = vec!["client", "create", "sandbox", "--client-id", SERVICE_CLIENT.0, "--client-secret-stdin"];
        create.extend(["--token-endpoint", &endpoint, "--ca-bundle", &ca]);
        self.service.run_with(&create, SERVICE_CLIENT.1)?;
        Ok(())
    }

    /// The file with the certificate of the sandbox's authority.
    pub(super) fn ca_file(&self) -> Result<String, BenchError> {
        let file = self.service.folder().join("ca.pem");
        std::fs::write(&file, &self.sandbox.ca_pem)?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// Makes a paused profile that sends to a relay on this port of loopback.
    pub(super) fn paused_relay(&self, name: &str, port: u16, connections: usize) -> Result<(), BenchError> {
        let (port, connections) = (port.to_string(), connections.to_string());
        let mut create = vec!["profile", "create", name, "--kind", "smtp", "--smtp-host", "127.0.0.1", "--tls", "none"];
        create.extend(["--smtp-port", &port, "--from", "bench@sandbox.test", "--max-connections", &connections]);
        create.extend(["--max-messages-per-connection", "10000"]);
        self.service.run(&create)?;
        self.service.run(&["profile", "pause", name])?;
        Ok(())
    }
}

/// Messages of a profile that are not final.
pub(super) fn waiting(lines: &mut Lines, profile: &str) -> Result<usize, BenchError> {
    let summary = lines.call("queue.summary", &json!({}))?;
    let profiles = summary["profiles"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_profile = profiles.iter().find(|of| of["profile"] == profile);
    let waiting = of_profile.and_then(|of| of["waiting"].as_u64()).and_then(|count| usize::try_from(count).ok());
    waiting.ok_or_else(|| BenchError::Answer(format!("queue.summary: {summary}")))
}

/// Parameters of `message.send` for a message with 2 KiB of text.
pub(super) fn compose(profile: &str) -> Value {
    let line = "The disk of web1 is 91 % full, and has been so since this night\n";
    let text: String = line.chars().cycle().take(TEXT).collect();
    json!({"profile": profile, "message": {"to": ["ops@sandbox.test"], "subject": "disk", "text": text}})
}
