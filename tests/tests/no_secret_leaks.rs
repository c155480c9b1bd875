//! A full run of the real programs at the finest log level, with servers that repeat credentials in their refusals, and
//! then a search for every secret that was used in everything that was written.

use std::error::Error;
use std::fs;
use std::path::Path;

use frankd_proto::methods::{client, grant, profile, token};
use frankd_proto::{Secret, SecretInput};
use frankd_tests::leak::{Detector, Leak};
use frankd_tests::sandbox::authorization::{AuthMethod, Browser, Decision, Endpoint, Fault};
use frankd_tests::sandbox::smtp::{self, Phase, Rule};
use frankd_tests::sandbox::{
    PASSWORD_MAILBOX, SERVICE_CLIENT, SERVICE_MAILBOX, Sandbox, WEB_CLIENT, WEB_LOGIN, WEB_MAILBOX,
};
use frankd_tests::service::{Service, ServiceError};
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

/// Secrets that every encoding changes.
const WEB_SECRET: &str = "w3b/secret+&=ü 1?~";
const SERVICE_SECRET: &str = "s3rvice/secret+&=é\"2";
const PASSWORD: &str = "b0b/pass+word&\"ä\\3";
const WRONG_PASSWORD: &str = "wr0ng/pass+word&ö4";
/// Given where it does not belong.
const STRAY: &str = "str4y/secret+&=ß 5";
const OPS: &str = "ops@sandbox.test";

/// The daemon, its servers, and what everybody wrote.
struct Run {
    service: Service,
    sandbox: Sandbox,
    written: Vec<(String, Vec<u8>)>,
    /// Outputs whose purpose is to hand a token out.
    handed_out: Vec<u8>,
    detector: Detector,
}

impl Run {
    async fn start() -> Result<Option<Self>, Failure> {
        let Some(service) = Service::start_or_skip().transpose()? else { return Ok(None) };
        let sandbox = Sandbox::start().await?;
        let servers = &sandbox.authorization;
        servers.update_client(WEB_CLIENT.0, |client| client.secrets = vec![WEB_SECRET.to_owned()]);
        servers.update_client(SERVICE_CLIENT.0, |client| {
            client.secrets = vec![SERVICE_SECRET.to_owned()];
            client.auth_method = AuthMethod::Post;
        });
        sandbox.smtp.set(|behaviour| behaviour.passwords = vec![(PASSWORD_MAILBOX.to_owned(), PASSWORD.to_owned())]);
        fs::write(service.folder().join("ca.pem"), &sandbox.ca_pem)?;
        let run = Self { service, sandbox, written: Vec::new(), handed_out: Vec::new(), detector: Detector::default() };
        Ok(Some(run))
    }

    /// Runs frankctl and keeps what it wrote, however it ended.
    fn ctl(&mut self, arguments: &[&str], input: &str) -> Result<bool, ServiceError> {
        let output = self.service.output(arguments, input)?;
        let place = format!("frankctl {}", arguments.join(" "));
        self.written.push((place, [output.stdout, output.stderr].concat()));
        Ok(output.status.success())
    }

    /// The same, for a command that has to end well.
    fn done(&mut self, arguments: &[&str], input: &str) -> Result<(), Failure> {
        if self.ctl(arguments, input)? {
            return Ok(());
        }
        let said = self.written.last().map(|(place, said)| format!("{place}: {}", String::from_utf8_lossy(said)));
        Err(said.unwrap_or_default().into())
    }

    /// The same, for a command that has to fail.
    fn refused(&mut self, arguments: &[&str], input: &str) -> Result<(), Failure> {
        if self.ctl(arguments, input)? { Err(format!("not refused: {arguments:?}").into()) } else { Ok(()) }
    }

