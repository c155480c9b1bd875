//! What the real daemon answers is on the disk before the answer goes out, and a full disk loses nothing.
//!
//! A kill shows neither: what a dead process had written stays in the page cache. strace shows the order of the calls
//! themselves: the request read, the octets written, the sync ended, the answer begun.

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use frankd_tests::sandbox::{SERVICE_CLIENT, Sandbox};
use frankd_tests::service::Service;
use frankd_tests::skip;
use frankd_tests::small_disk::SmallDisk;
use frankd_tests::trace::{Call, Exchange, Trace, traced};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bodies over this many octets are files of their own.
const LARGEST_RECORD: usize = 4096;

/// A connection that asks one thing after the other.
struct Caller(BufReader<UnixStream>);

impl Caller {
    fn of(service: &Service) -> Outcome<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(service.socket())?)))
    }

    fn ask(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    fn send(&mut self, octets: usize) -> Outcome<Value> {
        let text = "All quiet on this line.\n".repeat(octets.div_ceil(24));
        let message = json!({"to": ["ops@example.org"], "subject": "a", "text": text});
        self.ask("message.send", &json!({"profile": "classic", "message": message}))
    }
}

/// A message that was accepted, as its receipt names it.
struct Accepted {
    id: String,
    octets: usize,
}

/// Sends one message after the other, every other one with a file of its own.
fn send(service: &Service, messages: usize) -> Outcome<Vec<Accepted>> {
    let mut caller = Caller::of(service)?;
    let mut accepted = Vec::new();
    for n in 0..messages {
        let octets = [500, 3 * LARGEST_RECORD][n % 2];
        let answer = caller.send(octets)?;
        let id = answer["result"]["id"].as_str().ok_or_else(|| format!("no receipt: {answer}"))?.to_owned();
        accepted.push(Accepted { id, octets });
    }
    Ok(accepted)
}

/// A profile whose mail stays in the queue.
fn paused_profile(service: &Service) -> Outcome {
    let classic = "profile create classic --kind smtp --smtp-host 127.0.0.1 --smtp-port 9 --tls none \
                   --from alerts@example.org";
    service.run(&classic.split_whitespace().collect::<Vec<_>>())?;
    service.run(&["profile", "pause", "classic"])?;
    Ok(())
}

/// A daemon whose calls are written down; `None` and skipped where it cannot be.
fn traced_daemon(record: &str) -> Outcome<Option<Service>> {
    if !skip::available(&["strace"]) {
        return Ok(None);
    }
    let Some(binaries) = frankd_tests::service::binaries() else { return Ok(None) };
    let mut service = Service::new(binaries)?;
    let command = traced(&service.command(), &service.folder().join(record));
    service.start_with(command)?;
    Ok(Some(service))
}

/// Stops the daemon and reads what it had asked of the kernel.
fn trace_of(mut service: Service, record: &str) -> Outcome<Trace> {
    let (pid, record) = (service.pid().ok_or("the daemon is gone")?, service.folder().join(record));
    service.stop()?;
    // strace is a process of its own, and writes a moment longer.
    let pid = pid.to_string();
    let is_last = |line: &str| line.split_once(' ').is_some_and(|(of, what)| of == pid && what.contains("+++ exited"));
    service.until(Duration::from_secs(20), || {
        Ok(fs::read_to_string(&record)?.lines().rev().take(5).any(is_last).then_some(()))
    })?;
    Ok(Trace::read(&record)?)
}

fn written(call: &Call) -> bool {
    call.is("pwrite64", "/state/store/db")
}

fn synced(call: &Call) -> bool {
    call.is("fdatasync", "/state/store/db")
}

/// Between the last of the request and the answer the database is written and synced; before that a body is synced, gets its
/// name, and the name is synced.
fn check_accept(trace: &Trace, message: &Accepted) -> Outcome {
    let id = &message.id;
    let Exchange { asked, answered } = trace.exchange(&format!("\\\"{id}\\\"")).ok_or(format!("no answer of {id}"))?;
    let found = if message.octets > LARGEST_RECORD {
        let place = format!("/bodies/{id}");
        let rename = trace.0.iter().find_map(|call| call.renames().filter(|(_, to)| to.ends_with(&place)));
        let (from, _) = rename.ok_or(format!("{id} has no file"))?;
        trace.chain(
            asked,
            answered,
            &[
                &|call| call.is("fdatasync", from),
                &|call| call.renames().is_some_and(|(_, to)| to.ends_with(&place)),
                &|call| call.is("fsync", "/state/bodies"),
                &written,
                &synced,
            ],
        )
    } else {
        trace.chain(asked, answered, &[&written, &synced])
    };
    found.map_err(|link| {
        format!("{id} of {} octets: step {link} of what makes it durable is missing", message.octets).into()
    })
}

#[test]
fn every_receipt_goes_out_after_its_message_is_synced() -> Outcome {
    let Some(service) = traced_daemon("calls")? else { return Ok(()) };
    paused_profile(&service)?;
    let mut accepted = send(&service, 20)?;
    let together = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(|| send(&service, 12))).collect();
        senders.into_iter().map(|sender| sender.join().map_err(|_| "a sender panicked")?).collect::<Outcome<Vec<_>>>()
    })?;
    accepted.extend(together.into_iter().flatten());
    let trace = trace_of(service, "calls")?;
    assert_eq!(accepted.len(), 68);
    for message in &accepted {
        check_accept(&trace, message)?;
    }
    Ok(())
}

