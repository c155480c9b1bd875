//! `access.whoami`.

use frankd_proto::Capability;
use frankd_proto::methods::Empty;
use frankd_proto::methods::access::{Identity, WhoAmI};

use super::{RegistrationError, Table};
use crate::rpc::context::CallContext;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<WhoAmI, _, _>(|_, call, Empty {}| async move { Ok(identity(&call)) })?;
    Ok(())
}

fn identity(call: &CallContext) -> Identity {
    Identity {
        uid: call.caller.uid,
        gid: call.caller.gid,
        pid: call.caller.pid,
        user: call.caller.user.clone(),
        socket: call.caller.socket.as_str().to_owned(),
        capabilities: Capability::ALL.iter().copied().filter(|it| call.access.grant.has(*it)).collect(),
        profiles: call.access.sending_profiles(),
        from: call.access.sending_from(),
        rate_per_hour: call.access.grant.rate_per_hour(),
    }
}
