//! Tables and properties of the refresh machine.

#![expect(clippy::unchecked_time_subtraction, reason = "the moments of these tests are in order")]

use proptest::prelude::*;

use super::super::life::Life;
use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const T: Boot = s(1_000_000);

fn holding(generation: u64, now: Boot, life: u64) -> Holding {
    Holding {
        generation,
        life: Life::new(s(life), None),
        expires: now + s(life),
        refresh_in: None,
        refresh_life: None,
        refresh_token: true,
        previous: false,
        doubtful: false,
    }
}

fn setback(class: TokenClass) -> Setback {
    Setback {
        class,
        retry_after: None,
        refusal: !matches!(class, TokenClass::Retry | TokenClass::RetryAtOnce),
        excused: false,
        local: false,
    }
}

/// A machine with an hour-long token of generation 1, at `T`.
fn hourly(previous: bool) -> RefreshMachine {
    let mut machine = RefreshMachine::new(true);
    let holding = Holding { previous, ..holding(1, T, 3600) };
    machine.handle_found(T, &Found { holding: Some(holding), ..Found::default() }, 0.0);
    machine
}

/// Waits until the machine wants something, begins it, and gives when and what.
fn begin(machine: &mut RefreshMachine, now: Boot) -> (Boot, Order) {
    let at = machine.poll_timeout().expect("nothing is due").max(now);
    let order = machine.poll(at).expect("due, and yet nothing to do");
    machine.handle_started(at, order);
    assert_eq!(machine.poll(at), None, "two at once");
    assert_eq!(machine.poll_timeout(), None);
    (at, order)
}

fn fail(machine: &mut RefreshMachine, now: Boot, class: TokenClass) -> (Boot, Order, Verdict) {
    let (at, order) = begin(machine, now);
    let verdict = machine.handle_failure(at, setback(class), 0.5);
    (at, order, verdict)
}

#[test]
fn a_token_is_refreshed_by_its_schedule_and_again_and_again() {
    let mut machine = hourly(false);
    let mut now = T;
    for generation in 2..6 {
        let (at, order) = begin(&mut machine, now);
        assert_eq!(at - now, s(2400));
        assert_eq!(order, Order { with: With::Current, at_once: false, early: false });
        machine.handle_answer(at, holding(generation, at, 3600), 0.0);
        assert_eq!(machine.trouble(), None);
        now = at;
    }
}

#[test]
fn back_off_doubles_within_its_caps() {
    for (wanted, expired, longest) in [(false, false, 300), (true, false, 60), (false, true, 900), (true, true, 60)] {
        let mut machine = hourly(false);
        let mut now = if expired { T + s(4000) } else { T };
        let mut waits = Vec::new();
        for _ in 0..14 {
            if wanted {
                machine.handle_demand(now);
            }
            let (at, _) = begin(&mut machine, now);
            if !expired {
                machine.holding = Some(holding(1, at, 3600));
            }
            machine.handle_failure(at, setback(TokenClass::Retry), 1.0);
            if wanted {
                machine.handle_demand(at);
            }
            waits.push((machine.next_due().unwrap() - at).as_secs());
            now = at;
        }
        assert_eq!(waits[..3], [2, 4, 8]);
        assert_eq!(waits[13], longest, "{wanted} {expired}");
        assert_eq!(machine.trouble(), Some(Trouble::Retrying));
    }
}

#[test]
fn a_demand_shortens_a_long_wait_but_not_the_servers() {
    let mut machine = hourly(false);
    let (mut now, _) = begin(&mut machine, T);
    machine.failures = 12;
    machine.handle_failure(now, setback(TokenClass::Retry), 1.0);
    assert_eq!(machine.next_due(), Some(now + s(300)));
    machine.handle_demand(now + s(10));
    assert_eq!(machine.next_due(), Some(now + s(60)));
    (now, _) = begin(&mut machine, now);
    let throttled = Setback { retry_after: Some(s(1200)), ..setback(TokenClass::Retry) };
    machine.handle_failure(now, throttled, 0.0);
    machine.handle_demand(now);
    assert_eq!(machine.next_due(), Some(now + s(1200)));
    assert_eq!(machine.handle_forced(now + s(5)), Err(Obstacle::NotBefore(now + s(1200))));
    assert_eq!(machine.poll(now + s(1199)), None);
    assert!(machine.poll(now + s(1200)).is_some());
}

