//! A client that only speaks SMTP: it has its messages in memory, keeps no record, and does what RFC 2920 lets a client do.
//! MAIL, RCPT and DATA go out at once, then the message with its final dot.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use super::BenchError;
use crate::stopwatch::Stopwatch;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends `raw` `count` times over `connections` connections; gives how long that took, connecting included.
pub(super) fn send(port: u16, raw: &[u8], connections: usize, count: usize) -> Result<Duration, BenchError> {
    let body = [&stuffed(raw)[..], b".\r\n"].concat();
    let envelope = format!(
        "MAIL FROM:<bench@sandbox.test>{}\r\nRCPT TO:<ops@sandbox.test>\r\nDATA\r\n",
        if offers_size(port)? { format!(" SIZE={}", raw.len()) } else { String::new() }
    );
    let watch = Stopwatch::start();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..connections)
            .map(|n| {
                let share = count / connections + usize::from(n < count % connections);
                let (envelope, body) = (envelope.as_bytes(), &body);
                scope.spawn(move || connection(port, envelope, body, share))
            })
            .collect();
        for sender in senders {
            sender.join().map_err(|_| io::Error::other("a connection's thread panicked"))??;
        }
        Ok(watch.elapsed())
    })
}

fn connection(port: u16, envelope: &[u8], body: &[u8], count: usize) -> io::Result<()> {
    let (mut stream, _) = greeted(port)?;
    for _ in 0..count {
        stream.get_mut().write_all(envelope)?;
        for code in ["250", "250", "354"] {
            reply(&mut stream, code)?;
        }
        stream.get_mut().write_all(body)?;
        reply(&mut stream, "250")?;
    }
    stream.get_mut().write_all(b"QUIT\r\n")?;
    reply(&mut stream, "221").map(drop)
}

fn offers_size(port: u16) -> io::Result<bool> {
    Ok(greeted(port)?.1.lines().any(|line| line.get(4..).is_some_and(|line| line.starts_with("SIZE"))))
}

/// A connection after EHLO, and what the server offered.
fn greeted(port: u16) -> io::Result<(BufReader<TcpStream>, String)> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    reply(&mut stream, "220")?;
    stream.get_mut().write_all(b"EHLO bench.sandbox.test\r\n")?;
    let offer = reply(&mut stream, "250")?;
    Ok((stream, offer))
}

/// Reads a whole reply (RFC 5321 §4.2), which must have this code.
fn reply(stream: &mut BufReader<TcpStream>, code: &str) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let start = text.len();
        stream.read_line(&mut text)?;
        let line = &text[start..];
        if !line.starts_with(code) {
            return Err(io::Error::other(format!("not {code}: {line:?}")));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(text);
        }
    }
}

/// The octets of a message with its dots doubled (RFC 5321 §4.5.2).
fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}
