//! `test.*`.

use frankd_proto::RpcError;
use frankd_proto::methods::test::{Email, EmailParams, EmailReport};
use std::sync::Arc;

use super::{Owners, RegistrationError, Table, profile_named};

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Email, _, _>(|owners, _, params| email(owners, params))?;
    Ok(())
}

async fn email(owners: Arc<Owners>, params: EmailParams) -> Result<EmailReport, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.profile)?;
    owners.trials.email(profile, params).await
}
