//! A bare echo on a Unix socket: reads as many octets as a request has, writes as many as its answer has.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// The server, a thread that serves one connection after the other.
#[derive(Debug)]
pub(super) struct Echo {
    socket: PathBuf,
    stopping: Arc<AtomicBool>,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Echo {
    /// Listens at `socket`, for requests of `request` octets.
    pub(super) fn start(socket: &Path, request: usize, answer: &[u8]) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (answer, stop) = (answer.to_vec(), Arc::clone(&stopping));
        let server = thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let (stream, _) = listener.accept()?;
                // Whoever went away has its figures or has failed by itself.
                let _ = serve(stream, request, &answer);
            }
            Ok(())
        });
        Ok(Self { socket: socket.to_owned(), stopping, server: Some(server) })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // The server waits for a connection.
        drop(UnixStream::connect(&self.socket));
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}

fn serve(mut stream: UnixStream, request: usize, answer: &[u8]) -> io::Result<()> {
    let mut input = vec![0; request];
    loop {
        stream.read_exact(&mut input)?;
        stream.write_all(answer)?;
    }
}
