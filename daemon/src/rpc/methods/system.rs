//! `system.*`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::system::{Info, Ping, Pong, Reload, Status};

use super::{Owners, Registrar};

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<Ping, _, _>(owners, |owners, _, Empty {}| async move { Ok(Pong { now: owners.clock.wall() }) });
    registrar.method::<Info, _, _>(owners, |owners, _, Empty {}| async move { Ok(owners.status.info()) });
    registrar.method::<Status, _, _>(owners, |owners, _, Empty {}| async move { Ok(owners.status.glance().await?) });
    registrar.method::<Reload, _, _>(owners, |owners, _, Empty {}| async move { owners.config.reload().await });
}
