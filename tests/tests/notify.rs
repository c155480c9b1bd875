//! What the real daemon tells its service manager and its log, without a service manager: a socket of the test's listens.

use std::error::Error;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use frankd_tests::service::{self, Service};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Hears what is told until `wanted` is; gives all of it.
fn until(ear: &UnixDatagram, wanted: &str) -> Outcome<Vec<String>> {
    let mut heard = Vec::new();
    let mut datagram = [0; 4096];
    loop {
        let length = ear.recv(&mut datagram).map_err(|error| format!("{wanted} after {heard:?}: {error}"))?;
        heard.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
        if heard.iter().any(|line| line == wanted) {
            return Ok(heard);
        }
    }
}

/// How many events of a type there are.
fn events(service: &Service, event: &str) -> Outcome<usize> {
    let shown = service.json(&["events", "--type", event])?;
    Ok(shown["events"].as_array().map_or(0, Vec::len))
}

#[test]
fn a_reload_by_the_socket_is_told_and_noted_as_one_by_signal_and_the_status_line_is_current() -> Outcome {
    let Some(binaries) = service::binaries() else { return Ok(()) };
    let mut service = Service::new(binaries)?;
    let place = service.folder().join("notify.sock");
    let ear = UnixDatagram::bind(&place)?;
    ear.set_read_timeout(Some(Duration::from_secs(60)))?;
    service.env("NOTIFY_SOCKET", &place.display().to_string());
    service.start()?;
    let heard = until(&ear, "READY=1")?;
    let heard = if heard.len() > 1 { heard } else { until(&ear, "STATUS=0 profiles valid, 0 queued")? };
    assert!(heard.iter().any(|line| line == "STATUS=0 profiles valid, 0 queued"), "{heard:?}");

    service.run(&["reload"])?;
    until(&ear, "RELOADING=1")?;
    until(&ear, "READY=1")?;
    assert_eq!(events(&service, "config.reloaded")?, 1);

    service.configure("[retry]\nfirst_s = 'soon'\n")?;
    assert!(service.run(&["reload"]).is_err());
    until(&ear, "RELOADING=1")?;
    until(&ear, "READY=1")?;
    assert_eq!(events(&service, "config.reload_failed")?, 1);

    service.signal("HUP")?;
    until(&ear, "READY=1")?;
    assert_eq!(events(&service, "config.reload_failed")?, 2);

    let relay = "profile create relay --kind smtp --smtp-host localhost --smtp-port 25 --tls none --from a@b.example";
    service.run(&relay.split(' ').collect::<Vec<_>>())?;
    until(&ear, "STATUS=1 profile valid, 0 queued")?;

    service.stop()?;
    until(&ear, "STOPPING=1")?;
    let log = std::fs::read_to_string(service.log_file())?;
    let ready = log.lines().find(|line| line.contains("ready")).ok_or("it says that it is ready")?;
    for part in ["version", "control.sock", "submit.sock", "sled", "clients=0", "profiles=0", "messages=0"] {
        assert!(ready.contains(part), "{part}: {ready}");
    }
    assert!(log.contains("stopped"), "{log}");
    Ok(())
}
