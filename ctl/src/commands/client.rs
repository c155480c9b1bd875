//! `client list|show|create|update|delete|presets`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::client as rpc;
use frankd_proto::{SecretInput, TokenEndpointAuthMethod};

use super::{list, map, patch, pem, secret};
use crate::app::App;
use crate::args::Format;
use crate::args::client::{Action, Clearable, Create, Settings, Update};
use crate::args::secret::{ClientSecret, Source};
use crate::args::values::seconds;
use crate::failure::{Doing, Failure, exit};
use crate::output::{Page, Render, WARNING, join, pairs, text};
use crate::session::Session;
use crate::{secrets, watch};

/// Does it.
pub(crate) async fn run(app: &mut App, action: Action) -> Result<u8, Failure> {
    match action {
        Action::List(watch) => watch::show::<rpc::List>(app, &Empty {}, Doing::new("list the clients"), watch).await,
        Action::Show { name, watch } => {
            let doing = Doing::client("show", &name);
            watch::show::<rpc::Get>(app, &rpc::Named { name }, doing, watch).await
        }
        Action::Create(args) => create(app, *args).await,
        Action::Update(args) => update(app, *args).await,
        Action::Delete { name, if_revision } => {
            app.confirm(&format!("delete client {name}"))?;
            let doing = Doing::client("delete", &name);
            app.alter::<rpc::Delete>(&rpc::DeleteParams { name, if_revision }, doing).await
        }
        Action::Presets { name: None } => {
            app.show::<rpc::Presets>(&rpc::PresetsParams::default(), Doing::new("list the presets")).await
        }
        Action::Presets { name: Some(name) } => preset(app, name).await,
    }
}

async fn create(app: &mut App, args: Create) -> Result<u8, Failure> {
    let Create { name, preset, tenant, client_id, secret, settings } = args;
    let client_secret = match client_secret(app, &secret)? {
        None if app.may_ask() && settings.token_endpoint_auth_method != Some(TokenEndpointAuthMethod::None) => {
            secrets::ask(app, "Client secret (Enter if it has none): ")?
                .map(|value| SecretInput { expires_at: secret.expires, ..SecretInput::value(value) })
        }
        given => given,
    };
    let Settings {
        description,
        token_endpoint_auth_method,
        issuer,
        authorization_endpoint,
        token_endpoint,
        revocation_endpoint,
        redirect_uri,
        scopes,
        authorization_params,
        token_params,
        ca_bundle,
        min_tls_version,
        connect_timeout,
        request_timeout,
    } = settings;
    let params = rpc::CreateParams {
        name: name.clone(),
        description,
        preset: preset.clone(),
        tenant,
        client_id,
        client_secret,
        token_endpoint_auth_method,
        issuer,
        authorization_endpoint,
        token_endpoint,
        revocation_endpoint,
        redirect_uri,
        scopes: list(scopes),
        authorization_params: map(authorization_params)?,
        token_params: map(token_params)?,
        ca_bundle: pem(app, ca_bundle.as_deref())?,
        min_tls_version,
        connect_timeout_s: connect_timeout.map(seconds),
        request_timeout_s: request_timeout.map(seconds),
    };
    if app.rehearse::<rpc::Create>(&params)? {
        return Ok(exit::OK);
    }
    let session = app.connect().await?;
    let answer = session.call::<rpc::Create>(params, Doing::client("create", &name)).await?;
    let code = app.print(&answer)?;
    next_steps(app, &session, &answer.value).await?;
    Ok(code)
}

/// What is left to do at the provider: the preset's steps, and the redirect URI where people sign in.
async fn next_steps(app: &mut App, session: &Session, client: &rpc::ClientView) -> Result<(), Failure> {
    if let Some(name) = &client.preset {
        let doing = Doing::new("list the presets");
        let params = rpc::PresetsParams { name: Some(name.clone()) };
        let presets = session.call::<rpc::Presets>(params, doing).await?.value;
        if let Some(preset) = presets.items.first() {
            app.note(format!("\nAt {}:", preset.title))?;
            for (number, step) in (1..).zip(&preset.setup) {
                app.note(format!("  {number}. {step}"))?;
            }
        }
    }
    if client.authorization_endpoint.is_some() {
        app.note(format!("\nRedirect URI to register:  {}", registered(&client.redirect_uri)))?;
        let name = &client.name;
        // A preset has the mail server.
        app.note(if client.preset.is_some() {
            format!(
                "Next:  frankctl profile create NAME --kind oauth2_smtp --client {name} --username ADDRESS --interactive"
            )
        } else {
            format!(
                "Next:  frankctl profile create NAME --kind oauth2_smtp --client {name} --username ADDRESS --interactive \
                 --smtp-host HOST"
            )
        })?;
    }
    Ok(())
}

