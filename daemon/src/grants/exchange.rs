//! One code becomes a token: sent once, adopted durably, together with the end of its grant.

use std::time::Duration;

use frankd_proto::diagnosis;
use frankd_proto::error::ProviderError;
use frankd_proto::methods::grant::GrantError as Fault;
use frankd_proto::{EventType, GrantState, Kind, Name, RpcError, Secret};
use jiff::Timestamp;

use super::{Parts, ending};
use crate::clock::ClockExt as _;
use crate::domain::answer::{TokenAnswer, TokenFailure, TokenGrant};
use crate::domain::{Grant, NewEvent, Profile};
use crate::fail_point;
use crate::policy::classify::token::{self, AskedWith};
use crate::policy::grant::{self as rule, Outcome};
use crate::store::Change;
use crate::tokens::{AdoptError, Adoption, CallError, Prepared, prepare};

/// Time that an exchange may take over what its client allows, before it is given up here.
const GRACE: Duration = Duration::from_secs(15);

/// A grant that was taken, and what only its exchange may see.
pub(super) struct Taken {
    pub(super) grant: Grant,
    pub(super) code: Secret,
    pub(super) code_verifier: Secret,
}

/// Exchanges the code. Gives the grant as it ended, which is on disk by then, or could not be written.
pub(super) async fn exchange(parts: &Parts, taken: Taken) -> Grant {
    let Taken { grant, code, code_verifier } = taken;
    match ask(parts, &grant, code, code_verifier).await {
        Ok(ended) => ended,
        Err(fault) => fail(parts, &grant, fault).await,
    }
}

/// The grant as it is when its exchange broke off.
pub(super) fn cut_short(parts: &Parts, grant: &Grant) -> Grant {
    let fault = ending::cut_short(name(parts, grant).as_ref());
    ending::ended(grant, GrantState::Failed, Some(fault), parts.clock.wall())
}

async fn ask(parts: &Parts, grant: &Grant, code: Secret, code_verifier: Secret) -> Result<Grant, Fault> {
    let asked = TokenGrant::AuthorizationCode { code, redirect_uri: grant.redirect_uri.clone(), code_verifier };
    let prepared = prepare(&parts.registry, grant.profile, asked).map_err(|error| unprepared(&error))?;
    if prepared.identity != grant.identity {
        return Err(ending::changed(Some(&prepared.profile)));
    }
    let Prepared { call, profile, client, .. } = prepared;
    let limit = call.wire.connect_timeout + call.wire.request_timeout + GRACE;
    let sent_at = parts.clock.wall();
    let answer = match parts.clock.deadline(limit, parts.server.token(call)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => return Err(refused(&failure, &profile, &client)),
        Err(_) => {
            let message = format!("no answer within {} s, and a code is sent at most once", limit.as_secs());
            let error = RpcError::new(Kind::OauthProviderUnavailable, message).diagnosis(&diagnosis::NET_AMBIGUOUS);
            return Err(error.hint(format!("frankctl grant {profile}")).into());
        }
    };
    fail_point::hit("grant.after_answer").ok();
    adopt(parts, grant, (&profile, &client), answer, sent_at).await
}

async fn adopt(
    parts: &Parts,
    grant: &Grant,
    (profile, client): (&Name, &Name),
    answer: TokenAnswer,
    sent_at: Timestamp,
) -> Result<Grant, Fault> {
    let wall = parts.clock.wall();
    let completed = Grant {
        state: GrantState::Completed,
        ended_at: Some(wall),
        account: answer.account.clone(),
        warnings: warnings(parts, grant, &answer),
        ..grant.clone()
    };
    let event = NewEvent::new(wall, EventType::GrantCompleted)
        .profile(profile)
        .client(client)
        .object(grant.id)
        .with("account", answer.account.clone())
        .with("warnings", completed.warnings.clone());
    let adoption = Adoption {
        profile: grant.profile,
        identity: grant.identity.clone(),
        answer,
        sent_at,
        changes: vec![Change::PutGrant { grant: Box::new(completed.clone()), expected: Some(grant.state) }],
        events: vec![event],
    };
    match parts.tokens.adopt(adoption).await {
        Ok(()) => Ok(completed),
        Err(AdoptError::IdentityChanged) => Err(ending::changed(Some(profile))),
        Err(error) => {
            let message = format!("the token could not be taken: {error}");
            Err(RpcError::new(Kind::StoreUnavailable, message).hint(format!("frankctl grant {profile}")).into())
        }
    }
}

fn warnings(parts: &Parts, grant: &Grant, answer: &TokenAnswer) -> Vec<String> {
    let view = parts.registry.view();
    let username = view.profile(grant.profile).and_then(|profile: &Profile| profile.username.as_deref());
    let outcome = Outcome {
        username,
        account: answer.account.as_deref(),
        refresh_token: !parts.tokens.lacks_refresh_token(grant.profile, answer, &grant.identity),
        kept_in_doubt: parts.tokens.keeps_in_doubt(grant.profile, answer, &grant.identity),
        asked: &grant.identity.scopes,
        granted: answer.scopes.as_deref(),
    };
    let mut warnings = rule::warnings(&outcome);
    warnings.extend(answer.warnings.iter().cloned());
    warnings
}

async fn fail(parts: &Parts, grant: &Grant, fault: Fault) -> Grant {
    let wall = parts.clock.wall();
    let failed = ending::ended(grant, GrantState::Failed, Some(fault), wall);
    let event = ending::event(&failed, name(parts, grant).as_ref(), wall);
    let change = Change::PutGrant { grant: Box::new(failed.clone()), expected: Some(grant.state) };
    if let Err(error) = parts.store.commit(vec![change], vec![event]).await {
        tracing::warn!(grant = %grant.id, %error, "a failed grant could not be written");
    }
    failed
}

fn name(parts: &Parts, grant: &Grant) -> Option<Name> {
    parts.registry.view().profile(grant.profile).map(|profile| profile.name.clone())
}

fn unprepared(error: &CallError) -> Fault {
    error.error().into()
}

fn refused(failure: &TokenFailure, profile: &Name, client: &Name) -> Fault {
    let judgement = token::judge(failure, AskedWith::Code);
    let mut error = RpcError::new(judgement.kind, judgement.message.clone());
    error.data.diagnosis = Some(judgement.diagnosis.to_owned());
    error.data.hint = judgement.hint_for(profile, client).or_else(|| Some(format!("frankctl grant {profile}")));
    error.data.provider = (failure.provider != ProviderError::default()).then(|| failure.provider.clone());
    error.into()
}
