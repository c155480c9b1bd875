//! Grants on paused time, over tokens, a store and a server in memory.

use std::collections::BTreeMap;

use frankd_proto::{EventType, Flow, Kind, TokenState};

use super::*;
use crate::clock::FakeClock;
use crate::domain::Profile;
use crate::domain::answer::TokenAnswer;
use crate::entropy::SeededEntropy;
use crate::oauth::fake::{FakeServer, Step};
use crate::store::Change;
use crate::tokens::bench::{Bench, NOW, P1, profile, s, slot};

/// A daemon with grants.
struct Office {
    bench: Bench,
    grants: Grants,
}

impl Office {
    async fn open(bench: Bench, seed: u64) -> Self {
        let parts = Parts {
            store: Arc::clone(&bench.store) as _,
            server: Arc::clone(&bench.server) as _,
            registry: Arc::clone(&bench.registry),
            tokens: bench.tokens.clone(),
            clock: Arc::new(bench.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(seed)),
        };
        let kept = bench.store.snapshot().await.unwrap().grants;
        let (grants, task) = Grants::start(parts, kept);
        tokio::spawn(task);
        bench.settle().await;
        Self { bench, grants }
    }

    /// One interactive profile that was never granted.
    async fn new() -> Self {
        let person = Profile { username: Some("me@example.org".to_owned()), ..profile(1, Flow::Interactive) };
        Self::open(Bench::start(FakeClock::new(), vec![person], Vec::new()).await, 11).await
    }

    async fn crash(self) -> Self {
        Self::open(self.bench.crash().await, 12).await
    }

    async fn begin(&self) -> (Grant, BTreeMap<String, String>) {
        let begun = self.grants.begin(P1, GrantVia::Paste, None, 0).await.unwrap();
        // As it travels.
        let url = serde_json::to_value(&begun.authorization_url).unwrap();
        let url = url::Url::parse(url.as_str().unwrap()).unwrap();
        (begun.grant, url.query_pairs().into_owned().collect())
    }

    async fn complete(&self, redirect: String) -> Result<Grant, GrantError> {
        self.grants.complete(None, Secret::new(redirect)).await
    }
}

fn answer() -> TokenAnswer {
    TokenAnswer { account: Some("Me@example.org".to_owned()), ..FakeServer::answer("granted", Some("refresh-9")) }
}

fn redirect(sent: &BTreeMap<String, String>, rest: &str) -> String {
    format!("{}?state={}&{rest}", sent["redirect_uri"], sent["state"])
}

