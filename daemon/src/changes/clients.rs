//! Clients.

use frankd_proto::methods::client::{CreateParams, DeleteParams, UpdateParams};
use frankd_proto::{ClientId, EventType, Name};

use super::destinations::given;
use super::{ChangeError, Changes, owned_by_api, same_revision, told};
use crate::domain::{Caller, Client, NewEvent};
use crate::entropy::EntropyExt as _;
use crate::registry::{View, client};
use crate::store::Change;

impl Changes {
    /// Makes a client.
    pub async fn create_client(&self, params: CreateParams, by: &Caller) -> Result<Client, ChangeError> {
        let _turn = self.turn.lock().await;
        let view = self.registry.view();
        if view.client_named(&params.name).is_some() {
            return Err(ChangeError::Exists { what: "client", name: params.name });
        }
        let now = self.clock.wall();
        let client = client::create(params, view.presets(), ClientId::from_bits(self.entropy.ulid(now)), now)?;
        let change = Change::PutClient { client: Box::new(client.clone()), expected: None };
        let event = NewEvent::new(now, EventType::ClientCreated).client(&client.name).by(by);
        self.commit(vec![change], vec![event], ("client", &client.name)).await?;
        Ok(client)
    }

    /// Changes a client.
    pub async fn update_client(&self, params: UpdateParams, by: &Caller) -> Result<Client, ChangeError> {
        let _turn = self.turn.lock().await;
        let view = self.registry.view();
        let current = named(&view, &params.name)?;
        owned_by_api(&current.managed_by)?;
        same_revision(current.revision, params.if_revision)?;
        if let Some(name) = params.new_name.as_ref().filter(|name| **name != current.name)
            && view.client_named(name).is_some()
        {
            return Err(ChangeError::Exists { what: "client", name: name.clone() });
        }
        let confirmed = params.confirm;
        let proven = self.knows_secret(current, given(&params.client_secret));
        let changed = client::update(current, params, self.clock.wall())?;
        let mut after = View::clone(&view);
        after.replace_client(changed.clone());
        self.ask_before_tokens_end(&view, &after, confirmed)?;
        if !proven {
            self.revoke_where_issued(&view, &after)?;
        }
        let change = Change::PutClient { client: Box::new(changed.clone()), expected: Some(current.revision) };
        let event = told::client_updated(current, &changed, by);
        self.commit(vec![change], vec![event], ("client", &changed.name)).await?;
        Ok(changed)
    }

    /// Deletes a client that no profile uses.
    pub async fn delete_client(&self, params: DeleteParams, by: &Caller) -> Result<(), ChangeError> {
        let _turn = self.turn.lock().await;
        let view = self.registry.view();
        let current = named(&view, &params.name)?;
        owned_by_api(&current.managed_by)?;
        same_revision(current.revision, params.if_revision)?;
        let users = view.used_by(current.id).map(|profile| profile.name.as_str()).collect::<Vec<_>>();
        if !users.is_empty() {
            return Err(ChangeError::InUse { by: format!("profiles {}", users.join(", ")), way_out: None });
        }
        let change = Change::DeleteClient { id: current.id, expected: current.revision };
        let event = NewEvent::new(self.clock.wall(), EventType::ClientDeleted).client(&current.name).by(by);
        self.commit(vec![change], vec![event], ("client", &current.name)).await
    }
}

fn named<'a>(view: &'a View, name: &Name) -> Result<&'a Client, ChangeError> {
    view.client_named(name).ok_or_else(|| ChangeError::NotFound { what: "client", name: name.clone() })
}
