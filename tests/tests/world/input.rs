//! What callers give to be sent: nothing in it becomes a command, a header or another message.

use frankd_proto::methods::message::{self, EnvelopeInput, SendParams};
use frankd_proto::{Kind, MessageState};
use frankd_tests::sandbox::smtp::{Fault, Phase, Rule};

use super::harness::*;

#[tokio::test(start_paused = true)]
async fn octets_that_no_mail_may_have_smuggle_nothing() {
    let smuggled =
        "MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: no\r\n\r\nno\r\n.\r\n";
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\0\r\n.\r\n"] {
        let world = World::with(service("alerts")).await;
        let text =
            format!("From: alerts@sandbox.test\nTo: ops@example.org\nSubject: x\n\nbefore{end}{smuggled}after\0\r");
        let outcome = world.call::<message::Send>(raw("alerts", text.as_bytes())).await;
        match outcome {
            Ok(receipt) => {
                world.sent(receipt.id).await;
                let delivered = world.mail.delivered();
                assert_eq!(delivered.len(), 1, "{end:?}");
                assert_eq!(delivered[0].from, SENDER);
                let text = delivered[0].text();
                assert!(text.contains("before") && text.contains("victim@example.org"), "{end:?}: all of it: {text:?}");
                assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{end:?}: {text:?}");
            }
            Err(error) => assert_eq!(error.kind(), Kind::MessageInvalid, "{end:?}: {error:?}"),
        }
        assert_eq!(world.mail.delivered_to("victim@example.org").len(), 0, "{end:?}");
        assert_eq!(world.mail.offences(), Vec::<String>::new(), "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn line_ends_in_a_field_are_refused_by_the_fields_name_and_nothing_is_queued() {
    let world = World::with(service("alerts")).await;
    let evil = "x\r\nBcc: victim@example.org";
    let with = |change: &dyn Fn(&mut message::Compose)| {
        let mut params = mail("alerts");
        if let Some(compose) = &mut params.message {
            change(compose);
        }
        params
    };
    let cases: [(&str, SendParams); 6] = [
        ("subject", with(&|compose| compose.subject = Some(evil.to_owned()))),
        ("from", with(&|compose| compose.from = Some(format!("a@sandbox.test{evil}")))),
        ("to", with(&|compose| compose.to.push(format!("a@sandbox.test{evil}")))),
        ("reply_to", with(&|compose| compose.reply_to.push(format!("a@sandbox.test{evil}")))),
        ("headers", with(&|compose| drop(compose.headers.insert("X-Note".to_owned(), evil.to_owned())))),
        (
            "envelope",
            SendParams {
                envelope: Some(EnvelopeInput { from: None, to: Some(vec![format!("a@sandbox.test>{evil}")]) }),
                ..mail("alerts")
            },
        ),
    ];
    for (field, params) in cases {
        let error = world.call::<message::Send>(params).await.unwrap_err();
        let named = error.data.field.clone().unwrap_or_default();
        assert!(named.contains(field), "{field}: {error:?}");
    }
    world.pass(s(5)).await;
    assert_eq!((world.queue("alerts").await.waiting, world.mail.delivered_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn ten_megabytes_through_a_slow_wire_arrive_whole_while_other_mail_goes_on() {
    let world = World::with(service("alerts")).await;
    world.mail.misbehave(Rule::once(Phase::Body, Fault::throttle(200_000)));
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n";
    let mut text = "From: alerts@sandbox.test\r\nTo: ops@example.org\r\nSubject: large\r\n\r\n".to_owned();
    text.push_str(&line.repeat(10_000_000 / line.len()));
    let large = world.send(raw("alerts", text.as_bytes())).await.id;
    world.pass(s(5)).await;
    assert_eq!(world.state(large).await.0, MessageState::Sending);
    let small = world.send(mail("alerts")).await.id;
    world.sent(small).await;
    assert_eq!(world.state(large).await.0, MessageState::Sending, "the small one did not wait for it");
    let view = world.sent(large).await;
    assert_eq!((view.attempts, view.size_bytes >= 9_999_000), (1, true));
    assert!(world.mail.delivered()[1].octets.ends_with(&text.as_bytes()[100..]));
}
