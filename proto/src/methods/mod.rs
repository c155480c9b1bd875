//! Parameters and results of every method, one module for each noun.
//!
//! Parameter types refuse unknown fields; result types only grow. `Option` fields that are unset are absent.

use crate::method::{Method, MethodInfo, Need};
use crate::vocabulary::Capability;

/// Declares the marker type of a method.
macro_rules! method {
    ($(#[$doc:meta])* $marker:ident = $name:literal, $params:ty => $output:ty, $needs:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $marker;

        impl crate::method::Method for $marker {
            const NAME: &'static str = $name;
            const NEEDS: crate::method::Need = $needs;
            type Params = $params;
            type Output = $output;
        }
    };
}

pub mod access;
pub mod client;
pub mod config;
pub mod event;
pub mod grant;
pub mod message;
pub mod profile;
pub mod queue;
pub mod system;
pub mod test;
pub mod token;

/// No parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

const OBSERVE: Need = Need::Any(&[Capability::Observe, Capability::Operate, Capability::Administer]);
const OPERATE: Need = Need::Any(&[Capability::Operate, Capability::Administer]);
const ADMINISTER: Need = Need::Any(&[Capability::Administer]);
const TOKEN_INFO: Need =
    Need::Any(&[Capability::Observe, Capability::ReadToken, Capability::Operate, Capability::Administer]);
const READ_OWN: Need = Need::OwnOr { own: Capability::Submit, all: Capability::Observe };
const HANDLE_OWN: Need = Need::OwnOr { own: Capability::Submit, all: Capability::Operate };

const fn row<M: Method>(on_submit_socket: bool) -> MethodInfo {
    MethodInfo { name: M::NAME, needs: M::NEEDS, on_submit_socket, subscription: false }
}

/// Every method: what the daemon registers, the access check reads and `frankctl call` completes.
pub const TABLE: &[MethodInfo] = &[
    row::<access::WhoAmI>(true),
    row::<client::Create>(false),
    row::<client::Delete>(false),
    row::<client::Get>(false),
    row::<client::List>(false),
    row::<client::Presets>(false),
    row::<client::Update>(false),
    row::<config::Show>(false),
    row::<event::List>(false),
    MethodInfo { name: event::SUBSCRIBE, needs: OBSERVE, on_submit_socket: false, subscription: true },
    row::<grant::Cancel>(false),
    row::<grant::Complete>(false),
    row::<grant::Get>(false),
    row::<grant::List>(false),
    row::<grant::Start>(false),
    row::<grant::Wait>(false),
    row::<message::Cancel>(true),
    row::<message::Get>(true),
    row::<message::Hold>(true),
    row::<message::List>(true),
    row::<message::Raw>(true),
    row::<message::Release>(true),
    row::<message::Resolve>(true),
    row::<message::Retry>(true),
    row::<message::Send>(true),
    row::<message::Wait>(true),
    row::<profile::Create>(false),
    row::<profile::Delete>(false),
    row::<profile::Get>(false),
    row::<profile::List>(false),
    row::<profile::Pause>(false),
    row::<profile::Resume>(false),
    row::<profile::Update>(false),
    row::<queue::Summary>(false),
    row::<system::Info>(false),
    row::<system::Ping>(true),
    row::<system::Reload>(false),
    row::<system::Status>(false),
    row::<test::Email>(false),
    row::<token::Get>(true),
    row::<token::Info>(true),
    row::<token::Refresh>(false),
    row::<token::Revoke>(false),
];

/// The row of a method.
#[must_use]
pub fn table(name: &str) -> Option<&'static MethodInfo> {
    TABLE.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
