//! Slot changes where the keeper's tests do not reach.

use std::time::Duration;

use frankd_proto::ProfileId;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn arrival(refresh_token: Option<&str>) -> Arrival {
    Arrival {
        answer: TokenAnswer {
            access_token: Secret::new("a"),
            expires_in: Some(Duration::from_secs(3600)),
            refresh_in: None,
            refresh_token: refresh_token.map(Secret::new),
            refresh_expires_in: None,
            scopes: None,
            account: None,
            warnings: Vec::new(),
        },
        sent_at: at(0),
        identity: SlotIdentity {
            token_endpoint: "https://as/token".to_owned(),
            client_id: "c".to_owned(),
            issuer: None,
            scopes: vec!["mail".to_owned()],
            audience_host: None,
        },
    }
}

fn granted() -> TokenSlot {
    let mut first = arrival(Some("r1"));
    first.answer.account = Some("me@example.org".to_owned());
    first.answer.scopes = Some(vec!["mail".to_owned(), "extra".to_owned()]);
    first.answer.refresh_expires_in = Some(Duration::from_secs(86_400));
    adopted(&empty(ProfileId::from_bits(1)), &first, at(0))
}

#[test]
fn every_change_raises_the_version_and_new_tokens_the_generation() {
    let slot = granted();
    assert_eq!((expected(&empty(ProfileId::from_bits(1))), slot.version, slot.generation), (None, 1, 1));
    let intent = intended(&slot, "f".to_owned(), at(1));
    assert_eq!((intent.version, intent.generation, intent.intent.as_ref().map(|i| i.attempt)), (2, 1, Some(1)));
    let again = intended(&intent, "f".to_owned(), at(2));
    assert_eq!(again.intent.as_ref().map(|i| i.attempt), Some(2));
    let next = refreshed(&again, &arrival(None), With::Current);
    assert_eq!((next.version, next.generation, next.intent), (4, 2, None));
}

#[test]
fn a_refresh_that_tells_less_keeps_what_is_known() {
    let mut second = arrival(None);
    second.sent_at = at(1000);
    let tokens = refreshed(&granted(), &second, With::Current).tokens.unwrap();
    assert_eq!(tokens.refresh_token, Some(Secret::new("r1")));
    assert_eq!(tokens.refresh_obtained_at, Some(at(0)));
    assert_eq!(tokens.refresh_expires_at, Some(at(86_400)));
    assert_eq!(tokens.account.as_deref(), Some("me@example.org"));
    assert_eq!(tokens.scopes, ["mail", "extra"]);
    assert_eq!(tokens.obtained_at, at(1000));
}

#[test]
fn a_server_that_repeats_the_refresh_token_did_not_rotate_it() {
    let tokens = refreshed(&granted(), &arrival(Some("r1")), With::Current).tokens.unwrap();
    assert_eq!((tokens.previous_refresh_token, tokens.refresh_obtained_at), (None, Some(at(0))));
    let tokens = refreshed(&granted(), &arrival(Some("r2")), With::Current).tokens.unwrap();
    assert_eq!(tokens.previous_refresh_token, Some(Secret::new("r1")));
}

#[test]
fn the_previous_refresh_token_takes_the_place_of_one_that_is_refused() {
    let rotated = refreshed(&granted(), &arrival(Some("r2")), With::Current);
    let identity = arrival(None).identity;
    assert_eq!(refresh_token(&rotated, With::Previous, &identity), Some(&Secret::new("r1")));
    let saved = refreshed(&rotated, &arrival(None), With::Previous).tokens.unwrap();
    assert_eq!(saved.refresh_token, Some(Secret::new("r1")));
}

#[test]
fn a_client_of_its_own_has_no_refresh_token_whatever_it_is_given() {
    let tokens = issued(&empty(ProfileId::from_bits(1)), &arrival(Some("r1"))).tokens.unwrap();
    assert_eq!((tokens.refresh_token, tokens.refresh_obtained_at), (None, None));
    assert_eq!(tokens.scopes, ["mail"], "as asked, where the answer names none");
}

#[test]
fn an_identity_takes_only_its_own_tokens_back() {
    let mine = arrival(None).identity;
    let other = SlotIdentity { client_id: "d".to_owned(), ..mine.clone() };
    let slot = granted();
    assert_eq!(identified(&slot, &mine, at(1)), None);
    let aside = identified(&slot, &other, at(1)).unwrap();
    assert_eq!((aside.tokens.as_ref(), aside.quarantined.len()), (None, 1));
    assert_eq!(identified(&aside, &other, at(2)), None);
    let back = identified(&aside, &mine, at(2)).unwrap();
    assert_eq!((back.tokens, back.generation), (slot.tokens, slot.generation + 2));
}
