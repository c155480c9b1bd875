//! The owner of queued mail.
mod address;
mod compose;
mod error;
mod normalise;
mod words;

pub use error::{QueueError, SubmitError};
