//! `event.*`.

use std::sync::Arc;

use frankd_proto::methods::event::{Events, List, ListParams, SubscribeParams};
use frankd_proto::{Kind, RpcError};

use super::{Owners, RegistrationError, Table, seconds, within};
use crate::events::Filter;

/// Longest wait of a long poll.
const LONGEST_WAIT_S: u32 = 120;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<List, _, _>(|owners, _, params| list(owners, params))?;
    let events = methods.owners.events.clone();
    methods.registrar.events(move |_, params: SubscribeParams| {
        let filter = Filter { types: params.types, profile: params.profile, since: None };
        let follower = events.follow(filter, params.since_seq);
        std::future::ready(Ok(follower.stream()))
    })?;
    Ok(())
}

async fn list(owners: Arc<Owners>, params: ListParams) -> Result<Events, RpcError> {
    let filter = Filter { types: params.types, profile: params.profile, since: params.since };
    let since_seq = params.since_seq.unwrap_or(0);
    if let Some(last) = params.last {
        return latest(&owners, &filter, since_seq, last, params.limit).await;
    }
    let limit = within("limit", params.limit.unwrap_or(100), 1, 1000)? as usize;
    let wait = seconds("wait_s", params.wait_s.unwrap_or(0), LONGEST_WAIT_S)?;
    Ok(owners.events.list(filter, since_seq, limit, wait).await?)
}

async fn latest(
    owners: &Owners,
    filter: &Filter,
    since_seq: u64,
    last: u32,
    limit: Option<u32>,
) -> Result<Events, RpcError> {
    if limit.is_some() {
        let text = "`last` is given in place of `limit`, not beside it";
        return Err(RpcError::new(Kind::InvalidParams, text).field("last"));
    }
    let last = within("last", last, 1, 1000)? as usize;
    Ok(owners.events.latest(filter, since_seq, last).await?)
}
