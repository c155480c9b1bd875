//! What is shipped: the release build's size, its memory, and that no fail point is in it.
//!
//! `tests/run` builds it and names its folder in `FRANKD_RELEASE_DIR`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use frankd_tests::architecture::read_sources;
use frankd_tests::bench;
use frankd_tests::service::binaries;
use frankd_tests::skip;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const MIB: u64 = 1024 * 1024;

fn release() -> Option<PathBuf> {
    let folder = std::env::var_os("FRANKD_RELEASE_DIR").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("frankd").exists());
    if folder.is_none() {
        skip::skip("FRANKD_RELEASE_DIR names no folder with a release build; tests/run makes one");
    }
    folder
}

fn is_within(program: &str, limit: u64) -> Outcome {
    let Some(folder) = release() else { return Ok(()) };
    let octets = fs::metadata(folder.join(program))?.len();
    assert!(octets <= limit, "{program} has {octets} octets, the limit is {limit}");
    Ok(())
}

#[test]
fn frankd_has_at_most_12_mib() -> Outcome {
    is_within("frankd", 12 * MIB)
}

#[test]
fn frankctl_has_at_most_4_mib() -> Outcome {
    is_within("frankctl", 4 * MIB)
}

/// The minute is real: what is to be shown is what a daemon gives back when it rests.
#[test]
fn ten_profiles_a_minute_after_a_mail_and_a_refresh_each_keep_at_most_20_mib() -> Outcome {
    let Some(folder) = release() else { return Ok(()) };
    let resident = bench::resident(&folder, 10, Duration::from_secs(60))?;
    println!("{resident:?} KiB");
    assert!(resident.rested * 1024 <= 20 * MIB, "{resident:?} KiB");
    Ok(())
}

/// The names of all fail points, read from the daemon's source.
fn fail_points() -> Result<BTreeSet<String>, Box<dyn Error + Send + Sync>> {
    let sources = read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &["daemon/src"])?;
    let mut names = BTreeSet::new();
    for text in sources.values() {
        for call in text.split("fail_point::hit(\"").skip(1) {
            names.extend(call.split('"').next().map(str::to_owned));
        }
    }
    Ok(names)
}

fn names_in(program: &Path, names: &BTreeSet<String>) -> Result<BTreeSet<String>, std::io::Error> {
    let octets = fs::read(program)?;
    let there = |name: &&String| octets.windows(name.len()).any(|window| window == name.as_bytes());
    Ok(names.iter().filter(there).cloned().collect())
}

#[test]
fn a_release_knows_no_fail_point() -> Outcome {
    let (Some(release), Some(binaries)) = (release(), binaries()) else { return Ok(()) };
    let names = fail_points()?;
    assert!(names.contains("token.before_intent") && names.contains("queue.after_mark"), "{names:?}");
    // What the search would find is where it should be.
    assert_eq!(names_in(&binaries.join("fail-points/frankd"), &names)?, names);
    assert_eq!(names_in(&release.join("frankd"), &names)?, BTreeSet::new());
    Ok(())
}
