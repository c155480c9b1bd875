//! `client.*`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::client::{
    ClientView, Clients, Create, CreateParams, Delete, DeleteParams, Deleted, Get, List, Named, PresetList, Presets,
    PresetsParams, Update, UpdateParams,
};
use frankd_proto::{Kind, RpcError};
use std::sync::Arc;

use super::{Owners, RegistrationError, Table};
use crate::domain::Client;
use crate::registry::show;
use crate::rpc::context::CallContext;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<List, _, _>(|owners, _, Empty {}| async move { Ok(list(&owners)) })?;
    methods.on::<Get, _, _>(|owners, _, params| async move { get(&owners, &params) })?;
    methods.on::<Create, _, _>(create)?;
    methods.on::<Update, _, _>(update)?;
    methods.on::<Delete, _, _>(delete)?;
    methods.on::<Presets, _, _>(|owners, _, params| async move { presets(&owners, params) })?;
    Ok(())
}

fn presets(owners: &Owners, params: PresetsParams) -> Result<PresetList, RpcError> {
    let mut items = owners.registry.view().presets().views();
    if let Some(name) = params.name {
        items.retain(|preset| preset.name == name);
        if items.is_empty() {
            return Err(RpcError::new(Kind::ObjectNotFound, format!("there is no preset {name}"))
                .field("name")
                .hint("frankctl client presets"));
        }
    }
    Ok(PresetList { items })
}

fn list(owners: &Owners) -> Clients {
    let view = owners.registry.view();
    let mut items: Vec<ClientView> = view.clients().map(|client| shown(owners, client)).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Clients { items }
}

fn get(owners: &Owners, params: &Named) -> Result<ClientView, RpcError> {
    let view = owners.registry.view();
    let client = view.client_named(&params.name).ok_or_else(|| {
        RpcError::new(Kind::ObjectNotFound, format!("there is no client {}", params.name))
            .field("name")
            .hint("frankctl client list")
    })?;
    Ok(shown(owners, client))
}

async fn create(owners: Arc<Owners>, call: CallContext, params: CreateParams) -> Result<ClientView, RpcError> {
    let client = owners.changes.create_client(params, &call.caller).await?;
    Ok(shown(&owners, &client))
}

async fn update(owners: Arc<Owners>, call: CallContext, params: UpdateParams) -> Result<ClientView, RpcError> {
    let client = owners.changes.update_client(params, &call.caller).await?;
    Ok(shown(&owners, &client))
}

async fn delete(owners: Arc<Owners>, call: CallContext, params: DeleteParams) -> Result<Deleted, RpcError> {
    let name = params.name.clone();
    owners.changes.delete_client(params, &call.caller).await?;
    Ok(Deleted { name })
}

fn shown(owners: &Owners, client: &Client) -> ClientView {
    let mut shown = show::client(client, &owners.registry.view(), &*owners.fingerprint);
    shown.warnings.extend(owners.registry.secrets().warning("client secret", client.client_secret.as_ref()));
    shown
}
