//! A disk that can be filled: a small file system over a folder, which only processes that are let in see.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::held::Held;
use crate::rig::RigError;
use crate::skip;

/// The file that takes all the room.
const BALLAST: &str = "ballast";

/// A small file system over a folder. It is gone when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    held: Held,
}

impl SmallDisk {
    /// Mounts it, `mebibytes` large; `None`, and the calling test counts as skipped, where that may not be.
    pub fn over_or_skip(folder: &Path, mebibytes: u32) -> Option<Result<Self, RigError>> {
        skip::available(&["small-disk"]).then(|| {
            let size = format!("{mebibytes}m");
            let held = Held::start("bin/small-disk", &[&folder.to_string_lossy(), &size], &[])?;
            Ok(Self { folder: folder.to_owned(), held })
        })
    }

    /// The same command as a process that has this disk.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("nsenter");
        wrapped.arg(format!("--mount=/proc/{}/ns/mnt", self.held.value("NAMESPACE")));
        wrapped.arg("--").arg(command.get_program()).args(command.get_args());
        let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        wrapped.envs(set.collect::<Vec<(&OsStr, &OsStr)>>());
        wrapped
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        for size in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn free(&self) -> io::Result<()> {
        std::fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.held.value("NAMESPACE")));
        root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder)).join(BALLAST)
    }
}
