//! The application: finds its places, loads its settings, listens, and comes and goes as the service manager expects.

pub mod accounts;
pub mod command_line;
pub mod compose;
mod logins;
pub mod paths;
pub mod run;
mod schema;
pub mod settings_file;
