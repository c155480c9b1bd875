//! Sessions against a server that speaks a script, octet by octet.

mod auth;
mod deliver;
mod open;
mod script;
mod silence;
