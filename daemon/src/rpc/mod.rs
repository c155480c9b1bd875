//! The socket: JSON-RPC 2.0 for every local program.
//!
//! One Unix socket speaks three framings, told apart by the first octet: newline-delimited JSON, HTTP/1.1, WebSocket. All
//! go through one gate: who calls is the kernel's word, what a caller may do is policy, and each call of a batch is
//! checked by itself. Methods are registered with a [`Registrar`], one function each, which calls one owner.
//!
//! Nothing here is unbounded, and everything is counted by user: connections, calls in flight, octets of large requests,
//! subscriptions, shares of the processor. So one user's flood is that user's own trouble.

mod audit;
mod budget;
mod context;
mod conversation;
mod denied;
mod dispatch;
mod gate;
mod hour;
mod house;
mod http;
mod lane;
mod limits;
mod line;
pub mod methods;
mod params;
mod patience;
mod peer;
mod registrar;
mod server;
mod websocket;

pub use context::{Access, CallContext};
pub use denied::Denied;
pub use house::{OnDenied, Parts};
pub use peer::{Account, Accounts, HostAccounts, Peer};
pub use registrar::{Registrar, RegistrationError, Router};
pub use server::Server;
