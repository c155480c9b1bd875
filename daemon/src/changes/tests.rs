//! Changes on the real registry, tokens and keeper, over a store in memory.

use frankd_proto::{Flow, Kind, ProfileKind, RecipientState, TokenState};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Caller, Profile, SocketKind, TokenSlot, sample};
use crate::entropy::SeededEntropy;
use crate::store::conformance::sample as stored;
use crate::tokens::bench::{self, Bench, P1};

fn params<P: DeserializeOwned>(value: Value) -> P {
    serde_json::from_value(value).unwrap()
}

fn by() -> Caller {
    Caller { uid: 0, gid: 0, pid: None, user: None, groups: vec![0], socket: SocketKind::Control }
}

struct Desk {
    bench: Bench,
    changes: Changes,
}

impl Desk {
    async fn with(profiles: Vec<Profile>, slots: Vec<TokenSlot>) -> Self {
        let bench = Bench::start(crate::clock::FakeClock::new(), profiles, slots).await;
        Self::of(bench)
    }

    fn of(bench: Bench) -> Self {
        let changes = Changes::new(
            Arc::clone(&bench.store) as _,
            Arc::clone(&bench.registry),
            bench.tokens.clone(),
            Arc::new(bench.clock.clone()),
            Arc::new(SeededEntropy::new(3)),
        );
        Self { bench, changes }
    }

    /// A profile that a person granted, with a live refresh token.
    async fn granted() -> Self {
        Self::of(Bench::granted().await)
    }

    async fn client(&self, change: Value) -> Result<crate::domain::Client, ChangeError> {
        let mut all = json!({"name": "login"});
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.changes.update_client(params(all), &by()).await
    }

    async fn new_profile(&self, value: Value) -> Result<Profile, ChangeError> {
        self.changes.create_profile(params(value), &by()).await
    }

    async fn profile(&self, value: Value) -> Result<Profile, ChangeError> {
        self.changes.update_profile(params(value), &by()).await
    }

    async fn delete(&self, name: &str) -> Result<(), ChangeError> {
        self.changes.delete_profile(params(json!({"name": name})), &by()).await
    }

    async fn queue(&self, profile: &Profile) -> crate::domain::Message {
        let message = crate::domain::Message { profile: profile.id, ..stored::message(1, 1) };
        self.bench.store.accept(stored::new_message(message.clone())).await.unwrap();
        message
    }
}

fn classic(name: &str) -> Value {
    json!({"name": name, "kind": "smtp", "smtp": {"host": "mx.example"}})
}

