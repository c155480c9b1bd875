//! What is told of a refused caller.

use std::sync::Arc;

use crate::domain::Caller;

/// A caller was refused.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Who called.
    pub caller: Arc<Caller>,
    /// What it called.
    pub method: &'static str,
    /// What it was told.
    pub message: String,
    /// How many refusals of this user since the last report, this one included.
    pub count: u64,
}
