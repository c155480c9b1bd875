//! `token show|get|refresh|revoke`.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use frankd_proto::methods::token as rpc;
use frankd_proto::{Name, TokenState};

use super::secret;
use crate::app::App;
use crate::args::Format;
use crate::args::token::{Action, Get, TokenFormat};
use crate::args::values::seconds;
use crate::failure::{Doing, Failure, exit, fact, smtp_words};
use crate::output::{BAD, GOOD, Page, Render, WARNING, join, text};
use crate::{clock, human, watch};

/// How long a refresh may take before it is said that it is waited for.
const QUIET: Duration = Duration::from_secs(2);
/// Longest wait for a refresh, unless the command says.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Does it.
pub(crate) async fn run(app: &mut App, action: Action) -> Result<u8, Failure> {
    match action {
        Action::Show { profile, watch } => {
            let doing = Doing::new(format!("show the token of profile {profile}")).with_profile(&profile);
            watch::show::<rpc::Info>(app, &rpc::OfProfile { profile }, doing, watch).await
        }
        Action::Get(args) => get(app, args).await,
        Action::Refresh { profile, wait } => refresh(app, profile, wait.unwrap_or(LONGEST_WAIT)).await,
        Action::Revoke { profile, local_only } => {
            app.confirm(&format!("revoke the token of profile {profile}"))?;
            let doing = Doing::new(format!("revoke the token of profile {profile}")).with_profile(&profile);
            app.alter::<rpc::Revoke>(&rpc::RevokeParams { profile, local_only }, doing).await
        }
    }
}

/// Fetches a new token. Refused ones are tried in several ways, which takes a while: that is said, and has an end.
async fn refresh(app: &mut App, profile: Name, wait: Duration) -> Result<u8, Failure> {
    let params = rpc::OfProfile { profile: profile.clone() };
    if app.rehearse::<rpc::Refresh>(&params)? {
        return Ok(exit::OK);
    }
    let doing = Doing::new(format!("refresh the token of profile {profile}")).with_profile(&profile);
    let session = app.connect().await?;
    let mut call = std::pin::pin!(session.call::<rpc::Refresh>(params, doing));
    let quiet = QUIET.min(wait);
    let mut answer = clock::deadline(quiet, &mut call).await;
    if answer.is_none() && wait > quiet {
        app.note(format!("Waiting for the authorization server, at most {} …", human::duration(wait)))?;
        answer = clock::deadline(wait.saturating_sub(quiet), call).await;
    }
    let answer = answer.ok_or_else(|| Failure::Pending {
        what: format!("There is no new token of profile {profile} yet; the daemon goes on."),
        next: format!("`frankctl token show {profile}`"),
    })??;
    app.print(&answer)
}

async fn get(app: &mut App, args: Get) -> Result<u8, Failure> {
    let Get { profile, min_valid, wait, format } = args;
    let format = match (format, app.format()) {
        (Some(format), _) => format,
        (None, Format::Json | Format::Jsonl) => TokenFormat::Json,
        (None, _) => TokenFormat::Raw,
    };
    let session = app.connect().await?;
    let params =
        rpc::GetParams { profile: profile.clone(), min_valid_s: min_valid.map(seconds), wait_s: wait.map(seconds) };
    let doing = Doing::new(format!("get a token of profile {profile}")).with_profile(&profile);
    let answer = session.call::<rpc::Get>(params, doing).await?;
    for warning in &answer.value.warnings {
        app.note(format!("{WARNING} {warning}"))?;
    }
    let token = answer.value.access_token.expose();
    let line = match format {
        TokenFormat::Raw => token.to_owned(),
        TokenFormat::Bearer => format!("Bearer {token}"),
        TokenFormat::Json => answer.raw.get().to_owned(),
        TokenFormat::Xoauth2 => {
            let Some(user) = &answer.value.username else {
                return Err(Failure::Usage(format!(
                    "profile {profile} has no username, and XOAUTH2 needs one: \
                     frankctl profile update {profile} --username ADDRESS"
                )));
            };
            BASE64_STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
        }
    };
    app.data(format!("{line}\n").as_bytes())?;
    Ok(exit::OK)
}

impl Render for rpc::TokenInfo {
    fn page(&self, page: &mut Page) {
        let refreshing = if self.refreshing { ", fetching a new one" } else { "" };
        page.fields(vec![
            ("Profile", self.profile.to_string()),
            ("State", format!("{}{refreshing}", state(self.state))),
            ("Account", text(self.account.as_ref())),
            ("Scopes", join(&self.scopes, " ")),
            ("Access token", secret(&self.access_token, page)),
            ("Obtained", page.moment(self.obtained_at)),
            ("Ends", page.moment(self.expires_at)),
            ("Next refresh", page.moment(self.next_refresh_at)),
            ("Refresh token", secret(&self.refresh_token, page)),
            ("Set aside", page.moment(self.quarantined_at)),
            ("Generation", self.generation.to_string()),
            (
                "Handed out",
                match self.handed_out_at {
                    Some(last) => format!("{} times, last {}", self.handed_out, page.relative(Some(last))),
                    None => "never".to_owned(),
                },
            ),
        ]);
        if let Some(error) = &self.last_error {
            error_page(error, page);
        }
        if self.state == TokenState::NeedsGrant {
            page.line(format!("Fix: frankctl grant {}", self.profile));
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.profile.to_string()]
    }
}

/// A state with its mark.
pub(super) fn state(state: TokenState) -> String {
    let mark = match state {
        TokenState::None => "–",
        TokenState::Valid => GOOD,
        TokenState::AtRisk => WARNING,
        TokenState::Expired | TokenState::NeedsGrant | TokenState::Misconfigured => BAD,
    };
    format!("{mark} {}", state.as_str().replace('_', " "))
}

fn error_page(error: &rpc::TokenError, page: &mut Page) {
    page.line(format!(
        "{BAD} {} ({}, last {})",
        error.message,
        human::count(error.failures.into(), "failure"),
        page.relative(Some(error.at))
    ));
    let mut facts = String::new();
    if let Some(provider) = &error.data.provider {
        fact(&mut facts, "provider", &crate::failure::provider_words(provider));
    }
    if let Some(reply) = &error.data.smtp {
        fact(&mut facts, "server", &smtp_words(reply));
    }
    if let Some(hint) = &error.data.hint {
        fact(&mut facts, "fix", hint);
    }
    fact(&mut facts, "kind", error.data.kind.name());
    page.line(facts);
}

impl Render for rpc::Revoked {
    fn page(&self, page: &mut Page) {
        let what = match self.remote {
            rpc::RemoteRevocation::Done => "revoked at the provider, and forgotten here",
            rpc::RemoteRevocation::Unsupported => {
                "forgotten here; the provider has no revocation endpoint, so the token lives there until it ends"
            }
            rpc::RemoteRevocation::Failed => "forgotten here; the provider could not be asked or refused",
            rpc::RemoteRevocation::Skipped => "forgotten here; the provider was not asked",
        };
        page.line(format!("The token of profile {} is {what}.", self.token.profile));
        if let Some(detail) = &self.detail {
            page.line(format!("  {detail}"));
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.token.profile.to_string()]
    }

    fn exit_code(&self) -> u8 {
        if self.remote == rpc::RemoteRevocation::Failed { exit::FAILED } else { exit::OK }
    }
}