/// A template of a redirect URI as it is registered: providers let a loopback port vary (RFC 8252 §7.3).
fn registered(template: &str) -> String {
    if template.contains(":{port}") {
        format!("{}  (any port: each grant takes a free one)", template.replace(":{port}", ""))
    } else {
        template.to_owned()
    }
}

async fn update(app: &mut App, args: Update) -> Result<u8, Failure> {
    let Update { name, if_revision, confirm, new_name, client_id, clear, secret, settings } = args;
    let client_secret = client_secret(app, &secret)?;
    if client_secret.is_none() && secret.expires.is_some() {
        return Err(Failure::Usage("--client-secret-expires needs the secret that it is about".to_owned()));
    }
    let cleared = |field| clear.contains(&field);
    let ca_bundle = pem(app, settings.ca_bundle.as_deref())?;
    let params = rpc::UpdateParams {
        name: name.clone(),
        if_revision,
        confirm,
        new_name,
        description: patch(settings.description, cleared(Clearable::Description), "description")?,
        client_id,
        client_secret: patch(client_secret, cleared(Clearable::ClientSecret), "client_secret")?,
        token_endpoint_auth_method: settings.token_endpoint_auth_method,
        issuer: patch(settings.issuer, cleared(Clearable::Issuer), "issuer")?,
        authorization_endpoint: patch(
            settings.authorization_endpoint,
            cleared(Clearable::AuthorizationEndpoint),
            "authorization_endpoint",
        )?,
        token_endpoint: settings.token_endpoint,
        revocation_endpoint: patch(
            settings.revocation_endpoint,
            cleared(Clearable::RevocationEndpoint),
            "revocation_endpoint",
        )?,
        redirect_uri: settings.redirect_uri,
        scopes: list(settings.scopes),
        authorization_params: map(settings.authorization_params)?,
        token_params: map(settings.token_params)?,
        ca_bundle: patch(ca_bundle, cleared(Clearable::CaBundle), "ca_bundle")?,
        min_tls_version: settings.min_tls_version,
        connect_timeout_s: settings.connect_timeout.map(seconds),
        request_timeout_s: settings.request_timeout.map(seconds),
    };
    app.alter::<rpc::Update>(&params, Doing::client("update", &name)).await
}

fn client_secret(app: &mut App, args: &ClientSecret) -> Result<Option<SecretInput>, Failure> {
    let fetch = |source: Source| secrets::fetch(app, source, "client secret");
    let secret = args.source().map(fetch).transpose()?;
    Ok(secret.map(|secret| SecretInput { expires_at: args.expires, ..secret }))
}

async fn preset(app: &mut App, name: String) -> Result<u8, Failure> {
    let session = app.connect().await?;
    let doing = Doing::new(format!("show the preset {name}"));
    let answer = session.call::<rpc::Presets>(rpc::PresetsParams { name: Some(name) }, doing).await?;
    if app.format() != Format::Table {
        return app.print(&answer);
    }
    let mut page = app.page();
    for preset in &answer.value.items {
        preset_page(preset, &mut page);
    }
    app.data_page(&page.into_text())?;
    Ok(exit::OK)
}

fn preset_page(preset: &rpc::PresetView, page: &mut Page) {
    page.fields(vec![
        ("Preset", format!("{} ({})", preset.name, preset.title)),
        ("Issuer", text(preset.issuer.as_ref())),
        ("Authorization endpoint", preset.authorization_endpoint.clone()),
        ("Token endpoint", preset.token_endpoint.clone()),
        ("Revocation endpoint", text(preset.revocation_endpoint.as_ref())),
        ("Tenant", text(preset.tenant.as_ref())),
        ("Scopes", join(&preset.scopes, " ")),
        ("Scopes of the client itself", join(preset.client_credentials_scopes.iter().flatten(), " ")),
        ("Redirect URI", registered(&preset.redirect_uri)),
        ("Authorization parameters", pairs(&preset.authorization_params)),
        ("Mail server", mail_server(&preset.smtp)),
        ("Not checked", join(&preset.unverified, "; ")),
    ]);
    page.line("");
    for (number, step) in (1..).zip(&preset.setup) {
        page.line(format!("{number}. {step}"));
    }
}

