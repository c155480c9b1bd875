//! The socket as programs meet it: framings, access, limits, and what bad input does.

#[path = "socket/lines.rs"]
mod lines;
#[path = "socket/rig.rs"]
mod rig;