#[test]
fn a_retry_after_of_a_year_is_an_hour() {
    let mut machine = hourly(false);
    let (now, _) = begin(&mut machine, T);
    let absurd = Setback { retry_after: Some(s(31_536_000)), ..setback(TokenClass::Retry) };
    machine.handle_failure(now, absurd, 0.0);
    assert_eq!(machine.next_due(), Some(now + s(3600)));
}

#[test]
fn a_lost_answer_is_asked_for_again_at_once_one_time() {
    let mut machine = hourly(false);
    let (now, first, _) = fail(&mut machine, T, TokenClass::RetryAtOnce);
    assert!(!first.at_once);
    let (again, second, _) = fail(&mut machine, now, TokenClass::RetryAtOnce);
    assert_eq!((again, second.with, second.at_once), (now, With::Current, true));
    let (third, order) = begin(&mut machine, now);
    assert!(third >= now + s(1) && !order.at_once, "then by the back-off");
}

#[test]
fn an_intent_found_at_the_start_goes_first() {
    for interactive in [true, false] {
        let mut machine = RefreshMachine::new(interactive);
        let found = Found { holding: interactive.then(|| holding(3, T, 3600)), intent: true, ..Found::default() };
        machine.handle_found(T, &found, 0.9);
        assert_eq!(machine.poll(T), Some(Order { with: With::Current, at_once: true, early: false }));
    }
}

#[test]
fn a_fresh_token_is_left_alone_at_the_start_and_an_expired_one_is_due() {
    let mut machine = hourly(false);
    assert_eq!(machine.poll(T), None);
    let found = Found { holding: Some(holding(1, T - s(4000), 3600)), ..Found::default() };
    machine.handle_found(T, &found, 0.5);
    assert!(machine.poll(T).is_some_and(|order| !order.early && !order.at_once));
}

#[test]
fn invalid_grant_walks_the_four_steps() {
    let mut machine = hourly(true);
    let (first, order, verdict) = fail(&mut machine, T, TokenClass::InvalidGrant);
    assert_eq!((order.with, verdict), (With::Current, Verdict::Failed));
    let (second, order, verdict) = fail(&mut machine, first, TokenClass::InvalidGrant);
    assert_eq!((second, order.with, verdict), (first, With::Previous, Verdict::Failed));
    let (third, order, verdict) = fail(&mut machine, second, TokenClass::InvalidGrant);
    assert!((s(30)..=s(60)).contains(&(third - second)));
    assert_eq!((order.with, verdict), (With::Current, Verdict::Quarantine));
    assert_eq!(machine.trouble(), Some(Trouble::NeedsGrant));
    let mut probes = Vec::new();
    let mut now = third;
    while machine.poll_timeout().is_some() {
        let (at, order, verdict) = fail(&mut machine, now, TokenClass::InvalidGrant);
        assert_eq!((order.with, verdict), (With::Quarantined, Verdict::RefusedAgain));
        probes.push((at - third).as_secs() / 3600);
        now = at;
    }
    assert_eq!(probes[..4], [1, 6, 24, 48]);
    assert_eq!(probes.last(), Some(&(30 * 24)));
    assert_eq!(probes.len(), 32);
}

#[test]
fn the_previous_token_or_the_second_look_may_save_it() {
    let mut machine = hourly(true);
    let (now, ..) = fail(&mut machine, T, TokenClass::InvalidGrant);
    let (at, order) = begin(&mut machine, now);
    assert_eq!(order.with, With::Previous);
    machine.handle_answer(at, holding(2, at, 3600), 0.0);
    assert_eq!((machine.trouble(), machine.failures()), (None, 0));

    let mut machine = hourly(false);
    let (now, ..) = fail(&mut machine, T, TokenClass::InvalidGrant);
    let (now, ..) = fail(&mut machine, now, TokenClass::Retry);
    let (at, order) = begin(&mut machine, now);
    assert_eq!(order.with, With::Current, "no previous one, so the same once more");
    machine.handle_answer(at, holding(2, at, 3600), 0.0);
    assert_eq!(machine.trouble(), None);
}

#[test]
fn a_token_adopted_meanwhile_overtakes_a_failure() {
    let mut machine = hourly(false);
    let (now, _) = begin(&mut machine, T);
    let found = Found { holding: Some(holding(2, now, 3600)), ..Found::default() };
    machine.handle_found(now, &found, 0.0);
    assert!(machine.is_flying(), "the old request is still on its way");
    let verdict = machine.handle_failure(now, setback(TokenClass::InvalidGrant), 0.5);
    assert_eq!((verdict, machine.trouble(), machine.failures()), (Verdict::Overtaken, None, 0));
}