#[tokio::test(start_paused = true)]
async fn a_grant_goes_from_its_url_to_a_token_in_use() {
    let office = Office::new().await;
    let (grant, sent) = office.begin().await;
    assert_eq!((sent["login_hint"].as_str(), sent["code_challenge_method"].as_str()), ("me@example.org", "S256"));
    assert_eq!((sent["state"].len(), sent["scope"].as_str()), (43, "mail"));
    assert!(sent["redirect_uri"].starts_with("http://127.0.0.1:"));
    office.bench.server.expect_code("c0de", answer());
    let done = office.complete(redirect(&sent, "code=c0de&session_state=1")).await.unwrap();
    assert_eq!((done.id, done.state, done.code_verifier), (grant.id, GrantState::Completed, None));
    assert_eq!((done.warnings, done.account.as_deref()), (Vec::new(), Some("Me@example.org")));
    assert_eq!(office.bench.get(NOW).await.unwrap().access_token, Secret::new("granted"));
    assert_eq!(office.bench.state(), TokenState::Valid);
    let stored = office.bench.store.snapshot().await.unwrap().grants;
    assert_eq!(stored[0].state, GrantState::Completed);
    for event in [EventType::GrantStarted, EventType::GrantCompleted, EventType::TokenRefreshed] {
        assert_eq!(office.bench.count(event).await, 1, "{event}");
    }
    let told = serde_json::to_string(&office.bench.events().await).unwrap();
    for secret in ["c0de", "granted", "refresh-9", &sent["state"]] {
        assert!(!told.contains(&format!("\"{secret}\"")), "{secret}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_that_is_not_surely_ours_changes_nothing() {
    let office = Office::new().await;
    let (grant, sent) = office.begin().await;
    let (other, _) = office.begin().await;
    for (id, text) in [
        (None, "code=c0de&state=wrong".to_owned()),
        (Some(other.id), redirect(&sent, "code=c0de")),
        (None, "error=access_denied".to_owned()),
        (None, "code=c0de".to_owned()),
        (None, redirect(&sent, "code=c0de&error=e")),
        (None, format!("{}&code=c0de", redirect(&sent, &format!("state={}", sent["state"])))),
    ] {
        let refused = office.grants.complete(id, Secret::new(text.clone())).await;
        assert!(refused.is_err(), "{text}");
    }
    assert_eq!(office.bench.server.seen().len(), 0);
    assert_eq!(office.grants.grant(grant.id).unwrap(), grant);
    office.bench.server.expect_code("c0de", answer());
    assert!(office.complete(redirect(&sent, "code=c0de")).await.is_ok(), "and it goes on");
}

#[tokio::test(start_paused = true)]
async fn another_issuer_is_refused_and_the_grant_goes_on() {
    let office = Office::new().await;
    let mut client = office.bench.registry.view().clients().next().unwrap().clone();
    client.revision = 2;
    client.issuer = Some("https://login.example".to_owned());
    let change = Change::PutClient { client: Box::new(client), expected: Some(1) };
    office.bench.registry.commit(vec![change], Vec::new()).await.unwrap();
    let (grant, sent) = office.begin().await;
    let refused = office.complete(redirect(&sent, "code=c0de&iss=https://evil.example")).await;
    assert!(matches!(refused, Err(GrantError::WrongIssuer(_))), "{refused:?}");
    assert_eq!(office.grants.grant(grant.id).unwrap().state, GrantState::Pending);
    office.bench.server.expect_code("c0de", answer());
    assert!(office.complete(redirect(&sent, "code=c0de&iss=https://login.example")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_code_is_sent_once_however_often_its_redirect_comes() {
    let office = Office::new().await;
    let (_, sent) = office.begin().await;
    office.bench.server.expect_code("c0de", answer());
    office.bench.server.set_takes(s(2));
    let text = redirect(&sent, "code=c0de");
    let both = futures::future::join(office.complete(text.clone()), office.complete(text.clone())).await;
    assert!(both.0.is_ok());
    assert!(matches!(both.1, Err(GrantError::Over(GrantState::Exchanging))), "{:?}", both.1);
    let replayed = office.complete(text).await;
    assert!(matches!(replayed, Err(GrantError::Over(GrantState::Completed))), "{replayed:?}");
    assert_eq!(office.bench.server.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_exchange() {
    let office = Office::new().await;
    let (grant, sent) = office.begin().await;
    office.bench.server.expect_code("c0de", answer());
    office.bench.server.set_takes(s(5));
    let left = office.bench.clock.deadline(s(1), office.complete(redirect(&sent, "code=c0de"))).await;
    assert!(left.is_err());
    let done = office.grants.wait(grant.id, s(60)).await.unwrap();
    assert_eq!(done.state, GrantState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_no_is_denied_and_other_errors_fail_in_the_servers_words() {
    for (error, state, kind) in [
        ("access_denied", GrantState::Denied, Kind::GrantDeniedByUser),
        ("invalid_scope", GrantState::Failed, Kind::OauthInvalidScope),
        ("server_error", GrantState::Failed, Kind::OauthProviderUnavailable),
        ("from_the_future", GrantState::Failed, Kind::OauthMisconfigured),
    ] {
        let office = Office::new().await;
        let (_, sent) = office.begin().await;
        let ended = office.complete(redirect(&sent, &format!("error={error}&error_description=so+it+is"))).await;
        let Err(GrantError::NotCompleted(grant)) = ended else { panic!("{ended:?}") };
        let fault = grant.error.unwrap();
        assert_eq!((grant.state, fault.data.kind, grant.code_verifier), (state, kind.into(), None));
        assert!(fault.message.contains(error) && fault.message.contains("so it is"), "{}", fault.message);
        assert_eq!(office.bench.count(EventType::GrantFailed).await, 1);
        assert_eq!(office.bench.server.seen().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_grant_survives_a_crash_and_one_that_was_being_exchanged_has_failed() {
    let office = Office::new().await;
    let (_, sent) = office.begin().await;
    let office = office.crash().await;
    office.bench.server.expect_code("c0de", answer());
    assert!(office.complete(redirect(&sent, "code=c0de")).await.is_ok());

    let office = Office::new().await;
    let (grant, sent) = office.begin().await;
    office.bench.server.expect_code("c0de", answer());
    office.bench.server.then(Step::Slow(s(3600)));
    let cut = office.bench.clock.deadline(s(1), office.complete(redirect(&sent, "code=c0de"))).await;
    assert!(cut.is_err());
    let office = office.crash().await;
    let failed = office.grants.grant(grant.id).unwrap();
    assert_eq!(failed.state, GrantState::Failed);
    let again = office.complete(redirect(&sent, "code=c0de")).await;
    assert!(matches!(again, Err(GrantError::Over(GrantState::Failed))), "{again:?}");
    assert_eq!(office.bench.server.seen().len(), 1, "the code was sent once");
    assert_eq!(office.bench.count(EventType::GrantFailed).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_grant_ends_after_ten_minutes_also_without_the_daemon() {
    let office = Office::new().await;
    let (grant, sent) = office.begin().await;
    office.bench.pass(s(601)).await;
    assert_eq!(office.grants.grant(grant.id).unwrap().state, GrantState::Expired);
    let late = office.complete(redirect(&sent, "code=c0de")).await;
    assert!(matches!(late, Err(GrantError::Expired)), "{late:?}");

    let (grant, _) = office.begin().await;
    office.bench.clock.suspend(s(700));
    let office = office.crash().await;
    assert_eq!(office.grants.grant(grant.id).unwrap().state, GrantState::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_grant_in_progress_or_failed_leaves_the_token_in_use_alone() {
    let clock = FakeClock::new();
    let fresh = slot(1, &clock, NOW);
    let bench = Bench::start(clock, vec![profile(1, Flow::Interactive)], vec![fresh]).await;
    let office = Office::open(bench, 11).await;
    let (_, sent) = office.begin().await;
    let before = office.bench.get(NOW).await.unwrap();
    let ended = office.complete(redirect(&sent, "code=unknown")).await;
    let Err(GrantError::NotCompleted(grant)) = ended else { panic!("{ended:?}") };
    assert_eq!(grant.error.unwrap().data.kind, Kind::OauthInvalidGrant);
    assert_eq!(office.bench.get(NOW).await.unwrap(), before);
    assert_eq!(office.bench.state(), TokenState::Valid);

    let (_, sent) = office.begin().await;
    office.bench.server.expect_code("c0de", answer());
    office.complete(redirect(&sent, "code=c0de")).await.unwrap();
    assert_eq!(office.bench.get(NOW).await.unwrap().access_token, Secret::new("granted"));
}

#[tokio::test(start_paused = true)]
async fn another_account_fewer_scopes_and_no_refresh_token_are_said_at_once() {
    let office = Office::new().await;
    let (_, sent) = office.begin().await;
    let poor = TokenAnswer {
        account: Some("boss@example.org".to_owned()),
        scopes: Some(vec!["openid".to_owned()]),
        ..FakeServer::answer("granted", None)
    };
    office.bench.server.expect_code("c0de", poor);
    let done = office.complete(redirect(&sent, "code=c0de")).await.unwrap();
    assert_eq!(done.warnings.len(), 3);
    assert!(done.warnings[0].contains("boss@example.org"));
    assert_eq!(office.bench.state(), TokenState::AtRisk, "it ends with its access token");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_changed_meanwhile_fails_the_grant_and_shows_the_code_to_nobody() {
    let office = Office::new().await;
    let (_, sent) = office.begin().await;
    let mut client = office.bench.registry.view().clients().next().unwrap().clone();
    client.revision = 2;
    client.token_endpoint = "https://evil.example/token".to_owned();
    let change = Change::PutClient { client: Box::new(client), expected: Some(1) };
    office.bench.registry.commit(vec![change], Vec::new()).await.unwrap();
    let ended = office.complete(redirect(&sent, "code=c0de")).await;
    let Err(GrantError::NotCompleted(grant)) = ended else { panic!("{ended:?}") };
    assert_eq!(grant.error.unwrap().data.diagnosis.as_deref(), Some("grant.changed"));
    assert_eq!(office.bench.server.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_after_the_answer_does_not_lose_the_grant() {
    let office = Office::new().await;
    let (grant, sent) = office.begin().await;
    office.bench.server.expect_code("c0de", answer());
    office.bench.server.set_takes(s(2));
    let text = redirect(&sent, "code=c0de");
    let waiting = office.bench.clock.deadline(s(1), office.complete(text)).await;
    assert!(waiting.is_err());
    office.bench.store.set_read_only(Some("no sync"));
    office.bench.pass(s(5)).await;
    assert_eq!(office.bench.get(NOW).await.unwrap().access_token, Secret::new("granted"));
    assert_eq!(office.grants.grant(grant.id).unwrap().state, GrantState::Exchanging);
    office.bench.store.set_read_only(None);
    let done = office.grants.wait(grant.id, s(5)).await.unwrap();
    assert_eq!(done.state, GrantState::Completed);
    assert_eq!(office.bench.count(EventType::GrantCompleted).await, 1);
}

#[tokio::test(start_paused = true)]
async fn grants_are_listed_cancelled_and_refused_where_they_make_no_sense() {
    let office = Office::new().await;
    let (first, _) = office.begin().await;
    office.bench.pass(s(1)).await;
    let (second, sent) = office.begin().await;
    let listed: Vec<GrantId> = office.grants.list(Some(P1)).iter().map(|grant| grant.id).collect();
    assert_eq!(listed, [second.id, first.id]);
    assert_eq!(office.grants.cancel(second.id).await.unwrap().state, GrantState::Cancelled);
    assert!(matches!(office.grants.cancel(second.id).await, Err(GrantError::Over(GrantState::Cancelled))));
    let late = office.complete(redirect(&sent, "code=c0de")).await;
    assert!(matches!(late, Err(GrantError::Over(GrantState::Cancelled))), "{late:?}");

    let looped = office.grants.begin(P1, GrantVia::ClientLoopback, Some(5000), 0).await.unwrap();
    assert_eq!(looped.redirect_uri, "http://127.0.0.1:5000/");
    let no_port = office.grants.begin(P1, GrantVia::ClientLoopback, None, 0).await;
    assert!(matches!(no_port, Err(GrantError::PortNeeded)));
    let own = Office::open(Bench::serving_itself().await, 11).await;
    let refused = own.grants.begin(P1, GrantVia::Paste, None, 0).await;
    assert!(matches!(refused, Err(GrantError::Unsupported(_))), "{refused:?}");
    own.grants.stop(s(1)).await;
    assert!(matches!(own.grants.begin(P1, GrantVia::Paste, None, 0).await, Err(GrantError::Stopping)));
}
