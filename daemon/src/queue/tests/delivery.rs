//! Mail that is delivered, in parts or after a while.

use super::*;
use frankd_proto::RecipientState;

#[tokio::test(start_paused = true)]
async fn a_message_arrives_as_it_was_composed_and_is_told_so() {
    let bench = Bench::plain().await;
    let id = bench.send(&["C <c@d.example>", "e@d.example"]).await;
    let view = bench.wait(id).await;
    assert_eq!(view.state, MessageState::Sent);
    assert_eq!(view.attempts, 1);
    let taken = bench.mail.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].from.as_str(), taken[0].to.as_slice()),
        ("a@x.example", &["c@d.example", "e@d.example"].map(str::to_owned)[..])
    );
    assert!(taken[0].octets.contains(&format!("Message-ID: {}\r\n", view.message_id)));
    assert!(taken[0].octets.ends_with("\r\n\r\ntext\r\n"));
    let attempt = view.last_attempt.unwrap();
    assert_eq!(attempt.server, "mx.example:587");
    assert_eq!(attempt.outcome, "sent: 250 2.0.0 queued");
    assert!(attempt.transcript.iter().any(|line| line.contains("MAIL FROM")));
    assert_eq!(view.recipients[0].reply.as_ref().map(|reply| reply.code), Some(250));
    let types: Vec<_> = bench.events().await.iter().map(|event| event.event_type).collect();
    assert_eq!(types, [EventType::MessageQueued, EventType::MessageSent]);
    assert_eq!(bench.store.body(id).await.unwrap(), None, "the octets of sent mail go");
}

