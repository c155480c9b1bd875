//! Bad input on the real daemon: it is refused by name, within its limit, and costs nobody else anything.
//!
//! A program of another user attacks the submit socket without a pause, while root's calls go on for ten seconds and are
//! timed. What leaves an attack is a JSON-RPC error, a status 400 or a closed connection; what leaves the others is an
//! answer, in time. Daemon and attacker have a session each, because the kernel shares the processor among sessions as it
//! does among services: a daemon that is a service does not pay for what its attacker burns.

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use frankd_tests::sandbox::authorization::{Endpoint, Fault};
use frankd_tests::sandbox::{SERVICE_CLIENT, SERVICE_MAILBOX, Sandbox};
use frankd_tests::service::Service;
use frankd_tests::skip;
use frankd_tests::stopwatch::{Stopwatch, pause};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The attacker: no account has this number.
const UID: u32 = 54_321;
/// Small limits, so that an attack meets them soon.
const SETTINGS: &str = "
[limits]
request_bytes = 2000000
message_bytes = 1000000
connections_per_uid = 32
request_timeout_s = 1
[[access]]
uid = 54321
capabilities = ['submit', 'read_token']
";
/// How long each attack is watched, and how long the same calls take without one.
const ATTACKED: Duration = Duration::from_secs(10);
const UNLOADED: Duration = Duration::from_secs(2);
/// What others do meanwhile.
const TOKENS: u32 = 2_000;
const MESSAGES: u32 = 200;
/// What is quick enough however quick it is without an attack.
const QUICK: Duration = Duration::from_millis(100);
/// An attacker is answered, or its connection closed, within the limit of a request (1 s), the longest wait of a user that
/// was refused too often (1 s) and what a loaded machine adds.
const LIMIT: Duration = Duration::from_secs(4);
/// Attacks until its input ends, for at most a minute, and prints how often each outcome was and the longest time to one.
const ATTACK: &str = r#"
import collections, json, os, select, socket, sys, time
kind, path, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setsid(); os.setgroups([]); os.setgid(uid); os.setuid(uid)
slowest = 0

def line(method, params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(path)
    return s

def outcome(s):
    global slowest
    asked = time.monotonic()
    answer = outcome_of(s)
    slowest = max(slowest, time.monotonic() - asked)
    return answer

def outcome_of(s):
    try:
        answer = s.makefile("rb").readline()
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "silence"
    if not answer:
        return "closed"
    if answer.startswith(b"HTTP/1.1 "):
        return answer[9:12].decode()
    return json.loads(answer).get("error", {}).get("data", {}).get("kind", "result")

def throw(octets):
    with connect() as s:
        try:
            s.sendall(octets)
        except ConnectionError:
            pass
        return [outcome(s)]

def half():
    held = [connect() for _ in range(20)]
    for s in held:
        s.sendall(b'{"jsonrpc":"2.0","id":1,"met')
    outcomes = [outcome(s) for s in held]
    for s in held:
        s.close()
    return outcomes

def crowd():
    held = [connect() for _ in range(48)]
    for s in held:
        try:
            s.sendall(line("system.ping", {}))
        except ConnectionError:
            pass
    outcomes = [outcome(s) for s in held]
    for s in held:
        s.close()
    return outcomes

batch = json.dumps([json.loads(line("system.ping", {}))] * 10000).encode() + b"\n"
attack = {
    "unknown method": lambda: throw(line("system.pong", {})),
    "unknown parameter": lambda: throw(line("message.send", {"profil": "classic"})),
    "wrong type": lambda: throw(line("message.send", {"profile": 7})),
    "positional": lambda: throw(line("message.send", ["classic"])),
    "too large": lambda: throw(line("message.send", {"raw_b64": "A" * 2100000})),
    "half a line": half,
    "connections": crowd,
    "garbage": lambda: throw(b"\xfe" + os.urandom(65536)) + throw(b"{\xfe" + os.urandom(65536) + b"\n"),
    "batch": lambda: throw(batch),
}[kind]
counts = collections.Counter(attack())
print("begun", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end and not select.select([sys.stdin], [], [], 0)[0]:
    counts.update(attack())
print(json.dumps({"counts": counts, "slowest_ms": int(slowest * 1000)}), flush=True)
"#;

fn line(method: &str, params: &Value) -> String {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
}

/// One call on a connection of its own.
fn ask(socket: &Path, method: &str, params: &Value) -> Outcome<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(line(method, params).as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// The 99th percentile of the time that a call takes: `times` of them on one connection, spread over `span`.
fn p99(socket: &Path, (times, span): (u32, Duration), method: &str, params: &Value) -> io::Result<Duration> {
    let stream = UnixStream::connect(socket)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let (mut stream, request) = (stream, line(method, params));
    let mut took = Vec::new();
    let watch = Stopwatch::start();
    for turn in 0..times {
        pause((span * turn / times).saturating_sub(watch.elapsed()));
        let began = Stopwatch::start();
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        took.push(began.elapsed());
        if !answer.contains("\"result\"") {
            return Err(io::Error::other(answer));
        }
    }
    pause(span.saturating_sub(watch.elapsed()));
    took.sort_unstable();
    Ok(took[took.len() * 99 / 100])
}

/// What others do meanwhile, spread over `span`; the 99th percentile of `token.get` and of `message.send`.
fn others(service: &Service, span: Duration) -> io::Result<[Duration; 2]> {
    let (socket, message) = (service.socket(), json!({"to": ["ops@example.org"], "subject": "a", "text": "b"}));
    let send = json!({"profile": "classic", "message": message});
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| p99(&socket, (MESSAGES, span), "message.send", &send));
        let token = p99(&socket, (TOKENS, span), "token.get", &json!({"profile": "nightly"}));
        let sent = sending.join().map_err(|_| io::Error::other("the sender panicked"))?;
        Ok([token?, sent?])
    })
}

