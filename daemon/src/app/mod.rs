//! The application: finds its places, loads its settings, listens, and comes and goes as the service manager expects.

pub mod accounts;
pub mod command_line;
pub mod paths;
mod schema;
pub mod settings_file;
