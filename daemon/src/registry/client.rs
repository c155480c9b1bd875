//! Making and changing clients: what a caller gives, with the preset's data, becomes a valid [`Client`] or is refused.

use frankd_proto::methods::client::{CreateParams, UpdateParams};
use frankd_proto::{ClientId, Kind, Patch, TlsVersion, TokenEndpointAuthMethod};
use jiff::Timestamp;

use super::check::{self, Invalid};
use super::presets::{Preset, Presets};
use crate::domain::Client;

/// Where the browser goes when neither the caller nor a preset says so.
const DEFAULT_REDIRECT: &str = "http://127.0.0.1:{port}/";

/// Makes a client.
pub fn create(params: CreateParams, presets: &Presets, id: ClientId, now: Timestamp) -> Result<Client, Invalid> {
    let preset = params.preset.as_deref().map(|name| preset(presets, name)).transpose()?;
    let tenant = tenant(params.tenant.as_deref(), preset)?;
    let from_preset = |template: Option<&String>| template.map(|text| text.replace("{tenant}", &tenant));
    let secret = params.client_secret.map(|input| check::secret("client_secret", input, now)).transpose()?;
    let token_endpoint_auth_method = params.token_endpoint_auth_method.unwrap_or(match (&secret, preset) {
        (None, _) => TokenEndpointAuthMethod::None,
        (Some(_), Some(preset)) => preset.token_endpoint_auth_method,
        (Some(_), None) => TokenEndpointAuthMethod::ClientSecretBasic,
    });
    let token_endpoint = params
        .token_endpoint
        .or_else(|| from_preset(preset.map(|p| &p.token_endpoint)))
        .ok_or_else(|| Invalid::new("token_endpoint", "token_endpoint is needed, or a preset that has it"))?;
    let client = Client {
        id,
        name: params.name,
        revision: 1,
        description: params.description,
        client_id: params.client_id,
        client_secret: secret,
        token_endpoint_auth_method,
        issuer: params.issuer.or_else(|| preset.and_then(|p| p.issuer.clone())),
        authorization_endpoint: params
            .authorization_endpoint
            .or_else(|| from_preset(preset.map(|p| &p.authorization_endpoint))),
        token_endpoint,
        revocation_endpoint: params.revocation_endpoint.or_else(|| preset.and_then(|p| p.revocation_endpoint.clone())),
        redirect_uri: params
            .redirect_uri
            .or_else(|| preset.map(|p| p.redirect_uri.clone()))
            .unwrap_or_else(|| DEFAULT_REDIRECT.to_owned()),
        scopes: params.scopes.or_else(|| preset.map(|p| p.scopes.clone())).unwrap_or_default(),
        authorization_params: params
            .authorization_params
            .or_else(|| preset.map(|p| p.authorization_params.clone()))
            .unwrap_or_default(),
        token_params: params.token_params.unwrap_or_default(),
        ca_bundle: params.ca_bundle,
        min_tls_version: params.min_tls_version.unwrap_or(TlsVersion::Tls12),
        connect_timeout_s: params.connect_timeout_s.unwrap_or(10),
        request_timeout_s: params.request_timeout_s.unwrap_or(30),
        managed_by: "api".to_owned(),
        created_at: now,
        updated_at: now,
        preset: params.preset,
    };
    validate(&client)?;
    Ok(client)
}

