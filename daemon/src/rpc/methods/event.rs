//! `event.*`.

use std::sync::Arc;

use frankd_proto::RpcError;
use frankd_proto::methods::event::{Events, List, ListParams, SubscribeParams};

use super::{Owners, RegistrationError, Table, seconds, within};
use crate::events::Filter;

/// Longest wait of a long poll.
const LONGEST_WAIT_S: u32 = 120;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<List, _, _>(|owners, _, params| list(owners, params))?;
    let events = methods.owners.events.clone();
    methods.registrar.events(move |_, params: SubscribeParams| {
        let filter = Filter { types: params.types, profile: params.profile };
        let follower = events.follow(filter, params.since_seq);
        std::future::ready(Ok(follower.stream()))
    })?;
    Ok(())
}

async fn list(owners: Arc<Owners>, params: ListParams) -> Result<Events, RpcError> {
    let filter = Filter { types: params.types, profile: params.profile };
    let limit = within("limit", params.limit.unwrap_or(100), 1, 1000)? as usize;
    let wait = seconds("wait_s", params.wait_s.unwrap_or(0), LONGEST_WAIT_S)?;
    Ok(owners.events.list(filter, params.since_seq.unwrap_or(0), limit, wait).await?)
}
