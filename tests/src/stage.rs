//! The real daemon beside real servers, and what every scene on it begins with.

use serde_json::{Value, json};

use crate::rig::{Peer, Rig, RigError};
use crate::service::{Service, ServiceError};

/// A scene did not begin.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A server failed.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The daemon or frankctl failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// An answer lacks something.
    #[error("the answer has no {0}")]
    Lacking(&'static str),
}

/// A daemon on an empty store, and servers that nobody here wrote.
#[derive(Debug)]
pub struct Stage {
    /// The daemon.
    pub service: Service,
    /// The servers.
    pub rig: Rig,
}

impl Stage {
    /// Starts both; `None`, and the calling test counts as skipped, where something is not there.
    pub fn start_or_skip(peers: &[Peer]) -> Option<Result<Self, StageError>> {
        let binaries = crate::service::binaries()?;
        let rig = Rig::start_or_skip(peers)?;
        let begin = || {
            let mut service = Service::new(binaries)?;
            service.start()?;
            Ok(Self { service, rig })
        };
        Some(begin())
    }

    /// Makes an OAuth2 client that the authorization server knows by the same name.
    pub fn client(&self, name: &str) -> Result<(), StageError> {
        let ca = self.rig.ca_file();
        let (endpoint, authorization) = (self.rig.token_endpoint(), self.rig.authorization_endpoint());
        let mut arguments = vec!["client", "create", name, "--client-id", name, "--client-secret-stdin"];
        let ca = ca.to_string_lossy().into_owned();
        let revocation = self.rig.revocation_endpoint();
        arguments.extend(["--token-endpoint", &endpoint, "--authorization-endpoint", &authorization]);
        arguments.extend(["--revocation-endpoint", &revocation, "--issuer", self.rig.issuer()]);
        // OpenID Connect Core §11: offline access is given only with consent asked for.
        arguments.extend(["--authorization-param", "prompt=consent"]);
        arguments.extend(["--redirect-uri", "http://127.0.0.1:{port}/callback", "--ca-bundle", &ca]);
        self.service.run_with(&arguments, self.rig.client_secret())?;
        Ok(())
    }

    /// Makes a profile of a client; `more` are the options of its kind.
    pub fn profile(&self, name: &str, client: &str, more: &[&str]) -> Result<(), StageError> {
        let mut arguments = vec!["profile", "create", name, "--client", client];
        arguments.extend(more);
        self.service.run(&arguments)?;
        Ok(())
    }

    /// The options of a profile that sends by Dovecot's submission service.
    pub fn submission(&self, tls: &str) -> Result<Vec<String>, StageError> {
        let port = if tls == "implicit" { self.rig.submissions_port() } else { self.rig.submission_port() };
        let ca = self.rig.ca_file().to_string_lossy().into_owned();
        let options = ["--smtp-host", "localhost", "--smtp-port", &port.to_string(), "--tls", tls, "--ca-bundle", &ca];
        Ok(options.iter().map(|option| (*option).to_owned()).collect())
    }

    /// Lets a person grant by paste, walking the server's own forms.
    pub fn grant(&self, profile: &str, login: &str) -> Result<(), StageError> {
        let params = json!({"profile": profile, "via": "paste"}).to_string();
        let started = self.service.json(&["call", "grant.start", &params])?;
        let url = text(&started, "authorization_url")?;
        let redirect = self.rig.browserless_grant(url, login)?;
        let id = text(&started["grant"], "id")?;
        self.service.run_with(&["grant", "complete", id], &redirect)?;
        Ok(())
    }

    /// Generation of a profile's token.
    pub fn generation(&self, profile: &str) -> Result<u64, StageError> {
        let token = self.service.json(&["token", "show", profile])?;
        token["generation"].as_u64().ok_or(StageError::Lacking("generation"))
    }
}

/// A text field of an answer.
pub fn text<'a>(answer: &'a Value, field: &'static str) -> Result<&'a str, StageError> {
    answer[field].as_str().ok_or(StageError::Lacking(field))
}
