//! Faults of profile, client and host: one gate holds all mail, told once, and opens by itself or by the right hand.

use super::*;
use crate::oauth::fake::Step;

/// Only this token is let in.
fn only(bench: &Bench, token: &str) {
    bench.mail.state().tokens = Some([token.to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_and_the_mail_goes() {
    let bench = Bench::start([oauth2("main")]).await;
    only(&bench, "access-2");
    let id = bench.submit(SendParams { profile: Some(named("main")), ..mail(&["c@d.example"]) }).await.unwrap().id;
    let view = bench.wait(id).await;
    assert_eq!((view.state, view.attempts), (MessageState::Sent, 1));
    assert_eq!(bench.mail.state().logins, ["access-1", "access-2"]);
    assert_eq!(bench.told(EventType::ProfileHeld).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_stays_refused_closes_the_gate_once_and_is_tried_without_mail() {
    let bench = Bench::start([oauth2("main")]).await;
    only(&bench, "none");
    let params = || SendParams { profile: Some(named("main")), ..mail(&["c@d.example"]) };
    let first = bench.submit(params()).await.unwrap().id;
    let view = bench.wait(first).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::AuthRefused)));
    assert_eq!(view.recipients[0].state, frankd_proto::RecipientState::Pending);
    let second = bench.submit(params()).await.unwrap();
    assert_eq!(second.state, MessageState::Held);
    assert_eq!(bench.mail.state().logins.len(), 2);
    let tried = |minutes: u64| {
        let bench = &bench;
        async move {
            bench.pass(s(60 * minutes)).await;
            bench.mail.state().logins.len()
        }
    };
    assert_eq!(tried(2).await, 3, "after 1 minute");
    assert_eq!(tried(3).await, 3);
    assert_eq!(tried(2).await, 4, "after 5 more");
    assert_eq!(tried(16).await, 5, "after 15 more");
    let day = tried(60 * 24).await;
    assert!((24..70).contains(&day), "each hour after that, and with each new token: {day}");
    let held = bench.told(EventType::ProfileHeld).await;
    assert_eq!(held.len(), 1, "told once: {held:?}");
    assert_eq!(held[0].data["reason"], "auth_refused");
    assert!(held[0].data["detail"].as_str().unwrap().contains("535"), "{held:?}");
    assert_eq!(bench.mail.taken().len(), 0);
    bench.mail.state().tokens = None;
    bench.pass(s(3700)).await;
    assert_eq!(bench.state(first).await, MessageState::Sent);
    assert_eq!(bench.state(second.id).await, MessageState::Sent);
    assert_eq!(bench.told(EventType::ProfileReleased).await.len(), 1);
    assert_eq!(bench.view(first).await.consumed_age_s, 0);
}

#[tokio::test(start_paused = true)]
async fn a_corrected_password_is_tried_at_once() {
    let password = |text: &str| {
        Some(StoredSecret {
            source: SecretSource::Value(Secret::new(text)),
            updated_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        })
    };
    let classic = profile("main", |p| {
        p.default = true;
        p.username = Some("relay".to_owned());
        p.password = password("wr0ng-password");
    });
    let bench = Bench::start([classic]).await;
    only(&bench, "r1ght-password");
    let id = bench.send(&["c@d.example"]).await;
    assert_eq!(bench.wait(id).await.held, Some(HoldReason::AuthRefused));
    bench.pass(s(600)).await;
    bench.change_profile("main", |p| p.password = password("r1ght-password")).await;
    bench.pass(s(2)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
    let everything = format!("{:?} {:?}", bench.events().await, bench.view(id).await);
    assert!(!everything.contains("password") || !everything.contains("ght-"), "{everything}");
}

#[tokio::test(start_paused = true)]
async fn a_profile_without_a_grant_holds_its_mail_and_says_why() {
    let interactive = profile("main", |p| {
        p.default = true;
        p.kind = ProfileKind::Oauth2Smtp;
        p.flow = Some(Flow::Interactive);
        p.client = Some(ClientId::from_bits(1));
        p.username = Some("relay@x.example".to_owned());
    });
    let bench = Bench::start([interactive]).await;
    let id = bench.send(&["c@d.example"]).await;
    let view = bench.wait(id).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::GrantRequired)));
    assert_eq!(view.attempts, 0);
    assert_eq!(bench.mail.state().connections, 0);
    bench.pass(s(DAY)).await;
    assert_eq!(bench.told(EventType::ProfileHeld).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_the_server_refuses_holds_the_mail_until_it_is_put_right() {
    let bench = Bench::start([oauth2("main")]).await;
    for _ in 0..200 {
        bench.login.then(Step::Refuse { status: 401, error: "invalid_client" });
    }
    let id = bench.submit(SendParams { profile: Some(named("main")), ..mail(&["c@d.example"]) }).await.unwrap().id;
    bench.pass(s(3600)).await;
    let view = bench.view(id).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::ClientFault)));
    assert_eq!((view.attempts, view.consumed_age_s), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_holds_the_mail_and_costs_it_nothing() {
    let bench = Bench::plain().await;
    bench.mail.state().down = true;
    let id = bench.send(&["c@d.example"]).await;
    for _ in 0..20 {
        bench.send(&["c@d.example"]).await;
    }
    let view = bench.wait(id).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::HostFault)));
    bench.pass(s(3 * DAY)).await;
    let view = bench.view(id).await;
    assert_eq!(view.state, MessageState::Held);
    assert_eq!(view.consumed_age_s, 0);
    let attempts: Vec<_> = bench.queue.list(ListParams::default(), Scope::All).await.unwrap().items;
    assert!(attempts.iter().map(|view| view.attempts).sum::<u32>() <= 2, "one probe for all, not a try for each");
    bench.mail.state().down = false;
    bench.pass(s(1000)).await;
    assert_eq!(bench.mail.taken().len(), 21);
    assert_eq!(bench.told(EventType::ProfileHeld).await.len(), 1);
    assert_eq!(bench.told(EventType::ProfileReleased).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_account_over_its_limit_waits_and_says_how_long() {
    let bench = Bench::plain().await;
    bench.mail.on("DOT", Act::Say("550 5.4.5 Daily user sending limit exceeded"), 1);
    let id = bench.send(&["c@d.example"]).await;
    let view = bench.wait(id).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::AccountLimit)));
    let until = view.next_attempt_at.unwrap();
    assert!(until > bench.clock.wall());
    let wait = Duration::try_from(until.duration_since(bench.clock.wall())).unwrap();
    bench.pass(wait + s(5)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn fewer_connections_are_used_when_the_server_says_so() {
    let limits = |p: &mut Profile| {
        p.default = true;
        p.smtp.as_mut().unwrap().max_connections = 4;
    };
    let bench = Bench::start([profile("main", limits)]).await;
    bench.mail.always("DOT", Act::Wait(s(1)));
    for _ in 0..40 {
        bench.send(&["c@d.example"]).await;
    }
    bench.pass(s(3)).await;
    assert_eq!(bench.mail.state().open, 4);
    bench.mail.on("MAIL", Act::Say("432 4.3.2 Concurrent connections limit exceeded"), 1);
    bench.pass(s(5)).await;
    assert!(bench.mail.state().open <= 3, "{}", bench.mail.state().open);
    bench.pass(s(60)).await;
    assert_eq!(bench.mail.taken().len(), 40);
    assert_eq!(bench.told(EventType::ProfileHeld).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_ends_by_itself_and_outlives_a_crash() {
    let bench = Bench::plain().await;
    bench.queue.pause(&named("main"), Some(s(3600)), Some("maintenance".to_owned())).await.unwrap();
    let id = bench.send(&["c@d.example"]).await;
    assert_eq!(bench.wait(id).await.held, Some(HoldReason::Paused));
    let bench = bench.crash().await;
    bench.pass(s(3500)).await;
    assert_eq!(bench.state(id).await, MessageState::Held);
    assert_eq!(bench.queue.summary().await.unwrap().profiles[0].gates, [HoldReason::Paused]);
    bench.pass(s(200)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
    assert_eq!(bench.told(EventType::ProfilePaused).await.len(), 1);
    assert_eq!(bench.told(EventType::ProfileResumed).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_the_whole_profile_tries_its_gate_now() {
    let bench = Bench::plain().await;
    bench.mail.state().down = true;
    let id = bench.send(&["c@d.example"]).await;
    bench.wait(id).await;
    bench.pass(s(DAY)).await;
    bench.mail.state().down = false;
    bench.queue.retry(whole("main"), Scope::All).await.unwrap();
    bench.pass(s(2)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_stays_closed_too_long_ends_its_mail_and_a_pause_never() {
    let bench = Bench::start([profile("main", |p| p.default = true), profile("still", |_| {})]).await;
    bench.settings(|settings| settings.queue.longest_gate = s(2 * DAY));
    bench.mail.state().down = true;
    bench.queue.pause(&named("still"), None, None).await.unwrap();
    let early = bench.send(&["c@d.example"]).await;
    let paused = SendParams { profile: Some(named("still")), ..mail(&["c@d.example"]) };
    let paused = bench.submit(paused).await.unwrap().id;
    let held = bench.send(&["held@d.example"]).await;
    bench.queue.hold(one(held), Scope::All).await.unwrap();
    bench.pass(s(DAY)).await;
    let late = bench.send(&["c@d.example"]).await;
    bench.pass(s(DAY + 1000)).await;
    let view = bench.view(early).await;
    assert_eq!(view.state, MessageState::Expired);
    let told = bench.told(EventType::MessageExpired).await;
    assert_eq!(told[0].data["reason"], "host_fault");
    for (id, state) in [(late, MessageState::Held), (paused, MessageState::Held), (held, MessageState::Held)] {
        assert_eq!(bench.state(id).await, state);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_at_the_same_time_close_one_gate_and_tell_once() {
    let classic = profile("main", |p| {
        p.default = true;
        p.username = Some("relay".to_owned());
        p.password = Some(StoredSecret {
            source: SecretSource::Value(Secret::new("hunter2")),
            updated_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        });
        p.smtp.as_mut().unwrap().max_connections = 5;
    });
    let bench = Bench::start([classic]).await;
    only(&bench, "none");
    bench.mail.always("AUTH", Act::Wait(s(1)));
    for _ in 0..8 {
        bench.send(&["c@d.example"]).await;
    }
    bench.pass(s(10)).await;
    assert_eq!(bench.mail.state().logins.len(), 5);
    assert_eq!(bench.told(EventType::ProfileHeld).await.len(), 1);
    assert_eq!(bench.reasons("main"), [HoldReason::AuthRefused]);
}

/// What an earlier version could leave behind: mail of a profile that was deleted while the mail came in.
#[tokio::test(start_paused = true)]
async fn mail_whose_profile_is_gone_is_held_by_name_and_can_be_called_off() {
    let bench = Bench::start([profile("main", |p| p.default = true), profile("other", |_| {})]).await;
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    let (kept, called_off) = (bench.send(&["b@y.example"]).await, bench.send(&["c@y.example"]).await);
    let profile = bench.registry.view().profile_named(&named("main")).unwrap().clone();
    bench.store.lose_profile(profile.id);
    let bench = bench.crash().await;
    bench.pass(s(1)).await;
    bench.queue.resume(&named("main")).await.unwrap_err();
    let gone = Name::from(profile.id);
    let view = bench.view(kept).await;
    assert_eq!((view.state, &view.profile), (MessageState::Held, &gone));
    let row = bench.queue.summary().await.unwrap().profiles.into_iter().find(|row| row.profile == gone).unwrap();
    assert_eq!(row.waiting, 2);
    assert!(row.gates.contains(&HoldReason::NoProfile), "{row:?}");
    let told = bench.told(EventType::ProfileHeld).await;
    assert_eq!(told.last().unwrap().data["reason"], "no_profile");
    let listed = ListParams { profile: Some(gone.clone()), ..ListParams::default() };
    assert_eq!(bench.queue.list(listed, Scope::All).await.unwrap().items.len(), 2);
    assert_eq!(bench.queue.cancel(one(called_off), Scope::All).await.unwrap().changed, [called_off]);
    assert_eq!(bench.queue.cancel(whole(gone.as_str()), Scope::All).await.unwrap().changed, [kept]);
    let bench = bench.crash().await;
    bench.pass(s(1)).await;
    assert!(!bench.queue.gates(profile.id).iter().any(|gate| gate.reason == HoldReason::NoProfile));
    assert!(bench.queue.summary().await.unwrap().profiles.iter().all(|row| row.profile != gone));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_loses_the_race_against_its_profiles_end_is_refused() {
    let bench = Bench::plain().await;
    let id = bench.registry.view().profile_named(&named("main")).unwrap().id;
    // Behind the back of the registry: whoever sends now chose the profile before it was deleted.
    bench.store.commit(vec![Change::DeleteProfile { id, expected: 1 }], Vec::new()).await.unwrap();
    let refused = bench.submit(mail(&["b@y.example"])).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (frankd_proto::Kind::ObjectNotFound, Some("profile")));
    assert_eq!(bench.store.counts().await.unwrap(), []);
}
