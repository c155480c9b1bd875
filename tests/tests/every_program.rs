//! The same calls by programs that nobody wrote for frankd: `nc`, curl, Python, PHP and a WebSocket library.
//!
//! Each says hello, queues a mail into a profile that is paused, and asks for a method that there is not, on the real
//! daemon's submit socket; what it was told must be so, and the mail must be in the queue.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frankd_tests::service::{Service, ServiceError};
use frankd_tests::skip::available;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Sends each request of the file on a connection of its own, as programs without a library do.
const PYTHON: &str = r#"
import socket, sys
for request in open(sys.argv[2]):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sys.argv[1])
        s.sendall(request.encode())
        print(s.makefile().readline(), end="")
"#;
const PHP: &str = r#"
foreach (file($argv[2]) as $request) {
    $socket = stream_socket_client("unix://" . $argv[1], $code, $why, 10) ?: exit($why);
    fwrite($socket, $request);
    echo fgets($socket);
    fclose($socket);
}
"#;
/// Sends all requests on one connection and prints the answers in the order of their ids.
const WEBSOCKET: &str = r#"
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const WebSocket = createRequire(process.argv[4])("ws");
const requests = readFileSync(process.argv[3], "utf8").trim().split("\n");
const socket = new WebSocket("ws+unix://" + process.argv[2] + ":/");
const answers = [];
socket.on("open", () => requests.forEach((request) => socket.send(request)));
socket.on("message", (data) => {
  answers.push(JSON.parse(data));
  if (answers.length === requests.length) socket.close();
});
socket.on("close", () => {
  answers.sort((a, b) => a.id - b.id).forEach((answer) => console.log(JSON.stringify(answer)));
});
"#;

/// A daemon whose only profile, `classic`, is paused.
fn paused() -> Option<Result<Service, ServiceError>> {
    let service = Service::start_or_skip()?;
    Some(service.and_then(|service| {
        let create = "profile create classic --kind smtp --smtp-host 127.0.0.1 --smtp-port 9 --tls none \
                      --from alerts@example.org --default";
        service.run(&create.split_whitespace().collect::<Vec<_>>())?;
        service.run(&["profile", "pause", "classic"])?;
        Ok(service)
    }))
}

/// What every program asks, one request on a line.
fn requests(subject: &str) -> String {
    let message = json!({"to": ["ops@example.org"], "subject": subject, "text": "Hello."});
    [
        json!({"jsonrpc": "2.0", "id": 1, "method": "system.ping"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "message.send", "params": {"profile": "classic", "message": message}}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "system.pong"}),
    ]
    .map(|request| format!("{request}\n"))
    .concat()
}