#[tokio::test(start_paused = true)]
async fn one_connection_takes_many_messages_and_ends_when_it_idles() {
    let bench = Bench::plain().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bench.send(&["c@d.example"]).await);
    }
    for id in ids {
        assert_eq!(bench.wait(id).await.state, MessageState::Sent);
    }
    assert_eq!(bench.mail.state().connections, 1);
    bench.pass(s(20)).await;
    bench.send(&["c@d.example"]).await;
    bench.pass(s(25)).await;
    assert_eq!((bench.mail.taken().len(), bench.mail.state().open), (21, 1));
    bench.pass(s(31)).await;
    let state = bench.mail.state();
    assert_eq!((state.connections, state.open), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn connections_and_messages_on_each_stay_within_the_profiles_limits() {
    let limits = |p: &mut Profile| {
        p.default = true;
        let smtp = p.smtp.as_mut().unwrap();
        smtp.max_connections = 3;
        smtp.max_messages_per_connection = 10;
    };
    let bench = Bench::start([profile("main", limits)]).await;
    bench.mail.always("DOT", Act::Wait(s(1)));
    for _ in 0..60 {
        bench.send(&["c@d.example"]).await;
    }
    bench.pass(s(30)).await;
    let state = bench.mail.state();
    assert_eq!(state.taken.len(), 60);
    assert_eq!(state.most_open, 3);
    assert!(state.connections >= 6, "{}", state.connections);
}

#[tokio::test(start_paused = true)]
async fn a_minute_has_no_more_messages_than_the_profile_allows() {
    let limits = |p: &mut Profile| {
        p.default = true;
        p.smtp.as_mut().unwrap().messages_per_minute = Some(10);
    };
    let bench = Bench::start([profile("main", limits)]).await;
    for _ in 0..30 {
        bench.send(&["c@d.example"]).await;
    }
    bench.pass(s(59)).await;
    let first = bench.mail.taken().len();
    assert!((8..=10).contains(&first), "{first}");
    bench.pass(s(200)).await;
    assert_eq!(bench.mail.taken().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_busy_profile_does_not_keep_another_waiting() {
    let bench = Bench::start([profile("busy", |p| p.default = true), profile("quick", |_| {})]).await;
    bench.mail.always("DOT", Act::Wait(s(5)));
    for _ in 0..50 {
        bench.send(&["c@d.example"]).await;
    }
    bench.pass(s(7)).await;
    let id = bench.submit(SendParams { profile: Some(named("quick")), ..mail(&["q@d.example"]) }).await.unwrap().id;
    bench.pass(s(6)).await;
    assert_eq!(bench.state(id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn urgent_mail_goes_first() {
    let bench = Bench::plain().await;
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let params = SendParams { priority: Some(priority), ..mail(&[&format!("{priority}@d.example")]) };
        bench.submit(params).await.unwrap();
    }
    bench.queue.resume(&named("main")).await.unwrap();
    bench.pass(s(1)).await;
    let order: Vec<_> = bench.mail.taken().into_iter().map(|taken| taken.to[0].clone()).collect();
    assert_eq!(order, ["high@d.example", "normal@d.example", "low@d.example"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_recipient_does_not_keep_the_others_from_their_mail() {
    let bench = Bench::plain().await;
    bench.mail.always("RCPT TO:<bad@", Act::Say("550 5.1.1 no such user"));
    bench.mail.on("RCPT TO:<later@", Act::Say("450 4.2.1 greylisted"), 1);
    let id = bench.send(&["bad@d.example", "good@d.example", "later@d.example"]).await;
    bench.pass(s(5)).await;
    let view = bench.view(id).await;
    assert_eq!(view.state, MessageState::Deferred);
    let states: Vec<_> = view.recipients.iter().map(|r| r.state).collect();
    assert_eq!(states, [RecipientState::Failed, RecipientState::Sent, RecipientState::Pending]);
    assert_eq!(view.consumed_age_s, 75.min(view.consumed_age_s).max(45));
    bench.pass(s(80)).await;
    let view = bench.view(id).await;
    assert_eq!((view.state, view.attempts), (MessageState::Partial, 2));
    let to: Vec<_> = bench.mail.taken().into_iter().map(|taken| taken.to).collect();
    assert_eq!(to, [vec!["good@d.example".to_owned()], vec!["later@d.example".to_owned()]]);
    let failed = bench.told(EventType::MessageFailed).await;
    assert_eq!(failed.len(), 1);
    assert!(failed[0].data["recipients"].to_string().contains("550 5.1.1 no such user"), "{failed:?}");
    assert_eq!(bench.told(EventType::MessageDeferred).await.len(), 1);
    assert!(bench.store.body(id).await.unwrap().is_some(), "somebody may ask what was refused");
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_fails_with_the_servers_words() {
    let bench = Bench::plain().await;
    bench.mail.always("DOT", Act::Say("554 5.7.1 looks like spam"));
    let id = bench.send(&["c@d.example"]).await;
    let view = bench.wait(id).await;
    assert_eq!(view.state, MessageState::Failed);
    assert_eq!(view.recipients[0].reply.as_ref().map(|reply| reply.text.as_str()), Some("looks like spam"));
    assert!(view.last_attempt.unwrap().outcome.contains("looks like spam"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_put_off_waits_longer_each_time_and_ends_after_five_days() {
    let bench = Bench::plain().await;
    bench.mail.always("MAIL", Act::Say("451 4.3.0 try later"));
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(4 * DAY)).await;
    assert_eq!(bench.state(id).await, MessageState::Deferred);
    bench.pass(s(DAY + 4000)).await;
    let view = bench.view(id).await;
    assert_eq!(view.state, MessageState::Expired);
    assert!((120..200).contains(&view.attempts), "{}", view.attempts);
    assert_eq!(bench.told(EventType::MessageExpired).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_closed_meanwhile_costs_nothing() {
    let bench = Bench::plain().await;
    let first = bench.send(&["c@d.example"]).await;
    bench.wait(first).await;
    bench.mail.on("RSET", Act::Close, 1);
    bench.mail.on("MAIL", Act::Close, 1);
    let second = bench.send(&["c@d.example"]).await;
    let view = bench.wait(second).await;
    assert_eq!((view.state, view.attempts), (MessageState::Sent, 1));
    assert_eq!(bench.mail.state().connections, 2);
    assert_eq!(bench.reasons("main"), []);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_waits_for_its_time() {
    let bench = Bench::plain().await;
    let at = bench.clock.wall() + jiff::SignedDuration::from_secs(7200);
    let receipt = bench.submit(SendParams { send_at: Some(at), ..mail(&["c@d.example"]) }).await.unwrap();
    assert_eq!(receipt.state, MessageState::Scheduled);
    bench.pass(s(7100)).await;
    assert_eq!(bench.state(receipt.id).await, MessageState::Scheduled);
    bench.pass(s(101)).await;
    assert_eq!(bench.state(receipt.id).await, MessageState::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_deliveries_finish_and_begins_no_other() {
    let bench = Bench::plain().await;
    bench.mail.always("DOT", Act::Wait(s(10)));
    let first = bench.send(&["c@d.example"]).await;
    let second = bench.send(&["c@d.example"]).await;
    bench.pass(s(2)).await;
    let began = bench.clock.now();
    bench.queue.stop(s(60)).await;
    let took = bench.clock.now().since(began);
    assert!(took >= s(7) && took < s(15), "{took:?}");
    let mut states = [bench.state(first).await, bench.state(second).await];
    states.sort();
    assert_eq!(states, [MessageState::Queued, MessageState::Sent]);
    assert!(matches!(bench.submit(mail(&["c@d.example"])).await, Err(SubmitError::Stopping)));
    let bench = bench.crash().await;
    assert_eq!(bench.wait(first).await.state, MessageState::Sent);
    assert_eq!(bench.wait(second).await.state, MessageState::Sent);
    assert_eq!(bench.mail.taken().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_waits_no_longer_and_what_was_not_at_the_dot_is_not_sent() {
    let bench = Bench::plain().await;
    bench.mail.always("DATA", Act::Wait(s(30)));
    let id = bench.send(&["c@d.example"]).await;
    bench.pass(s(1)).await;
    let (queue, skipper, clock) = (bench.queue.clone(), bench.queue.clone(), bench.clock.clone());
    let stopping = tokio::spawn(async move {
        queue.stop(s(60)).await;
        clock.now()
    });
    bench.pass(s(1)).await;
    let now = bench.clock.now();
    skipper.skip_drain();
    assert!(stopping.await.unwrap().since(now) < s(1));
    bench.pass(s(60)).await;
    assert_eq!(bench.mail.taken().len(), 0);
    bench.mail.forget_rules();
    let bench = bench.crash().await;
    assert_eq!(bench.wait(id).await.state, MessageState::Sent);
    assert_eq!(bench.told(EventType::MessageInDoubt).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_busy_profiles_than_connections_all_get_their_turn() {
    let names: Vec<String> = (0..264).map(|i| format!("p{i}")).collect();
    let bench = Bench::start(names.iter().map(|name| profile(name, |_| {}))).await;
    bench.mail.always("DOT", Act::Wait(s(1)));
    for _ in 0..12 {
        for name in &names {
            let to = format!("{name}@d.example");
            let params = SendParams { profile: Some(named(name)), ..mail(&[&to]) };
            bench.queue.submit(Submit { unlimited: true, ..by(1, params) }).await.unwrap();
        }
    }
    bench.pass(s(14)).await;
    let served: std::collections::BTreeSet<String> =
        bench.mail.taken().into_iter().map(|taken| taken.to[0].clone()).collect();
    assert_eq!(served.len(), names.len());
    assert!(bench.mail.state().most_open <= 256);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_very_many_keeps_a_short_transcript() {
    let bench = Bench::plain().await;
    let to: Vec<String> = (0..900).map(|i| format!("r{i}@d.example")).collect();
    let id = bench.send(&to.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let view = bench.wait(id).await;
    assert_eq!(view.state, MessageState::Sent);
    let transcript = view.last_attempt.unwrap().transcript;
    assert!(transcript.len() <= 201, "{}", transcript.len());
    assert!(transcript.iter().any(|line| line.contains("MAIL FROM")));
    assert!(transcript.last().unwrap().contains("queued"), "{:?}", transcript.last());
}
