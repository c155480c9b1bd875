//! Builds the real programs, beside the demo itself and with its profile.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::DemoError;
use super::screen::Screen;

/// Builds `frankd` and `frankctl`; gives the folder where they are.
pub(super) fn programs(screen: Screen) -> Result<PathBuf, DemoError> {
    let own = std::env::current_exe().map_err(DemoError::system("find the demo's own program"))?;
    let folder = own.parent().unwrap_or(Path::new("/")).to_owned();
    let target = folder.parent().unwrap_or(Path::new("/"));
    screen.command("cargo build --profile demo -p frankd -p frankctl");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--profile", "demo", "-p", "frankd", "-p", "frankctl", "--target-dir"])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    // `cargo run` tells a program about its package. Build scripts that watch these variables would run again.
    for (name, _) in std::env::vars_os() {
        let told =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if told {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().map_err(DemoError::system("run cargo"))?;
    if status.success() { Ok(folder) } else { Err(DemoError::Build) }
}
