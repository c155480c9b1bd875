//! `message.*`, and the plain route for whole messages.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frankd_proto::methods::message::{
    ById, Cancel, Changed, Get, Hold, List, ListParams, MessageView, Messages, Raw, RawMessage, Receipt, Release,
    Resolve, ResolveParams, Retry, Selection, Send, SendParams, Wait, WaitParams,
};
use frankd_proto::{Capability, RpcError};

use super::{Owners, Registrar};
use crate::queue::{Scope, Submit};
use crate::rpc::register::CallContext;

/// Longest wait of a long poll.
const LONGEST_WAIT_S: u32 = 120;

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<Send, _, _>(owners, send);
    registrar.method::<Get, _, _>(owners, |owners, call, params: ById| async move {
        let view: MessageView = owners.queue.message(params.id, reading(&call)).await?;
        Ok(view)
    });
    registrar.method::<Wait, _, _>(owners, wait);
    registrar.method::<List, _, _>(owners, list);
    registrar.method::<Raw, _, _>(owners, |owners, call, params: ById| async move {
        let raw = owners.queue.raw(params.id, handling(&call)).await?;
        Ok(RawMessage { raw_b64: STANDARD.encode(raw) })
    });
    registrar.method::<Cancel, _, _>(owners, |owners, call, params: Selection| async move {
        let changed: Changed = owners.queue.cancel(params, handling(&call)).await?;
        Ok(changed)
    });
    registrar.method::<Retry, _, _>(owners, |owners, call, params: Selection| async move {
        Ok(owners.queue.retry(params, handling(&call)).await?)
    });
    registrar.method::<Hold, _, _>(owners, |owners, call, params: Selection| async move {
        Ok(owners.queue.hold(params, handling(&call)).await?)
    });
    registrar.method::<Release, _, _>(owners, |owners, call, params: Selection| async move {
        Ok(owners.queue.release(params, handling(&call)).await?)
    });
    registrar.method::<Resolve, _, _>(owners, |owners, call, params: ResolveParams| async move {
        Ok(owners.queue.resolve(params, handling(&call)).await?)
    });
}

async fn send(owners: Owners, call: CallContext, params: SendParams) -> Result<Receipt, RpcError> {
    call.take_from_rate()?;
    Ok(owners.queue.submit(submission(&call, params)).await?)
}

/// A whole message that came by the plain route.
pub async fn submit_raw(
    owners: Owners,
    call: CallContext,
    params: SendParams,
    body: Vec<u8>,
) -> Result<Receipt, RpcError> {
    call.take_from_rate()?;
    Ok(owners.queue.submit_raw(submission(&call, params), body).await?)
}

async fn wait(owners: Owners, call: CallContext, params: WaitParams) -> Result<MessageView, RpcError> {
    let timeout = Duration::from_secs(u64::from(params.timeout_s.unwrap_or(60).min(LONGEST_WAIT_S)));
    Ok(owners.queue.wait(params.id, reading(&call), timeout).await?)
}

async fn list(owners: Owners, call: CallContext, params: ListParams) -> Result<Messages, RpcError> {
    Ok(owners.queue.list(params, reading(&call)).await?)
}

fn submission(call: &CallContext, params: SendParams) -> Submit {
    Submit {
        uid: call.caller.uid,
        unlimited: call.access.has(Capability::Operate),
        allowed_profiles: call.access.profiles.clone(),
        allowed_from: call.access.from.clone(),
        params,
    }
}

/// Everybody's messages for who may observe, else the caller's own.
fn reading(call: &CallContext) -> Scope {
    scope(call, Capability::Observe)
}

/// Everybody's messages for who may operate, else the caller's own.
fn handling(call: &CallContext) -> Scope {
    scope(call, Capability::Operate)
}

fn scope(call: &CallContext, all: Capability) -> Scope {
    if call.sees_all(all) { Scope::All } else { Scope::Own(call.caller.uid) }
}
