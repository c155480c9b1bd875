//! Records for tests: plain ones, told apart by a number.

use frankd_proto::name::InvalidName;
use frankd_proto::{
    ClientId, EventType, GrantId, GrantState, GrantVia, HoldReason, MessageId, OnDoubt, Priority, ProfileId,
    ProfileKind, RecipientState, Secret,
};
use jiff::{SignedDuration, Timestamp};

use super::Failure;
use crate::domain::{
    Client, Gate, Grant, Message, NewEvent, Phase, Profile, Recipient, SecretSource, SlotIdentity, StoredSecret,
    TokenSet, TokenSlot, sample,
};
use crate::store::{Change, NewMessage, Store};

/// That many seconds after 2026-11-24T12:00:00Z.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_521_600).unwrap_or(Timestamp::UNIX_EPOCH) + SignedDuration::from_secs(seconds)
}

/// The id of message `n`.
pub fn message_id(n: u32) -> MessageId {
    MessageId::from_bits(u128::from(n))
}

/// The id of profile `n`.
pub fn profile_id(n: u32) -> ProfileId {
    ProfileId::from_bits(u128::from(n))
}

/// Client `n`, new, with a secret of its own.
pub fn client(n: u32, name: &str) -> Result<Client, InvalidName> {
    let client_secret = StoredSecret {
        source: SecretSource::Value(Secret::new(format!("client-secret-{n}"))),
        updated_at: at(0),
        expires_at: None,
    };
    Ok(Client {
        client_id: format!("app-{n}"),
        client_secret: Some(client_secret),
        created_at: at(0),
        updated_at: at(0),
        ..sample::client(ClientId::from_bits(u128::from(n)), name.parse()?)
    })
}

/// Profile `n`, new, of client 1, which sends mail.
pub fn profile(n: u32, name: &str) -> Result<Profile, InvalidName> {
    Ok(Profile {
        kind: ProfileKind::Oauth2Smtp,
        smtp: Some(sample::submission("smtp.example")),
        created_at: at(0),
        updated_at: at(0),
        ..sample::profile(profile_id(n), name.parse()?)
    })
}

/// Profile `n`, new, without a client, which sends mail.
pub fn sender(n: u32) -> Result<Profile, InvalidName> {
    Ok(Profile { kind: ProfileKind::Smtp, flow: None, client: None, ..profile(n, &format!("sender-{n}"))? })
}

/// Makes the profiles that the sample messages are of.
pub async fn senders(store: &dyn Store) -> Result<(), Failure> {
    let mut changes = Vec::new();
    for n in 0..=5 {
        changes.push(Change::PutProfile { profile: Box::new(sender(n)?), expected: None });
    }
    store.commit(changes, Vec::new()).await?;
    Ok(())
}

/// What the sample tokens were issued to.
pub fn identity() -> SlotIdentity {
    SlotIdentity {
        token_endpoint: "https://login.example/token".to_owned(),
        client_id: "app-1".to_owned(),
        issuer: None,
        scopes: Vec::new(),
        audience_host: None,
    }
}

/// The slot of profile `n` as its write `version` leaves it: the tokens have that number in them.
pub fn slot(n: u32, version: u64) -> TokenSlot {
    TokenSlot {
        profile: profile_id(n),
        version,
        generation: version,
        tokens: Some(TokenSet {
            access_token: Secret::new(format!("access-token-{n}-{version}")),
            obtained_at: at(0),
            lifetime_s: 3600,
            refresh_in_s: None,
            scopes: Vec::new(),
            refresh_token: Some(Secret::new(format!("refresh-token-{n}-{version}"))),
            refresh_obtained_at: Some(at(0)),
            refresh_expires_at: None,
            previous_refresh_token: None,
            account: None,
            identity: identity(),
        }),
        intent: None,
        quarantined: Vec::new(),
        failure: None,
        handed_out: 0,
        handed_out_at: None,
    }
}

/// Grant `n`, pending, of profile 1.
pub fn grant(n: u32) -> Grant {
    Grant {
        id: GrantId::from_bits(u128::from(n)),
        profile: profile_id(1),
        client: ClientId::from_bits(1),
        identity: identity(),
        via: GrantVia::Paste,
        state: GrantState::Pending,
        state_digest: format!("digest-{n}"),
        code_verifier: Some(Secret::new(format!("code-verifier-{n}"))),
        redirect_uri: "http://127.0.0.1:1/".to_owned(),
        created_at: at(0),
        expires_at: at(600),
        ended_at: None,
        account: None,
        warnings: Vec::new(),
        error: None,
        uid: 0,
    }
}

/// A closed gate of profile `n`.
pub fn gate(n: u32, reason: HoldReason) -> Gate {
    Gate { profile: profile_id(n), reason, detail: None, diagnosis: None, since: at(0), until: None, probes: 0 }
}

/// Message `n` of profile `of`, due at once, of uid 1000, to one recipient.
pub fn message(n: u32, of: u32) -> Message {
    Message {
        id: message_id(n),
        version: 1,
        profile: profile_id(of),
        uid: 1000,
        from: "sender@example.org".to_owned(),
        recipients: vec![Recipient {
            address: "recipient@example.net".to_owned(),
            state: RecipientState::Pending,
            reply: None,
            ended_at: None,
        }],
        message_id: format!("<{n}@example.org>"),
        subject: Some(format!("message {n}")),
        size_bytes: 100,
        eight_bit: false,
        smtputf8: false,
        priority: Priority::Normal,
        on_doubt: OnDoubt::Retry,
        queued_at: at(i64::from(n)),
        send_at: None,
        expires_at: None,
        due_at: at(0),
        attempts: 0,
        consumed_age_s: 0,
        phase: Phase::BeforeDot,
        claim: None,
        hold: None,
        ended_at: None,
        last_attempt: None,
    }
}

/// The same message, its recipients in `state`, written once more.
pub fn settled(message: &Message, state: RecipientState, ended_at: Timestamp) -> Message {
    let mut message = message.clone();
    message.version += 1;
    message.claim = None;
    message.phase = Phase::BeforeDot;
    for recipient in &mut message.recipients {
        recipient.state = state;
    }
    message.ended_at = message.is_final().then_some(ended_at);
    message
}

/// `message` on its way in, with a short body that names it and no idempotency key.
pub fn new_message(message: Message) -> NewMessage {
    NewMessage {
        body: format!("Subject: {}\r\n\r\nbody of {}\r\n", message.message_id, message.id).into_bytes().into(),
        event: event(EventType::MessageQueued).object(message.id),
        message,
        idempotency: None,
        max_messages: 1_000_000,
        max_of_uid: 1_000_000,
    }
}

/// An event about nothing.
pub fn event(event_type: EventType) -> NewEvent {
    NewEvent::new(at(0), event_type)
}
