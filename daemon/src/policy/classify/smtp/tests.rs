//! The rows by what provokes them, and the rules that hold for every reply.

use frankd_proto::ProfileId;
use proptest::prelude::*;

use super::*;
use crate::domain::{Submission, sample};

fn profile(kind: ProfileKind, flow: Option<Flow>) -> Profile {
    Profile {
        kind,
        flow,
        client: None,
        username: Some("relay@x.example".to_owned()),
        smtp: Some(Submission {
            tls: TlsMode::Starttls,
            plaintext_on_loopback: false,
            max_connections: 3,
            ..sample::submission("smtp.office365.com")
        }),
        ..sample::profile(ProfileId::from_bits(1), "alerts".parse().unwrap())
    }
}

fn oauth() -> Profile {
    profile(ProfileKind::Oauth2Smtp, Some(Flow::Interactive))
}

fn app() -> Profile {
    profile(ProfileKind::Oauth2Smtp, Some(Flow::ClientCredentials))
}

fn classic() -> Profile {
    profile(ProfileKind::Smtp, None)
}

/// A reply written as on the wire.
fn reply(line: &str) -> SmtpReply {
    let (code, rest) = line.split_at(3);
    let rest = rest.trim_start();
    let first = rest.split(' ').next().unwrap_or_default();
    let enhanced = first.split('.').count() == 3 && first.starts_with(['4', '5']);
    SmtpReply {
        code: code.parse().unwrap(),
        enhanced: enhanced.then(|| first.to_owned()),
        text: if enhanced { rest[first.len()..].trim().to_owned() } else { rest.to_owned() },
    }
}

fn judged(profile: &Profile, stage: Stage, trouble: Trouble) -> Judgement {
    let facts = SessionFacts::default();
    judge(&Fault { stage, trouble }, Context { profile, facts: &facts, fresh_token: false })
}

fn said(profile: &Profile, stage: Stage, line: &str) -> Judgement {
    judged(profile, stage, Trouble::Reply(reply(line)))
}

