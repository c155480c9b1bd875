//! Many senders at once: each has a connection, sends a message, waits for its receipt, and sends the next.
//!
//! They are tasks of one thread, so that the load takes as little of the machine as it can.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::BenchError;
use super::lines::holds;
use crate::sandbox::clock::within;
use crate::stopwatch::Stopwatch;

/// How long one round may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Lets `senders` send `request` `each` times; gives how long that took, from the first request to the last receipt.
pub(super) fn send(socket: &Path, request: &[u8], senders: usize, each: usize) -> Result<Duration, BenchError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let work = async {
        let mut connections = Vec::with_capacity(senders);
        for _ in 0..senders {
            connections.push(UnixStream::connect(socket).await?);
        }
        let mut tasks = JoinSet::new();
        let watch = Stopwatch::start();
        for connection in connections {
            tasks.spawn(sender(connection, request.to_vec(), each));
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(io::Error::other)??;
        }
        Ok(watch.elapsed())
    };
    let done = runtime.block_on(within(PATIENCE, work));
    done.unwrap_or_else(|| Err(BenchError::Unfinished(format!("receipts were missing after {PATIENCE:?}"))))
}

async fn sender(mut stream: UnixStream, request: Vec<u8>, times: usize) -> Result<(), BenchError> {
    let mut answer = Vec::with_capacity(4096);
    for _ in 0..times {
        stream.write_all(&request).await?;
        answer.clear();
        while answer.last() != Some(&b'\n') {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        if !holds(&answer, b"\"result\":{\"id\":\"msg_") {
            return Err(BenchError::Answer(String::from_utf8_lossy(&answer).into_owned()));
        }
    }
    Ok(())
}
