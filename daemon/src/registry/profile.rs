//! Making and changing profiles: what a caller gives, with the client's preset, becomes a valid [`Profile`] or is refused.

use frankd_proto::methods::profile::{CreateParams, SmtpInput, UpdateParams};
use frankd_proto::{Flow, Kind, Name, OnDoubt, Patch, ProfileId, ProfileKind, TlsMode, TlsVersion};
use jiff::Timestamp;
use lettre::Address;

use super::check::{self, Invalid};
use super::presets::Preset;
use super::view::View;
use crate::domain::{Client, Profile, Submission};

/// Makes a profile.
pub fn create(params: CreateParams, view: &View, id: ProfileId, now: Timestamp) -> Result<Profile, Invalid> {
    let client = params.client.as_ref().map(|name| client_named(view, name)).transpose()?;
    let flow = flow(params.kind, params.flow, params.interactive, None)?;
    let preset = client.and_then(|client| view.preset_of(client));
    let smtp = submission(params.kind, params.smtp, None, preset)?;
    let password = params.password.map(|input| check::secret("password", input, now)).transpose()?;
    let profile = Profile {
        id,
        name: params.name,
        revision: 1,
        description: params.description,
        kind: params.kind,
        flow,
        client: client.map(|client| client.id),
        username: params.username,
        password,
        scopes: params.scopes.unwrap_or_default(),
        authorization_params: params.authorization_params.unwrap_or_default(),
        token_params: params.token_params.unwrap_or_default(),
        smtp,
        from: params.from,
        allowed_from: params.allowed_from.unwrap_or_default(),
        default: params.default,
        on_doubt: params.on_doubt.unwrap_or(OnDoubt::Retry),
        min_valid_s: params.min_valid_s,
        managed_by: "api".to_owned(),
        created_at: now,
        updated_at: now,
    };
    validate(&profile, client)?;
    Ok(profile)
}

/// Changes a profile. The result has the next revision.
pub fn update(current: &Profile, params: UpdateParams, view: &View, now: Timestamp) -> Result<Profile, Invalid> {
    let kind = params.kind.unwrap_or(current.kind);
    let client = match params.client {
        Patch::Keep => current.client.and_then(|id| view.client(id)).filter(|_| kind != ProfileKind::Smtp),
        Patch::Clear => None,
        Patch::Set(name) => Some(client_named(view, &name)?),
    };
    let password_given = matches!(params.password, Patch::Set(_));
    let password = match params.password {
        Patch::Keep => current.password.clone().filter(|_| kind == ProfileKind::Smtp),
        Patch::Clear => None,
        Patch::Set(input) => Some(check::secret("password", input, now)?),
    };
    let preset = client.and_then(|client| view.preset_of(client));
    let profile = Profile {
        id: current.id,
        name: params.new_name.unwrap_or_else(|| current.name.clone()),
        revision: current.revision + 1,
        description: params.description.apply(current.description.clone()),
        kind,
        flow: flow(kind, params.flow, params.interactive, current.flow)?,
        client: client.map(|client| client.id),
        username: params.username.apply(current.username.clone()),
        password,
        scopes: params.scopes.unwrap_or_else(|| current.scopes.clone()),
        authorization_params: params.authorization_params.unwrap_or_else(|| current.authorization_params.clone()),
        token_params: params.token_params.unwrap_or_else(|| current.token_params.clone()),
        smtp: submission(kind, params.smtp, current.smtp.as_ref(), preset)?,
        from: params.from.apply(current.from.clone()),
        allowed_from: params.allowed_from.unwrap_or_else(|| current.allowed_from.clone()),
        default: params.default.unwrap_or(current.default),
        on_doubt: params.on_doubt.unwrap_or(current.on_doubt),
        min_valid_s: params.min_valid_s.apply(current.min_valid_s),
        managed_by: current.managed_by.clone(),
        created_at: current.created_at,
        updated_at: now,
    };
    validate(&profile, client)?;
    let host = |profile: &Profile| profile.smtp.as_ref().map(|smtp| smtp.host.clone());
    if profile.password.is_some() && !password_given && host(&profile) != host(current) {
        return Err(Invalid {
            kind: Kind::ObjectSecretRequired,
            field: "password".to_owned(),
            message: "the mail server is another host: give the password again in the same call".to_owned(),
            hint: Some(format!("frankctl profile update {} --password-stdin …", current.name)),
        });
    }
    Ok(profile)
}

fn client_named<'a>(view: &'a View, name: &Name) -> Result<&'a Client, Invalid> {
    view.client_named(name)
        .ok_or_else(|| Invalid::new("client", format!("there is no client {name}")).hint("frankctl client list"))
}

