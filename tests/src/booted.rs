//! A real systemd, booted over a throw-away copy of this machine's file system, for what only a true unit shows.
//!
//! What happens inside stays inside. Needs root and systemd-nspawn, not a running systemd. All calls block.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::held::{Held, RigError, rig_file};
use crate::skip;

/// Which network the booted system sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// An own one, with nothing but an own loopback.
    Own,
    /// The machine's, so that units reach the servers of a [`crate::rig::Rig`].
    Host,
}

/// A booted system. It ends, and is gone, when this is dropped.
#[derive(Debug)]
pub struct Booted {
    held: Held,
}

impl Booted {
    /// Boots, in about half a second.
    pub fn start(network: Network) -> Result<Self, RigError> {
        let environment: &[_] = if network == Network::Host { &[("RIG_NET", "host")] } else { &[] };
        Ok(Self { held: Held::start("systemd/hold", &[], environment)? })
    }

    /// Boots; where that cannot be, the calling test counts as skipped and gets nothing.
    ///
    /// # Panics
    /// If it does not come up, and where it cannot be with `CI=true`.
    #[expect(clippy::panic, reason = "a test cannot go on without its system, and should say why")]
    pub fn start_or_skip(network: Network) -> Option<Self> {
        if !skip::available(&["systemd"]) {
            return None;
        }
        match Self::start(network) {
            Ok(booted) => Some(booted),
            Err(error) => panic!("{error}"),
        }
    }

    /// The root of the booted system, seen from outside.
    pub fn root(&self) -> PathBuf {
        Path::new(self.held.value("BOOTED_DIR")).join("root")
    }

    /// Runs a command inside, as root, for at most a minute.
    pub fn run(&self, command: &[&str]) -> Result<Output, RigError> {
        let mut inside = Command::new(rig_file("systemd/in"));
        inside.arg(self.held.value("BOOTED_DIR")).args(command).stdin(Stdio::null());
        Ok(inside.output()?)
    }

    /// Runs a command inside and gives what it wrote to standard output; an error if it does not exit with 0.
    pub fn check(&self, command: &[&str]) -> Result<String, RigError> {
        let answer = self.run(command)?;
        let out = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if answer.status.success() {
            return Ok(out);
        }
        let said = format!("{out}\n{}", String::from_utf8_lossy(&answer.stderr)).trim().to_owned();
        Err(RigError::Script { script: command.join(" "), said })
    }

    /// Copies a file in, with its permissions, as root's. Not below `/run` and `/tmp`, which the booted system mounts anew.
    pub fn copy_in(&self, from: &Path, to: &str) -> Result<(), RigError> {
        let target = self.root().join(to.trim_start_matches('/'));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, target)?;
        Ok(())
    }

    /// Copies what `install.sh` installs, and itself, below a folder.
    pub fn copy_packaging(&self, folder: &str) -> Result<(), RigError> {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
        for name in [
            "install.sh",
            "frankd.toml",
            "systemd/frankd.service",
            "systemd/frankd.socket",
            "systemd/frankd-submit.socket",
            "sysusers.d/frankd.conf",
            "tmpfiles.d/frankd.conf",
        ] {
            self.copy_in(&packaging.join(name), &format!("{folder}/{name}"))?;
        }
        for page in fs::read_dir(packaging.join("man"))? {
            let page = page?;
            self.copy_in(&page.path(), &format!("{folder}/man/{}", page.file_name().to_string_lossy()))?;
        }
        Ok(())
    }

    /// Writes a file inside. Not below `/run` and `/tmp`, which the booted system mounts anew.
    pub fn write(&self, to: &str, content: &str) -> Result<(), RigError> {
        let target = self.root().join(to.trim_start_matches('/'));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(target, content)?)
    }
}
