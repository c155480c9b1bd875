//! `event.*`.

use std::time::Duration;

use frankd_proto::RpcError;
use frankd_proto::methods::event::{Events, List, ListParams};

use super::{Owners, Registrar};
use crate::events::Filter;

/// Longest wait of a long poll.
const LONGEST_WAIT_S: u32 = 120;

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<List, _, _>(owners, |owners, _, params| list(owners, params));
    registrar.event_subscription(&owners.events);
}

async fn list(owners: Owners, params: ListParams) -> Result<Events, RpcError> {
    let filter = Filter { types: params.types, profile: params.profile };
    let limit = params.limit.unwrap_or(100).clamp(1, 1000) as usize;
    let wait = Duration::from_secs(u64::from(params.wait_s.unwrap_or(0).min(LONGEST_WAIT_S)));
    Ok(owners.events.list(filter, params.since_seq.unwrap_or(0), limit, wait).await?)
}