fn flow(
    kind: ProfileKind,
    flow: Option<Flow>,
    interactive: Option<bool>,
    current: Option<Flow>,
) -> Result<Option<Flow>, Invalid> {
    let said = interactive.map(|yes| if yes { Flow::Interactive } else { Flow::ClientCredentials });
    if let (Some(flow), Some(said)) = (flow, said)
        && flow != said
    {
        return Err(Invalid::new("interactive", "flow and interactive say different things"));
    }
    match (kind, flow.or(said)) {
        (ProfileKind::Smtp, Some(_)) => Err(Invalid::new("flow", "a profile of kind smtp has no token and no flow")),
        (ProfileKind::Smtp, None) => Ok(None),
        (_, Some(flow)) => Ok(Some(flow)),
        (_, None) => current
            .map(Some)
            .ok_or_else(|| Invalid::new("flow", "an OAuth2 profile needs a flow: interactive or client_credentials")),
    }
}

fn submission(
    kind: ProfileKind,
    input: Option<SmtpInput>,
    current: Option<&Submission>,
    preset: Option<&Preset>,
) -> Result<Option<Submission>, Invalid> {
    if kind == ProfileKind::Token {
        return match input {
            Some(_) => Err(Invalid::new("smtp", "a profile of kind token sends no mail")),
            None => Ok(None),
        };
    }
    let input = input.unwrap_or_default();
    let preset_smtp = preset.map(|preset| &preset.smtp);
    let host_given = input.host.is_some();
    let host = input
        .host
        .or_else(|| current.map(|smtp| smtp.host.clone()))
        .or_else(|| preset_smtp.map(|smtp| smtp.host.clone()))
        .ok_or_else(|| {
            Invalid::new("smtp.host", "a profile that sends mail needs smtp.host, or a client with a preset")
        })?;
    let preset_port = preset_smtp.filter(|_| !host_given).map(|smtp| (smtp.port, smtp.tls));
    let (port, tls) = match current {
        // What a change does not give stays.
        Some(smtp) => (input.port.unwrap_or(smtp.port), input.tls.unwrap_or(smtp.tls)),
        None => port_and_tls(input.port, input.tls, preset_port),
    };
    let kept = |pick: fn(&Submission) -> u32| current.map(pick);
    let submission = Submission {
        host,
        port,
        tls,
        ehlo_name: input.ehlo_name.apply(current.and_then(|smtp| smtp.ehlo_name.clone())),
        ca_bundle: input.ca_bundle.apply(current.and_then(|smtp| smtp.ca_bundle.clone())),
        min_tls_version: input
            .min_tls_version
            .or_else(|| current.map(|smtp| smtp.min_tls_version))
            .unwrap_or(TlsVersion::Tls12),
        plaintext_on_loopback: input
            .plaintext_on_loopback
            .or_else(|| current.map(|smtp| smtp.plaintext_on_loopback))
            .unwrap_or(false),
        max_connections: input
            .max_connections
            .or_else(|| kept(|smtp| smtp.max_connections))
            .or_else(|| preset.and_then(|preset| preset.max_connections))
            .unwrap_or(3),
        max_messages_per_connection: input
            .max_messages_per_connection
            .or_else(|| kept(|smtp| smtp.max_messages_per_connection))
            .unwrap_or(100),
        messages_per_minute: input.messages_per_minute.apply(match current {
            Some(smtp) => smtp.messages_per_minute,
            None => preset.and_then(|preset| preset.messages_per_minute),
        }),
    };
    validate_submission(&submission)?;
    Ok(Some(submission))
}

/// Port and TLS mode of a new server: what is not given follows from the preset's or the other of the two.
fn port_and_tls(port: Option<u16>, tls: Option<TlsMode>, preset: Option<(u16, TlsMode)>) -> (u16, TlsMode) {
    match (port, tls) {
        (Some(port), Some(tls)) => (port, tls),
        (Some(465), None) => (465, TlsMode::Implicit),
        (Some(port), None) => (port, preset.map_or(TlsMode::Starttls, |(_, tls)| tls)),
        (None, Some(tls)) => {
            let usual = if tls == TlsMode::Implicit { 465 } else { 587 };
            (preset.filter(|(_, known)| *known == tls).map_or(usual, |(port, _)| port), tls)
        }
        (None, None) => preset.unwrap_or((587, TlsMode::Starttls)),
    }
}

