//! The examples of docs/rpc.md work as they stand: shell, curl, Python and PHP talk to a real daemon.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use frankd_tests::sandbox::Sandbox;
use frankd_tests::service::Service;
use frankd_tests::skip;

/// The code blocks of a Markdown text in one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let mark = format!("```{language}\n");
    text.split(&mark).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Runs a program with a text as its standard input; gives what it printed.
fn run(folder: &Path, program: &[&str], input: &str) -> io::Result<String> {
    let file = folder.join("example");
    std::fs::write(&file, input)?;
    let output = Command::new(program[0])
        .args(&program[1..])
        .current_dir(folder)
        .stdin(Stdio::from(std::fs::File::open(&file)?))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complained = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program:?} ended with {}:\n{input}\n{said}\n{complained}", output.status)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_socket_works_as_it_stands() {
    if !skip::available(&["nc", "curl", "python3", "php"]) {
        return;
    }
    let Some(service) = Service::start_or_skip() else { return };
    let service = service.unwrap();
    let sandbox = Sandbox::start().await.unwrap();
    let port = sandbox.relay_port.to_string();
    let relay = ["profile", "create", "relay", "--kind", "smtp", "--smtp-host", "127.0.0.1", "--smtp-port", &port];
    let options = ["--tls", "none", "--from", "alerts@example.org", "--default"];
    service.run(&[&relay[..], &options[..]].concat()).unwrap();
    let eml = "From: alerts@example.org\r\nTo: ops@example.org\r\nSubject: As a file\r\n\r\nHello.\r\n";
    std::fs::write(service.folder().join("message.eml"), eml).unwrap();

    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rpc.md")).unwrap();
    let page = page.replace("/run/frankd/submit.sock", &service.submit_socket().display().to_string());
    let shell = blocks(&page, "sh").concat();
    let mut answered = 0;
    for example in shell.split("\n\n").filter(|example| !example.contains("https://api.example.org")) {
        let said = run(service.folder(), &["sh"], example).unwrap();
        assert!(said.contains("\"result\"") || said.contains("\"id\":\"msg_"), "{example}\n{said}");
        answered += 1;
    }
    assert_eq!(answered, 3, "the shell's examples are a ping, a call and a mail");
    let [python] = blocks(&page, "python")[..] else { panic!("one example in Python") };
    let said = run(service.folder(), &["python3", "-"], python).unwrap();
    assert!(said.starts_with("msg_") && said.trim_end().ends_with("sent"), "{said}");
    let [php] = blocks(&page, "php")[..] else { panic!("one example in PHP") };
    let said = run(service.folder(), &["php"], &format!("<?php\n{php}")).unwrap();
    assert!(said.starts_with("msg_"), "{said}");

    let delivered = || Ok((sandbox.relay.delivered_count() == 4).then_some(()));
    service.until(Duration::from_secs(20), delivered).unwrap();
    let mut subjects: Vec<_> =
        sandbox.relay.delivered_to("ops@example.org").iter().filter_map(|mail| mail.header("Subject")).collect();
    subjects.sort();
    assert_eq!(subjects, ["As a file", "Disk full", "Disk full", "Disk full"]);
}
