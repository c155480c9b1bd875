//! Named places where a test can stop the process or make a step fail: a cargo feature, never part of a release.
//!
//! `FRANKD_FAIL_POINT=name[:count]=action` arms one: at its `count`-th hit (the first by default) the process kills
//! itself (`kill`), stops until somebody continues it (`stop`), or the step fails (`error`).

use std::io;

/// Does what the environment says of `name`; nothing without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
#[expect(clippy::inline_always, reason = "the place costs nothing in a release, its name included")]
#[inline(always)]
pub fn hit(_name: &str) -> io::Result<()> {
    Ok(())
}

/// Does what the environment says of `name`.
#[cfg(feature = "fail-points")]
pub fn hit(name: &str) -> io::Result<()> {
    use std::sync::LazyLock;
    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::parse(&std::env::var("FRANKD_FAIL_POINT").ok()?));
    match &*ARMED {
        Some(armed) => armed.hit(name),
        None => Ok(()),
    }
}

#[cfg(feature = "fail-points")]
#[derive(Debug)]
struct Armed {
    name: String,
    left: std::sync::atomic::AtomicU32,
    action: Action,
}

#[cfg(feature = "fail-points")]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Kill,
    Stop,
    Error,
}

#[cfg(feature = "fail-points")]
impl Armed {
    fn parse(text: &str) -> Option<Self> {
        let (place, action) = text.rsplit_once('=')?;
        let (name, count) = match place.split_once(':') {
            Some((name, count)) => (name, count.parse().ok()?),
            None => (place, 1),
        };
        let action = match action {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "error" => Action::Error,
            _ => return None,
        };
        Some(Self { name: name.to_owned(), left: std::sync::atomic::AtomicU32::new(count), action })
    }

    fn hit(&self, name: &str) -> io::Result<()> {
        use rustix::process::{Signal, getpid, kill_process};
        use std::sync::atomic::Ordering;
        if name != self.name || self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return Ok(());
        }
        match self.action {
            Action::Kill => kill_process(getpid(), Signal::KILL)?,
            Action::Stop => kill_process(getpid(), Signal::STOP)?,
            Action::Error => return Err(io::Error::other(format!("fail point {name}"))),
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "fail-points"))]
mod tests {
    use super::*;

    #[test]
    fn a_step_fails_at_its_count_and_only_there() {
        let armed = Armed::parse("store.before_flush:2=error").unwrap();
        assert!(armed.hit("store.before_flush").is_ok());
        assert!(armed.hit("store.body_written").is_ok());
        assert!(armed.hit("store.before_flush").is_err());
        assert!(armed.hit("store.before_flush").is_ok());
        assert!(Armed::parse("store.before_flush").is_none());
        assert!(Armed::parse("store.before_flush=explode").is_none());
    }
}
