//! `queue.summary`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::queue::Summary;

use super::{RegistrationError, Table};

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Summary, _, _>(|owners, _, Empty {}| async move { Ok(owners.queue.summary().await?) })?;
    Ok(())
}