/// The token and its copy in the mirror are on the disk before anybody gets it.
fn check_token(trace: &Trace, token: &str, asked: usize) -> Outcome {
    let Exchange { answered, .. } = trace.exchange(token).ok_or("the token never went out")?;
    let copies = trace.0.iter().filter(|call| asked < call.began && call.ended < answered);
    let copies: Vec<_> =
        copies.filter(|call| call.renames().is_some_and(|(_, to)| to.contains("/mirror/slot-"))).collect();
    assert!(copies.len() >= 2, "the intent and the token are written: {copies:?}");
    let mut from = asked;
    for copy in copies {
        let Some((source, _)) = copy.renames() else { continue };
        trace
            .chain(
                from,
                answered,
                &[&|call| call.is("fdatasync", source), &written, &synced, &|call| call == copy, &|call| {
                    call.is("fsync", "/state/mirror")
                }],
            )
            .map_err(|link| format!("step {link} of what makes the token durable is missing"))?;
        from = copy.ended;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_out_after_it_and_its_copy_are_synced() -> Outcome {
    let Some(service) = traced_daemon("calls")? else { return Ok(()) };
    let sandbox = Sandbox::start().await?;
    let ca = service.folder().join("ca.pem");
    fs::write(&ca, &sandbox.ca_pem)?;
    let (ca, issuer, id) = (ca.display(), &sandbox.issuer, SERVICE_CLIENT.0);
    let client = format!(
        "client create service --client-id {id} --client-secret-stdin --token-endpoint {issuer}/token --ca-bundle {ca}"
    );
    service.run_with(&client.split(' ').collect::<Vec<_>>(), SERVICE_CLIENT.1)?;
    service.run(
        &"profile create nightly --kind token --client service --flow client_credentials"
            .split(' ')
            .collect::<Vec<_>>(),
    )?;
    let get = |caller: &mut Caller| -> Outcome<String> {
        let answer = caller.ask("token.get", &json!({"profile": "nightly"}))?;
        Ok(answer["result"]["access_token"].as_str().ok_or_else(|| format!("no token: {answer}"))?.to_owned())
    };
    let mut caller = Caller::of(&service)?;
    let first = get(&mut caller)?;
    let refreshed = caller.ask("token.refresh", &json!({"profile": "nightly"}))?;

    assert!(refreshed["error"].is_null(), "{refreshed}");
    let second = get(&mut caller)?;
    assert_ne!(first, second);
    let trace = trace_of(service, "calls")?;
    check_token(&trace, &first, 0)?;
    let from = trace.exchange(&first).ok_or("the first token never went out")?.answered;
    check_token(&trace, &second, from)
}

fn kind(answer: &Value) -> &str {
    answer["error"]["data"]["kind"].as_str().unwrap_or_default()
}

/// Somebody else fills the disk to the last octet, and makes room again later.
#[test]
fn a_full_disk_refuses_mail_and_loses_nothing() -> Outcome {
    let Some(binaries) = frankd_tests::service::binaries() else { return Ok(()) };
    let mut service = Service::new(binaries)?;
    service.configure("[queue]\nmin_free_bytes = 1\n")?;
    let Some(disk) = SmallDisk::over_or_skip(&service.state(), 80).transpose()? else { return Ok(()) };
    let command = disk.wrap(&service.command());
    service.start_with(command)?;
    paused_profile(&service)?;
    let mut accepted = send(&service, 6)?;
    let mut caller = Caller::of(&service)?;
    disk.fill()?;
    for octets in [500, 3 * LARGEST_RECORD] {
        let refused = caller.send(octets)?;
        assert_eq!(kind(&refused), "queue.full", "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap_or_default().contains("disk"), "{refused}");
    }
    // What must write says so, and stops nothing.
    let refused = caller.ask("profile.resume", &json!({"name": "classic"}))?;
    assert_eq!(kind(&refused), "queue.full", "{refused}");
    assert_eq!(listed(&service)?, ids(&accepted));
    disk.free()?;
    accepted.extend(send(&service, 2)?);
    assert!(caller.ask("profile.pause", &json!({"name": "classic"}))?["error"].is_null());
    assert_eq!(listed(&service)?, ids(&accepted));
    service.stop()?;
    let command = disk.wrap(&service.command());
    service.start_with(command)?;
    assert_eq!(listed(&service)?, ids(&accepted));
    Ok(())
}

fn ids(accepted: &[Accepted]) -> Vec<String> {
    let mut ids: Vec<String> = accepted.iter().map(|message| message.id.clone()).collect();
    ids.sort_unstable();
    ids
}

fn listed(service: &Service) -> Outcome<Vec<String>> {
    let shown = service.json(&["queue", "list"])?;
    let items = shown["items"].as_array().ok_or("no items")?;
    let mut ids: Vec<String> = items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect();
    ids.sort_unstable();
    Ok(ids)
}
