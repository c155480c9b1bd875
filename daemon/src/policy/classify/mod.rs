//! What an answer means: the class that decides what happens next, and the diagnosis that a person reads.
//!
//! Transport result, HTTP status and the standard error codes decide. Provider codes only refine: an unknown one changes
//! nothing, and an unknown error keeps the token.

pub mod smtp;
pub mod token;
