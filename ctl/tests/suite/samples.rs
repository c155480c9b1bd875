//! Results as a daemon gives them.

use std::collections::BTreeMap;

use frankd_proto::methods::client::{ClientView, PresetList, PresetSmtp, PresetView};
use frankd_proto::methods::event::Event;
use frankd_proto::methods::grant::{Completed, GrantView, Started};
use frankd_proto::methods::message::{Attempt, MessageView, Receipt, RecipientView};
use frankd_proto::methods::profile::{ProfileView, SmtpView};
use frankd_proto::methods::queue::{ProfileQueue, QueueSummary};
use frankd_proto::methods::system::{Counters, Health, Problem, ProfileStatus, SystemStatus};
use frankd_proto::methods::token::TokenInfo;
use frankd_proto::{
    ClientId, EventType, Flow, GrantId, GrantState, GrantVia, HoldReason, MessageId, MessageState, Name, OnDoubt,
    Priority, ProfileId, ProfileKind, RecipientState, Secret, SecretView, TlsMode, TlsVersion, TokenEndpointAuthMethod,
    TokenState,
};
use jiff::Timestamp;
use serde_json::Map;

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn token(state: TokenState) -> TokenInfo {
    TokenInfo {
        profile: name("alerts"),
        state,
        refreshing: false,
        access_token: SecretView { set: true, ..SecretView::default() },
        obtained_at: Some(at("2026-08-15T11:38:00Z")),
        expires_at: Some(at("2026-08-15T12:52:10Z")),
        next_refresh_at: Some(at("2026-08-15T12:31:00Z")),
        refresh_token: SecretView { set: true, ..SecretView::default() },
        scopes: vec!["SMTP.Send".to_owned(), "offline_access".to_owned()],
        account: Some("alerts@example.org".to_owned()),
        generation: 3,
        last_error: None,
        quarantined_at: None,
        handed_out: 0,
        handed_out_at: None,
    }
}

pub(crate) fn queue(waiting: u64, gates: Vec<HoldReason>) -> ProfileQueue {
    ProfileQueue {
        profile: name("alerts"),
        waiting,
        due: 0,
        sending: 0,
        held: 0,
        in_doubt: 0,
        bytes: 4096,
        oldest_at: Some(at("2026-08-15T08:48:00Z")),
        gates,
    }
}

pub(crate) fn summary(waiting: u64, gates: Vec<HoldReason>) -> QueueSummary {
    QueueSummary { profiles: vec![queue(waiting, gates)], waiting, bytes: 4096 }
}

pub(crate) fn status(state: Health) -> SystemStatus {
    let well = state == Health::Ok;
    let gates = if well { vec![] } else { vec![HoldReason::GrantRequired] };
    SystemStatus {
        state,
        version: "1.2.0".to_owned(),
        started_at: at("2026-08-03T08:00:00Z"),
        as_of: at("2026-08-15T12:00:00Z"),
        problems: if well {
            vec![]
        } else {
            vec![Problem {
                severity: Health::Degraded,
                object: "profile:alerts".to_owned(),
                message: "the refresh token was refused".to_owned(),
                since: Some(at("2026-08-15T11:20:00Z")),
                command: Some("frankctl grant alerts".to_owned()),
                diagnosis: None,
            }]
        },
        profiles: vec![ProfileStatus {
            name: name("alerts"),
            kind: ProfileKind::Oauth2Smtp,
            username: Some("alerts@example.org".to_owned()),
            token: Some(token(if well { TokenState::Valid } else { TokenState::NeedsGrant })),
            queue: Some(queue(5, gates.clone())),
            held: gates,
        }],
        last_24h: Counters { sent: 412, failed: 2 },
    }
}

pub(crate) fn profile() -> ProfileView {
    ProfileView {
        id: ProfileId::from_bits(1),
        name: name("alerts"),
        revision: 4,
        description: None,
        kind: ProfileKind::Oauth2Smtp,
        flow: Some(Flow::Interactive),
        client: Some(name("m365")),
        username: Some("alerts@example.org".to_owned()),
        password: SecretView::default(),
        scopes: vec!["SMTP.Send".to_owned()],
        authorization_params: BTreeMap::new(),
        token_params: BTreeMap::new(),
        smtp: Some(SmtpView {
            host: "smtp.office365.com".to_owned(),
            port: 587,
            tls: TlsMode::Starttls,
            ehlo_name: None,
            ca_bundle: None,
            min_tls_version: TlsVersion::Tls12,
            plaintext_on_loopback: false,
            max_connections: 3,
            max_messages_per_connection: 100,
            messages_per_minute: Some(30),
        }),
        from: None,
        allowed_from: vec![],
        default: true,
        on_doubt: OnDoubt::Retry,
        min_valid_s: None,
        held: vec![],
        managed_by: "api".to_owned(),
        warnings: vec![],
        created_at: at("2026-08-01T00:00:00Z"),
        updated_at: at("2026-08-01T00:00:00Z"),
    }
}