#[test]
fn a_quarantine_survives_a_restart_and_a_failed_probe_is_tried_again_soon() {
    let mut machine = RefreshMachine::new(true);
    let found = Found { refused: Some((1, s(2 * 3600))), failures: 3, ..Found::default() };
    machine.handle_found(T, &found, 0.0);
    assert_eq!(machine.next_due(), Some(T + s(4 * 3600)));
    let (now, _, verdict) = fail(&mut machine, T, TokenClass::Retry);
    assert_eq!(verdict, Verdict::Failed);
    assert!(machine.next_due().unwrap() <= now + s(900), "not counted as a probe");
    assert_eq!(machine.trouble(), Some(Trouble::NeedsGrant));
    machine.handle_forced(now).unwrap();
    let (at, order) = begin(&mut machine, now);
    assert_eq!((at, order.with), (now, With::Quarantined));
    machine.handle_answer(at, holding(5, at, 3600), 0.0);
    assert_eq!(machine.trouble(), None);
}

#[test]
fn a_misconfiguration_is_probed_hourly_and_at_once_when_something_changed() {
    for (class, local, longest) in [
        (TokenClass::InvalidClient, false, 3600),
        (TokenClass::Misconfigured, false, 3600),
        (TokenClass::NeedsAdmin, false, 1800),
        (TokenClass::Misconfigured, true, 60),
    ] {
        let mut machine = hourly(false);
        let (now, _) = begin(&mut machine, T);
        let verdict = machine.handle_failure(now, Setback { local, ..setback(class) }, 0.0);
        assert_eq!((verdict, machine.trouble()), (Verdict::Failed, Some(Trouble::Misconfigured)));
        assert_eq!(machine.next_due(), Some(now + s(longest)));
        machine.handle_demand(now);
        assert_eq!(machine.next_due(), Some(now + s(longest)), "no caller hurries it");
        machine.handle_changed(now + s(1));
        assert!(machine.poll(now + s(1)).is_some());
    }
}

#[test]
fn a_flow_without_refresh_tokens_never_asks_for_a_person() {
    let mut machine = RefreshMachine::new(false);
    machine.handle_found(T, &Found::default(), 0.0);
    let mut now = T;
    for _ in 0..20 {
        let (at, order, verdict) = fail(&mut machine, now, TokenClass::InvalidGrant);
        assert_eq!((order.with, verdict), (With::Current, Verdict::Failed));
        assert_eq!(machine.trouble(), Some(Trouble::Retrying));
        now = at;
    }
}

#[test]
fn without_a_refresh_token_nothing_is_due_until_a_person_grants() {
    let mut machine = RefreshMachine::new(true);
    machine.handle_found(T, &Found::default(), 0.0);
    machine.handle_demand(T);
    assert_eq!((machine.poll_timeout(), machine.trouble()), (None, None));
    assert_eq!(machine.handle_forced(T), Err(Obstacle::NeedsGrant));
}

#[test]
fn ten_early_requests_hold_further_early_ones_and_never_the_schedule() {
    let mut machine = hourly(false);
    let mut now = T;
    for generation in 2..12 {
        now += s(5);
        machine.handle_demand(now);
        let order = machine.poll(now).expect("early");
        assert!(order.early);
        machine.handle_started(now, order);
        machine.handle_answer(now, holding(generation, now, 300), 0.0);
    }
    machine.handle_demand(now);
    assert_eq!(machine.poll(now), None, "held");
    assert!(matches!(machine.handle_forced(now), Err(Obstacle::NotBefore(_))));
    let (at, order) = begin(&mut machine, now);
    assert_eq!((at - now, order.early), (s(120), false), "by its own schedule");
}

#[test]
fn ten_refusals_hold_the_slot_for_fifteen_minutes() {
    let mut machine = hourly(false);
    let (mut now, mut gaps) = (T, Vec::new());
    for _ in 0..11 {
        machine.handle_demand(now);
        let (at, _) = begin(&mut machine, now);
        let refusal = Setback { refusal: true, ..setback(TokenClass::Retry) };
        machine.handle_failure(at, refusal, 0.1);
        gaps.push(at - now);
        now = at;
    }
    assert_eq!(gaps[10], s(900));
}

#[test]
fn a_token_of_unknown_age_is_renewed_now_and_dropped_if_that_fails() {
    let mut machine = RefreshMachine::new(true);
    let found = Found { holding: Some(Holding { doubtful: true, ..holding(1, T, 3600) }), ..Found::default() };
    machine.handle_found(T, &found, 0.0);
    let (at, order, _) = fail(&mut machine, T, TokenClass::Retry);
    assert_eq!((at, order.early), (T, false));
    assert_eq!(machine.holding().map(|holding| holding.expires), Some(T));
}

