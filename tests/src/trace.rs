//! What a process asked of the kernel: the record of strace, call by call.
//!
//! strace writes down when a call begins and when it ends, of all threads in one order. So it shows what had ended on the
//! disk before an answer began to go out, which no crash of a process can show.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

/// The calls that are written down.
const CALLS: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync,fsync,\
                     rename,renameat,renameat2";
const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
const WRITES: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

/// The same command, traced into a file. The process keeps its id: strace is beside it, and ends when it does.
pub fn traced(command: &Command, record: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-y", "-s", "1000", "-e", "signal=none", "-e", &format!("trace={CALLS}"), "-o"]);
    traced.arg(record).arg("--").arg(command.get_program()).args(command.get_args());
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    traced.envs(set.collect::<Vec<(&OsStr, &OsStr)>>());
    traced
}

/// One call. Moments are lines of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, such as `fdatasync`.
    pub name: String,
    /// Its parameters as strace writes them: descriptors with their paths, `3</path>`.
    pub parameters: String,
    /// What it gave: negative for an error.
    pub result: i64,
    /// When it began.
    pub began: usize,
    /// When it ended.
    pub ended: usize,
}

impl Call {
    /// What its first parameter stands for, if that is a descriptor: a path, or `socket:[N]`.
    pub fn file(&self) -> &str {
        let inside = self.parameters.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        inside.map_or("", |(file, _)| file)
    }

    /// Whether it is a call of this name, without an error, of a file whose path ends so.
    pub fn is(&self, name: &str, file: &str) -> bool {
        self.name == name && self.result >= 0 && self.file().ends_with(file)
    }

    /// The paths of a rename: from where, and to where.
    pub fn renames(&self) -> Option<(&str, &str)> {
        let mut texts = self.parameters.split('"').skip(1).step_by(2);
        let renames = self.name.starts_with("rename") && self.result == 0;
        renames.then(|| Some((texts.next()?, texts.next()?)))?
    }

    fn is_on_socket(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str()) && self.result > 0 && self.file().starts_with("socket:")
    }
}

/// A request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the last of the request had been read.
    pub asked: usize,
    /// When the answer began to go out.
    pub answered: usize,
}

/// All calls, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct Trace(pub Vec<Call>);

impl Trace {
    /// Reads a record.
    pub fn read(record: &Path) -> io::Result<Self> {
        Ok(Self::parse(&String::from_utf8_lossy(&std::fs::read(record)?)))
    }

    /// Understands a record. Lines that are no calls, and calls that never ended, are left out.
    pub fn parse(record: &str) -> Self {
        let mut calls = Vec::new();
        let mut unfinished: Vec<(&str, usize, &str)> = Vec::new();
        for (at, line) in record.lines().enumerate() {
            let Some((thread, text)) = line.split_once(' ').map(|(thread, text)| (thread, text.trim_start())) else {
                continue;
            };
            if let Some(beginning) = text.strip_suffix(" <unfinished ...>") {
                unfinished.push((thread, at, beginning));
            } else if let Some((_, rest)) = text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
                let Some(own) = unfinished.iter().position(|(of, ..)| *of == thread) else { continue };
                let (_, began, beginning) = unfinished.swap_remove(own);
                calls.extend(call(&format!("{beginning}{rest}"), began, at));
            } else {
                calls.extend(call(text, at, at));
            }
        }
        calls.sort_by_key(|call| call.began);
        Self(calls)
    }

    /// The exchange whose answer is the first that goes out with `text` in it (as strace writes it, quotes escaped).
    pub fn exchange(&self, text: &str) -> Option<Exchange> {
        let answer = self.0.iter().find(|call| call.is_on_socket(&WRITES) && call.parameters.contains(text))?;
        let asks =
            |call: &&Call| call.is_on_socket(&READS) && call.file() == answer.file() && call.ended < answer.began;
        let asked = self.0.iter().filter(asks).map(|call| call.ended).max()?;
        Some(Exchange { asked, answered: answer.began })
    }

    /// Whether these calls are there, each begun after the one before it had ended, all after `from` and before `to`. Gives
    /// the number of the first that is not.
    pub fn chain(&self, from: usize, to: usize, links: &[&dyn Fn(&Call) -> bool]) -> Result<(), usize> {
        let mut after = from;
        for (number, link) in links.iter().enumerate() {
            let next = self.0.iter().filter(|call| call.began > after && call.ended < to && link(call));
            after = next.map(|call| call.ended).min().ok_or(number)?;
        }
        Ok(())
    }
}

fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (parameters, result) = rest.rsplit_once(") = ").or_else(|| {
        // Short calls are followed by spaces, so that the results stand in one column.
        let (parameters, result) = rest.rsplit_once(" = ")?;
        Some((parameters.trim_end().strip_suffix(')')?, result))
    })?;
    let result = result.split(|c: char| c != '-' && !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(Call { name: name.to_owned(), parameters: parameters.to_owned(), result, began, ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"101 read(9<socket:[77]>, "{\"id\":1}\n", 8192) = 9
102 pwrite64(5</s/store/db>, "\1 = (2) = \3"..., 100, 0) = 100
102 fdatasync(7</s/store/db> <unfinished ...>
101 read(9<socket:[77]>, 0x7ffc, 8192)  = -1 EAGAIN (Resource temporarily unavailable)
102 <... fdatasync resumed>)            = 0
102 rename("/s/mirror/.new-1", "/s/mirror/index") = 0
102 fsync(8</s/mirror>)                 = -1 EIO (Input/output error)
101 sendto(9<socket:[77]>, "{\"id\":1,\"result\":{}}\n", 22, MSG_NOSIGNAL, NULL, 0) = 22
101 +++ exited with 0 +++
"#;

    #[test]
    fn calls_are_read_with_their_beginnings_and_ends() {
        let trace = Trace::parse(RECORD);
        let names: Vec<&str> = trace.0.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["read", "pwrite64", "fdatasync", "read", "rename", "fsync", "sendto"]);
        let sync = &trace.0[2];
        assert_eq!((sync.file(), sync.result, sync.began, sync.ended), ("/s/store/db", 0, 2, 4));
        assert_eq!(trace.0[1].result, 100);
        assert_eq!(trace.0[4].renames(), Some(("/s/mirror/.new-1", "/s/mirror/index")));
        assert!(!trace.0[5].is("fsync", "/mirror"), "it failed");
    }

    #[test]
    fn a_chain_is_found_only_in_its_order_and_within_its_time() {
        let trace = Trace::parse(RECORD);
        let exchange = trace.exchange(r#"\"id\":1,\"result\""#).unwrap();
        assert_eq!(exchange, Exchange { asked: 0, answered: 7 });
        let written = |call: &Call| call.is("pwrite64", "store/db");
        let synced = |call: &Call| call.is("fdatasync", "store/db");
        let Exchange { asked, answered } = exchange;
        assert_eq!(trace.chain(asked, answered, &[&written, &synced]), Ok(()));
        assert_eq!(trace.chain(asked, answered, &[&synced, &written]), Err(1));
        assert_eq!(trace.chain(1, answered, &[&written, &synced]), Err(0));
        assert_eq!(trace.chain(asked, 4, &[&written, &synced]), Err(1), "it had not ended");
    }
}
