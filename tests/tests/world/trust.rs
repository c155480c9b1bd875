//! What a profile's credentials are not shown to: servers with a bad certificate, without TLS, or with somebody in
//! between.

use frankd_proto::methods::profile::SmtpInput;
use frankd_proto::{HoldReason, MessageState, TlsMode};
use frankd_tests::sandbox::pki::Flaw;
use frankd_tests::sandbox::smtp::{Fault, Mechanism, Phase, Rule};

use super::harness::*;

/// Sends a mail that is to be held by a fault of the host; gives the attempt's diagnosis and words. Nobody logged in.
async fn held(world: &World) -> (String, String) {
    let id = world.send(mail("alerts")).await.id;
    let view = world.wait(id, 120).await;
    assert_eq!((view.state, view.held), (MessageState::Held, Some(HoldReason::HostFault)), "{view:#?}");
    let told: Vec<String> = world.mail.commands().into_iter().map(|command| command.line).collect();
    assert!(!told.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")), "{told:?}");
    let attempt = view.last_attempt.unwrap();
    (attempt.diagnosis.unwrap_or_default(), attempt.outcome)
}

/// The hold ends as soon as the fault does and somebody says so.
async fn goes_on(world: &World) {
    world.retry("alerts").await;
    world.pass(s(5)).await;
    assert_eq!(world.gates("alerts").await, []);
    assert_eq!((world.mail.delivered_count(), world.queue("alerts").await.waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_certificate_holds_the_mail_and_sees_no_credentials() {
    for (flaw, words) in
        [(Flaw::Expired, "expired"), (Flaw::WrongName, "elsewhere.example"), (Flaw::OtherAuthority, "issuer")]
    {
        for (port, tls) in [(587, TlsMode::Starttls), (465, TlsMode::Implicit)] {
            let world = World::with(service("alerts")).await;
            world.redirect("alerts", SmtpInput { port: Some(port), tls: Some(tls), ..SmtpInput::default() }).await;
            let bad = pki().issue(flaw).unwrap().config;
            world.mail.set(|mail| mail.tls = Some(bad));
            let (diagnosis, outcome) = held(&world).await;
            assert_eq!(diagnosis, "smtp.certificate", "{flaw:?}: {outcome}");
            assert!(outcome.to_lowercase().contains(words), "{flaw:?}: {outcome}");
            let good = pki().issue(Flaw::Sound).unwrap().config;
            world.mail.set(|mail| mail.tls = Some(good));
            goes_on(&world).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn plaintext_behind_starttls_is_never_taken_for_what_the_server_says() {
    let world = World::with(service("alerts")).await;
    let injected = "250-mail.sandbox.test\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n";
    world.mail.misbehave(Rule::once(Phase::StartTls, Fault::followed_by(injected)));
    let (diagnosis, outcome) = held(&world).await;
    assert_eq!(diagnosis, "smtp.injected", "{outcome}");
    assert_eq!(world.mail.delivered_count(), 0);
    goes_on(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_starttls_somebody_took_away_gets_nothing() {
    let world = World::with(service("alerts")).await;
    world.mail.set(|mail| (mail.starttls, mail.auth_before_tls) = (false, Mechanism::ALL.to_vec()));
    let (diagnosis, outcome) = held(&world).await;
    assert_eq!(diagnosis, "smtp.no_starttls", "{outcome}");
    world.mail.set(|mail| (mail.starttls, mail.auth_before_tls) = (true, Vec::new()));
    goes_on(&world).await;
}

#[tokio::test(start_paused = true)]
async fn tls_that_begins_at_the_wrong_time_is_said_to_do_so_and_mended_by_one_change() {
    for (wrong, right) in
        [((587, TlsMode::Implicit), (465, TlsMode::Implicit)), ((465, TlsMode::Starttls), (587, TlsMode::Starttls))]
    {
        let world = World::with(service("alerts")).await;
        let to = |(port, tls)| SmtpInput { port: Some(port), tls: Some(tls), ..SmtpInput::default() };
        world.redirect("alerts", to(wrong)).await;
        let (diagnosis, outcome) = held(&world).await;
        assert_eq!(diagnosis, "smtp.tls_mode", "{outcome}");
        world.redirect("alerts", to(right)).await;
        world.pass(s(70)).await;
        assert_eq!((world.gates("alerts").await, world.mail.delivered_count()), (vec![], 1), "{wrong:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_or_has_no_address_holds_the_mail_for_days_and_costs_it_nothing() {
    let world = World::with(service("alerts")).await;
    world.mail_reachable.send_replace(false);
    let id = world.send(mail("alerts")).await.id;
    assert_eq!(world.wait(id, 30).await.held, Some(HoldReason::HostFault));
    for _ in 0..6 {
        world.skip(s(DAY)).await;
    }
    let view = world.message(id).await;
    assert_eq!((view.state, view.consumed_age_s, view.attempts), (MessageState::Held, 0, 1));
    world.mail_reachable.send_replace(true);
    world.pass(s(16 * 60)).await;
    world.sent(id).await;
}
