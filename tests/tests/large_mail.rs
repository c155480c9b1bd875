//! A mail of the largest size goes in by `POST /v1/messages` and out by SMTP without ever being in the daemon's memory.

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use frankd_tests::sandbox::Sandbox;
use frankd_tests::service::{Service, ServiceError};
use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The default `limits.message_bytes`.
const LARGEST: usize = 35 * 1024 * 1024;
/// What the mail may add to the daemon's peak of memory, in KiB.
const MOST_KIB: u64 = 6 * 1024;

/// The most memory that the daemon had since it started, in KiB.
fn peak_kib(service: &Service) -> Outcome<u64> {
    let pid = service.pid().ok_or("the daemon does not run")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

/// A message of that many octets, with lines that begin with dots.
fn mail(octets: usize) -> Vec<u8> {
    let mut mail = b"From: a@x.example\r\nTo: b@y.example\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\
                     Message-ID: <large@x.example>\r\nSubject: large\r\n\r\n"
        .to_vec();
    for number in 0.. {
        let line = format!("{}{number:074}\r\n", if number % 3 == 0 { "." } else { "" });
        if mail.len() + line.len() > octets {
            return mail;
        }
        mail.extend_from_slice(line.as_bytes());
    }
    mail
}

fn post(service: &Service, mail: &[u8]) -> Outcome<Value> {
    let mut stream = UnixStream::connect(service.socket())?;
    write!(
        stream,
        "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: message/rfc822\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        mail.len()
    )?;
    stream.write_all(mail)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(serde_json::from_str(body)?)
}

fn profile(service: &Service, port: u16) -> Result<(), ServiceError> {
    let port = port.to_string();
    let create =
        format!("profile create relay --kind smtp --smtp-host 127.0.0.1 --smtp-port {port} --tls none --default");
    service.run(&create.split(' ').collect::<Vec<_>>()).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_of_35_mib_costs_a_few_mib_of_memory() -> Outcome {
    let Some(service) = Service::start_or_skip() else { return Ok(()) };
    let service = service?;
    let sandbox = Sandbox::start().await?;
    sandbox.relay.set(|behaviour| behaviour.size = Some(LARGEST as u64));
    profile(&service, sandbox.relay_port)?;
    // What every mail costs is there before the large one comes.
    post(&service, &mail(200_000))?;
    sandbox.relay.wait_for_delivered(1).await;
    let before = peak_kib(&service)?;
    let large = mail(LARGEST);
    let receipt = post(&service, &large)?;
    sandbox.relay.wait_for_delivered(2).await;
    let delivered = sandbox.relay.delivered();
    assert!(delivered[1].octets == large, "{} octets came, {} went in", delivered[1].octets.len(), large.len());
    assert_eq!(receipt["message_id"], "<large@x.example>");
    let added = peak_kib(&service)? - before;
    assert!(added <= MOST_KIB, "the mail added {added} KiB to the daemon's peak of {before} KiB");
    Ok(())
}
