//! `access.whoami`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::access::{Identity, WhoAmI};

use super::Registrar;
use crate::rpc::register::CallContext;

pub(super) fn register(registrar: &mut Registrar) {
    registrar.method::<WhoAmI, _, _>(&(), |(), call, Empty {}| async move { Ok(identity(&call)) });
}

fn identity(call: &CallContext) -> Identity {
    Identity {
        uid: call.caller.uid,
        gid: call.caller.gid,
        pid: call.caller.pid,
        user: call.caller.user.clone(),
        socket: call.caller.socket.as_str().to_owned(),
        capabilities: call.access.capabilities.iter().copied().collect(),
        profiles: call.access.profiles.clone(),
        from: call.access.from.clone(),
        rate_per_hour: call.access.rate_per_hour,
    }
}
