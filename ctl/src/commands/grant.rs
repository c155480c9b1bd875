//! `grant PROFILE`, and `grant list|show|cancel|complete`.

use frankd_proto::methods::grant as rpc;

use super::token;
use crate::app::App;
use crate::args::grant::{Action, Grant};
use crate::failure::{Doing, Failure, details};
use crate::grant;
use crate::output::{BAD, GOOD, Page, Render, WARNING, join};
use crate::{human, watch};

/// Does it.
pub(crate) async fn run(app: &mut App, args: Grant) -> Result<u8, Failure> {
    let Some(action) = args.action else {
        let named = args.start.profile.clone().or_else(|| args.start.named.clone());
        let profile = named.ok_or_else(|| Failure::Usage("grant needs a profile".to_owned()))?;
        return grant::run(app, profile, &args.start).await;
    };
    match action {
        Action::List { profile, watch } => {
            let params = rpc::ListParams { profile };
            watch::show::<rpc::List>(app, &params, Doing::new("list the grants"), watch).await
        }
        Action::Show { id, watch } => {
            let doing = Doing::new(format!("show grant {id}"));
            watch::show::<rpc::Get>(app, &rpc::ById { id }, doing, watch).await
        }
        Action::Cancel { id } => {
            let doing = Doing::new(format!("cancel grant {id}"));
            app.alter::<rpc::Cancel>(&rpc::ById { id }, doing).await
        }
        Action::Complete { id } => grant::finish_pasted(app, id).await,
    }
}

impl Render for rpc::Grants {
    fn items(&self) -> Option<&'static str> {
        Some("items")
    }

    fn page(&self, page: &mut Page) {
        let row = |grant: &rpc::GrantView| {
            [
                grant.id.to_string(),
                grant.profile.to_string(),
                grant.via.as_str().replace('_', " "),
                grant.state.to_string(),
                page.relative(Some(grant.created_at)),
                page.relative(Some(grant.ended_at.unwrap_or(grant.expires_at))),
                grant.account.clone().unwrap_or_default(),
                grant.error.as_ref().map_or_else(|| join(&grant.warnings, "; "), |error| error.message.clone()),
            ]
        };
        let rows = self.items.iter().map(row).collect();
        page.table_of(6, ["GRANT", "PROFILE", "VIA", "STATE", "BEGAN", "ENDS", "ACCOUNT", "WHY"], rows);
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|grant| grant.id.to_string()).collect()
    }
}

impl Render for rpc::GrantView {
    fn page(&self, page: &mut Page) {
        page.fields(vec![
            ("Grant", self.id.to_string()),
            ("Profile", self.profile.to_string()),
            ("Via", self.via.as_str().replace('_', " ")),
            ("State", self.state.to_string()),
            ("Began", page.moment(Some(self.created_at))),
            (
                if self.ended_at.is_some() { "Ended" } else { "Ends" },
                page.moment(Some(self.ended_at.unwrap_or(self.expires_at))),
            ),
            ("Account", self.account.clone().unwrap_or_default()),
        ]);
        for warning in &self.warnings {
            page.line(format!("{WARNING} {warning}"));
        }
        if let Some(error) = &self.error {
            page.line(format!("{BAD} {}", error.message));
            let mut facts = String::new();
            details(&mut facts, &error.data, &Doing::new("").with_profile(&self.profile));
            page.line(facts);
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}

impl Render for rpc::Completed {
    fn page(&self, page: &mut Page) {
        let token = &self.token;
        let account = self.grant.account.as_ref().or(token.account.as_ref());
        match account {
            Some(account) => page.line(format!("{GOOD} Signed in as {account}")),
            None => page.line(format!("{GOOD} Signed in; the provider does not say as whom")),
        }
        let life = token.expires_at.map_or_else(
            || token::state(token.state),
            |ends| format!("access token valid {}", human::between(page.now, ends)),
        );
        let next = token
            .next_refresh_at
            .map_or_else(String::new, |next| format!(", next refresh {}", page.relative(Some(next))));
        if token.refresh_token.set {
            page.line(format!("{GOOD} Refresh token received; {life}{next}"));
        } else {
            page.line(format!("{WARNING} No refresh token; {life}{next}"));
        }
        if let Some(ends) = token.refresh_token.expires_at {
            page.line(format!("  The refresh token ends {}", page.moment(Some(ends))));
        }
        page.line(format!("  Scopes {}", join(&token.scopes, " ")));
        for warning in &self.grant.warnings {
            page.line(format!("{WARNING} {warning}"));
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.grant.id.to_string()]
    }
}
