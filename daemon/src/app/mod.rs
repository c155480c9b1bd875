//! The application: finds its places, loads its settings, listens, and comes and goes as the service manager expects.

pub mod accounts;
pub mod command_line;
pub mod compose;
pub mod hardening;
pub mod lifecycle;
pub mod logging;
mod logins;
pub mod notify;
pub mod paths;
pub mod run;
mod schema;
pub mod settings_file;
pub mod sockets;