/// A daemon with a token to hand out and a paused profile, whose submit socket everybody reaches.
fn daemon(sandbox: Option<&Sandbox>) -> Outcome<Option<Service>> {
    let Some(binaries) = frankd_tests::service::binaries() else { return Ok(None) };
    let mut service = Service::new(binaries)?;
    service.configure(SETTINGS)?;
    let mut in_session = Command::new("setsid");
    in_session.arg(service.command().get_program());
    service.arguments(&mut in_session);
    service.start_with(in_session)?;
    let classic = "profile create classic --kind smtp --smtp-host 127.0.0.1 --smtp-port 9 --tls none \
                   --from alerts@example.org";
    service.run(&classic.split_whitespace().collect::<Vec<_>>())?;
    service.run(&["profile", "pause", "classic"])?;
    let Some(sandbox) = sandbox else { return Ok(Some(service)) };
    let ca = service.folder().join("ca.pem");
    std::fs::write(&ca, &sandbox.ca_pem)?;
    let (ca, issuer, id) = (ca.display(), &sandbox.issuer, SERVICE_CLIENT.0);
    let client = format!(
        "client create service --client-id {id} --client-secret-stdin --token-endpoint {issuer}/token --ca-bundle {ca}"
    );
    service.run_with(&client.split(' ').collect::<Vec<_>>(), SERVICE_CLIENT.1)?;
    let nightly = format!(
        "profile create nightly --kind oauth2_smtp --client service --interactive=false --username {SERVICE_MAILBOX} \
         --smtp-host localhost --smtp-port {} --ca-bundle {ca}",
        sandbox.starttls_port
    );
    service.run(&nightly.split(' ').collect::<Vec<_>>())?;
    service.until(Duration::from_secs(20), || {
        Ok((service.json(&["token", "show", "nightly"])?["state"] == "valid").then_some(()))
    })?;
    Ok(Some(service))
}

