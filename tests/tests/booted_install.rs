//! `packaging/install.sh` in a booted systemd, with programs that only stand in for the real ones: what is installed, what
//! an upgrade keeps, what removing leaves, and what the service gets from its unit.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use frankd_tests::booted::{Booted, Network};

type Failure = Box<dyn Error>;

const SOURCE: &str = "/opt/frankd-source";
const INSTALL: &str = "/opt/frankd-source/install.sh";
const BUILT: &str = "/opt/frankd-built";

/// Shows what it was given, and says that it is ready.
const STAND_IN: &str = "#!/bin/sh
(id -un; id -gn; env) > \"$STATE_DIRECTORY/shown\"
systemd-notify --ready
exec sleep infinity
";

fn copy_sources(system: &Booted) -> Result<(), Failure> {
    system.copy_packaging(SOURCE)?;
    for program in ["frankd", "frankctl"] {
        let path = format!("{BUILT}/{program}");
        system.write(&path, STAND_IN)?;
        fs::set_permissions(system.root().join(path.trim_start_matches('/')), Permissions::from_mode(0o755))?;
    }
    // The stand-in is a shell script: the one that says ready is a child of the main process.
    system.write("/etc/systemd/system/frankd.service.d/stand-in.conf", "[Service]\nNotifyAccess=all\n")?;
    Ok(())
}

fn mode_and_owner(system: &Booted, path: &str) -> Result<String, Failure> {
    Ok(system.check(&["stat", "-c", "%a %U:%G", path])?)
}

#[test]
fn install_upgrade_uninstall_and_purge() -> Result<(), Failure> {
    let Some(system) = Booted::start_or_skip(Network::Own) else {
        return Ok(());
    };
    copy_sources(&system)?;

    system.check(&[INSTALL, BUILT])?;
    let units = ["systemctl", "is-active", "frankd.service", "frankd.socket", "frankd-submit.socket"];
    assert_eq!(system.check(&units)?, "active\nactive\nactive");
    assert_eq!(mode_and_owner(&system, "/run/frankd/control.sock")?, "660 root:frankd");
    assert_eq!(mode_and_owner(&system, "/run/frankd/submit.sock")?, "666 root:frankd");
    assert_eq!(mode_and_owner(&system, "/etc/frankd")?, "750 root:frankd");
    assert_eq!(mode_and_owner(&system, "/etc/frankd/secrets")?, "750 root:frankd");
    assert_eq!(mode_and_owner(&system, "/etc/frankd/frankd.toml")?, "640 root:frankd");
    assert_eq!(mode_and_owner(&system, "/var/lib/frankd")?, "700 frankd:frankd");
    let shown = system.check(&["cat", "/var/lib/frankd/shown"])?;
    assert!(shown.starts_with("frankd\nfrankd\n"), "{shown}");
    for line in [
        "LISTEN_FDS=2",
        "STATE_DIRECTORY=/var/lib/frankd",
        "CONFIGURATION_DIRECTORY=/etc/frankd",
        "WATCHDOG_USEC=30000000",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line} in {shown}");
    }

    for page in ["man8/frankd.8", "man5/frankd.toml.5", "man1/frankctl.1", "man1/frankctl-queue.1"] {
        assert_eq!(mode_and_owner(&system, &format!("/usr/local/share/man/{page}"))?, "644 root:root", "{page}");
    }

    let named = |names: &str| shown.contains(&format!("LISTEN_FDNAMES={names}\n"));
    assert!(named("control:submit") || named("submit:control"), "in either order: {shown}");

    // Again: the configuration stays as it was edited, and the service runs anew.
    system.write("/etc/frankd/frankd.toml", "# edited\n")?;
    let process = ["systemctl", "show", "--value", "-p", "MainPID", "frankd.service"];
    let first = system.check(&process)?;
    system.check(&[INSTALL, BUILT])?;
    assert_ne!(system.check(&process)?, first);
    assert_eq!(system.check(&["cat", "/etc/frankd/frankd.toml"])?, "# edited");

    system.check(&[INSTALL, "--uninstall"])?;
    system.check(&["systemctl", "cat", "frankd.service"]).expect_err("the unit is gone");
    system.check(&["test", "-e", "/run/frankd"]).expect_err("the sockets are gone");
    system.check(&["test", "-e", "/usr/local/sbin/frankd"]).expect_err("the program is gone");
    let pages = ["find", "/usr/local/share/man", "-name", "frank*"];
    assert_eq!(system.check(&pages)?, "", "the pages are gone");
    assert_eq!(system.check(&["cat", "/etc/frankd/frankd.toml"])?, "# edited");
    system.check(&["test", "-e", "/var/lib/frankd/shown"])?;

    // Beneath a prefix that systemd does not search.
    system.check(&[INSTALL, "--prefix", "/opt/franking", BUILT])?;
    assert_eq!(system.check(&units)?, "active\nactive\nactive");
    system.check(&["grep", "-x", "ExecStart=/opt/franking/sbin/frankd", "/etc/systemd/system/frankd.service"])?;
    // Even a unit that systemd does not know keeps nothing from being removed.
    system.check(&["rm", "/etc/systemd/system/frankd-submit.socket"])?;
    system.check(&["systemctl", "daemon-reload"])?;
    system.check(&[INSTALL, "--prefix", "/opt/franking", "--uninstall"])?;
    for path in ["/opt/franking/sbin/frankd", "/etc/systemd/system/frankd.service", "/etc/sysusers.d/frankd.conf"] {
        system.check(&["test", "-e", path]).expect_err(path);
    }

    // Once more, over what was kept, and then everything goes.
    system.check(&[INSTALL, BUILT])?;
    assert_eq!(system.check(&units)?, "active\nactive\nactive");
    system.check(&[INSTALL, "--purge"])?;
    for path in ["/etc/frankd", "/var/lib/frankd", "/run/frankd", "/usr/local/lib/systemd/system/frankd.service"] {
        system.check(&["test", "-e", path]).expect_err(path);
    }
    system.check(&["getent", "passwd", "frankd"]).expect_err("the user is gone");
    system.check(&["getent", "group", "frankd"]).expect_err("the group is gone");
    Ok(())
}

#[test]
fn install_works_without_a_running_systemd() -> Result<(), Failure> {
    let Some(system) = Booted::start_or_skip(Network::Own) else {
        return Ok(());
    };
    copy_sources(&system)?;
    let hidden = |command: &str| {
        let script = format!("mount -t tmpfs none /run/systemd && {command}");
        system.check(&["unshare", "--mount", "sh", "-c", &script])
    };
    let said = hidden(&format!("{INSTALL} --prefix /usr {BUILT}"))?;
    assert!(said.contains("nothing was started"), "{said}");
    assert_eq!(mode_and_owner(&system, "/var/lib/frankd")?, "700 frankd:frankd");
    system.check(&["grep", "-x", "ExecStart=/usr/sbin/frankd", "/usr/lib/systemd/system/frankd.service"])?;
    hidden(&format!("{INSTALL} --prefix /usr --purge"))?;
    system.check(&["getent", "passwd", "frankd"]).expect_err("the user is gone");

    let refused = system.run(&[INSTALL, "/opt"])?;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no program frankd in /opt"));
    system.check(&["test", "-e", "/usr/local/sbin/frankd"]).expect_err("nothing was touched");
    Ok(())
}
