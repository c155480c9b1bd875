//! What is taken, what is refused, and by which name.

use futures::StreamExt as _;

use super::*;
use frankd_proto::methods::message::{Attachment, EnvelopeInput};
use frankd_proto::{Kind, RpcError};

async fn refused(bench: &Bench, params: SendParams) -> (Kind, Option<String>) {
    let error = bench.submit(params).await.unwrap_err();
    (error.kind(), error.field().map(str::to_owned))
}

/// A message in pieces of seven octets.
fn pieces(text: impl AsRef<str>) -> Pieces {
    let all: Vec<_> = text.as_ref().as_bytes().chunks(7).map(|piece| Ok(piece.to_vec())).collect();
    futures::stream::iter(all).boxed()
}

async fn waiting(bench: &Bench) -> u64 {
    bench.queue.summary().await.unwrap().waiting
}

/// A queue that takes mail and sends none.
async fn shut() -> Bench {
    let bench = Bench::plain().await;
    bench.queue.pause(&named("main"), None, None).await.unwrap();
    bench
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_and_time_make_the_same_octets_twice() {
    let parts = |params: &mut SendParams| {
        let message = params.message.as_mut().unwrap();
        message.html = Some("<p>Grüße</p>".to_owned());
        message.attachments =
            vec![Attachment { name: "a.bin".to_owned(), content_type: None, content_b64: "AAEC".to_owned() }];
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let bench = shut().await;
        let mut params = mail(&["c@d.example"]);
        parts(&mut params);
        let receipt = bench.submit(params).await.unwrap();
        seen.push((receipt.message_id, bench.queue.raw(receipt.id, Scope::All).await.unwrap()));
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].0.ends_with("@x.example>"), "{}", seen[0].0);
}

#[tokio::test(start_paused = true)]
async fn raw_mail_arrives_as_given_but_for_its_bcc() {
    let bench = Bench::plain().await;
    let body = ".leading dot\r\n..two\r\n\r\nGrüße\r\n";
    let given = format!(
        "From: A <a@x.example>\r\nTo: c@d.example\r\nBcc: hidden@d.example\r\nSubject: =?utf-8?q?S?=\r\n\
         Date: Mon, 23 Nov 2026 08:00:00 +0100\r\nMessage-ID: <own@x.example>\r\nX-Odd:   spaces\r\n\tkept \r\n\r\n{body}"
    );
    let id = bench.submit(raw(&given)).await.unwrap().id;
    assert_eq!(bench.wait(id).await.message_id, "<own@x.example>");
    let taken = &bench.mail.taken()[0];
    assert_eq!(taken.octets, given.replace("Bcc: hidden@d.example\r\n", ""));
    assert_eq!(taken.to, ["c@d.example", "hidden@d.example"]);
}

