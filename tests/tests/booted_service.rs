//! The real programs as a service of a booted systemd: installed by `packaging/install.sh`, started, sending, killed,
//! reloaded, restarted, stopped and removed.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use frankd_tests::booted::{Booted, Network};
use frankd_tests::sandbox::Sandbox;
use frankd_tests::service;
use frankd_tests::stopwatch::{Stopwatch, pause};
use serde_json::Value;

type Failure = Box<dyn Error>;

const SOURCE: &str = "/opt/frankd-source";
const INSTALL: &str = "/opt/frankd-source/install.sh";
const BUILT: &str = "/opt/frankd-built";
const CTL: &str = "/usr/local/bin/frankctl";
const UNIT: &str = "frankd.service";
const DROP_IN: &str = "/etc/frankd/frankd.toml.d/50-test.toml";
const LETTER: &str = "/root/letter.txt";
/// Longest wait for something inside.
const PATIENCE: Duration = Duration::from_secs(30);

/// A system with frankd installed and running in it, by the real programs.
struct Installed(Booted);

impl Installed {
    fn new(system: Booted, binaries: &Path) -> Result<Self, Failure> {
        system.copy_packaging(SOURCE)?;
        for program in ["frankd", "frankctl"] {
            system.copy_in(&binaries.join(program), &format!("{BUILT}/{program}"))?;
        }
        system.write(LETTER, "The disk is 91 % full.\n")?;
        system.check(&[INSTALL, BUILT])?;
        Ok(Self(system))
    }

    fn check(&self, command: &[&str]) -> Result<String, Failure> {
        Ok(self.0.check(command)?)
    }

    /// Runs frankctl inside.
    fn ctl(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = vec![CTL];
        command.extend(arguments);
        self.check(&command)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        Ok(serde_json::from_str(&self.ctl(&all)?)?)
    }

    /// A property of the service, as systemd has it.
    fn property(&self, name: &str) -> Result<String, Failure> {
        self.check(&["systemctl", "show", "--value", "-p", name, UNIT])
    }

    /// Value and origin of a setting in force.
    fn setting(&self, key: &str) -> Result<(Value, String), Failure> {
        let shown = self.json(&["config", "show"])?;
        let found = shown["settings"].as_array().and_then(|all| all.iter().find(|setting| setting["key"] == key));
        let setting = found.ok_or_else(|| format!("{key} is not shown"))?;
        Ok((setting["value"].clone(), setting["origin"].as_str().unwrap_or_default().to_owned()))
    }

    /// How many events of a type there are.
    fn events(&self, event: &str) -> Result<usize, Failure> {
        let listed = self.json(&["events", "--type", event])?;
        Ok(listed["events"].as_array().map_or(0, Vec::len))
    }

    /// Waits until `ask` says yes.
    fn until(&self, what: &str, ask: impl Fn() -> Result<bool, Failure>) -> Result<(), Failure> {
        let began = Stopwatch::start();
        while began.elapsed() < PATIENCE {
            if ask()? {
                return Ok(());
            }
            pause(Duration::from_millis(100));
        }
        Err(format!("not within {PATIENCE:?}: {what}\n{}", self.journal()?).into())
    }

    fn journal(&self) -> Result<String, Failure> {
        self.check(&["journalctl", "--sync"])?;
        self.check(&["journalctl", "--no-pager", "-u", UNIT, "-o", "short"])
    }

    /// Makes a classic profile for the relay at a port of this machine.
    fn relay(&self, port: u16) -> Result<(), Failure> {
        let port = port.to_string();
        let server = ["--kind", "smtp", "--smtp-host", "127.0.0.1", "--smtp-port", &port, "--tls", "none"];
        let mut create = vec!["profile", "create", "relay", "--from", "alerts@sandbox.test", "--default"];
        create.extend(server);
        self.ctl(&create)?;
        Ok(())
    }