/// Changes a client. The result has the next revision.
pub fn update(current: &Client, params: UpdateParams, now: Timestamp) -> Result<Client, Invalid> {
    let secret_given = matches!(params.client_secret, Patch::Set(_));
    let client_secret = match params.client_secret {
        Patch::Keep => current.client_secret.clone(),
        Patch::Clear => None,
        Patch::Set(input) => Some(check::secret("client_secret", input, now)?),
    };
    let client = Client {
        id: current.id,
        name: params.new_name.unwrap_or_else(|| current.name.clone()),
        revision: current.revision + 1,
        description: params.description.apply(current.description.clone()),
        preset: current.preset.clone(),
        client_id: params.client_id.unwrap_or_else(|| current.client_id.clone()),
        client_secret,
        token_endpoint_auth_method: params.token_endpoint_auth_method.unwrap_or(current.token_endpoint_auth_method),
        issuer: params.issuer.apply(current.issuer.clone()),
        authorization_endpoint: params.authorization_endpoint.apply(current.authorization_endpoint.clone()),
        token_endpoint: params.token_endpoint.unwrap_or_else(|| current.token_endpoint.clone()),
        revocation_endpoint: params.revocation_endpoint.apply(current.revocation_endpoint.clone()),
        redirect_uri: params.redirect_uri.unwrap_or_else(|| current.redirect_uri.clone()),
        scopes: params.scopes.unwrap_or_else(|| current.scopes.clone()),
        authorization_params: params.authorization_params.unwrap_or_else(|| current.authorization_params.clone()),
        token_params: params.token_params.unwrap_or_else(|| current.token_params.clone()),
        ca_bundle: params.ca_bundle.apply(current.ca_bundle.clone()),
        min_tls_version: params.min_tls_version.unwrap_or(current.min_tls_version),
        connect_timeout_s: params.connect_timeout_s.unwrap_or(current.connect_timeout_s),
        request_timeout_s: params.request_timeout_s.unwrap_or(current.request_timeout_s),
        managed_by: current.managed_by.clone(),
        created_at: current.created_at,
        updated_at: now,
    };
    validate(&client)?;
    if client.client_secret.is_some() && !secret_given {
        same_destinations(current, &client)?;
    }
    Ok(client)
}

/// A stored secret goes only where it went before: else whoever may change an endpoint could read it there.
fn same_destinations(before: &Client, after: &Client) -> Result<(), Invalid> {
    let endpoints = [
        ("token_endpoint", Some(&before.token_endpoint), Some(&after.token_endpoint)),
        ("revocation_endpoint", before.revocation_endpoint.as_ref(), after.revocation_endpoint.as_ref()),
    ];
    let known = [Some(&before.token_endpoint), before.revocation_endpoint.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|text| check::origin(text))
        .collect::<Vec<_>>();
    for (field, old, new) in endpoints {
        let Some(new) = new.filter(|new| Some(*new) != old) else {
            continue;
        };
        if check::origin(new).is_none_or(|origin| !known.contains(&origin)) {
            return Err(Invalid {
                kind: Kind::ObjectSecretRequired,
                field: "client_secret".to_owned(),
                message: format!("the new {field} is on another host: give the client secret again in the same call"),
                hint: Some(format!("frankctl client update {} --client-secret-stdin …", before.name)),
            });
        }
    }
    Ok(())
}

fn validate(client: &Client) -> Result<(), Invalid> {
    check::plain_text("client_id", &client.client_id, 1024)?;
    check::one_line("client_secret", client.client_secret.as_ref())?;
    if let Some(text) = &client.description {
        check::plain_text("description", text, 1024)?;
    }
    check::endpoint("token_endpoint", &client.token_endpoint)?;
    if let Some(url) = &client.authorization_endpoint {
        check::endpoint("authorization_endpoint", url)?;
    }
    if let Some(url) = &client.revocation_endpoint {
        check::endpoint("revocation_endpoint", url)?;
    }
    if let Some(issuer) = &client.issuer {
        check::endpoint("issuer", issuer)?;
    }
    check::redirect_template(&client.redirect_uri)?;
    check::scopes("scopes", &client.scopes)?;
    check::authorization_params(&client.authorization_params)?;
    check::token_params(&client.token_params)?;
    if let Some(pem) = &client.ca_bundle {
        check::ca_bundle("ca_bundle", pem)?;
    }
    check::within("connect_timeout_s", client.connect_timeout_s, 1, 120)?;
    check::within("request_timeout_s", client.request_timeout_s, 1, 300)?;
    match (client.token_endpoint_auth_method, &client.client_secret) {
        (TokenEndpointAuthMethod::None, Some(_)) => {
            Err(Invalid::new("client_secret", "a client with token_endpoint_auth_method none has no secret"))
        }
        (TokenEndpointAuthMethod::ClientSecretBasic | TokenEndpointAuthMethod::ClientSecretPost, None) => {
            Err(Invalid::new(
                "client_secret",
                format!("token_endpoint_auth_method {} needs a client secret", client.token_endpoint_auth_method),
            )
            .hint("--client-secret-stdin, or --token-endpoint-auth-method none for a public client"))
        }
        _ => Ok(()),
    }
}