#[test]
fn failures_without_a_network_after_a_suspend_do_not_count() {
    let mut machine = hourly(false);
    let mut now = T;
    for _ in 0..10 {
        let (at, _) = begin(&mut machine, now);
        let excused = Setback { excused: true, ..setback(TokenClass::Retry) };
        machine.handle_failure(at, excused, 1.0);
        assert_eq!(machine.next_due(), Some(at + s(2)));
        now = at;
    }
    assert_eq!(machine.failures(), 0);
}

#[derive(Clone, Debug)]
enum Feed {
    Wait(u64),
    Answer { life: u64, rotates: bool },
    Fail(TokenClass, Option<u64>),
    Demand,
    Forced,
    Changed,
    Adopted(u64),
}

fn feeds() -> impl Strategy<Value = Vec<Feed>> {
    let class = prop_oneof![
        Just(TokenClass::Retry),
        Just(TokenClass::RetryAtOnce),
        Just(TokenClass::InvalidGrant),
        Just(TokenClass::InvalidClient),
        Just(TokenClass::NeedsAdmin),
        Just(TokenClass::Misconfigured),
    ];
    let feed = prop_oneof![
        3 => (0u64..100_000).prop_map(Feed::Wait),
        2 => (1u64..100_000, any::<bool>()).prop_map(|(life, rotates)| Feed::Answer { life, rotates }),
        4 => (class, proptest::option::of(0u64..10_000)).prop_map(|(class, after)| Feed::Fail(class, after)),
        1 => Just(Feed::Demand),
        1 => Just(Feed::Forced),
        1 => Just(Feed::Changed),
        1 => (1u64..100_000).prop_map(Feed::Adopted),
    ];
    proptest::collection::vec(feed, 1..200)
}

proptest! {
    /// Whatever happens: one request at most; three refusals before a person is asked; something is always due unless a
    /// person must act; and what is due is due within a day.
    #[test]
    fn whatever_happens(interactive: bool, feeds in feeds(), jitter in 0.0f64..1.0) {
        let mut machine = RefreshMachine::new(interactive);
        let (mut now, mut generation, mut refusals, mut flying) = (T, 1, 0, None::<Order>);
        let start = Found { holding: Some(holding(generation, now, 3600)), ..Found::default() };
        machine.handle_found(now, &start, jitter);
        for feed in feeds {
            if let Some(order) = machine.poll(now) {
                prop_assert!(flying.is_none(), "two at once");
                machine.handle_started(now, order);
                flying = Some(order);
            }
            match feed {
                Feed::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                Feed::Answer { life, rotates } if flying.take().is_some() => {
                    (generation, refusals) = (generation + 1, 0);
                    let new = Holding { previous: rotates, ..holding(generation, now, life) };
                    machine.handle_answer(now, new, jitter);
                    prop_assert!(machine.next_due().is_some_and(|due| due >= now && due < new.expires));
                }
                Feed::Fail(class, after) if flying.is_some() => {
                    let order = flying.take().unwrap();
                    refusals += u32::from(class == TokenClass::InvalidGrant && order.with != With::Quarantined);
                    let verdict = machine.handle_failure(now, Setback { retry_after: after.map(s), ..setback(class) }, jitter);
                    if verdict == Verdict::Quarantine {
                        prop_assert!(interactive && refusals >= 2);
                    }
                }
                Feed::Demand => machine.handle_demand(now),
                Feed::Forced => { let _ = machine.handle_forced(now); }
                Feed::Changed => machine.handle_changed(now),
                Feed::Adopted(life) if flying.is_none() => {
                    (generation, refusals) = (generation + 1, 0);
                    let new = Found { holding: Some(holding(generation, now, life)), ..Found::default() };
                    machine.handle_found(now, &new, jitter);
                }
                Feed::Answer { .. } | Feed::Fail(..) | Feed::Adopted(_) => {}
            }
            match (machine.poll_timeout(), machine.trouble()) {
                (_, _) if flying.is_some() => prop_assert_eq!(machine.poll(now), None),
                (Some(at), _) => prop_assert!(at <= now + s(86_400) + s(100_000)),
                (None, trouble) => prop_assert_eq!(trouble, Some(Trouble::NeedsGrant)),
            }
            prop_assert!(interactive || machine.trouble() != Some(Trouble::NeedsGrant));
        }
    }
}
