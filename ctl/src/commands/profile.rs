//! `profile list|show|create|update|delete|pause|resume`.

use std::fmt::Write as _;

use frankd_proto::methods::Empty;
use frankd_proto::methods::client::{DeleteParams, Named};
use frankd_proto::methods::profile as rpc;
use frankd_proto::{HoldReason, ProfileKind, Secret, SecretInput};

use super::client::certificates;
use super::{list, map, patch, pem, secret};
use crate::app::App;
use crate::args::profile::{Action, Clearable, Create, Settings, Smtp, Update};
use crate::args::secret::{KnownSecret, Password, Source};
use crate::args::values::seconds;
use crate::failure::{Doing, Failure, exit};
use crate::output::{BAD, Page, Render, WARNING, join, pairs, text};
use crate::{human, secrets, watch};

/// Does it.
pub(crate) async fn run(app: &mut App, action: Action) -> Result<u8, Failure> {
    match action {
        Action::List(watch) => watch::show::<rpc::List>(app, &Empty {}, Doing::new("list the profiles"), watch).await,
        Action::Show { name, watch } => {
            let doing = Doing::profile("show", &name);
            watch::show::<rpc::Get>(app, &Named { name }, doing, watch).await
        }
        Action::Create(args) => create(app, *args).await,
        Action::Update(args) => update(app, *args).await,
        Action::Delete { name, if_revision } => {
            app.confirm(&format!("delete profile {name}"))?;
            let doing = Doing::profile("delete", &name);
            app.alter::<rpc::Delete>(&DeleteParams { name, if_revision }, doing).await
        }
        Action::Pause { name, duration, reason } => {
            let doing = Doing::profile("pause", &name);
            let params = rpc::PauseParams { name, for_s: duration.map(|duration| duration.as_secs()), reason };
            app.alter::<rpc::Pause>(&params, doing).await
        }
        Action::Resume { name } => {
            let doing = Doing::profile("resume", &name);
            app.alter::<rpc::Resume>(&Named { name }, doing).await
        }
    }
}

async fn create(app: &mut App, args: Create) -> Result<u8, Failure> {
    let Create { name, kind, default, password, known, settings, smtp } = args;
    let client_secret = known_secret(app, &known)?;
    let password = match self::password(app, &password)? {
        None if kind == ProfileKind::Smtp && settings.username.is_some() && app.may_ask() => {
            secrets::ask(app, "Password: ")?.map(SecretInput::value)
        }
        given => given,
    };
    let smtp = smtp_input(app, smtp, &[])?;
    let Settings {
        description,
        flow,
        interactive,
        client,
        username,
        scopes,
        authorization_params,
        token_params,
        from,
        allowed_from,
        on_doubt,
        min_valid,
    } = settings;
    let params = rpc::CreateParams {
        name: name.clone(),
        kind,
        description,
        flow,
        interactive,
        client,
        username,
        password,
        client_secret,
        scopes: list(scopes),
        authorization_params: map(authorization_params)?,
        token_params: map(token_params)?,
        smtp,
        from,
        allowed_from: list(allowed_from),
        default,
        on_doubt,
        min_valid_s: min_valid.map(seconds),
    };
    if app.rehearse::<rpc::Create>(&params)? {
        return Ok(exit::OK);
    }
    let session = app.connect().await?;
    let answer = session.call::<rpc::Create>(params, Doing::profile("create", &name)).await?;
    let code = app.print(&answer)?;
    if answer.value.flow == Some(frankd_proto::Flow::Interactive) {
        app.note(format!("\nNext:  frankctl grant {name}"))?;
    } else if answer.value.smtp.is_some() {
        app.note(format!("\nNext:  frankctl test email {name} --to ADDRESS"))?;
    }
    Ok(code)
}

async fn update(app: &mut App, args: Update) -> Result<u8, Failure> {
    let Update { name, if_revision, confirm, new_name, kind, default, clear, password, known, settings, smtp } = args;
    let client_secret = known_secret(app, &known)?;
    let cleared = |field| clear.contains(&field);
    let password = self::password(app, &password)?;
    let params = rpc::UpdateParams {
        name: name.clone(),
        if_revision,
        confirm,
        new_name,
        description: patch(settings.description, cleared(Clearable::Description), "description")?,
        kind,
        flow: settings.flow,
        interactive: settings.interactive,
        client: patch(settings.client, cleared(Clearable::Client), "client")?,
        username: patch(settings.username, cleared(Clearable::Username), "username")?,
        password: patch(password, cleared(Clearable::Password), "password")?,
        client_secret,
        scopes: list(settings.scopes),
        authorization_params: map(settings.authorization_params)?,
        token_params: map(settings.token_params)?,
        smtp: smtp_input(app, smtp, &clear)?,
        from: patch(settings.from, cleared(Clearable::From), "from")?,
        allowed_from: list(settings.allowed_from),
        default,
        on_doubt: settings.on_doubt,
        min_valid_s: patch(settings.min_valid.map(seconds), cleared(Clearable::MinValid), "min_valid")?,
    };
    app.alter::<rpc::Update>(&params, Doing::profile("update", &name)).await
}

fn password(app: &mut App, args: &Password) -> Result<Option<SecretInput>, Failure> {
    let fetch = |source: Source| secrets::fetch(app, source, "password");
    args.source().map(fetch).transpose()
}

fn known_secret(app: &mut App, args: &KnownSecret) -> Result<Option<Secret>, Failure> {
    let fetch = |source: Source| secrets::fetch(app, source, "client secret");
    Ok(args.source().map(fetch).transpose()?.and_then(|input| input.value))
}

