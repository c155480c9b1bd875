//! What was handed out: codes, refresh-token families, access tokens.
//!
//! One consent is one family: the refresh tokens that follow one another and every access token made from them. Killing
//! a family kills them all (RFC 9700 §4.14.2). Nothing is ever forgotten, so that a test can ask what became of a token.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};

use super::client::{Client, Rotation};
use super::journal::Remark;
use crate::sandbox::clock::after;

/// Whose token it is and what it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOwner {
    /// The client that it was given to.
    pub client_id: String,
    /// The mailbox that it opens.
    pub mailbox: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An authorization code and what it was given for.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) login: String,
    pub(super) mailbox: String,
    pub(super) scopes: Vec<String>,
    pub(super) offline: bool,
    pub(super) expires_at: Timestamp,
    pub(super) family: Option<usize>,
}

/// One consent: a line of refresh tokens.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) client_id: String,
    pub(super) login: String,
    pub(super) mailbox: String,
    pub(super) scopes: Vec<String>,
    alive: bool,
    used_at: Timestamp,
}

#[derive(Clone, Debug)]
struct AccessToken {
    owner: TokenOwner,
    family: Option<usize>,
    alive: bool,
}

#[derive(Clone, Debug)]
struct RefreshToken {
    family: usize,
    replaced_at: Option<Timestamp>,
}

/// Everything that was handed out.
#[derive(Debug)]
pub(super) struct Ledger {
    minter: Minter,
    pub(super) codes: BTreeMap<String, Code>,
    families: Vec<Family>,
    refresh: BTreeMap<String, RefreshToken>,
    access: BTreeMap<String, AccessToken>,
}

/// A refresh that was accepted.
pub(super) struct Refreshed {
    pub(super) family: usize,
    /// The new refresh token; `None` if the old one stays and is not repeated.
    pub(super) replacement: Option<String>,
    pub(super) remark: Option<Remark>,
}