    fn client(&mut self, name: &str, id: &str, secret: &str, method: &str) -> Result<(), Failure> {
        let issuer = self.sandbox.issuer.clone();
        let [authorization, token, revocation] =
            ["authorize", "token", "revoke"].map(|path| format!("{issuer}/{path}"));
        let ca = self.ca();
        let mut create = vec![
            "client",
            "create",
            name,
            "--client-id",
            id,
            "--client-secret-stdin",
            "--token-endpoint-auth-method",
            method,
        ];
        create.extend(["--issuer", &issuer, "--authorization-endpoint", &authorization, "--token-endpoint", &token]);
        create.extend(["--revocation-endpoint", &revocation, "--scope", "smtp.send", "--ca-bundle", &ca]);
        self.done(&create, secret)
    }

    fn profile(&mut self, name: &str, options: &[&str], password: &str) -> Result<(), Failure> {
        let (ca, port) = (self.ca(), self.sandbox.starttls_port.to_string());
        let mut create = vec!["profile", "create", name, "--smtp-host", "localhost", "--smtp-port", &port];
        create.extend(["--tls", "starttls", "--ca-bundle", &ca]);
        create.extend(options);
        self.done(&create, password)
    }

    fn ca(&self) -> String {
        self.service.folder().join("ca.pem").to_string_lossy().into_owned()
    }

    fn learn(&mut self, name: &str, secret: &str) {
        assert!(self.detector.learn(name, secret.as_bytes()), "{name} is too short to look for");
    }

    /// A person grants by paste; the address of the last page is given twice.
    async fn grant(&mut self, profile: &str) -> Result<(), Failure> {
        let params = json!({"profile": profile, "via": "paste"}).to_string();
        let started = self.service.json(&["call", "grant.start", &params])?;
        let url = started["authorization_url"].as_str().ok_or("no address")?.to_owned();
        let servers = self.sandbox.authorization.clone();
        let back = Browser::of(&servers).grant(&url, WEB_LOGIN.0, WEB_LOGIN.1, &Decision::Allow).await?;
        for parameter in ["state", "nonce", "code"] {
            for address in [&url, &back] {
                if let Some(value) = parameter_of(address, parameter) {
                    self.learn(parameter, &value);
                }
            }
        }
        self.done(&["grant", "complete"], &back)?;
        self.refused(&["grant", "complete"], &back)?;
        let forged = back.replace("code=", "code=forged-");
        self.refused(&["grant", "complete"], &forged)
    }

    /// Gets a token in every form, which nothing else may show.
    fn hand_out(&mut self, profile: &str) -> Result<(), Failure> {
        for format in ["raw", "bearer", "xoauth2", "json"] {
            let output = self.service.run(&["token", "get", profile, "--format", format])?;
            self.handed_out.extend(output.as_bytes());
            self.handed_out.push(b'\n');
        }
        Ok(())
    }

    /// The token that the server minted last, of those that begin so.
    fn newest(&self, kind: &str) -> Result<String, Failure> {
        let minted = self.sandbox.authorization.secrets();
        Ok(minted.into_iter().rfind(|secret| secret.starts_with(kind)).ok_or("no token was minted")?)
    }

    /// Every secret that the servers gave or were given.
    fn learn_from_servers(&mut self) {
        for secret in self.sandbox.authorization.secrets() {
            self.learn("minted by the server", &secret);
        }
        for entry in self.sandbox.authorization.journal() {
            let body = String::from_utf8_lossy(&entry.body).into_owned();
            for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
                if matches!(&*name, "code" | "code_verifier" | "client_secret" | "refresh_token") {
                    self.learn(&format!("{name} of a token request"), &value);
                }
            }
            let header = entry.headers.get("authorization").and_then(|value| value.to_str().ok());
            if let Some(basic) = header.and_then(|value| value.strip_prefix("Basic ")) {
                self.learn("Authorization header", basic);
            }
        }
        for login in self.sandbox.smtp.logins() {
            self.learn("secret of a mail login", &login.secret);
        }
        for command in self.sandbox.smtp.commands() {
            if let Some(blob) = command.line.strip_prefix("AUTH ").and_then(|line| line.split_once(' ')) {
                self.learn("SASL response", blob.1);
            }
        }
    }

    /// Looks for everything everywhere.
    fn leaks(&self) -> Vec<Leak> {
        let look = |(place, octets): &(String, Vec<u8>)| self.detector.look(place, octets);
        self.written.iter().flat_map(look).collect()
    }
}