fn way_out<T: std::fmt::Debug>(result: Result<T, ChangeError>) -> String {
    match result {
        Err(ChangeError::InUse { way_out, .. }) => way_out.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_make_one_name_one_wins_and_the_others_are_told_that_it_exists() {
    let (desk, by) = (Desk::granted().await, by());
    let new = || {
        desk.changes.create_client(
            params(json!({"name": "idp", "client_id": "a", "token_endpoint": "https://idp.example/t"})),
            &by,
        )
    };
    let made = futures::future::join_all((0..20).map(|_| new())).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let exists = |made: &&Result<_, _>| matches!(made, Err(ChangeError::Exists { what: "client", .. }));
    assert_eq!(made.iter().filter(exists).count(), 19, "{made:?}");
    let made = futures::future::join_all((0..5).map(|_| desk.new_profile(classic("relay")))).await;
    assert_eq!(made.iter().filter(|made| matches!(made, Err(ChangeError::Exists { .. }))).count(), 4, "{made:?}");
}

#[tokio::test(start_paused = true)]
async fn updates_without_a_revision_all_succeed() {
    let desk = Desk::granted().await;
    let update = |n: usize| desk.client(json!({"description": format!("note {n}")}));
    let updated = futures::future::join_all((0..20).map(update)).await;
    assert!(updated.iter().all(Result::is_ok), "{updated:?}");
    let name = "login".parse().unwrap();
    assert_eq!(desk.bench.registry.view().client_named(&name).unwrap().revision, 21);
    let late = desk.client(json!({"description": "late", "if_revision": 20})).await;
    assert!(matches!(late, Err(ChangeError::Revision { current: 21, expected: 20 })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_not_deleted_under_a_profile_that_is_being_made() {
    for first in [true, false] {
        let (desk, by) = (Desk::with(Vec::new(), Vec::new()).await, by());
        let create = desk.new_profile(json!({"name": "t", "kind": "token", "interactive": false, "client": "login"}));
        let delete = desk.changes.delete_client(params(json!({"name": "login"})), &by);
        let (made, deleted) = if first {
            futures::future::join(create, delete).await
        } else {
            let (deleted, made) = futures::future::join(delete, create).await;
            (made, deleted)
        };
        assert!(made.is_ok() != deleted.is_ok(), "{made:?} {deleted:?}");
        let view = desk.bench.registry.view();
        assert!(view.profiles().all(|profile| view.client_of(profile).is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_with_waiting_mail_is_not_deleted_and_goes_on_sending() {
    let desk = Desk::granted().await;
    let profile = desk.new_profile(classic("relay")).await.unwrap();
    let message = desk.queue(&profile).await;
    assert_eq!(way_out(desk.delete("relay").await), "frankctl queue cancel --profile relay");
    let token = json!({"name": "relay", "kind": "token", "interactive": false, "client": "login"});
    assert_eq!(way_out(desk.profile(token.clone()).await), "frankctl queue cancel --profile relay");
    let now = desk.bench.registry.view();
    assert_eq!(now.profile(profile.id).unwrap().kind, ProfileKind::Smtp);
    let sent = stored::settled(&message, RecipientState::Sent, stored::at(1));
    let change = Change::PutMessage { message: Box::new(sent), expected: 1 };
    desk.bench.store.commit(vec![change], Vec::new()).await.unwrap();
    assert!(desk.profile(token).await.is_ok());
    // Its first token is on its way, and is waited for.
    desk.bench.pass(bench::s(1)).await;
    assert!(desk.delete("relay").await.is_ok());
}

const EVIL: &str = "https://evil.example/take";

async fn public() -> Desk {
    let desk = Desk::granted().await;
    desk.client(json!({"client_secret": null, "token_endpoint_auth_method": "none"})).await.unwrap();
    assert_eq!(desk.bench.tokens.info(P1).unwrap().state, TokenState::Valid);
    desk
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_revoked_at_a_host_that_did_not_have_it() {
    let desk = public().await;
    assert_eq!(way_out(desk.client(json!({"revocation_endpoint": EVIL})).await), "frankctl token revoke p1");
    assert!(desk.client(json!({"revocation_endpoint": "https://login.example/other"})).await.is_ok());
    // The same by a second client that looks like the first one.
    let twin = json!({"name": "twin", "client_id": "frankd", "token_endpoint": "https://login.example/token",
        "authorization_endpoint": "https://login.example/authorize", "revocation_endpoint": EVIL, "scopes": ["mail"]});
    desk.changes.create_client(params(twin), &by()).await.unwrap();
    way_out(desk.profile(json!({"name": "p1", "client": "twin", "confirm": true})).await);
    // The same by way of another issuer and back: its tokens come back.
    desk.client(json!({"token_endpoint": EVIL, "confirm": true})).await.unwrap();
    desk.bench.settle().await;
    desk.client(json!({"revocation_endpoint": EVIL})).await.unwrap();
    let back = json!({"token_endpoint": "https://login.example/token", "confirm": true});
    assert_eq!(way_out(desk.client(back.clone()).await), "frankctl token revoke p1");
    desk.client(json!({"revocation_endpoint": null})).await.unwrap();
    desk.client(back).await.unwrap();
    desk.bench.settle().await;
    assert_eq!(desk.bench.tokens.info(P1).unwrap().state, TokenState::Valid, "the tokens are back");
    desk.bench.tokens.revoke(P1, true).await.unwrap();
    assert!(desk.client(json!({"revocation_endpoint": EVIL})).await.is_ok(), "nothing is left to be sent");
}

#[tokio::test(start_paused = true)]
async fn only_the_secret_that_the_client_has_lets_its_tokens_be_revoked_elsewhere() {
    let desk = Desk::granted().await;
    let with = |secret: &str| json!({"revocation_endpoint": EVIL, "client_secret": {"value": secret}});
    way_out(desk.client(with("another")).await);
    assert!(desk.client(with("s3cret")).await.is_ok());
}

fn unattended(name: &str, host: &str) -> Value {
    json!({"name": name, "kind": "oauth2_smtp", "flow": "client_credentials", "client": "login",
        "username": "a@x.example", "smtp": {"host": host}})
}

fn secret_is_missed<T: std::fmt::Debug>(result: Result<T, ChangeError>) {
    let Err(ChangeError::Invalid(invalid)) = result else { panic!("{result:?}") };
    assert_eq!((invalid.kind, invalid.field.as_str()), (Kind::ObjectSecretRequired, "client_secret"));
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_person_go_to_another_mail_server_with_the_clients_secret_alone() {
    let desk = Desk::with(Vec::new(), Vec::new()).await;
    desk.new_profile(unattended("relay", "smtp.example")).await.unwrap();
    let to = |host: &str| json!({"name": "relay", "confirm": true, "smtp": {"host": host}});
    secret_is_missed(desk.profile(to("evil.example")).await);
    let mut wrong = to("evil.example");
    wrong["client_secret"] = json!("guessed");
    secret_is_missed(desk.profile(wrong).await);
    secret_is_missed(desk.new_profile(unattended("second", "evil.example")).await);
    // By way of a profile that a person grants, or that sends nothing.
    let mut person = unattended("person", "evil.example");
    person["flow"] = json!("interactive");
    desk.new_profile(person).await.unwrap();
    secret_is_missed(desk.profile(json!({"name": "person", "flow": "client_credentials"})).await);
    desk.new_profile(json!({"name": "t", "kind": "token", "interactive": false, "client": "login"})).await.unwrap();
    let mail = json!({"name": "t", "kind": "oauth2_smtp", "username": "a", "smtp": {"host": "evil.example"}});
    secret_is_missed(desk.profile(mail).await);

    desk.new_profile(unattended("third", "smtp.example")).await.unwrap();
    let mut known = to("other.example");
    known["client_secret"] = json!("s3cret");
    assert_eq!(desk.profile(known).await.unwrap().smtp.unwrap().host, "other.example");
    let port = json!({"name": "relay", "smtp": {"port": 465}});
    assert!(desk.profile(port).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_mail_server_puts_tokens_out_of_use() {
    for flow in [Flow::Interactive, Flow::ClientCredentials] {
        let profile = Profile {
            kind: ProfileKind::Oauth2Smtp,
            username: Some("a@x.example".to_owned()),
            smtp: Some(sample::submission("127.0.0.1")),
            ..bench::profile(1, flow)
        };
        let clock = crate::clock::FakeClock::new();
        let mut slot = bench::slot(1, &clock, bench::NOW);
        slot.tokens.as_mut().unwrap().identity.audience_host = Some("127.0.0.1".to_owned());
        let desk = Desk::of(Bench::start(clock, vec![profile], vec![slot]).await);
        let mut change = json!({"name": "p1", "client_secret": "s3cret", "smtp": {"host": "127.0.0.2"}});
        let refused = desk.profile(change.clone()).await;
        assert!(matches!(&refused, Err(ChangeError::ConfirmRequired(_))), "{flow}: {refused:?}");
        let before = desk.bench.tokens.info(P1).unwrap().slot.tokens.clone().unwrap().access_token;
        change["confirm"] = json!(true);
        desk.profile(change).await.unwrap();
        desk.bench.settle().await;
        let slot = desk.bench.tokens.info(P1).unwrap().slot;
        assert_ne!(slot.tokens.clone().map(|tokens| tokens.access_token), Some(before.clone()), "{flow}");
        assert!(slot.quarantined.iter().any(|aside| aside.tokens.access_token == before), "{flow}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_mail_server_changes_what_it_names_alone() {
    let desk = Desk::with(Vec::new(), Vec::new()).await;
    let mut relay = classic("relay");
    relay["smtp"]["port"] = json!(25);
    desk.new_profile(relay).await.unwrap();
    let server = |smtp: Value| desk.profile(json!({"name": "relay", "smtp": smtp}));
    for (change, port, tls) in [
        (json!({"tls": "starttls"}), 25, "starttls"),
        (json!({"tls": "implicit"}), 25, "implicit"),
        (json!({"host": "other.example"}), 25, "implicit"),
        (json!({"port": 587}), 587, "implicit"),
        (json!({"port": 465, "tls": "starttls"}), 465, "starttls"),
        (json!({"ehlo_name": "me.example"}), 465, "starttls"),
    ] {
        let smtp = server(change.clone()).await.unwrap().smtp.unwrap();
        assert_eq!((smtp.port, smtp.tls.as_str()), (port, tls), "{change}");
    }
}