/// The mail server's part; absent if nothing of it was said.
fn smtp_input(app: &mut App, smtp: Smtp, clear: &[Clearable]) -> Result<Option<rpc::SmtpInput>, Failure> {
    let cleared = |field| clear.contains(&field);
    let ca_bundle = pem(app, smtp.ca_bundle.as_deref())?;
    let input = rpc::SmtpInput {
        host: smtp.host,
        port: smtp.port,
        tls: smtp.tls,
        ehlo_name: patch(smtp.ehlo_name, cleared(Clearable::EhloName), "ehlo_name")?,
        ca_bundle: patch(ca_bundle, cleared(Clearable::CaBundle), "ca_bundle")?,
        min_tls_version: smtp.min_tls_version,
        plaintext_on_loopback: smtp.plaintext_on_loopback,
        max_connections: smtp.max_connections,
        max_messages_per_connection: smtp.max_messages_per_connection,
        messages_per_minute: patch(
            smtp.messages_per_minute,
            cleared(Clearable::MessagesPerMinute),
            "messages_per_minute",
        )?,
    };
    Ok(Some(input).filter(|input| *input != rpc::SmtpInput::default()))
}

impl Render for rpc::Profiles {
    fn items(&self) -> Option<&'static str> {
        Some("items")
    }

    fn page(&self, page: &mut Page) {
        let row = |profile: &rpc::ProfileView| {
            let mark = if profile.default { " (default)" } else { "" };
            [
                format!("{}{mark}", profile.name),
                profile.kind.to_string(),
                text(profile.username.as_ref()),
                text(profile.client.as_ref()),
                profile.smtp.as_ref().map_or_else(|| "–".to_owned(), server),
                join(profile.held.iter().map(|hold| hold.reason), ", "),
                text(profile.flow.as_ref()),
                text(profile.from.as_ref()),
                join(&profile.allowed_from, ", "),
                join(&profile.scopes, " "),
                profile.on_doubt.to_string(),
                profile.revision.to_string(),
                page.relative(Some(profile.updated_at)),
            ]
        };
        let rows = self.items.iter().map(row).collect();
        let header = [
            "PROFILE",
            "KIND",
            "ACCOUNT",
            "CLIENT",
            "MAIL SERVER",
            "HELD",
            "FLOW",
            "FROM",
            "ALLOWED FROM",
            "SCOPES",
            "IN DOUBT",
            "REVISION",
            "UPDATED",
        ];
        page.table_of(6, header, rows);
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|profile| profile.name.to_string()).collect()
    }
}

impl Render for rpc::ProfileView {
    fn page(&self, page: &mut Page) {
        let password = if self.kind == ProfileKind::Smtp { secret(&self.password, page) } else { String::new() };
        page.fields(vec![
            ("Profile", self.name.to_string()),
            ("Id", self.id.to_string()),
            ("Revision", self.revision.to_string()),
            ("Description", text(self.description.as_ref())),
            ("Kind", self.kind.to_string()),
            ("Flow", text(self.flow.as_ref())),
            ("Client", text(self.client.as_ref())),
            ("Account", text(self.username.as_ref())),
            ("Password", password),
            ("Scopes", join(&self.scopes, " ")),
            ("Authorization parameters", pairs(&self.authorization_params)),
            ("Token parameters", pairs(&self.token_params)),
            ("From", text(self.from.as_ref())),
            ("Allowed From", join(&self.allowed_from, ", ")),
            ("Default", if self.default { "yes" } else { "no" }.to_owned()),
            ("In doubt", self.on_doubt.to_string()),
            (
                "Least life of a token",
                self.min_valid_s.map_or_else(String::new, |seconds| {
                    human::duration(std::time::Duration::from_secs(seconds.into()))
                }),
            ),
            ("Managed by", self.managed_by.clone()),
            ("Created", page.moment(Some(self.created_at))),
            ("Updated", page.moment(Some(self.updated_at))),
        ]);
        if let Some(smtp) = &self.smtp {
            smtp_page(smtp, page);
        }
        for hold in &self.held {
            page.line(held(hold, page));
        }
        for warning in &self.warnings {
            page.line(format!("{WARNING} {warning}"));
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.name.to_string()]
    }
}

fn smtp_page(smtp: &rpc::SmtpView, page: &mut Page) {
    let limit = smtp
        .messages_per_minute
        .map_or_else(|| "no limit a minute".to_owned(), |limit| format!("{limit} messages a minute"));
    page.fields(vec![
        ("Mail server", server(smtp)),
        ("EHLO name", text(smtp.ehlo_name.as_ref())),
        ("TLS version", format!("{} or newer", smtp.min_tls_version)),
        ("Certificates", certificates(smtp.ca_bundle.as_deref())),
        (
            "Plaintext",
            if smtp.plaintext_on_loopback {
                "credentials may go to a loopback host without TLS".to_owned()
            } else {
                String::new()
            },
        ),
        (
            "Limits",
            format!(
                "{} connections, {} messages on each, {limit}",
                smtp.max_connections, smtp.max_messages_per_connection
            ),
        ),
    ]);
}

fn server(smtp: &rpc::SmtpView) -> String {
    format!("{}:{} {}", smtp.host, smtp.port, smtp.tls)
}

fn held(hold: &rpc::Hold, page: &Page) -> String {
    let mut line = format!("{BAD} held: {} since {}", hold.reason, page.moment(Some(hold.since)));
    if let Some(detail) = &hold.detail {
        line.push_str(": ");
        line.push_str(detail);
    }
    if let Some(until) = hold.until {
        let what = if hold.reason == HoldReason::Paused { "resumes" } else { "tried next" };
        let _ = write!(line, ", {what} {}", page.relative(Some(until)));
    }
    line
}
