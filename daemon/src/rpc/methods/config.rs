//! `config.show`.

use std::fmt;

use frankd_proto::RpcError;
use frankd_proto::methods::Empty;
use frankd_proto::methods::config::{Configuration, Show};
use frankd_proto::methods::system::Reloaded;
use futures::future::BoxFuture;

use super::{RegistrationError, Table};

/// The settings and where they come from. `app` owns the files.
pub trait ConfigReader: fmt::Debug + Send + Sync + 'static {
    /// Every setting, with its origin.
    fn show(&self) -> Configuration;

    /// Reads the files again. A wrong one changes nothing.
    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, RpcError>>;
}

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Show, _, _>(|owners, _, Empty {}| async move { Ok(owners.config.show()) })?;
    Ok(())
}
