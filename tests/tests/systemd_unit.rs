//! The systemd units, judged by systemd's own tools without being installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use frankd_tests::skip;
use tempfile::TempDir;

const UNITS: [&str; 3] = ["frankd.service", "frankd.socket", "frankd-submit.socket"];

fn unit(name: &str) -> io::Result<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name))
}

/// Puts the units where systemd's tools take them from, edited, with a program that exists.
fn staged(folder: &TempDir, edit: impl Fn(String) -> String) -> io::Result<Vec<PathBuf>> {
    UNITS
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            let text = unit(name)?.replace("=/usr/sbin/frankd", "=/bin/true");
            fs::write(&path, edit(text))?;
            Ok(path)
        })
        .collect()
}

fn analyze(arguments: &[&str], units: &[PathBuf]) -> io::Result<Output> {
    Command::new("systemd-analyze").args(arguments).args(units).output()
}

/// Whether systemd rates the exposure of the service at 1.2 or less.
fn exposure_is_low(units: &[PathBuf]) -> io::Result<bool> {
    let rating = analyze(&["security", "--offline=true", "--threshold=12", "--no-pager"], &units[..1])?;
    let table = String::from_utf8_lossy(&rating.stdout).into_owned();
    assert!(table.contains("Overall exposure level"), "{table}{}", String::from_utf8_lossy(&rating.stderr));
    Ok(rating.status.success())
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units() -> io::Result<()> {
    if !skip::available(&["systemd-analyze"]) {
        return Ok(());
    }
    let folder = TempDir::new()?;
    let units = staged(&folder, |text| text)?;
    let verdict = analyze(&["verify", "--man=no"], &units)?;
    assert_eq!(String::from_utf8_lossy(&verdict.stderr), "");
    assert!(verdict.status.success());

    let units = staged(&folder, |text| text.replace("SocketMode", "SoketMode"))?;
    let verdict = analyze(&["verify", "--man=no"], &units)?;
    assert!(String::from_utf8_lossy(&verdict.stderr).contains("SoketMode"), "a mistake is found");
    Ok(())
}

#[test]
fn the_sandbox_is_as_tight_as_a_network_client_can_be() -> io::Result<()> {
    if !skip::available(&["systemd-analyze"]) {
        return Ok(());
    }
    let folder = TempDir::new()?;
    let units = staged(&folder, |text| text)?;
    assert!(exposure_is_low(&units)?);
    let units = staged(&folder, |text| text.replace("RestrictNamespaces=yes", ""))?;
    assert!(!exposure_is_low(&units)?, "one line less is noticed");
    assert!(!unit("frankd.service")?.contains("\nPrivateUsers="), "it would hide who calls");
    Ok(())
}

#[test]
fn the_sockets_have_the_names_and_modes_that_the_daemon_expects() -> io::Result<()> {
    for (name, expected) in [
        (
            "frankd.socket",
            [
                "ListenStream=/run/frankd/control.sock",
                "FileDescriptorName=control",
                "SocketMode=0660",
                "SocketGroup=frankd",
            ],
        ),
        (
            "frankd-submit.socket",
            [
                "ListenStream=/run/frankd/submit.sock",
                "FileDescriptorName=submit",
                "SocketMode=0666",
                "Service=frankd.service",
            ],
        ),
    ] {
        let text = unit(name)?;
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line} in {name}");
        }
    }
    Ok(())
}