/// Runs a program with `input` as its standard input; gives what it printed.
fn said(service: &Service, program: &str, arguments: &[&str], input: &str) -> Outcome<String> {
    let file = service.folder().join("input");
    std::fs::write(&file, input)?;
    let output = Command::new(program).args(arguments).stdin(Stdio::from(File::open(&file)?)).output()?;
    if !output.status.success() {
        let complained = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} ended with {}: {complained}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn socket(service: &Service) -> String {
    service.submit_socket().display().to_string()
}

/// Checks the three answers, and that the queue holds the mail.
fn check(service: &Service, subject: &str, answers: &str) -> Outcome {
    let mut answers = answers.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let [ping, receipt, unknown] = &answers[..] else { return Err(format!("not three answers: {answers:?}").into()) };
    assert!(ping["result"]["now"].is_string(), "{ping}");
    let error = &unknown["error"];
    assert_eq!((&unknown["id"], &error["code"]), (&json!(3), &json!(-32601)), "{unknown}");
    assert_eq!(error["data"]["kind"], "method_not_found", "{unknown}");
    queued(service, subject, &receipt["result"])
}

/// Checks a receipt against the queue as frankctl shows it.
fn queued(service: &Service, subject: &str, receipt: &Value) -> Outcome {
    let id = receipt["id"].as_str().ok_or_else(|| format!("not a receipt: {receipt}"))?;
    let shown = service.json(&["queue", "show", id])?;
    assert_eq!(shown["profile"], "classic", "{shown}");
    assert_eq!(shown["message_id"], receipt["message_id"], "{shown}");
    let raw = service.run(&["queue", "cat", id])?;
    assert!(raw.contains(&format!("Subject: {subject}\r\n")), "{raw}");
    Ok(())
}

#[test]
fn nc_speaks_lines() -> Outcome {
    if !available(&["nc"]) {
        return Ok(());
    }
    let Some(service) = paused().transpose()? else { return Ok(()) };
    let answers = said(&service, "nc", &["-U", "-N", &socket(&service)], &requests("By nc"))?;
    check(&service, "By nc", &answers)
}

#[test]
fn python_sockets_speak_lines() -> Outcome {
    if !available(&["python3"]) {
        return Ok(());
    }
    let Some(service) = paused().transpose()? else { return Ok(()) };
    let file = service.folder().join("requests");
    std::fs::write(&file, requests("By Python"))?;
    let answers = said(&service, "python3", &["-c", PYTHON, &socket(&service), &file.display().to_string()], "")?;
    check(&service, "By Python", &answers)
}

#[test]
fn php_streams_speak_lines() -> Outcome {
    if !available(&["php"]) {
        return Ok(());
    }
    let Some(service) = paused().transpose()? else { return Ok(()) };
    let file = service.folder().join("requests");
    std::fs::write(&file, requests("By PHP"))?;
    let answers = said(&service, "php", &["-r", PHP, &socket(&service), &file.display().to_string()], "")?;
    check(&service, "By PHP", &answers)
}

#[test]
fn a_websocket_library_speaks_on_the_same_socket() -> Outcome {
    if !available(&["ws"]) {
        return Ok(());
    }
    let Some(service) = paused().transpose()? else { return Ok(()) };
    let (file, program) = (service.folder().join("requests"), service.folder().join("program.mjs"));
    std::fs::write(&file, requests("By WebSocket"))?;
    std::fs::write(&program, WEBSOCKET)?;
    let [program, file, rig] = [program, file, Path::new(env!("CARGO_MANIFEST_DIR")).join("rig/package.json")]
        .map(|path| path.display().to_string());
    let answers = said(&service, "node", &[&program, &socket(&service), &file, &rig], "")?;
    check(&service, "By WebSocket", &answers)
}

/// curl on a socket: the HTTP status and the body.
fn curl(service: &Service, arguments: &[&str], input: &str) -> Outcome<(u16, String)> {
    let socket = socket(service);
    let always = ["-sS", "--max-time", "20", "--unix-socket", &socket, "-w", "\n%{http_code}"];
    let said = said(service, "curl", &[&always, arguments].concat(), input)?;
    let (body, status) = said.rsplit_once('\n').ok_or("curl told no status")?;
    Ok((status.parse()?, body.to_owned()))
}

#[test]
fn curl_speaks_http() -> Outcome {
    if !available(&["curl"]) {
        return Ok(());
    }
    let Some(service) = paused().transpose()? else { return Ok(()) };
    let json = ["-H", "Content-Type: application/json", "--data-binary", "@-", "http://localhost/"];
    let mut answers = String::new();
    for request in requests("By curl").lines() {
        let (status, body) = curl(&service, &json, request)?;
        assert_eq!(status, 200, "{body}");
        answers = answers + &body + "\n";
    }
    check(&service, "By curl", &answers)?;

    let ready = || Ok(curl(&service, &["http://localhost/readyz"], "").ok().filter(|(status, _)| *status == 200));
    assert_eq!(service.until(Duration::from_secs(20), ready)?.1, "ready\n");
    assert_eq!(curl(&service, &["http://localhost/healthz"], "")?, (200, "ok\n".to_owned()));

    let options = URL_SAFE_NO_PAD.encode(json!({"profile": "classic", "priority": "high"}).to_string());
    let options = format!("Frankd-Params: {options}");
    let mail = "From: alerts@example.org\r\nTo: ops@example.org\r\nSubject: As it is\r\n\r\nHello.\r\n";
    let url = "http://localhost/v1/messages";
    let whole = ["-H", "Content-Type: message/rfc822", "-H", &options, "--data-binary", "@-", url];
    let (status, receipt) = curl(&service, &whole, mail)?;
    assert_eq!(status, 200, "{receipt}");
    queued(&service, "As it is", &serde_json::from_str(&receipt)?)
}

#[test]
fn a_web_page_and_another_host_are_refused() -> Outcome {
    if !available(&["curl"]) {
        return Ok(());
    }
    let Some(service) = paused().transpose()? else { return Ok(()) };
    let json = ["-H", "Content-Type: application/json", "--data-binary", "@-"];
    let mail = requests("From a page").lines().nth(1).unwrap_or_default().to_owned();
    for (arguments, reason) in [
        (["-H", "Origin: http://localhost", "http://localhost/"], "Origin"),
        (["-H", "Origin: null", "http://localhost/v1/messages"], "Origin"),
        (["-H", "Host: shop.example", "http://localhost/"], "localhost"),
        (["-H", "Accept: */*", "http://127.0.0.1/"], "localhost"),
        (["-H", "Accept: */*", "http://localhost.shop.example/healthz"], "localhost"),
    ] {
        let (status, body) = curl(&service, &[&json[..], &arguments[..]].concat(), &mail)?;
        assert_eq!(status, 403, "{arguments:?}: {body}");
        assert!(body.contains(reason), "{arguments:?}: {body}");
    }
    let shown = service.json(&["queue", "list"])?;
    assert_eq!(shown["items"], json!([]), "nothing was queued: {shown}");
    Ok(())
}
