//! Builds the real programs, for whatever runs them without being handed a folder of them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The real programs cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo does not start.
    #[error("cargo cannot be run")]
    Cargo(#[from] io::Error),
    /// Cargo ended with an error, which it has shown.
    #[error("frankd and frankctl do not build; cargo says why above")]
    Failed,
}

/// The command that [`build`] runs, as a person would type it.
#[must_use]
pub fn command(profile: &str) -> String {
    format!("cargo build --profile {profile} -p frankd -p frankctl")
}

/// Builds `frankd` and `frankctl` with a profile, beneath the folder `target`; gives the folder where they are.
pub fn build(profile: &str, target: &Path) -> Result<PathBuf, BuildError> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--profile", profile, "-p", "frankd", "-p", "frankctl", "--target-dir"])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    // `cargo run` and `cargo bench` tell a program about its package. Build scripts that watch these variables would run
    // again.
    for (name, _) in std::env::vars_os() {
        let told =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if told {
            cargo.env_remove(name);
        }
    }
    if cargo.status()?.success() { Ok(target.join(profile)) } else { Err(BuildError::Failed) }
}