impl Ledger {
    /// An empty ledger whose secrets follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            minter: Minter { seed, minted: Vec::new() },
            codes: BTreeMap::new(),
            families: Vec::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
        }
    }

    /// A new unguessable text that begins with `kind`.
    pub(super) fn mint(&mut self, kind: &str, length: usize) -> String {
        self.minter.mint(kind, length)
    }

    /// Every text minted so far.
    pub(super) fn minted(&self) -> &[String] {
        &self.minter.minted
    }

    /// Keeps an authorization code and returns it.
    pub(super) fn issue_code(&mut self, code: Code) -> String {
        let text = self.mint("code", 0);
        self.codes.insert(text.clone(), code);
        text
    }

    /// Starts a family for a consent.
    pub(super) fn start_family(&mut self, code: &Code, now: Timestamp) -> usize {
        self.families.push(Family {
            client_id: code.client_id.clone(),
            login: code.login.clone(),
            mailbox: code.mailbox.clone(),
            scopes: code.scopes.clone(),
            alive: true,
            used_at: now,
        });
        self.families.len() - 1
    }

    /// The family with that number.
    pub(super) fn family(&self, number: usize) -> Option<&Family> {
        self.families.get(number)
    }

    /// Hands out a refresh token of `family`.
    pub(super) fn issue_refresh(&mut self, family: usize) -> String {
        let text = self.mint("rt", 0);
        self.refresh.insert(text.clone(), RefreshToken { family, replaced_at: None });
        text
    }

    /// Hands out an access token for `owner`.
    pub(super) fn issue_access(&mut self, owner: TokenOwner, family: Option<usize>, length: usize) -> String {
        let text = self.mint("at", length);
        self.access.insert(text.clone(), AccessToken { owner, family, alive: true });
        text
    }

    /// Uses a refresh token by the client's rule; on refusal says what was noticed.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        client: &Client,
        now: Timestamp,
    ) -> Result<Refreshed, Option<Remark>> {
        let known = self.refresh.get(token).cloned().ok_or(None)?;
        let family = self.families.get_mut(known.family).filter(|family| family.client_id == client.id).ok_or(None)?;
        let idle = client.refresh_token_idle.is_some_and(|idle| after(family.used_at, idle) <= now);
        if !family.alive || idle {
            return Err(None);
        }
        let in_grace = match (known.replaced_at, client.rotation) {
            (None, _) | (Some(_), Rotation::KeepsOld | Rotation::None) => false,
            (Some(at), Rotation::Grace(grace)) if now < after(at, grace) => true,
            (Some(_), _) => {
                self.kill(known.family);
                return Err(Some(Remark::RefreshTokenReused));
            }
        };
        family.used_at = now;
        if client.rotation == Rotation::None {
            return Ok(Refreshed { family: known.family, replacement: None, remark: None });
        }
        let first_use = known.replaced_at.unwrap_or(now);
        self.refresh.insert(token.to_owned(), RefreshToken { replaced_at: Some(first_use), ..known });
        let remark = if in_grace { Remark::GraceUsed } else { Remark::Rotated };
        let replacement = Some(self.issue_refresh(known.family));
        Ok(Refreshed { family: known.family, replacement, remark: Some(remark) })
    }

    /// Kills a family: its refresh tokens and its access tokens.
    pub(super) fn kill(&mut self, number: usize) {
        if let Some(family) = self.families.get_mut(number) {
            family.alive = false;
        }
        for token in self.access.values_mut().filter(|token| token.family == Some(number)) {
            token.alive = false;
        }
    }

    /// Revokes a token of `client_id` (RFC 7009 §2.1); one that is unknown or somebody else's is left alone.
    pub(super) fn revoke(&mut self, token: &str, client_id: &str) {
        let family = self.refresh.get(token).map(|refresh| refresh.family);
        match family {
            Some(number) if self.families.get(number).is_some_and(|family| family.client_id == client_id) => {
                self.kill(number);
            }
            Some(_) => {}
            None => {
                if let Some(access) = self.access.get_mut(token)
                    && access.owner.client_id == client_id
                {
                    access.alive = false;
                }
            }
        }
    }

    /// Takes back everything that opens `mailbox`, as a person or an administrator does at the provider.
    pub(super) fn revoke_mailbox(&mut self, mailbox: &str) {
        let hit: Vec<usize> =
            (0..self.families.len()).filter(|number| self.families[*number].mailbox == mailbox).collect();
        for number in hit {
            self.kill(number);
        }
        self.end_access(mailbox);
    }

    /// Ends the access tokens that open `mailbox`; refresh tokens stay good.
    pub(super) fn end_access(&mut self, mailbox: &str) {
        for token in self.access.values_mut().filter(|token| token.owner.mailbox == mailbox) {
            token.alive = false;
        }
    }

    /// Whose good access token that is.
    pub(super) fn owner_of(&self, token: &str, now: Timestamp) -> Option<TokenOwner> {
        self.access
            .get(token)
            .filter(|access| access.alive && now < access.owner.expires_at)
            .map(|access| access.owner.clone())
    }
}

/// The end of a life that starts now.
pub(super) fn end_of(life: Duration, now: Timestamp) -> Timestamp {
    after(now, life)
}

/// Makes secrets that look random and follow from a seed, so that a run can be repeated octet for octet.
#[derive(Debug)]
struct Minter {
    seed: u64,
    minted: Vec<String>,
}

impl Minter {
    fn mint(&mut self, kind: &str, length: usize) -> String {
        let mut text = kind.to_owned();
        let mut block = 0_u32;
        loop {
            let input = format!("{}/{}/{block}", self.seed, self.minted.len());
            text.push(if block == 0 { '-' } else { '.' });
            text.push_str(&URL_SAFE_NO_PAD.encode(digest(&SHA256, input.as_bytes())));
            block += 1;
            if text.len() >= length {
                break;
            }
        }
        if length > 0 {
            text.truncate(length.max(40));
        }
        self.minted.push(text.clone());
        text
    }
}