fn validate_submission(smtp: &Submission) -> Result<(), Invalid> {
    if url::Host::parse(&smtp.host).is_err() && smtp.host.parse::<std::net::IpAddr>().is_err() {
        return Err(Invalid::new("smtp.host", "smtp.host must be a host name or an address"));
    }
    if smtp.port == 0 {
        return Err(Invalid::new("smtp.port", "smtp.port must be from 1 to 65535"));
    }
    if let Some(name) = &smtp.ehlo_name
        && url::Host::parse(name).is_err()
    {
        return Err(Invalid::new("smtp.ehlo_name", "smtp.ehlo_name must be a host name"));
    }
    if let Some(pem) = &smtp.ca_bundle {
        check::ca_bundle("smtp.ca_bundle", pem)?;
    }
    check::within("smtp.max_connections", smtp.max_connections, 1, 64)?;
    check::within("smtp.max_messages_per_connection", smtp.max_messages_per_connection, 1, 10_000)?;
    if let Some(rate) = smtp.messages_per_minute {
        check::within("smtp.messages_per_minute", rate, 1, 1_000_000)?;
    }
    Ok(())
}

fn validate(profile: &Profile, client: Option<&Client>) -> Result<(), Invalid> {
    if let Some(text) = &profile.description {
        check::plain_text("description", text, 1024)?;
    }
    if let Some(name) = &profile.username {
        check::plain_text("username", name, 320)?;
    }
    if let Some(from) = &profile.from {
        address("from", from)?;
    }
    for (position, pattern) in profile.allowed_from.iter().enumerate() {
        let field = format!("allowed_from[{position}]");
        match pattern.strip_prefix("*@") {
            Some(domain) => address(&field, &format!("x@{domain}"))?,
            None => address(&field, pattern)?,
        }
    }
    check::one_line("password", profile.password.as_ref())?;
    check::scopes("scopes", &profile.scopes)?;
    check::authorization_params(&profile.authorization_params)?;
    check::token_params(&profile.token_params)?;
    if let Some(seconds) = profile.min_valid_s {
        check::within("min_valid_s", seconds, 1, 86_400)?;
    }
    if profile.default && profile.kind == ProfileKind::Token {
        return Err(Invalid::new("default", "a profile of kind token sends no mail and cannot be the default"));
    }
    match profile.kind {
        ProfileKind::Smtp => validate_classic(profile),
        ProfileKind::Oauth2Smtp | ProfileKind::Token => validate_oauth2(profile, client),
    }
}

fn validate_classic(profile: &Profile) -> Result<(), Invalid> {
    if profile.client.is_some() {
        return Err(Invalid::new("client", "a profile of kind smtp uses no OAuth2 client"));
    }
    if profile.username.is_some() != profile.password.is_some() {
        return Err(Invalid::new("password", "a classic profile has a username and a password, or neither")
            .hint("--username USER --password-stdin"));
    }
    credentials_are_safe(profile, profile.password.is_some())
}

fn validate_oauth2(profile: &Profile, client: Option<&Client>) -> Result<(), Invalid> {
    let Some(client) = client else {
        return Err(Invalid::new("client", "an OAuth2 profile needs a client").hint("--client NAME"));
    };
    if profile.password.is_some() {
        return Err(Invalid::new("password", "an OAuth2 profile has no password"));
    }
    if profile.flow == Some(Flow::Interactive) && client.authorization_endpoint.is_none() {
        return Err(Invalid::new(
            "client",
            format!("client {} has no authorization_endpoint, which a person's grant needs", client.name),
        )
        .hint(format!("frankctl client update {} --authorization-endpoint URL", client.name)));
    }
    if profile.kind == ProfileKind::Oauth2Smtp && profile.username.is_none() {
        return Err(Invalid::new("username", "a profile of kind oauth2_smtp needs the mailbox as username"));
    }
    credentials_are_safe(profile, profile.kind == ProfileKind::Oauth2Smtp)
}

/// Credentials go over TLS, or to a loopback host that the profile allows.
fn credentials_are_safe(profile: &Profile, has_credentials: bool) -> Result<(), Invalid> {
    let Some(smtp) = profile.smtp.as_ref().filter(|smtp| has_credentials && smtp.tls == TlsMode::None) else {
        return Ok(());
    };
    let loopback = smtp.host == "localhost" || smtp.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback && smtp.plaintext_on_loopback {
        return Ok(());
    }
    Err(Invalid::new(
        "smtp.tls",
        "credentials are not sent without TLS, but to a loopback host with plaintext_on_loopback",
    ))
}

fn address(field: &str, text: &str) -> Result<(), Invalid> {
    text.parse::<Address>()
        .map(drop)
        .map_err(|error| Invalid::new(field, format!("{text:?} is not an e-mail address: {error}")))
}