fn parameter_of(address: &str, name: &str) -> Option<String> {
    let address = url::Url::parse(address).ok()?;
    address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// All files below a folder, with their names from there.
fn files(folder: &Path, below: &str, found: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files(&entry.path(), &name, found)?;
        } else {
            found.push((name, fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// Clients, profiles, tokens: made right, and made wrong with a secret in hand.
fn objects(run: &mut Run) -> Result<(), Failure> {
    for (name, secret) in [
        ("web client secret", WEB_SECRET),
        ("service client secret", SERVICE_SECRET),
        ("password", PASSWORD),
        ("wrong password", WRONG_PASSWORD),
        ("stray secret", STRAY),
    ] {
        run.learn(name, secret);
    }
    run.client("web", WEB_CLIENT.0, WEB_SECRET, "client_secret_basic")?;
    run.client("service", SERVICE_CLIENT.0, SERVICE_SECRET, "client_secret_post")?;
    let web = ["--kind", "oauth2_smtp", "--client", "web", "--interactive", "--username", WEB_MAILBOX, "--default"];
    run.profile("alice", &web, "")?;
    let service =
        ["--kind", "oauth2_smtp", "--client", "service", "--interactive=false", "--username", SERVICE_MAILBOX];
    run.profile("alerts", &service, "")?;
    let bob = ["--kind", "smtp", "--username", PASSWORD_MAILBOX, "--password-stdin"];
    run.profile("bob", &bob, PASSWORD)?;
    run.profile("mistaken", &bob, WRONG_PASSWORD)?;

    // A text where an object belongs, an unknown field, a value of the wrong type: none is repeated.
    for params in [
        json!({"name": "x", "client_id": "x", "token_endpoint": "https://x.test/", "client_secret": STRAY}),
        json!({"name": "x", "client_id": "x", "token_endpoint": "https://x.test/", "client_secret": {"valu": STRAY}}),
        json!({"name": "x", "client_id": "x", "token_endpoint": "https://x.test/", "client_secret": {"value": [STRAY]}}),
        json!({"name": "x", "client_id": "x", "token_endpoint": "https://x.test/", "client_secret": {"value": STRAY, "file": "x"}}),
        json!({"name": "x", "client_id": 5, "client_secret": {"value": STRAY}}),
        json!([STRAY]),
    ] {
        run.refused(&["call", "client.create", "-"], &params.to_string())?;
    }
    run.refused(
        &["call", "profile.create", "-"],
        &json!({"name": "y", "kind": "smtp", "password": STRAY}).to_string(),
    )?;
    run.refused(&["call", "grant.complete", "-"], &json!({"redirect_url": [STRAY]}).to_string())?;
    run.refused(&["call", "grant.complete", "-"], &json!({"redirect_url": STRAY}).to_string())?;
    run.refused(&["grant", "complete"], STRAY)?;
    run.refused(&["client", "update", "web", "--token-endpoint", "https://elsewhere.test/token"], "")?;
    run.refused(&["client", "create", "web", "--client-id", "w", "--client-secret-stdin"], STRAY)?;
    run.refused(&["profile", "update", "bob", "--client", "none-such", "--password-stdin"], STRAY)
}

/// Tokens, mail, and refusals that repeat what they were shown.
async fn work(run: &mut Run) -> Result<(), Failure> {
    run.grant("alice").await?;
    run.hand_out("alice")?;
    run.hand_out("alerts")?;
    run.done(&["token", "refresh", "alice"], "")?;
    run.hand_out("alice")?;
    for profile in ["alice", "alerts", "bob"] {
        run.done(&["send", "--profile", profile, "--to", OPS, "-s", "hello", "--text", "-", "--wait"], "A letter.\n")?;
        run.done(&["test", "email", profile, "--to", OPS, "--transcript"], "")?;
    }
    run.refused(&["test", "email", "mistaken", "--to", OPS, "--transcript"], "")?;
    run.refused(&["send", "--profile", "mistaken", "--to", OPS, "-s", "x", "--text", "-", "--wait"], "A letter.\n")?;

    run.sandbox.smtp.misbehave(Rule::once(Phase::Login, smtp::Fault::refuse_token()));
    run.done(&["send", "--profile", "alice", "--to", OPS, "-s", "again", "--text", "-", "--wait"], "A letter.\n")?;

    // Servers that repeat the password, and client secret and refresh token, in their refusals.
    let echo = format!("535 5.7.8 {PASSWORD} is not the password");
    run.sandbox.smtp.misbehave(Rule::once(Phase::Login, smtp::Fault::reply(echo)));
    run.refused(&["test", "email", "bob", "--to", OPS, "--transcript"], "")?;
    run.sandbox.smtp.behave();
    let refusal =
        json!({"error": "invalid_client", "error_description": format!("{SERVICE_SECRET} is not the secret")});
    run.sandbox.authorization.fail(Endpoint::Token, Fault::error_object(401, &refusal), 1);
    run.refused(&["token", "refresh", "alerts"], "")?;
    let refusal = json!({"error": "invalid_request", "error_description": format!("{WEB_SECRET} is not the secret")});
    run.sandbox.authorization.fail(Endpoint::Token, Fault::error_object(400, &refusal), 1);
    run.refused(&["token", "refresh", "alice"], "")?;
    // The same with the refresh token: a refusal as OAuth2 has it, and a fault, which is tried again.
    let said = format!("{} will not do", run.newest("rt-")?);
    let refusal = json!({"error": "invalid_request", "error_description": said});
    run.sandbox.authorization.fail(Endpoint::Token, Fault::error_object(400, &refusal), 1);
    run.ctl(&["token", "refresh", "alice"], "")?;
    let said = format!("{} will not do", run.newest("rt-")?);
    run.sandbox.authorization.fail(Endpoint::Token, Fault::status(500, &said, &[]), 1);
    run.ctl(&["token", "refresh", "alice"], "")?;
    run.sandbox.authorization.behave();
    // And the mail server with the access token.
    run.done(&["token", "refresh", "alice"], "")?;
    let echo = format!("535 5.7.8 {} will not do", run.newest("at-")?);
    run.sandbox.smtp.misbehave(Rule::once(Phase::Login, smtp::Fault::reply(echo)));
    run.ctl(&["test", "email", "alice", "--to", OPS, "--transcript"], "")?;
    run.sandbox.smtp.behave();
    Ok(())
}

/// All that can be asked, in both formats, then the end.
fn look_around(run: &mut Run) -> Result<(), Failure> {
    let listed = run.service.json(&["queue", "list"])?;
    let ids: Vec<String> = listed["items"].as_array().into_iter().flatten().filter_map(id_of).collect();
    assert!(ids.len() >= 5, "{listed}");
    for format in ["table", "json"] {
        for id in &ids {
            run.done(&["queue", "show", id, "--transcript", "-o", format], "")?;
        }
        for name in ["alice", "alerts", "bob", "mistaken"] {
            run.done(&["profile", "show", name, "-o", format], "")?;
        }
        for command in [
            "client show web",
            "client show service",
            "client list",
            "profile list",
            "token show alice",
            "token show alerts",
            "grant list",
            "queue list",
            "queue summary",
            "events",
            "config show",
            "access whoami",
            "version",
            "call system.info",
            "call event.list",
            "call message.list",
        ] {
            let mut words: Vec<&str> = command.split(' ').collect();
            words.extend(["-o", format]);
            run.done(&words, "")?;
        }
        // Exit status 1: there are problems to tell of.
        run.ctl(&["status", "-o", format], "")?;
    }
    run.service.stop()?;
    run.service.start()?;
    run.ctl(&["token", "show", "alice"], "")?;
    run.ctl(&["token", "revoke", "alice", "--yes"], "")?;
    run.ctl(&["status"], "")?;
    run.service.stop()?;
    Ok(())
}

fn id_of(message: &Value) -> Option<String> {
    message["id"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_written_has_a_secret_in_it() -> Result<(), Failure> {
    let Some(mut run) = Run::start().await? else { return Ok(()) };
    objects(&mut run)?;
    work(&mut run).await?;
    look_around(&mut run)?;
    run.learn_from_servers();

    let key = fs::read(run.service.state().join("master-key"))?;
    assert!(run.detector.learn("master key", &key));
    let mut stored = Vec::new();
    files(&run.service.state(), "state", &mut stored)?;
    stored.retain(|(name, _)| name != "state/master-key");
    assert!(stored.iter().any(|(name, content)| name.starts_with("state/mirror/") && !content.is_empty()));
    run.written.extend(stored);
    let log = fs::read(run.service.log_file())?;
    let lines = String::from_utf8_lossy(&log).into_owned();
    assert!(lines.contains("a new token") && lines.contains("535 5.7.8"), "tokens and refusals are logged:\n{lines}");
    run.written.push(("log".to_owned(), log));

    let leaks = run.leaks();
    assert!(leaks.is_empty(), "{leaks:#?}");

    // The search finds what was handed out on purpose, and what is planted.
    let forms: Vec<_> = run.detector.look("token get", &run.handed_out).iter().map(|leak| leak.form).collect();
    assert!(forms.contains(&"raw") && forms.contains(&"base64"), "{forms:?}");
    for planted in [WEB_SECRET.as_bytes(), PASSWORD.as_bytes(), &key] {
        run.written.push(("planted".to_owned(), [b"x ", planted, b" x"].concat()));
        let leaks = run.leaks();
        assert!(leaks.iter().any(|leak| leak.place == "planted" && leak.form == "raw"), "{leaks:?}");
        run.written.pop();
    }
    run.sandbox.stop().await;
    Ok(())
}

#[test]
fn what_a_caller_sends_and_gets_can_be_debugged() -> Result<(), Failure> {
    let mut detector = Detector::default();
    detector.learn("it", STRAY.as_bytes());
    let by_value = json!({"value": STRAY});
    let new_client = json!({"name": "x", "client_id": "x", "client_secret": by_value});
    let new_profile = json!({"name": "x", "kind": "smtp", "password": by_value});
    let named = json!({"name": "x", "client_secret": by_value, "password": by_value});
    let shown = [
        format!("{:?}", Secret::new(STRAY)),
        format!("{:#?}", SecretInput::value(Secret::new(STRAY))),
        format!("{:?}", serde_json::from_value::<client::CreateParams>(new_client)?),
        format!("{:?}", serde_json::from_value::<profile::CreateParams>(new_profile)?),
        format!("{:?}", serde_json::from_value::<client::UpdateParams>(without(&named, "password"))?),
        format!("{:?}", serde_json::from_value::<profile::UpdateParams>(without(&named, "client_secret"))?),
        format!("{:?}", serde_json::from_value::<grant::CompleteParams>(json!({"redirect_url": STRAY}))?),
        format!(
            "{:?}",
            serde_json::from_value::<token::Token>(json!({
                "access_token": STRAY, "token_type": "Bearer", "expires_at": "2026-01-01T00:00:00Z",
                "obtained_at": "2026-01-01T00:00:00Z", "generation": 1, "scope": [], "scopes": [], "warnings": [],
            }))?
        ),
    ];
    for text in shown {
        assert!(text.contains("Secret(…)"), "{text}");
        assert_eq!(detector.look("Debug", text.as_bytes()), []);
    }
    Ok(())
}

fn without(object: &Value, field: &str) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
    object
}
