//! `system.*`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::system::{Info, Ping, Pong, Reload, Status};

use super::{RegistrationError, Table};

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Ping, _, _>(|owners, _, Empty {}| async move { Ok(Pong { now: owners.clock.wall() }) })?;
    methods.on::<Info, _, _>(|owners, _, Empty {}| async move { Ok(owners.status.info()) })?;
    methods.on::<Status, _, _>(|owners, _, Empty {}| async move { Ok(owners.status.glance().await?) })?;
    methods.on::<Reload, _, _>(|owners, _, Empty {}| async move { owners.config.reload().await })?;
    Ok(())
}
