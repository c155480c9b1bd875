//! The socket as programs meet it: framings, access, limits, and what bad input does.

#[path = "socket/access.rs"]
mod access;
#[path = "socket/http.rs"]
mod http;
#[path = "socket/lines.rs"]
mod lines;
#[path = "socket/rig.rs"]
mod rig;
#[path = "socket/websocket.rs"]
mod websocket;
