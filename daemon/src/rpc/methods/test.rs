//! `test.*`.

use frankd_proto::RpcError;
use frankd_proto::methods::test::{Email, EmailParams, EmailReport};

use super::{Owners, Registrar, profile_named};

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<Email, _, _>(owners, |owners, _, params| email(owners, params));
}

async fn email(owners: Owners, params: EmailParams) -> Result<EmailReport, RpcError> {
    let view = owners.registry.view();
    let profile = profile_named(&view, &params.profile)?;
    owners.trials.email(profile, params).await
}
