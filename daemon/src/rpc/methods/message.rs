//! `message.*`, and the plain route for whole messages.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frankd_proto::RpcError;
use frankd_proto::methods::message::{
    ById, Cancel, Changed, Get, Hold, List, ListParams, MessageView, Messages, Raw, RawMessage, Receipt, Release,
    Resolve, ResolveParams, Retry, Selection, Send, SendParams, Wait, WaitParams,
};

use super::{Owners, RegistrationError, Table, seconds};
use crate::policy::access::Reach;
use crate::queue::{Allowed, Pieces, Scope, Submit};
use crate::rpc::context::CallContext;

/// Longest wait of a long poll.
const LONGEST_WAIT_S: u32 = 120;

pub(super) fn register(methods: &mut Table<'_>) -> Result<(), RegistrationError> {
    methods.on::<Send, _, _>(send)?;
    let owners = Arc::clone(&methods.owners);
    methods.registrar.intake(move |call, params, pieces| submit_raw(Arc::clone(&owners), call, params, pieces));
    methods.on::<Get, _, _>(|owners, call, params: ById| async move {
        let view: MessageView = owners.queue.message(params.id, scope(&call)).await?;
        Ok(view)
    })?;
    methods.on::<Wait, _, _>(wait)?;
    methods.on::<List, _, _>(list)?;
    methods.on::<Raw, _, _>(|owners, call, params: ById| async move {
        let raw = owners.queue.raw(params.id, scope(&call)).await?;
        Ok(RawMessage { raw_b64: STANDARD.encode(raw) })
    })?;
    methods.on::<Cancel, _, _>(|owners, call, params: Selection| async move {
        let changed: Changed = owners.queue.cancel(params, scope(&call)).await?;
        Ok(changed)
    })?;
    methods.on::<Retry, _, _>(|owners, call, params: Selection| async move {
        Ok(owners.queue.retry(params, scope(&call)).await?)
    })?;
    methods.on::<Hold, _, _>(|owners, call, params: Selection| async move {
        Ok(owners.queue.hold(params, scope(&call)).await?)
    })?;
    methods.on::<Release, _, _>(|owners, call, params: Selection| async move {
        Ok(owners.queue.release(params, scope(&call)).await?)
    })?;
    methods.on::<Resolve, _, _>(|owners, call, params: ResolveParams| async move {
        Ok(owners.queue.resolve(params, scope(&call)).await?)
    })?;
    Ok(())
}

async fn send(owners: Arc<Owners>, call: CallContext, params: SendParams) -> Result<Receipt, RpcError> {
    Ok(owners.queue.submit(submission(&call, params)).await?)
}

/// A whole message that came by the plain route.
async fn submit_raw(
    owners: Arc<Owners>,
    call: CallContext,
    params: SendParams,
    pieces: Pieces,
) -> Result<Receipt, RpcError> {
    Ok(owners.queue.submit_raw(submission(&call, params), pieces).await?)
}

async fn wait(owners: Arc<Owners>, call: CallContext, params: WaitParams) -> Result<MessageView, RpcError> {
    let timeout = seconds("timeout_s", params.timeout_s.unwrap_or(60), LONGEST_WAIT_S)?;
    Ok(owners.queue.wait(params.id, scope(&call), timeout).await?)
}

async fn list(owners: Arc<Owners>, call: CallContext, params: ListParams) -> Result<Messages, RpcError> {
    Ok(owners.queue.list(params, scope(&call)).await?)
}

fn submission(call: &CallContext, params: SendParams) -> Submit {
    Submit {
        uid: call.caller.uid,
        unlimited: !call.access.is_limited(),
        allowed: Allowed { profiles: call.access.sending_profiles(), from: call.access.sending_from() },
        quota: call.quota(),
        params,
    }
}

/// The caller's own messages, or everybody's.
fn scope(call: &CallContext) -> Scope {
    match call.access.reach {
        Reach::All => Scope::All,
        Reach::Own => Scope::Own(call.caller.uid),
    }
}