fn preset<'a>(presets: &'a Presets, name: &str) -> Result<&'a Preset, Invalid> {
    presets.preset(name).ok_or_else(|| {
        let known = presets.names().collect::<Vec<_>>().join(", ");
        Invalid::new("preset", format!("there is no preset {name:?}; there are: {known}"))
            .hint("frankctl client presets")
    })
}

/// The tenant stands in a path: a directory id or a domain, nothing else.
fn tenant(given: Option<&str>, preset: Option<&Preset>) -> Result<String, Invalid> {
    let wanted = preset.is_some_and(|p| p.token_endpoint.contains("{tenant}"));
    if given.is_some() && !wanted {
        return Err(Invalid::new("tenant", "only a preset with a tenant in its endpoints takes one"));
    }
    let tenant = given.map(str::to_owned).or_else(|| preset.and_then(|p| p.tenant.clone())).unwrap_or_default();
    if tenant.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-')) {
        Ok(tenant)
    } else {
        Err(Invalid::new("tenant", "a tenant is a directory id or a domain name"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn client(extra: &serde_json::Value) -> Result<Client, Invalid> {
        let mut params = json!({"name": "test", "client_id": "id", "token_endpoint": "https://as.example/token",
            "client_secret": {"value": "s3cret"}});
        let (Some(params_map), Some(extra)) = (params.as_object_mut(), extra.as_object()) else {
            panic!("not objects")
        };
        params_map.extend(extra.clone());
        let presets = Presets::built_in().unwrap();
        create(serde_json::from_value(params).unwrap(), &presets, ClientId::from_bits(1), Timestamp::UNIX_EPOCH)
    }

    fn updated(current: &Client, change: serde_json::Value) -> Result<Client, Invalid> {
        let mut params = change;
        params["name"] = json!("test");
        update(current, serde_json::from_value(params).unwrap(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_secret_of_two_lines_is_refused_by_field() {
        for secret in ["a\r\nb", "a\n", "\u{0}"] {
            let error = client(&json!({"client_secret": {"value": secret}})).unwrap_err();
            assert_eq!(error.field, "client_secret", "{secret:?}");
        }
    }

    #[test]
    fn a_preset_fills_in_what_the_caller_leaves_out() {
        let client =
            client(&json!({"preset": "microsoft365", "tenant": "contoso.example", "token_endpoint": null})).unwrap();
        assert_eq!(client.token_endpoint, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");
        assert_eq!(client.redirect_uri, "http://localhost:{port}/");
        assert_eq!(client.token_endpoint_auth_method, TokenEndpointAuthMethod::ClientSecretPost);
        assert_eq!(client.scopes, ["https://outlook.office.com/SMTP.Send", "offline_access"]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_field() {
        for (extra, field) in [
            (json!({"token_endpoint": "http://as.example/token"}), "token_endpoint"),
            (json!({"token_endpoint_auth_method": "none"}), "client_secret"),
            (json!({"client_secret": null}), ""),
            (json!({"client_secret": null, "token_endpoint_auth_method": "client_secret_post"}), "client_secret"),
            (json!({"token_params": {"grant_type": "x"}}), "token_params.grant_type"),
            (json!({"preset": "gmail"}), "preset"),
            (json!({"preset": "microsoft365", "tenant": "a/b"}), "tenant"),
            (json!({"client_id": "a\r\nb"}), "client_id"),
            (json!({"ca_bundle": "hello"}), "ca_bundle"),
            (json!({"request_timeout_s": 0}), "request_timeout_s"),
        ] {
            let field_at_fault = client(&extra).err().map(|error| error.field).unwrap_or_default();
            assert_eq!(field_at_fault, field, "{extra}");
        }
    }

    #[test]
    fn a_kept_secret_does_not_follow_an_endpoint_to_another_host() {
        let current = client(&json!({})).unwrap();
        let stolen = updated(&current, json!({"token_endpoint": "https://evil.example/token"})).unwrap_err();
        assert_eq!(stolen.kind, Kind::ObjectSecretRequired);
        let revocation = updated(&current, json!({"revocation_endpoint": "https://evil.example/revoke"})).unwrap_err();
        assert_eq!(revocation.kind, Kind::ObjectSecretRequired);
        assert!(updated(&current, json!({"token_endpoint": "https://as.example/v2/token"})).is_ok());
        let known = json!({"token_endpoint": "https://evil.example/token", "client_secret": {"value": "s3cret"}});
        assert!(updated(&current, known).is_ok());
    }
}
