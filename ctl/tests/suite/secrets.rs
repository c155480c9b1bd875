//! Secrets come by standard input, file or reference, and are nowhere else.

use std::process::Stdio;

use clap::Command;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::daemon::{FakeDaemon, Reply};
use crate::harness::{Run, run};
use crate::samples;

const SECRET: &str = "hunter2 with a space";

fn daemon() -> FakeDaemon {
    FakeDaemon::start(|call, _| match call.method.as_str() {
        "client.presets" => Reply::value(&samples::presets()),
        "profile.create" | "profile.update" => Reply::value(&samples::profile()),
        _ => Reply::value(&samples::client()),
    })
}

#[tokio::test]
async fn a_secret_comes_by_standard_input_file_or_reference() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\r\n")).unwrap();
    let path = path.display().to_string();
    let given = json!({"value": SECRET, "expires_at": "2027-08-27T00:00:00Z"});
    for (options, input, expected) in [
        (vec!["--client-secret-stdin"], format!("{SECRET}\n"), given.clone()),
        (vec!["--client-secret-file", "-"], SECRET.to_owned(), given.clone()),
        (vec!["--client-secret-file", &path], String::new(), given),
        (
            vec!["--client-secret-credential", "m365"],
            String::new(),
            json!({"credential": "m365", "expires_at": "2027-08-27T00:00:00Z"}),
        ),
        (
            vec!["--client-secret-ref-file", "m365"],
            String::new(),
            json!({"file": "m365", "expires_at": "2027-08-27T00:00:00Z"}),
        ),
    ] {
        for verb in ["create", "update"] {
            let daemon = daemon();
            let mut line = vec!["client", verb, "m365", "--client-id", "4f0c", "--client-secret-expires", "2027-08-27"];
            line.extend(&options);
            let outcome = Run::new(&line).stdin(&input).at(&daemon).go().await;
            assert_eq!(outcome.code, 0, "{}", outcome.stderr);
            assert_eq!(daemon.params(&format!("client.{verb}"))["client_secret"], expected, "{line:?}");
            assert!(!format!("{outcome:?}").contains("hunter2"));
        }
    }
    let daemon = daemon();
    let line = ["profile", "update", "alerts", "--password-stdin"];
    Run::new(&line).stdin(SECRET).at(&daemon).go().await;
    assert_eq!(daemon.params("profile.update"), json!({"name": "alerts", "password": {"value": SECRET}}));
}

#[tokio::test]
async fn an_empty_secret_is_refused_and_a_cleared_one_is_null() {
    let daemon = daemon();
    let line = ["client", "update", "m365", "--client-secret-stdin"];
    let outcome = Run::new(&line).stdin("\n").at(&daemon).go().await;
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(daemon.calls().is_empty());
    run(&daemon, &["client", "update", "m365", "--clear", "client_secret"]).await;
    assert_eq!(daemon.params("client.update"), json!({"name": "m365", "client_secret": Value::Null}));
}

#[tokio::test]
async fn the_process_shows_no_secret_to_others() {
    let mut daemon = daemon();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_frankctl"))
        .args(["client", "create", "m365", "--client-id", "4f0c", "--client-secret-stdin"])
        .env("FRANKD_HOST", daemon.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let pid = child.id().unwrap();
    stdin.write_all(SECRET.as_bytes()).await.unwrap();
    drop(stdin);
    let call = daemon.called("client.create").await;
    assert_eq!(u32::try_from(call.pid).unwrap(), pid, "the secret came from another process");
    assert_eq!(call.params["client_secret"]["value"], SECRET);
    for file in ["cmdline", "environ"] {
        // The process may be over already, and then nobody can look into it.
        let seen = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&seen).contains("hunter2"), "{file}");
    }
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains("hunter2"));
}

#[test]
fn no_option_takes_a_secret_as_its_value() {
    fn look(command: &Command, path: &str) {
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            let long = arg.get_long().unwrap_or_default();
            let is_secret = ["secret", "password", "passphrase"].iter().any(|word| long.contains(word));
            let names_a_place = ["-file", "-credential", "-expires"].iter().any(|end| long.ends_with(end));
            assert!(!is_secret || names_a_place, "{path} --{long}");
        }
        for child in command.get_subcommands() {
            look(child, &format!("{path} {}", child.get_name()));
        }
    }
    look(&frankctl::command(), "frankctl");
}