    /// Queues a mail and gives its id.
    fn send(&self, subject: &str) -> Result<String, Failure> {
        let receipt = self.json(&["send", "--to", "ops@sandbox.test", "-s", subject, "--text", LETTER])?;
        Ok(receipt["id"].as_str().ok_or("a receipt has an id")?.to_owned())
    }

    fn state(&self, id: &str) -> Result<Value, Failure> {
        Ok(self.json(&["queue", "show", id])?["state"].clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_outlives_kill_9_restart_and_uninstall_of_the_service() -> Result<(), Failure> {
    let Some(binaries) = service::binaries() else { return Ok(()) };
    let Some(system) = Booted::start_or_skip(Network::Host) else { return Ok(()) };
    let sandbox = Sandbox::start().await?;
    let system = Installed::new(system, &binaries)?;

    assert_eq!(system.property("ActiveState")?, "active");
    system.relay(sandbox.relay_port)?;
    let id = system.send("first")?;
    system.ctl(&["call", "message.wait", &format!(r#"{{"id":"{id}","timeout_s":20}}"#)])?;
    assert_eq!(system.state(&id)?, "sent", "the service reaches a mail server from its sandbox");
    assert_eq!(sandbox.relay.delivered_count(), 1);

    system.ctl(&["profile", "pause", "relay"])?;
    let id = system.send("second")?;
    let first = system.property("MainPID")?;
    system.check(&["systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT])?;
    system.until("systemd starts it again", || {
        Ok(system.property("ActiveState")? == "active" && system.property("MainPID")? != first)
    })?;
    assert_eq!(system.property("NRestarts")?, "1");
    assert_eq!(system.state(&id)?, "held");
    assert_eq!(system.ctl(&["profile", "list", "-o", "name"])?, "relay");

    system.check(&["systemctl", "restart", UNIT])?;
    assert_eq!(system.state(&id)?, "held");
    assert_eq!(system.events("daemon.stopping")?, 1, "kill -9 said nothing, the restart did");
    assert_eq!(system.events("daemon.started")?, 3);

    // Stopped, the sockets still listen: the next caller starts the service.
    system.check(&["systemctl", "stop", UNIT])?;
    assert_eq!(system.property("ActiveState")?, "inactive");
    assert_eq!(system.property("Result")?, "success");
    assert_eq!(system.state(&id)?, "held");
    assert_eq!(system.property("ActiveState")?, "active");

    // Removed and installed again: everything is still there, and goes out.
    system.check(&[INSTALL, "--uninstall"])?;
    system.ctl(&["status"]).expect_err("frankctl is gone");
    system.check(&["test", "-e", "/var/lib/frankd/master-key"])?;
    system.check(&[INSTALL, BUILT])?;
    assert_eq!(system.state(&id)?, "held");
    system.ctl(&["profile", "resume", "relay"])?;
    system.ctl(&["call", "message.wait", &format!(r#"{{"id":"{id}","timeout_s":20}}"#)])?;
    assert_eq!(system.state(&id)?, "sent");
    let subjects: Vec<_> = sandbox.relay.delivered().iter().filter_map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["first", "second"], "each once");

    system.check(&[INSTALL, "--purge"])?;
    for path in ["/etc/frankd", "/var/lib/frankd", "/run/frankd", "/usr/local/sbin/frankd"] {
        system.check(&["test", "-e", path]).expect_err(path);
    }
    sandbox.stop().await;
    Ok(())
}

#[test]
fn systemd_and_the_journal_are_told_what_goes_on() -> Result<(), Failure> {
    let Some(binaries) = service::binaries() else { return Ok(()) };
    let Some(system) = Booted::start_or_skip(Network::Own) else { return Ok(()) };
    let system = Installed::new(system, &binaries)?;

    assert_eq!(system.property("Type")?, "notify");
    assert_eq!(system.property("NotifyAccess")?, "main");
    assert_eq!(system.property("StatusText")?, "0 profiles valid, 0 queued");
    let sockets = ["systemctl", "is-active", "frankd.socket", "frankd-submit.socket"];
    assert_eq!(system.check(&sockets)?, "active\nactive");
    assert!(system.ctl(&["status"])?.contains("  ok  "), "a new service has no problem");
    let whoami = system.json(&["access", "whoami"])?;
    assert_eq!(whoami["uid"], 0, "the service sees who calls, {whoami}");

    // A port where nobody listens: the mail waits, and the journal says why.
    system.relay(9)?;
    let id = system.send("waits")?;
    let entries = ["journalctl", "--no-pager", "-u", UNIT, "-o", "json", "-n", "all"];
    system.until("the first attempt is logged", || Ok(system.check(&entries)?.contains("Connection refused")))?;
    assert_ne!(system.state(&id)?, "sent");
    let log = system.check(&entries)?;
    assert!(log.contains(r#""SYSLOG_IDENTIFIER":"frankd""#), "{log}");
    assert!(log.contains(r#""MESSAGE":"ready""#) && log.contains(r#""F_PROFILES":"0""#), "{log}");
    system.until("the status line is current", || Ok(system.property("StatusText")? == "1 profile valid, 1 queued"))?;
    assert!(log.contains(&id), "a message's log lines name it");

    system.check(&["systemctl", "stop", UNIT])?;
    assert_eq!(system.property("Result")?, "success");
    Ok(())
}

#[test]
fn a_reload_takes_what_is_right_and_refuses_what_is_wrong() -> Result<(), Failure> {
    let Some(binaries) = service::binaries() else { return Ok(()) };
    let Some(system) = Booted::start_or_skip(Network::Own) else { return Ok(()) };
    let system = Installed::new(system, &binaries)?;
    let process = system.property("MainPID")?;
    assert_eq!(system.setting("retry.first_s")?, (60.into(), "default".to_owned()));

    system.0.write(DROP_IN, "[retry]\nfirst_s = 7\n")?;
    system.check(&["systemctl", "reload", UNIT])?;
    system.until("the reload is noted", || Ok(system.events("config.reloaded")? == 1))?;
    assert_eq!(system.setting("retry.first_s")?, (7.into(), DROP_IN.to_owned()));
    assert_eq!(system.property("ActiveState")?, "active");

    system.0.write(DROP_IN, "[retry]\nfirst_s = \"soon\"\n")?;
    system.check(&["systemctl", "reload", UNIT]).expect_err("systemctl says that it failed");
    assert_eq!(system.property("ActiveState")?, "active", "and the service goes on");
    assert_eq!(system.setting("retry.first_s")?.0, 7);
    let journal = system.journal()?;
    assert!(journal.contains(&format!("{DROP_IN}:2: retry.first_s")), "{journal}");

    // Past the check, by the signal alone.
    system.check(&["systemctl", "kill", "--signal=HUP", "--kill-whom=main", UNIT])?;
    system.until("the refusal is noted", || Ok(system.events("config.reload_failed")? == 1))?;
    assert_eq!(system.setting("retry.first_s")?.0, 7);
    let status = system.0.run(&[CTL, "status"])?;
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{shown}");
    assert!(shown.contains(DROP_IN), "{shown}");

    system.ctl(&["reload"]).expect_err("nor by the socket");
    system.until("that is noted too", || Ok(system.events("config.reload_failed")? == 2))?;
    let journal = system.journal()?;
    assert!(journal.contains("the settings are not reloaded: "), "the message has the cause: {journal}");

    system.0.write(DROP_IN, "[retry]\nfirst_s = 8\n")?;
    system.ctl(&["reload"])?;
    system.until("the reload is noted", || Ok(system.events("config.reloaded")? == 2))?;
    assert_eq!(system.setting("retry.first_s")?.0, 8);
    system.ctl(&["status"])?;
    assert_eq!(system.property("MainPID")?, process, "all of it without a restart");
    Ok(())
}
