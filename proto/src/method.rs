//! What a method is: a name, parameters, a result, and what the caller needs.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::vocabulary::Capability;

/// One method of the socket. The daemon registers it, the client calls it, and the access check reads [`Self::NEEDS`].
pub trait Method {
    /// `noun.verb`.
    const NAME: &'static str;
    /// Which capability lets a caller in.
    const NEEDS: Need;
    /// Parameters, by name; unknown ones are refused.
    type Params: Serialize + DeserializeOwned + Send + 'static;
    /// The result, always an object.
    type Output: Serialize + DeserializeOwned + Send + Clone + 'static;
}

/// What a caller needs in order to call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody who can connect.
    Nobody,
    /// Any one of these capabilities.
    Any(&'static [Capability]),
    /// `own` for what the caller made itself, `all` for everybody's.
    OwnOr {
        /// Enough for the caller's own objects.
        own: Capability,
        /// Needed for other callers' objects.
        all: Capability,
    },
}

/// A row of the table of methods.
#[derive(Clone, Copy, Debug)]
pub struct MethodInfo {
    /// `noun.verb`.
    pub name: &'static str,
    /// Which capability lets a caller in.
    pub needs: Need,
    /// Whether the method may be called on `submit.sock`.
    pub on_submit_socket: bool,
    /// Whether it opens a subscription instead of giving one answer.
    pub subscription: bool,
}