#[tokio::test(start_paused = true)]
async fn octets_beside_the_parameters_are_the_same_message() {
    let bench = shut().await;
    let text = "From: a@x.example\nTo: c@d.example\n\nhello";
    let receipt = bench.queue.submit_raw(by(1, SendParams::default()), pieces(text)).await.unwrap();
    let octets = String::from_utf8(bench.queue.raw(receipt.id, Scope::All).await.unwrap()).unwrap();
    assert!(octets.ends_with("From: a@x.example\r\nTo: c@d.example\r\n\r\nhello\r\n"), "{octets}");
    let both = bench.queue.submit_raw(by(1, mail(&["c@d.example"])), pieces(text)).await.unwrap_err();
    assert_eq!((both.kind(), both.field()), (Kind::InvalidParams, Some("message")));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_off_or_is_malformed_leaves_nothing() {
    let bench = shut().await;
    let text = "From: a@x.example\r\nTo: c@d.example\r\n\r\nhello\r\n";
    let broken = RpcError::new(Kind::InvalidRequest, "the body broke off");
    let cut = futures::stream::iter([Ok(text.as_bytes().to_vec()), Err(broken.clone())]).boxed();
    let error = bench.queue.submit_raw(by(1, SendParams::default()), cut).await.unwrap_err();
    assert_eq!(RpcError::from(error).message, broken.message);
    let malformed = bench.queue.submit_raw(by(1, SendParams::default()), pieces(format!("{text}\0more"))).await;
    assert_eq!(malformed.unwrap_err().kind(), Kind::MessageInvalid);
    bench.settings(|settings| settings.limits.message_bytes = 40);
    let long = bench.queue.submit_raw(by(1, SendParams::default()), pieces(text)).await.unwrap_err();
    assert!(matches!(long, SubmitError::TooLarge { limit: 40, .. }), "{long:?}");
    assert_eq!(waiting(&bench).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_envelope_goes_before_the_header() {
    let bench = Bench::plain().await;
    let envelope = EnvelopeInput {
        from: Some(String::new()),
        to: Some(vec!["z@d.example".to_owned(), "<z@d.example>".to_owned(), "ü@bücher.example".to_owned()]),
    };
    let params = SendParams { envelope: Some(envelope), ..mail(&["c@d.example"]) };
    let id = bench.submit(params).await.unwrap().id;
    bench.wait(id).await;
    let taken = &bench.mail.taken()[0];
    assert_eq!(taken.from, "");
    assert_eq!(taken.to, ["z@d.example", "ü@xn--bcher-kva.example"], "each once");
}

#[tokio::test(start_paused = true)]
async fn one_bad_address_refuses_the_whole_list_and_nothing_is_queued() {
    let bench = shut().await;
    let bad = "not an address";
    let list = ["a@d.example", "b@d.example", bad];
    assert_eq!(refused(&bench, mail(&list)).await, (Kind::MessageBadAddress, Some("message.to[2]".to_owned())));
    let envelope = |from: Option<&str>, to: &[&str]| SendParams {
        envelope: Some(EnvelopeInput {
            from: from.map(str::to_owned),
            to: Some(to.iter().map(|text| (*text).to_owned()).collect()),
        }),
        ..mail(&["c@d.example"])
    };
    for (params, field) in [
        (envelope(None, &list), "envelope.to[2]"),
        (envelope(Some("x\r\nRCPT TO:<y@d.example>"), &["a@d.example"]), "envelope.from"),
        (envelope(None, &["a@d.example\r\nDATA"]), "envelope.to[0]"),
        (envelope(None, &["A <a@d.example>"]), "envelope.to[0]"),
        (raw("From: a@x.example\r\nTo: ok@d.example, bad\r\n\r\n"), "raw_b64"),
    ] {
        assert_eq!(refused(&bench, params).await, (Kind::MessageBadAddress, Some(field.to_owned())));
    }
    assert_eq!(waiting(&bench).await, 0);
    assert_eq!(bench.told(EventType::MessageQueued).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_by_field() {
    let bench = shut().await;
    let now = bench.clock.wall();
    let many: Vec<String> = (0..1001).map(|i| format!("r{i}@d.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (params, kind, field) in [
        (SendParams::default(), Kind::InvalidParams, "message"),
        (SendParams { raw_b64: Some("!".to_owned()), ..SendParams::default() }, Kind::MessageInvalid, "raw_b64"),
        (SendParams { raw_b64: Some("eA==".to_owned()), ..mail(&["c@d.example"]) }, Kind::InvalidParams, "message"),
        (mail(&[]), Kind::MessageInvalid, "message.to"),
        (mail(&many), Kind::MessageInvalid, "message.to"),
        (raw("From: a@x.example\r\n\r\nnobody"), Kind::MessageInvalid, "raw_b64"),
        (raw("From: a@x.example\r\nTo: c@d.example\r\n\r\nnul\0"), Kind::MessageInvalid, "raw_b64"),
        (SendParams { expires_in_s: Some(0), ..mail(&["c@d.example"]) }, Kind::InvalidParams, "expires_in_s"),
        (SendParams { expires_in_s: Some(u64::MAX), ..mail(&["c@d.example"]) }, Kind::InvalidParams, "expires_in_s"),
        (SendParams { send_in_s: Some(u64::MAX), ..mail(&["c@d.example"]) }, Kind::InvalidParams, "send_in_s"),
        (
            SendParams { send_in_s: Some(1), send_at: Some(now), ..mail(&["c@d.example"]) },
            Kind::InvalidParams,
            "send_in_s",
        ),
        (
            SendParams { idempotency_key: Some("a b".to_owned()), ..mail(&["c@d.example"]) },
            Kind::InvalidParams,
            "idempotency_key",
        ),
        (
            SendParams { idempotency_key: Some("x".repeat(129)), ..mail(&["c@d.example"]) },
            Kind::InvalidParams,
            "idempotency_key",
        ),
        (SendParams { profile: Some(named("nobody")), ..mail(&["c@d.example"]) }, Kind::ObjectNotFound, "profile"),
    ] {
        let error = bench.submit(params).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (kind, Some(field)), "{error}");
    }
    assert_eq!(waiting(&bench).await, 0);
    let past = SendParams { send_at: Some(now - jiff::SignedDuration::from_secs(5)), ..mail(&["c@d.example"]) };
    assert!(bench.submit(past).await.is_ok(), "a time that is past means now");
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_refused_with_both_numbers() {
    let bench = shut().await;
    bench.settings(|settings| settings.limits.message_bytes = 5000);
    let small = format!("From: a@x.example\r\nTo: c@d.example\r\n\r\n{}", "x\r\n".repeat(1000));
    assert!(bench.submit(raw(&small)).await.is_ok());
    let large = format!("{small}{}", "x\r\n".repeat(1000));
    let error = bench.submit(raw(&large)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the message has {} octets, the limit is 5000", large.len()));
    let grows = "From: a@x.example\nTo: c@d.example\n\n".to_owned() + &"\n".repeat(3000);
    assert_eq!(bench.submit(raw(&grows)).await.unwrap_err().kind(), Kind::MessageTooLarge, "the size as sent counts");
    let mut parts = mail(&["c@d.example"]);
    parts.message.as_mut().unwrap().attachments =
        vec![Attachment { name: "a".to_owned(), content_type: None, content_b64: "AAAA".repeat(1500) }];
    assert_eq!(bench.submit(parts).await.unwrap_err().kind(), Kind::MessageTooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_distance_in_time_is_the_same_call_whenever_it_is_repeated() {
    let bench = Bench::plain().await;
    let later = || SendParams {
        send_in_s: Some(7200),
        expires_in_s: Some(600),
        idempotency_key: Some("job-8".to_owned()),
        ..mail(&["c@d.example"])
    };
    let now = bench.clock.wall();
    let first = bench.submit(later()).await.unwrap();
    bench.pass(super::s(60)).await;
    let again = bench.submit(later()).await.unwrap();
    assert_eq!((again.id, again.duplicate), (first.id, true));
    let view = bench.view(first.id).await;
    let at = |seconds| Some(now + jiff::SignedDuration::from_secs(seconds));
    assert_eq!((view.send_at, view.expires_at), (at(7200), at(7800)), "counted from the first call");
}

#[tokio::test(start_paused = true)]
async fn the_same_key_gives_the_same_receipt_and_one_delivery() {
    let bench = Bench::plain().await;
    let keyed = |text: &str| {
        let mut params = SendParams { idempotency_key: Some("job-7".to_owned()), ..mail(&["c@d.example"]) };
        params.message.as_mut().unwrap().text = Some(text.to_owned());
        params
    };
    let first = bench.submit(keyed("one")).await.unwrap();
    let again = bench.submit(keyed("one")).await.unwrap();
    assert_eq!((again.id, again.message_id, again.duplicate), (first.id, first.message_id, true));
    bench.wait(first.id).await;
    let late = bench.submit(keyed("one")).await.unwrap();
    assert_eq!((late.id, late.state), (first.id, MessageState::Sent));
    assert_eq!(
        refused(&bench, keyed("two")).await,
        (Kind::MessageIdempotencyConflict, Some("idempotency_key".to_owned()))
    );
    let other = bench.queue.submit(by(2000, keyed("two"))).await.unwrap();
    assert!(!other.duplicate, "a key is the caller's own");
    bench.wait(other.id).await;
    let bench = bench.crash().await;
    assert_eq!(bench.submit(keyed("one")).await.unwrap().id, first.id);
    assert_eq!(bench.mail.taken().len(), 2);
    let raw_keyed =
        |text: &str| (SendParams { idempotency_key: Some("raw".to_owned()), ..SendParams::default() }, text.to_owned());
    let (params, body) = raw_keyed("From: a@x.example\nTo: c@d.example\n\nx");
    let first = bench.queue.submit_raw(by(1, params), pieces(body)).await.unwrap();
    let (params, body) = raw_keyed("From: a@x.example\nTo: c@d.example\n\ny");
    assert!(matches!(bench.queue.submit_raw(by(1, params), pieces(body)).await, Err(SubmitError::IdempotencyConflict)));
    assert!(!first.duplicate);
}

#[tokio::test(start_paused = true)]
async fn the_queue_and_ones_share_of_it_have_an_end() {
    let bench = shut().await;
    bench.settings(|settings| settings.queue.messages = 20);
    for _ in 0..2 {
        bench.send(&["c@d.example"]).await;
    }
    let error = bench.submit(mail(&["c@d.example"])).await.unwrap_err();
    assert_eq!(error.to_string(), "your share of the queue is used up: 2 messages");
    assert_eq!(error.kind(), Kind::QueueFull);
    for _ in 0..18 {
        let unlimited = Submit { unlimited: true, ..by(1, mail(&["c@d.example"])) };
        bench.queue.submit(unlimited).await.unwrap();
    }
    let error = bench.queue.submit(Submit { unlimited: true, ..by(1, mail(&["c@d.example"])) }).await.unwrap_err();
    assert_eq!(error.to_string(), "the queue is full: 20 messages");
    bench.queue.cancel(whole("main"), Scope::Own(1000)).await.unwrap();
    assert!(bench.submit(mail(&["c@d.example"])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_mail_is_taken_when_the_disk_is_nearly_full() {
    let bench = shut().await;
    bench.store.set_free_bytes(Some(100 * 1024 * 1024));
    let error = bench.submit(mail(&["c@d.example"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::QueueFull);
    assert!(error.to_string().contains("104857600"), "{error}");
    bench.pass(s(200)).await;
    assert_eq!(bench.told(EventType::StoreLowSpace).await.len(), 1);
    bench.store.set_free_bytes(Some(1 << 40));
    assert!(bench.submit(mail(&["c@d.example"])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_caller_sends_only_as_its_rules_say() {
    let bench = Bench::start([
        profile("main", |p| p.default = true),
        profile("other", |p| p.from = Some("o@y.example".into())),
    ])
    .await;
    let allowed = Allowed { profiles: Some(vec![named("main")]), from: Some(vec!["*@x.example".to_owned()]) };
    let send = |params: SendParams| {
        let submit = Submit { allowed: allowed.clone(), ..by(1, params) };
        let queue = bench.queue.clone();
        async move { queue.submit(submit).await.map(|receipt| receipt.profile).map_err(|error| error.kind()) }
    };
    assert_eq!(send(mail(&["c@d.example"])).await, Ok(named("main")));
    let denied = Err(Kind::AccessSenderNotAllowed);
    assert_eq!(send(SendParams { profile: Some(named("other")), ..mail(&["c@d.example"]) }).await, denied);
    let envelope = EnvelopeInput { from: Some("boss@y.example".to_owned()), to: None };
    assert_eq!(send(SendParams { envelope: Some(envelope), ..mail(&["c@d.example"]) }).await, denied);
    for header in
        ["From: boss@y.example", "From: a@x.example, boss@y.example", "From: a@x.example\nSender: boss@y.example"]
    {
        assert_eq!(send(raw(&format!("{header}\nTo: c@d.example\n\n"))).await, denied, "{header}");
    }
    let own =
        SendParams { profile: Some(named("other")), message: mail(&["c@d.example"]).message, ..SendParams::default() };
    let mut own = own;
    own.message.as_mut().unwrap().from = None;
    let receipt = bench.submit(own).await.unwrap();
    bench.wait(receipt.id).await;
    let taken = bench.mail.taken();
    let last = taken.iter().find(|taken| taken.octets.contains(&receipt.message_id)).unwrap();
    assert_eq!(last.from, "o@y.example", "the profile's own address where the message has none");
}