fn mail_server(smtp: &rpc::PresetSmtp) -> String {
    format!("{}:{} {}", smtp.host, smtp.port, smtp.tls)
}

impl Render for rpc::Clients {
    fn items(&self) -> Option<&'static str> {
        Some("items")
    }

    fn page(&self, page: &mut Page) {
        let row = |client: &rpc::ClientView| {
            let secret = match (client.client_secret.set, client.client_secret.expires_at) {
                (false, _) => "–".to_owned(),
                (true, None) => "set".to_owned(),
                (true, Some(ends)) => format!("ends {}", page.relative(Some(ends))),
            };
            [
                client.name.to_string(),
                text(client.preset.as_ref()),
                client.client_id.clone(),
                secret,
                join(&client.used_by, ", "),
                client.token_endpoint_auth_method.to_string(),
                client.token_endpoint.clone(),
                join(&client.scopes, " "),
                client.revision.to_string(),
                page.relative(Some(client.updated_at)),
            ]
        };
        let rows = self.items.iter().map(row).collect();
        let header = [
            "CLIENT",
            "PRESET",
            "CLIENT ID",
            "SECRET",
            "USED BY",
            "AUTHENTICATION",
            "TOKEN ENDPOINT",
            "SCOPES",
            "REVISION",
            "UPDATED",
        ];
        page.table_of(5, header, rows);
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|client| client.name.to_string()).collect()
    }
}

impl Render for rpc::ClientView {
    fn page(&self, page: &mut Page) {
        page.fields(vec![
            ("Client", self.name.to_string()),
            ("Id", self.id.to_string()),
            ("Revision", self.revision.to_string()),
            ("Description", text(self.description.as_ref())),
            ("Preset", text(self.preset.as_ref())),
            ("Client id", self.client_id.clone()),
            ("Client secret", secret(&self.client_secret, page)),
            ("Authentication", self.token_endpoint_auth_method.to_string()),
            ("Issuer", text(self.issuer.as_ref())),
            ("Authorization endpoint", text(self.authorization_endpoint.as_ref())),
            ("Token endpoint", self.token_endpoint.clone()),
            ("Revocation endpoint", text(self.revocation_endpoint.as_ref())),
            ("Redirect URI", self.redirect_uri.clone()),
            ("Scopes", join(&self.scopes, " ")),
            ("Authorization parameters", pairs(&self.authorization_params)),
            ("Token parameters", pairs(&self.token_params)),
            ("Certificates", certificates(self.ca_bundle.as_deref())),
            ("TLS", format!("{} or newer", self.min_tls_version)),
            ("Time-outs", format!("{} s to connect, {} s in all", self.connect_timeout_s, self.request_timeout_s)),
            ("Managed by", self.managed_by.clone()),
            ("Used by", join(&self.used_by, ", ")),
            ("Created", page.moment(Some(self.created_at))),
            ("Updated", page.moment(Some(self.updated_at))),
        ]);
        for warning in &self.warnings {
            page.line(format!("{WARNING} {warning}"));
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.name.to_string()]
    }
}

impl Render for rpc::PresetList {
    fn items(&self) -> Option<&'static str> {
        Some("items")
    }

    fn page(&self, page: &mut Page) {
        let row = |preset: &rpc::PresetView| {
            [
                preset.name.clone(),
                preset.title.clone(),
                mail_server(&preset.smtp),
                preset.token_endpoint.clone(),
                join(&preset.scopes, " "),
            ]
        };
        let header = ["PRESET", "PROVIDER", "MAIL SERVER", "TOKEN ENDPOINT", "SCOPES"];
        page.table_of(3, header, self.items.iter().map(row).collect());
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|preset| preset.name.clone()).collect()
    }
}

/// How many certificates a bundle has; the bundle itself is for `-o json`.
pub(super) fn certificates(bundle: Option<&str>) -> String {
    bundle.map_or_else(String::new, |pem| {
        let number = pem.matches("-----BEGIN CERTIFICATE-----").count();
        format!("{number} besides the system's")
    })
}
