//! `event.*`.

use std::sync::Arc;
use std::time::Duration;

use frankd_proto::methods::event::{Events, List, ListParams, SubscribeParams};
use frankd_proto::{Kind, RpcError};

use super::{Owners, RegistrationError, Table};
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
    let limit = params.limit.unwrap_or(100).clamp(1, 1000) as usize;
    let wait = Duration::from_secs(u64::from(params.wait_s.unwrap_or(0).min(LONGEST_WAIT_S)));
    Ok(owners.events.list(filter, since_seq, limit, wait).await?)
}

async fn latest(
    owners: &Owners,
    filter: &Filter,
    since_seq: u64,
    last: u32,
    limit: Option<u32>,
) -> Result<Events, RpcError> {
    let refused = |reason| Err(RpcError::new(Kind::InvalidParams, reason).field("last"));
    match (last, limit) {
        (_, Some(_)) => refused("`last` is given in place of `limit`, not beside it"),
        (1..=1000, None) => Ok(owners.events.latest(filter, since_seq, last as usize).await?),
        _ => refused("`last` must be 1 to 1,000"),
    }
}