/// Profile, stage, reply; diagnosis, scope, how long, gate.
const KNOWN: &str = "
oauth   | Auth | 535 5.7.3 Authentication unsuccessful [AM0PR01] | sm.535_5_7_3 Profile UntilPerson AuthRefused
app     | Auth | 535 5.7.3 Authentication unsuccessful | smtp.app_not_registered Profile UntilPerson AuthRefused
app     | Auth | 430 4.2.0 STOREDRV; mailbox logon failure | smtp.app_not_registered Profile UntilPerson AuthRefused
oauth   | Auth | 535 5.7.139 SmtpClientAuthentication is disabled for the Tenant. | sm.535_5_7_139 Profile 3600s AccountLimit
classic | Auth | 535 5.7.139 locked by your organization's security defaults policy | sm.535_sd Profile 3600s AccountLimit
classic | Auth | 535 5.7.139 basic authentication is disabled. | sm.550_5_7_30 Profile UntilPerson AuthRefused
classic | Auth | 550 5.7.30 Basic authentication is not supported | sm.550_5_7_30 Profile UntilPerson AuthRefused
classic | Mail | 550 5.7.30 Basic authentication is not supported | sm.550_5_7_30 Profile UntilPerson AuthRefused
classic | Auth | 504 5.7.4 Unrecognized authentication type | sm.550_5_7_30 Profile UntilPerson AuthRefused
classic | Auth | 535 5.7.8 Authentication failed. | smtp.password_refused Profile UntilPerson AuthRefused
classic | Auth | 534 5.7.9 Application-specific password required | smtp.app_password Profile UntilPerson AuthRefused
oauth   | Auth | 535 5.7.8 Username and Password not accepted. | sm.535_5_7_8 Profile UntilPerson AuthRefused
oauth   | Auth | 535 Incorrect authentication data | smtp.token_refused Profile UntilPerson AuthRefused
oauth   | Auth | 501 5.5.127 Token will expire soon | sm.501_hve Profile Temporary AuthRefused
oauth   | Auth | 500 5.5.2 Line too long | sm.12288 Profile UntilPerson AuthRefused
oauth   | Auth | 504 5.5.4 Unrecognized authentication type | smtp.mechanism Profile UntilPerson AuthRefused
oauth   | Auth | 530 5.7.0 Must issue a STARTTLS command first | smtp.tls_required Profile UntilPerson AuthRefused
oauth   | Auth | 454 4.7.0 Temporary authentication failure | sm.454 Profile Temporary AuthRefused
oauth   | Auth | 454 4.7.0 Too many login attempts, please try again later. | smtp.login_rate Profile 900s AccountLimit
oauth   | Auth | 432 4.3.2 Concurrent connections limit exceeded | sm.432 Profile 30s -
oauth   | AfterDot | 432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded | sm.432 Profile 30s -
oauth   | Auth | 421 4.3.2 going down | smtp.closing Host Temporary HostFault
oauth   | Greeting | 421 4.7.0 Try again later, closing connection. (EHLO) | smtp.ehlo_name Host UntilPerson HostFault
oauth   | Ehlo | 501 5.5.4 Invalid domain name | smtp.ehlo_name Host UntilPerson HostFault
oauth   | Greeting | 554 5.3.2 no service | smtp.greeting Host Temporary HostFault
oauth   | Tls  | 454 4.7.0 TLS not available | smtp.starttls_refused Host Temporary HostFault
oauth   | Mail | 530 5.7.57 Client not authenticated to send mail. | smtp.not_logged_in Profile UntilPerson AuthRefused
oauth   | AfterDot | 554 5.2.252 SendAsDenied; relay@x not allowed to send as a@x | sm.sendas Message Permanent -
oauth   | AfterDot | 554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException | sm.sendas Message Permanent -
oauth   | Mail | 550 5.7.60 Client does not have permissions to send as this sender | sm.sendas Message Permanent -
oauth   | Rcpt | 553 5.7.1 <a@x>: Sender address rejected: not owned by user relay | sm.sendas Message Permanent -
oauth   | Data | 550 5.4.5 Daily user sending limit exceeded. | sm.550_5_4_5 Profile 3600s AccountLimit
oauth   | AfterDot | 554 5.2.0 STOREDRV; SubmissionQuotaExceededException | smtp.quota Profile 3600s AccountLimit
oauth   | AfterDot | 554 5.2.2 mailbox full | smtp.mailbox_full Profile 3600s AccountLimit
oauth   | AfterDot | 552 5.2.2 over quota | smtp.mailbox_full Profile 3600s AccountLimit
oauth   | Rcpt | 552 5.2.2 mailbox full | smtp.recipient_refused Recipient Permanent -
oauth   | Rcpt | 552 too many | smtp.too_many_recipients Recipient Temporary -
oauth   | Rcpt | 452 4.5.3 Too many recipients | smtp.too_many_recipients Recipient Temporary -
oauth   | Rcpt | 550 5.1.1 unknown | smtp.recipient_refused Recipient Permanent -
oauth   | Rcpt | 450 4.2.0 greylisted | smtp.recipient_later Recipient Temporary -
oauth   | Mail | 552 5.3.4 too big | smtp.too_big Message Permanent -
oauth   | Mail | 553 5.1.8 no such domain | smtp.sender_refused Message Permanent -
oauth   | AfterDot | 554 5.6.0 spam | smtp.message_refused Message Permanent -
oauth   | AfterDot | 451 4.3.0 later | smtp.message_later Message Temporary -
oauth   | AfterDot | 421 4.3.0 enough | smtp.message_later Message Temporary -
oauth   | AfterDot | 421 4.4.0 Lost connection to relay server | smtp.lost_after_dot Message Temporary -
oauth   | Rcpt | 503 5.5.1 MAIL first | smtp.out_of_step Message Temporary -
oauth   | Mail | 421 4.4.2 idle | smtp.closing Host Temporary HostFault
";

#[test]
fn known_replies_have_their_diagnosis_scope_and_gate() {
    for known in KNOWN.lines().filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = known.split(" | ").map(str::trim).collect();
        let [who, stage, line, expected] = columns[..] else { panic!("{known}") };
        let profile = match who {
            "app" => app(),
            "classic" => classic(),
            _ => oauth(),
        };
        let stage = STAGES.into_iter().find(|known| format!("{known:?}") == stage).unwrap();
        let judgement = said(&profile, stage, line);
        let lasting = match judgement.lasting {
            Lasting::For(duration) => format!("{}s", duration.as_secs()),
            other => format!("{other:?}"),
        };
        let hold = judgement.hold.map_or_else(|| "-".to_owned(), |hold| format!("{hold:?}"));
        let seen = format!("{} {:?} {lasting} {hold}", judgement.diagnosis, judgement.scope);
        assert_eq!(seen, expected, "{known}");
        assert!(judgement.message.contains(line), "the server's own words are not in {:?}", judgement.message);
    }
}