/// Starts an attack and waits until it had its first outcome.
fn attack(service: &Service, kind: &str) -> Outcome<(Child, BufReader<std::process::ChildStdout>)> {
    let mut child = Command::new("python3")
        .args(["-c", ATTACK, kind])
        .arg(service.submit_socket())
        .arg(UID.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut begun = String::new();
    said.read_line(&mut begun)?;
    if begun != "begun\n" {
        child.wait()?;
        return Err(format!("the attack {kind} did not begin: {begun}").into());
    }
    Ok((child, said))
}

/// Attacks for ten seconds. What comes of it must be among `expected`, the first of them surely; nobody else waits.
async fn withstands(kind: &str, expected: &[&str]) -> Outcome {
    if !rustix::process::geteuid().is_root() {
        skip::skip("an attack as another user needs root");
        return Ok(());
    }
    if !skip::available(&["python3", "setsid"]) {
        return Ok(());
    }
    let sandbox = Sandbox::start().await?;
    let Some(mut service) = daemon(Some(&sandbox))? else { return Ok(()) };
    let reachable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(service.folder(), reachable)?;
    let before = others(&service, UNLOADED)?;
    let (mut child, mut said) = attack(&service, kind)?;
    let loaded = others(&service, ATTACKED);
    let lasted = child.try_wait()?.is_none();
    drop(child.stdin.take());
    let mut outcomes = String::new();
    said.read_line(&mut outcomes)?;
    child.wait()?;
    let loaded = loaded?;
    // What else runs on this machine comes and goes: the slower of two looks counts.
    let after = others(&service, UNLOADED)?;
    let unloaded = [before[0].max(after[0]), before[1].max(after[1])];
    writeln!(io::stdout(), "p99 of token.get, message.send {loaded:?}, unloaded {unloaded:?}, {outcomes}")?;
    for (method, loaded, unloaded) in [("token.get", loaded[0], unloaded[0]), ("message.send", loaded[1], unloaded[1])]
    {
        assert!(loaded <= QUICK.max(unloaded * 5), "p99 of {method} is {loaded:?}, unloaded {unloaded:?}");
    }
    let outcomes: Value = serde_json::from_str(&outcomes)?;
    let slowest = Duration::from_millis(outcomes["slowest_ms"].as_u64().ok_or("no time")?);
    assert!(slowest <= LIMIT, "the attacker waited {slowest:?}");
    let counts = outcomes["counts"].as_object().ok_or("no counts")?;
    assert!(counts.contains_key(expected[0]), "{outcomes}");
    assert!(counts.keys().all(|outcome| expected.contains(&outcome.as_str())), "{outcomes}");
    assert!(lasted && service.is_running());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_an_unknown_method_delays_nobody_else() -> Outcome {
    withstands("unknown method", &["method_not_found"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_an_unknown_parameter_delays_nobody_else() -> Outcome {
    withstands("unknown parameter", &["invalid_params"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_a_wrong_type_delays_nobody_else() -> Outcome {
    withstands("wrong type", &["invalid_params"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_positional_parameters_delays_nobody_else() -> Outcome {
    withstands("positional", &["invalid_params"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_a_request_over_the_limit_delays_nobody_else() -> Outcome {
    withstands("too large", &["request.too_large", "closed"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_half_a_line_and_silence_delays_nobody_else() -> Outcome {
    withstands("half a line", &["invalid_request", "closed"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_more_connections_than_a_user_may_have_delays_nobody_else() -> Outcome {
    withstands("connections", &["request.busy", "result"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_binary_garbage_delays_nobody_else() -> Outcome {
    withstands("garbage", &["parse", "400", "closed"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_by_a_batch_of_ten_thousand_delays_nobody_else() -> Outcome {
    withstands("batch", &["request.batch_too_large"]).await
}

#[test]
fn a_line_break_is_refused_by_field_and_one_bad_address_queues_nothing() -> Outcome {
    let Some(service) = daemon(None)? else { return Ok(()) };
    let to = json!(["ops@example.org"]);
    for (field, params) in [
        ("message.subject", json!({"message": {"to": to, "subject": "a\r\nBcc: eve@example.org", "text": "b"}})),
        ("message.headers", json!({"message": {"to": to, "headers": {"X-A": "a\nBcc: eve@example.org"}, "text": "b"}})),
        ("message.headers", json!({"message": {"to": to, "headers": {"X-A\r\nBcc": "eve@example.org"}, "text": "b"}})),
        ("message.to[1]", json!({"message": {"to": ["a@example.org", "b@example.org\r\nBcc: c@example.org"]}})),
        ("message.cc[0]", json!({"message": {"to": to, "cc": ["b@example.org>\r\nRCPT TO:<c@example.org"]}})),
        ("message.from", json!({"message": {"to": to, "from": "alerts@example.org\r\nX-A: b", "text": "b"}})),
        ("envelope.from", json!({"message": {"to": to, "text": "b"}, "envelope": {"from": "a@example.org\r\nDATA"}})),
        ("envelope.to[1]", json!({"message": {"to": to, "text": "b"}, "envelope": {"to": ["a@b.example", "c@d\n"]}})),
        ("message.to[2]", json!({"message": {"to": ["a@example.org", "b@example.org", "nobody"], "text": "b"}})),
        ("message.bcc[0]", json!({"message": {"to": to, "bcc": ["a@b@c"], "text": "b"}})),
    ] {
        let mut params = params;
        params["profile"] = json!("classic");
        let error = ask(&service.socket(), "message.send", &params)?["error"].clone();
        let named = error["data"]["field"].as_str().unwrap_or_default();
        assert!(named.starts_with(field), "{field}: {error}");
    }
    let shown = service.json(&["queue", "list"])?;
    assert_eq!(shown["items"], json!([]), "nothing was queued: {shown}");
    let username = json!({"name": "classic", "username": "bob\r\nMAIL FROM:<a@b>", "password": {"value": "x"}});
    let error = ask(&service.socket(), "profile.update", &username)?["error"].clone();
    assert_eq!(error["data"]["field"], "username", "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_secret_does_not_follow_a_changed_endpoint() -> Outcome {
    let sandbox = Sandbox::start().await?;
    let Some(service) = daemon(Some(&sandbox))? else { return Ok(()) };
    let moved = json!({"name": "service", "token_endpoint": "https://evil.example/token", "confirm": true});
    let error = ask(&service.socket(), "client.update", &moved)?["error"].clone();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(2008), &json!("object.secret_required")), "{error}");
    let shown = service.json(&["client", "show", "service"])?;
    assert_eq!(shown["token_endpoint"], format!("{}/token", sandbox.issuer), "{shown}");
    Ok(())
}

#[test]
fn a_kept_password_does_not_follow_a_changed_host() -> Outcome {
    let Some(service) = daemon(None)? else { return Ok(()) };
    let create =
        "profile create relay --kind smtp --smtp-host localhost --smtp-port 587 --username bob --password-stdin";
    service.run_with(&create.split(' ').collect::<Vec<_>>(), "correct-horse")?;
    let moved = json!({"name": "relay", "smtp": {"host": "evil.example"}, "confirm": true});
    let error = ask(&service.socket(), "profile.update", &moved)?["error"].clone();
    assert_eq!((&error["code"], &error["data"]["field"]), (&json!(2008), &json!("password")), "{error}");
    assert_eq!(service.json(&["profile", "show", "relay"])?["smtp"]["host"], "localhost");
    let mut with_secret = moved;
    with_secret["password"] = json!({"value": "another-horse"});
    let updated = ask(&service.socket(), "profile.update", &with_secret)?;
    assert_eq!(updated["result"]["smtp"]["host"], "evil.example", "{updated}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_line_break_is_refused_by_name_and_the_one_before_is_kept() -> Outcome {
    let sandbox = Sandbox::start().await?;
    let Some(service) = daemon(Some(&sandbox))? else { return Ok(()) };
    let nightly = json!({"profile": "nightly"});
    let token = |answer: Value| answer["result"]["access_token"].clone();
    let before = token(ask(&service.socket(), "token.get", &nightly)?);
    sandbox.authorization.fail(Endpoint::Token, Fault::field("access_token", json!("abc\r\nRCPT TO:<eve@a>")), 1_000);
    // It would be answered after half a minute of trying; what it brings is told before.
    let mut asked = UnixStream::connect(service.socket())?;
    asked.write_all(line("token.refresh", &nightly).as_bytes())?;
    let error = service.until(Duration::from_secs(20), || {
        let shown = service.json(&["token", "show", "nightly"])?;
        Ok(shown["last_error"].is_object().then(|| shown["last_error"].clone()))
    })?;
    assert!(error["message"].as_str().unwrap_or_default().contains("access_token"), "{error}");
    assert!(!error.to_string().contains("RCPT"), "{error}");
    assert!(before.is_string());
    assert_eq!(token(ask(&service.socket(), "token.get", &nightly)?), before);
    Ok(())
}
