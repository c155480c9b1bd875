//! `access whoami`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::access as rpc;

use crate::app::App;
use crate::args::daemon::AccessAction;
use crate::failure::{Doing, Failure};
use crate::output::{Page, Render, join};

/// Does it.
pub(crate) async fn run(app: &mut App, action: AccessAction) -> Result<u8, Failure> {
    let AccessAction::Whoami = action;
    app.show::<rpc::WhoAmI>(&Empty {}, Doing::new("ask who I am")).await
}

impl Render for rpc::Identity {
    fn page(&self, page: &mut Page) {
        let limit = |list: Option<String>| list.unwrap_or_else(|| "all".to_owned());
        let capabilities = if self.capabilities.is_empty() {
            "none: an [[access]] rule or group frankd gives them".to_owned()
        } else {
            join(&self.capabilities, ", ")
        };
        page.fields(vec![
            ("User", format!("{} (uid {})", self.user.as_deref().unwrap_or("?"), self.uid)),
            ("Group", format!("gid {}", self.gid)),
            ("Socket", self.socket.clone()),
            ("May", capabilities),
            ("Profiles", limit(self.profiles.as_ref().map(|names| join(names, ", ")))),
            ("From", limit(self.from.as_ref().map(|from| join(from, ", ")))),
            ("Messages an hour", self.rate_per_hour.map_or_else(|| "no limit".to_owned(), |rate| rate.to_string())),
        ]);
    }

    fn names(&self) -> Vec<String> {
        vec![self.user.clone().unwrap_or_else(|| self.uid.to_string())]
    }
}