#[test]
fn a_refused_token_is_refreshed_once_and_never_twice() {
    let (oauth, classic) = (oauth(), classic());
    let facts = SessionFacts::default();
    let fault = |line: &str| Fault { stage: Stage::Auth, trouble: Trouble::Reply(reply(line)) };
    for (line, refresh) in [
        ("535 5.7.3 no", Refresh::Once),
        ("535 no", Refresh::Once),
        ("501 5.5.127 Token will expire soon", Refresh::Once),
        ("454 4.7.0 later", Refresh::NearItsEnd),
        ("535 5.7.139 SmtpClientAuthentication is disabled", Refresh::Never),
        ("454 4.7.0 Too many login attempts", Refresh::Never),
    ] {
        let context = Context { profile: &oauth, facts: &facts, fresh_token: false };
        assert_eq!(judge(&fault(line), context).refresh, refresh, "{line}");
        let context = Context { fresh_token: true, ..context };
        assert_eq!(judge(&fault(line), context).refresh, Refresh::Never, "{line}");
    }
    let context = Context { profile: &classic, facts: &facts, fresh_token: false };
    assert_eq!(judge(&fault("535 5.7.8 no"), context).refresh, Refresh::Never);
}

#[test]
fn a_challenge_names_what_the_server_wants() {
    let trouble =
        |challenge: &str| Trouble::Challenged { reply: reply("535 5.7.8 no"), challenge: challenge.to_owned() };
    let google = judged(&oauth(), Stage::Auth, trouble("status=400, scope=https://mail.google.com/"));
    assert_eq!(google.diagnosis, "sm.535_5_7_8");
    let other = judged(&oauth(), Stage::Auth, trouble("status=401, scope=mail"));
    assert_eq!((other.diagnosis, other.refresh), ("sm.334", Refresh::Once));
    assert!(other.message.ends_with("535 5.7.8 no (status=401, scope=mail)"), "{}", other.message);
    assert_eq!(judged(&oauth(), Stage::Auth, trouble("")).diagnosis, "smtp.token_refused");
}

