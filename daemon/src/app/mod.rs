//! The application: finds its places, loads its settings, listens, and comes and goes as the service manager expects.

pub mod accounts;
pub mod command_line;
pub mod hardening;
pub mod lifecycle;
pub mod logging;
pub mod notify;
pub mod paths;
mod schema;
pub mod settings_file;
pub mod sockets;
