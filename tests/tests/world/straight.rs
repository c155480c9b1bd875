//! The main job, from nothing to a mail in the mailbox.

use frankd::domain::settings::{AccessRule, Subject};
use frankd_proto::methods::message;
use frankd_proto::{Capability, EventType, GrantState, Kind, MessageState, TokenState};
use frankd_tests::sandbox::authorization::Decision;
use frankd_tests::sandbox::smtp::Mechanism;

use super::harness::*;

#[tokio::test(start_paused = true)]
async fn a_service_gets_its_token_by_itself_and_sends_with_it() {
    let world = World::with(service("alerts")).await;
    let receipt = world.send(mail("alerts")).await;
    let view = world.sent(receipt.id).await;
    assert_eq!((view.attempts, view.held, view.message_id.as_str()), (1, None, receipt.message_id.as_str()));
    let delivered = world.mail.delivered_to("ops@example.org");
    assert_eq!(delivered.len(), 1);
    assert!(delivered[0].tls);
    assert_eq!((delivered[0].login.as_deref(), delivered[0].from.as_str()), (Some(SENDER), SENDER));
    assert_eq!(delivered[0].header("Message-ID"), Some(receipt.message_id));
    assert!(
        delivered[0].text().ends_with("91 % full.\r\n.\r\nThe line above is one dot.\r\n"),
        "{}",
        delivered[0].text()
    );
    let logins = world.mail.logins();
    assert_eq!((logins.len(), logins[0].mechanism), (1, Mechanism::XOAuth2));
    assert_eq!(world.login.token_requests(SERVICE.0).len(), 1);
    assert_eq!(world.slot("alerts").await.state, TokenState::Valid);
    let types = names_of(world.events().await.into_iter().map(|event| event.event_type));
    let made = ["daemon.started", "client.created", "client.created", "profile.created"];
    let sent = ["token.refreshed", "message.queued", "message.sent"];
    assert_eq!(types, [&made[..], &sent[..]].concat());
    assert_eq!(world.mail.offences(), Vec::<String>::new());
    assert_eq!((world.gates("alerts").await, world.queue("alerts").await.waiting), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_person_grants_by_paste_and_the_mail_that_waited_goes() {
    let world = World::with(person("alice")).await;
    assert_eq!(world.slot("alice").await.state, TokenState::NeedsGrant);
    let waiting = world.send(mail("alice")).await.id;
    let started = world.begin_grant("alice").await;
    let redirect = world.walk(&started, &Decision::Allow).await;
    assert!(redirect.starts_with(&started.redirect_uri), "{redirect}");
    let completed = world.paste(redirect).await.unwrap();
    assert_eq!((completed.grant.state, completed.grant.id), (GrantState::Completed, started.grant.id));
    assert_eq!(completed.grant.warnings, Vec::<String>::new());
    assert_eq!(completed.token.state, TokenState::Valid);
    assert!(completed.token.refresh_token.set);
    world.sent(waiting).await;
    assert_eq!(world.mail.delivered()[0].login.as_deref(), Some(MAILBOX));
    let exchange = &world.login.token_requests(WEB.0)[0];
    assert_eq!(exchange.grant_type.as_deref(), Some("authorization_code"));
    assert!(String::from_utf8_lossy(&exchange.body).contains("code_verifier="));
    for event in
        [EventType::GrantStarted, EventType::GrantCompleted, EventType::ProfileHeld, EventType::ProfileReleased]
    {
        assert_eq!(world.told(event).await.len(), 1, "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_classic_profile_logs_in_with_its_password() {
    let world = World::with(classic("relay")).await;
    let id = world.send(mail("relay")).await.id;
    let view = world.sent(id).await;
    assert_eq!(view.state, MessageState::Sent);
    let shown = serde_json::to_string(&view).unwrap();
    assert!(!shown.contains(RELAY.1), "{shown}");
    assert_eq!(world.mail.logins()[0].mechanism, Mechanism::Plain);
}

#[tokio::test(start_paused = true)]
async fn a_user_without_a_rule_is_refused_and_noted_and_with_one_may_send_and_see_its_own() {
    let world = World::with(service("alerts")).await;
    let of_root = world.send(mail("alerts")).await.id;
    let mut shop = world.connect(1000);
    let refused = shop.call::<message::Send>(mail("alerts")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::AccessDenied);
    world.settle().await;
    let denied = world.told(EventType::AccessDenied).await;
    assert_eq!((denied.len(), &denied[0].data["uid"]), (1, &1000.into()));
    world.set(|settings| {
        settings.access.push(AccessRule {
            subject: Subject::Uid(1000),
            capabilities: vec![Capability::Submit],
            profiles: None,
            from: None,
            rate_per_hour: None,
        });
    });
    let id = shop.call::<message::Send>(mail("alerts")).await.unwrap().id;
    assert_eq!(world.sent(id).await.uid, 1000);
    assert!(shop.call::<message::Get>(message::ById { id }).await.is_ok());
    assert!(shop.call::<message::Get>(message::ById { id: of_root }).await.is_err());
}