#[test]
fn a_token_says_itself_why_it_was_refused() {
    let claims = |audience: &str, account: Option<&str>, roles: &[&str]| SessionFacts {
        claims: Some(TokenClaims {
            audience: vec![audience.to_owned()],
            account: account.map(str::to_owned),
            scopes: Vec::new(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }),
        ..SessionFacts::default()
    };
    let outlook = "https://outlook.office365.com";
    let (oauth, app) = (oauth(), app());
    for (profile, facts, diagnosis, scope) in [
        (&oauth, claims("https://graph.microsoft.com", None, &[]), "smtp.token_audience", Scope::Profile),
        (&oauth, claims(outlook, Some("admin@x.example"), &[]), "smtp.token_account", Scope::Profile),
        (&oauth, claims(outlook, Some("Relay@X.example"), &[]), "sm.535_5_7_3", Scope::Profile),
        (&app, claims(outlook, None, &["Mail.Send"]), "smtp.app_role", Scope::Client),
        (&app, claims(outlook, None, &["SMTP.SendAsApp"]), "smtp.app_not_registered", Scope::Profile),
    ] {
        let fault = |line| Fault { stage: Stage::Auth, trouble: Trouble::Reply(reply(line)) };
        let context = Context { profile, facts: &facts, fresh_token: false };
        let judgement = judge(&fault("535 5.7.3 no"), context);
        assert_eq!((judgement.diagnosis, judgement.scope), (diagnosis, scope));
        // What the server says outright counts more.
        let off = judge(&fault("535 5.7.139 SmtpClientAuthentication is disabled"), context);
        assert_eq!(off.diagnosis, "sm.535_5_7_139");
    }
    let facts = claims(outlook, Some("admin@x.example"), &[]);
    let fault = Fault { stage: Stage::Auth, trouble: Trouble::Reply(reply("535 5.7.3 no")) };
    let judgement = judge(&fault, Context { profile: &oauth, facts: &facts, fresh_token: true });
    assert!(judgement.message.starts_with("the token belongs to admin@x.example, and the profile logs in as relay@x"));
    assert!(judgement.hint.unwrap().contains("frankctl grant alerts"));
}

#[test]
fn the_wrong_tls_mode_is_told_by_port_and_silence() {
    let mut profile = oauth();
    let update = |judgement: Judgement| judgement.hint.unwrap();
    let plaintext = judged(&profile, Stage::Tls, Trouble::Plaintext("220 x".to_owned()));
    assert_eq!(plaintext.diagnosis, "smtp.tls_mode");
    assert_eq!(update(plaintext), "frankctl profile update alerts --tls starttls --smtp-port 587");
    assert_eq!(judged(&profile, Stage::Greeting, Trouble::TimedOut).diagnosis, "smtp.lost");
    profile.smtp.as_mut().unwrap().port = 465;
    for trouble in [Trouble::TimedOut, Trouble::Closed, Trouble::Protocol("x".to_owned())] {
        let silent = judged(&profile, Stage::Greeting, trouble);
        assert_eq!(silent.diagnosis, "smtp.tls_mode");
        assert_eq!(update(silent), "frankctl profile update alerts --tls implicit --smtp-port 465");
    }
}

#[test]
fn a_message_over_the_limit_is_told_with_both_numbers() {
    let judgement = judged(&oauth(), Stage::Mail, Trouble::TooLarge { size: 36_700_160, limit: 35_882_577 });
    assert_eq!((judgement.scope, judgement.lasting), (Scope::Message, Lasting::Permanent));
    assert!(judgement.message.contains("36700160") && judgement.message.contains("35882577"));
}

#[test]
fn what_a_server_says_cannot_fill_a_mark() {
    let judgement = said(&oauth(), Stage::AfterDot, "554 {profile} {detail} {");
    assert_eq!(judgement.message, "smtp.office365.com refused the message: 554 {profile} {detail} {");
}

const STAGES: [Stage; 10] = [
    Stage::Dns,
    Stage::Connect,
    Stage::Tls,
    Stage::Greeting,
    Stage::Ehlo,
    Stage::Auth,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Data,
    Stage::AfterDot,
];

fn troubles() -> impl Strategy<Value = Trouble> {
    let reply = (200u16..600, prop::option::of("[245]\\.[0-9]{1,3}\\.[0-9]{1,3}"), "[ -~]{0,40}")
        .prop_map(|(code, enhanced, text)| SmtpReply { code, enhanced, text });
    prop_oneof![
        6 => reply.clone().prop_map(Trouble::Reply),
        2 => (reply, "[ -~]{0,20}").prop_map(|(reply, challenge)| Trouble::Challenged { reply, challenge }),
        1 => Just(Trouble::TimedOut),
        1 => Just(Trouble::Closed),
        1 => "[ -~]{0,20}".prop_map(Trouble::Protocol),
        1 => "[ -~]{0,20}".prop_map(Trouble::Lacking),
        1 => "[ -~]{0,20}".prop_map(Trouble::Aborted),
        1 => "[ -~]{0,20}".prop_map(Trouble::Tls),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(
        stage in prop::sample::select(&STAGES[..]),
        trouble in troubles(),
        who in 0usize..3,
        fresh_token in any::<bool>(),
    ) {
        prop_assume!(stage == Stage::Tls || !matches!(trouble, Trouble::Tls(_)));
        let profile = [oauth(), app(), classic()][who].clone();
        let facts = SessionFacts::default();
        let judgement = judge(&Fault { stage, trouble }, Context { profile: &profile, facts: &facts, fresh_token });
        let of_mail = matches!(judgement.scope, Scope::Message | Scope::Recipient);
        prop_assert!(!judgement.message.is_empty() && !judgement.diagnosis.is_empty());
        prop_assert!(stage >= Stage::Mail || !of_mail, "no message is at fault before MAIL: {judgement:?}");
        prop_assert!(!of_mail || judgement.hold.is_none(), "a message closes no gate: {judgement:?}");
        prop_assert!(judgement.lasting != Lasting::Permanent || of_mail, "no profile is given up: {judgement:?}");
        prop_assert!(!fresh_token || judgement.refresh == Refresh::Never);
        prop_assert!(
            stage < Stage::Data || judgement.scope != Scope::Host || judgement.diagnosis == "smtp.aborted",
            "one message holds no host: {judgement:?}"
        );
    }
}
