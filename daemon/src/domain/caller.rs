//! Who is at the other end of a connection.

/// The socket that a caller came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// `control.sock`.
    Control,
    /// `submit.sock`.
    Submit,
}

impl SocketKind {
    /// `control` or `submit`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Submit => "submit",
        }
    }
}

/// A caller as the kernel and the account database tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id (`SO_PEERCRED`).
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process id at the time of the connection; for the audit only.
    pub pid: Option<i32>,
    /// Login name, if the account database has one.
    pub user: Option<String>,
    /// Ids of all groups, the primary one included. Only that one if the account database did not answer.
    pub groups: Vec<u32>,
    /// The socket.
    pub socket: SocketKind,
}
