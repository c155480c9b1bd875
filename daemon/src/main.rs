//! The frankd service.

fn main() {}
