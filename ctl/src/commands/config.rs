//! `config show` and `reload`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::config as rpc;
use frankd_proto::methods::system::{Reload, Reloaded};

use crate::app::App;
use crate::args::daemon::ConfigAction;
use crate::failure::{Doing, Failure};
use crate::output::{Page, Render, WARNING};

/// Does it.
pub(crate) async fn run(app: &mut App, action: ConfigAction) -> Result<u8, Failure> {
    let ConfigAction::Show = action;
    app.show::<rpc::Show>(&Empty {}, Doing::new("read the settings")).await
}

/// Makes the daemon read its configuration again.
pub(crate) async fn reload(app: &mut App) -> Result<u8, Failure> {
    app.alter::<Reload>(&Empty {}, Doing::new("reload the configuration")).await
}

impl Render for rpc::Configuration {
    fn items(&self) -> Option<&'static str> {
        Some("settings")
    }

    fn page(&self, page: &mut Page) {
        let row = |setting: &rpc::Setting| {
            let value = match setting.value.as_str() {
                Some(text) => text.to_owned(),
                None => setting.value.to_string(),
            };
            [setting.key.clone(), value, setting.origin.clone()]
        };
        page.table(["SETTING", "VALUE", "ORIGIN"], self.settings.iter().map(row).collect());
    }

    fn names(&self) -> Vec<String> {
        self.settings.iter().map(|setting| setting.key.clone()).collect()
    }
}

impl Render for Reloaded {
    fn page(&self, page: &mut Page) {
        if self.changed.is_empty() {
            page.line("The configuration is read; nothing changed.");
        }
        for key in &self.changed {
            page.line(format!("{key} changed"));
        }
        for key in &self.needs_restart {
            page.line(format!("{WARNING} {key} changes with the next restart of frankd"));
        }
        for warning in &self.warnings {
            page.line(format!("{WARNING} {warning}"));
        }
    }

    fn names(&self) -> Vec<String> {
        self.changed.clone()
    }
}