pub(crate) fn client() -> ClientView {
    ClientView {
        id: ClientId::from_bits(1),
        name: name("m365"),
        revision: 1,
        description: None,
        preset: Some("microsoft365".to_owned()),
        client_id: "4f0c".to_owned(),
        client_secret: SecretView { set: true, fingerprint: Some("1f3a".to_owned()), ..SecretView::default() },
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretPost,
        issuer: None,
        authorization_endpoint: Some("https://login.example/authorize".to_owned()),
        token_endpoint: "https://login.example/token".to_owned(),
        revocation_endpoint: None,
        redirect_uri: "http://localhost:{port}/".to_owned(),
        scopes: vec!["SMTP.Send".to_owned()],
        authorization_params: BTreeMap::new(),
        token_params: BTreeMap::new(),
        ca_bundle: None,
        min_tls_version: TlsVersion::Tls12,
        connect_timeout_s: 10,
        request_timeout_s: 30,
        managed_by: "api".to_owned(),
        warnings: vec![],
        used_by: vec![],
        created_at: at("2026-08-01T00:00:00Z"),
        updated_at: at("2026-08-01T00:00:00Z"),
    }
}

pub(crate) fn presets() -> PresetList {
    PresetList {
        items: vec![PresetView {
            name: "microsoft365".to_owned(),
            title: "Microsoft 365".to_owned(),
            issuer: None,
            authorization_endpoint: "https://login.example/{tenant}/authorize".to_owned(),
            token_endpoint: "https://login.example/{tenant}/token".to_owned(),
            revocation_endpoint: None,
            tenant: Some("organizations".to_owned()),
            scopes: vec!["SMTP.Send".to_owned()],
            client_credentials_scopes: None,
            redirect_uri: "http://localhost:{port}/".to_owned(),
            authorization_params: BTreeMap::new(),
            smtp: PresetSmtp { host: "smtp.office365.com".to_owned(), port: 587, tls: TlsMode::Starttls },
            setup: vec!["Register an application".to_owned(), "Allow SMTP.Send".to_owned()],
            unverified: vec![],
        }],
    }
}

pub(crate) fn grant(state: GrantState) -> GrantView {
    GrantView {
        id: GrantId::from_bits(42),
        profile: name("alerts"),
        via: GrantVia::ClientLoopback,
        state,
        created_at: at("2026-08-15T12:00:00Z"),
        expires_at: at("2026-08-15T12:10:00Z"),
        ended_at: None,
        account: Some("alerts@example.org".to_owned()),
        warnings: vec![],
        error: None,
    }
}

pub(crate) fn started(port: u16) -> Started {
    Started {
        grant: grant(GrantState::Pending),
        authorization_url: Secret::new("https://login.example/authorize?state=S&x=$(reboot);'"),
        redirect_uri: format!("http://localhost:{port}/"),
    }
}

pub(crate) fn completed() -> Completed {
    let mut grant = grant(GrantState::Completed);
    grant.warnings = vec!["scope openid was not granted".to_owned()];
    Completed { grant, token: token(TokenState::Valid) }
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        id: MessageId::from_bits(7),
        profile: name("alerts"),
        message_id: "<7@example.org>".to_owned(),
        state: MessageState::Queued,
        queued_at: at("2026-08-15T12:00:00Z"),
        duplicate: false,
    }
}

pub(crate) fn message(state: MessageState, held: Option<HoldReason>) -> MessageView {
    MessageView {
        id: MessageId::from_bits(7),
        profile: name("alerts"),
        state,
        held,
        from: "alerts@example.org".to_owned(),
        recipients: vec![RecipientView {
            address: "ops@example.org".to_owned(),
            state: RecipientState::Pending,
            reply: None,
            ended_at: None,
        }],
        message_id: "<7@example.org>".to_owned(),
        subject: Some("disk \u{1b}[2Jfull".to_owned()),
        size_bytes: 2048,
        priority: Priority::Normal,
        queued_at: at("2026-08-15T11:29:00Z"),
        send_at: None,
        expires_at: None,
        next_attempt_at: None,
        attempts: 1,
        consumed_age_s: 0,
        ended_at: None,
        uid: 1000,
        last_attempt: Some(Attempt {
            at: at("2026-08-15T11:30:00Z"),
            ms: 310,
            server: "smtp.office365.com:587".to_owned(),
            outcome: "421 4.7.0 try again later".to_owned(),
            diagnosis: None,
            transcript: vec!["C: EHLO host".to_owned()],
        }),
    }
}

pub(crate) fn event(seq: u64) -> Event {
    Event {
        seq,
        at: at("2026-08-15T12:00:00Z"),
        event_type: EventType::MessageSent,
        profile: Some(name("alerts")),
        client: None,
        object: Some(MessageId::from_bits(7).to_string()),
        data: Map::new(),
    }
}
