//! What the end-to-end suite stands on: the sandbox servers.

pub mod sandbox;
