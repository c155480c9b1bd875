//! `client.*`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::client::{
    ClientView, Clients, Create, CreateParams, Delete, DeleteParams, Deleted, Get, List, Named, PresetList, Presets,
    Update, UpdateParams,
};
use frankd_proto::{Kind, RpcError};

use super::{Owners, Registrar};
use crate::domain::Client;
use crate::registry::show;

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<List, _, _>(owners, |owners, _, Empty {}| async move { Ok(list(&owners)) });
    registrar.method::<Get, _, _>(owners, |owners, _, params| async move { get(&owners, &params) });
    registrar.method::<Create, _, _>(owners, |owners, _, params| create(owners, params));
    registrar.method::<Update, _, _>(owners, |owners, _, params| update(owners, params));
    registrar.method::<Delete, _, _>(owners, |owners, _, params| delete(owners, params));
    registrar.method::<Presets, _, _>(owners, |owners, _, Empty {}| async move {
        Ok(PresetList { items: owners.registry.view().presets().views() })
    });
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

async fn create(owners: Owners, params: CreateParams) -> Result<ClientView, RpcError> {
    let client = owners.changes.create_client(params).await?;
    Ok(shown(&owners, &client))
}

async fn update(owners: Owners, params: UpdateParams) -> Result<ClientView, RpcError> {
    let client = owners.changes.update_client(params).await?;
    Ok(shown(&owners, &client))
}

async fn delete(owners: Owners, params: DeleteParams) -> Result<Deleted, RpcError> {
    let name = params.name.clone();
    owners.changes.delete_client(params).await?;
    Ok(Deleted { name })
}

fn shown(owners: &Owners, client: &Client) -> ClientView {
    show::client(client, &owners.registry.view(), &*owners.fingerprint)
}
