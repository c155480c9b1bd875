//! The socket as programs meet it: framings, access, limits, and what bad input does.

#[cfg(test)]
#[path = "socket/access.rs"]
mod access;
#[cfg(test)]
#[path = "socket/fairness.rs"]
mod fairness;
#[cfg(test)]
#[path = "socket/http.rs"]
mod http;
#[cfg(test)]
#[path = "socket/lines.rs"]
mod lines;
#[cfg(test)]
#[path = "socket/rig.rs"]
mod rig;
#[cfg(test)]
#[path = "socket/websocket.rs"]
mod websocket;
