//! What a message is made of, as a session asks for it: piece by piece.

use std::borrow::Cow;

use futures::future::BoxFuture;

/// The octets of one message: CRLF line ends, before dot-stuffing.
pub trait Content: Send {
    /// How many there are, with the end of the last line (RFC 1870 §4).
    fn size(&self) -> u64;

    /// The next of them; `None` at the end. An error ends the delivery before the final dot.
    fn piece(&mut self) -> BoxFuture<'_, Result<Option<Cow<'_, [u8]>>, String>>;
}

/// Size of the pieces in which a message in memory goes out, in octets.
const BLOCK: usize = 64 * 1024;

/// A message in memory.
#[derive(Debug)]
pub struct InMemory<'a> {
    size: u64,
    rest: &'a [u8],
}

impl<'a> InMemory<'a> {
    /// The message of these octets.
    pub fn new(octets: &'a [u8]) -> Self {
        let end = if octets.is_empty() || octets.ends_with(b"\r\n") { 0 } else { 2 };
        Self { size: octets.len() as u64 + end, rest: octets }
    }
}

impl Content for InMemory<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&mut self) -> BoxFuture<'_, Result<Option<Cow<'_, [u8]>>, String>> {
        let (piece, rest) = self.rest.split_at(BLOCK.min(self.rest.len()));
        self.rest = rest;
        Box::pin(std::future::ready(Ok((!piece.is_empty()).then_some(Cow::Borrowed(piece)))))
    }
}
