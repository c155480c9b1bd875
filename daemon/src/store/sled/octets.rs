//! Bodies in pieces: a few octets stay in memory, what is more goes through a file on a blocking thread.

use futures::FutureExt as _;

use frankd_proto::MessageId;

use super::bodies::{Bodies, LARGEST_RECORD, Reading, Writing};
use super::reader::{FoundBody, damaged_body};
use super::{blocking, writer};
use crate::fail_point;
use crate::store::{BodyReader, BodyWriter, NewBody, Reply, StoreError};

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    bodies: Bodies,
    id: MessageId,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// As long as they would fit into a record.
    Memory(Vec<u8>),
    File(Box<Writing>),
    /// A write failed, or was dropped half-way.
    Lost,
}

impl Incoming {
    pub(super) const fn new(bodies: Bodies, id: MessageId) -> Self {
        Self { bodies, id, place: Place::Memory(Vec::new()) }
    }

    async fn take(&mut self, octets: Vec<u8>) -> Result<(), StoreError> {
        let (first, writing) = match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Memory(mut first) if first.len() + octets.len() <= LARGEST_RECORD => {
                first.extend_from_slice(&octets);
                self.place = Place::Memory(first);
                return Ok(());
            }
            Place::Memory(first) => (first, None),
            Place::File(writing) => (Vec::new(), Some(writing)),
            Place::Lost => return Err(lost()),
        };
        let (bodies, id) = (self.bodies.clone(), self.id);
        let writing = blocking(move || {
            let write = || {
                let mut writing = match writing {
                    Some(writing) => writing,
                    None => Box::new(bodies.begin(id)?),
                };
                writing.write(&first)?;
                writing.write(&octets)?;
                Ok(writing)
            };
            write().map_err(|error| writer::disk_error(&error))
        });
        self.place = Place::File(writing.await?);
        Ok(())
    }

    async fn end(self: Box<Self>) -> Result<NewBody, StoreError> {
        match self.place {
            Place::Memory(octets) => Ok(NewBody::Octets(octets)),
            Place::Lost => Err(lost()),
            Place::File(writing) => {
                let finish = move || {
                    let file = writing.finish()?;
                    fail_point::hit("store.body_written")?;
                    Ok(file)
                };
                let file = blocking(move || finish().map_err(|error| writer::disk_error(&error))).await?;
                Ok(NewBody::File(file.into()))
            }
        }
    }
}

fn lost() -> StoreError {
    StoreError::Failed("the octets of the message could not be written".to_owned())
}

impl BodyWriter for Incoming {
    fn write(&mut self, octets: Vec<u8>) -> Reply<'_, ()> {
        self.take(octets).boxed()
    }

    fn finish(self: Box<Self>) -> Reply<'static, NewBody> {
        self.end().boxed()
    }
}

/// A body on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    id: MessageId,
    left: Left,
}

#[derive(Debug)]
enum Left {
    Memory(Vec<u8>),
    File(Box<Reading>),
    Nothing,
}

impl Outgoing {
    pub(super) fn new(id: MessageId, found: FoundBody) -> Self {
        let left = match found {
            FoundBody::Octets(octets) => Left::Memory(octets),
            FoundBody::File(reading) => Left::File(Box::new(reading)),
        };
        Self { id, left }
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reading = match std::mem::replace(&mut self.left, Left::Nothing) {
            Left::Nothing => return Ok(None),
            Left::Memory(octets) => return Ok(Some(octets)),
            Left::File(reading) => reading,
        };
        let id = self.id;
        let piece = blocking(move || match reading.read() {
            Ok(Ok(piece)) => Ok((piece, reading)),
            Ok(Err(broken)) => Err(damaged_body(id, &broken.to_string())),
            Err(error) => Err(damaged_body(id, &error.to_string())),
        });
        let (piece, reading) = piece.await?;
        if piece.is_some() {
            self.left = Left::File(reading);
        }
        Ok(piece)
    }
}

impl BodyReader for Outgoing {
    fn read(&mut self) -> Reply<'_, Option<Vec<u8>>> {
        self.next().boxed()
    }
}
