//! Reports of Test Email, against a mail server that answers as it is told.

use std::sync::Mutex;
use std::time::Duration;

use frankd_proto::methods::test::{EmailParams, EmailReport, StageName};
use frankd_proto::{Flow, Kind, ProfileId, ProfileKind, Secret};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

use super::*;
use crate::clock::{ClockExt as _, FakeClock};
use crate::domain::{Submission, sample};
use crate::entropy::SeededEntropy;
use crate::smtp::pipes::Pipes;
use crate::tls::Tls;

/// Tokens in the order in which they are handed out; an empty one is a failure.
#[derive(Debug)]
struct Tokens {
    clock: FakeClock,
    left: Mutex<Vec<&'static str>>,
}

impl Tokens {
    async fn next(&self) -> Result<Found, RpcError> {
        self.clock.sleep(Duration::from_millis(250)).await;
        match self.left.lock().unwrap().pop() {
            Some("") | None => Err(RpcError::new(Kind::GrantRequired, "profile alerts needs a grant")
                .hint("frankctl grant alerts")
                .diagnosis(&frankd_proto::diagnosis::TK_INVALID_GRANT_RT)),
            Some("password") => Ok(Found {
                login: Login::Password { username: "relay".to_owned(), password: Secret::new("hunter2hunter2") },
                fresh: false,
                detail: String::new(),
            }),
            Some(token) => Ok(Found {
                login: Login::Token { username: "a@x.example".to_owned(), token: Secret::new(token) },
                fresh: false,
                detail: "valid for 50 minutes".to_owned(),
            }),
        }
    }
}

impl Logins for Tokens {
    fn login<'a>(&'a self, _: &'a Profile) -> BoxFuture<'a, Result<Found, RpcError>> {
        Box::pin(self.next())
    }

    fn after_refusal<'a>(&'a self, _: &'a Profile) -> BoxFuture<'a, Result<Found, RpcError>> {
        Box::pin(self.next())
    }
}

/// Takes 20 ms for each reply, refuses tokens that are not `good`, and says `odd` to the command named.
async fn serve(stream: DuplexStream, clock: FakeClock, odd: Option<(&'static str, &'static str)>) {
    let mut stream = BufReader::new(stream);
    let mut line = "greeting".to_owned();
    loop {
        clock.sleep(Duration::from_millis(20)).await;
        let good = "dXNlcj1hQHguZXhhbXBsZQFhdXRoPUJlYXJlciBnb29kAQE=";
        let reply = match line.split(' ').next().unwrap_or_default().trim() {
            command if odd.is_some_and(|(named, _)| named == command) => odd.unwrap().1,
            "greeting" => "220 mx",
            "EHLO" => "250-mx\r\n250-SIZE 1000\r\n250 AUTH XOAUTH2 PLAIN",
            "AUTH" if line.contains("XOAUTH2") && !line.contains(good) => "535 5.7.8 bad token",
            "AUTH" => "235 2.7.0 ok",
            "DATA" => "354 go",
            "." => "250 2.0.0 queued as 7",
            "MAIL" | "RCPT" => "250 ok",
            "QUIT" => "221 bye",
            _ => "",
        };
        if !reply.is_empty() && stream.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

fn profile(kind: ProfileKind) -> Profile {
    Profile {
        kind,
        flow: (kind != ProfileKind::Smtp).then_some(Flow::Interactive),
        client: None,
        username: Some("a@x.example".to_owned()),
        smtp: (kind != ProfileKind::Token)
            .then(|| Submission { max_messages_per_connection: 1, ..sample::submission("mx.example") }),
        ..sample::profile(ProfileId::from_bits(1), "alerts".parse().unwrap())
    }
}

fn params(to: &str) -> EmailParams {
    EmailParams { profile: "alerts".parse().unwrap(), to: to.to_owned(), subject: None, text: None }
}

fn trials(tokens: &[&'static str], odd: Option<(&'static str, &'static str)>) -> Trials {
    let clock = FakeClock::new();
    let shared: SharedClock = Arc::new(clock.clone());
    let time = clock.clone();
    let network = Pipes::new(move |_, stream| {
        let refused = odd.is_some_and(|(named, _)| named == "connect");
        if !refused {
            tokio::spawn(serve(stream, time.clone(), odd));
        }
        !refused
    });
    let left = Mutex::new(tokens.iter().rev().copied().collect());
    Trials {
        smtp: Smtp {
            network: Arc::new(network),
            tls: Arc::new(Tls::new(Arc::clone(&shared), Vec::new())),
            clock: Arc::clone(&shared),
            host_name: "client.example".to_owned(),
        },
        logins: Arc::new(Tokens { clock, left }),
        clock: shared,
        entropy: Arc::new(SeededEntropy::new(1)),
    }
}

async fn report(tokens: &[&'static str], odd: Option<(&'static str, &'static str)>) -> EmailReport {
    let trials = trials(tokens, odd);
    trials.email(&profile(ProfileKind::Oauth2Smtp), params("b@y.example")).await.unwrap()
}

fn stages(report: &EmailReport) -> Vec<(StageName, bool, u64)> {
    report.stages.iter().map(|stage| (stage.name, stage.ok, stage.ms)).collect()
}

fn detail(report: &EmailReport, name: StageName) -> &str {
    &report.stages.iter().find(|stage| stage.name == name).unwrap().detail
}

#[tokio::test(start_paused = true)]
async fn a_mail_that_goes_through_shows_every_stage_with_its_time() {
    let report = report(&["good"], None).await;
    assert!(report.ok);
    assert_eq!(
        stages(&report),
        [
            (StageName::Token, true, 250),
            (StageName::Dns, true, 0),
            (StageName::Tcp, true, 0),
            (StageName::Ehlo, true, 40),
            (StageName::Auth, true, 20),
            (StageName::Mail, true, 20),
            (StageName::Rcpt, true, 20),
            (StageName::Data, true, detail_ms(&report)),
        ]
    );
    assert_eq!(detail(&report, StageName::Token), "valid for 50 minutes");
    assert_eq!(detail(&report, StageName::Dns), "127.0.0.1");
    assert_eq!(detail(&report, StageName::Ehlo), "SIZE 1000, AUTH XOAUTH2 PLAIN");
    assert_eq!(detail(&report, StageName::Data), "250 2.0.0 queued as 7");
    let id = report.message_id.clone().unwrap();
    assert!(id.starts_with('<') && id.ends_with("@x.example>"));
    let transcript = report.transcript.join("\n");
    assert!(transcript.contains("C: AUTH XOAUTH2 [") && transcript.contains("C: [message, "), "{transcript}");
    assert!(!transcript.contains("good") && !transcript.contains("dXNl"), "{transcript}");
    assert_eq!((report.diagnosis, report.message, report.hint), (None, None, None));
}

/// The server takes 20 ms for DATA, for each line of the message, and for the dot.
fn detail_ms(report: &EmailReport) -> u64 {
    let data = report.stages.last().unwrap();
    assert!(data.ms >= 40, "{data:?}");
    data.ms
}

#[tokio::test(start_paused = true)]
async fn a_report_ends_at_the_stage_that_failed() {
    for (odd, last, said, diagnosis, hint) in [
        (
            ("connect", ""),
            StageName::Tcp,
            "connection refused",
            "smtp.unreachable",
            Some("frankctl profile show alerts"),
        ),
        (("greeting", "554 no"), StageName::Ehlo, "554 no", "smtp.greeting", None),
        (
            ("AUTH", "535 5.7.139 SmtpClientAuthentication is disabled"),
            StageName::Auth,
            "535 5.7.139 Smtp",
            "sm.535_5_7_139",
            Some("Set-CASMailbox a@x.example"),
        ),
        (("MAIL", "550 5.7.60 not as this sender"), StageName::Mail, "550 5.7.60 not", "sm.sendas", Some("Reply-To")),
        (("RCPT", "550 5.1.1 who?"), StageName::Rcpt, "550 5.1.1 who?", "smtp.recipient_refused", None),
        (("DATA", "451 4.3.0 later"), StageName::Data, "451 4.3.0 later", "smtp.message_later", None),
        ((".", "554 5.6.0 spam"), StageName::Data, "554 5.6.0 spam", "smtp.message_refused", None),
    ] {
        let report = report(&["good"], Some(odd)).await;
        assert!(!report.ok);
        let stage = report.stages.last().unwrap();
        assert_eq!((stage.name, stage.ok), (last, false), "{odd:?} {report:?}");
        assert!(stage.detail.contains(said), "{stage:?}");
        assert!(report.stages.iter().rev().skip(1).all(|stage| stage.ok));
        assert_eq!(report.diagnosis.as_deref(), Some(diagnosis));
        assert!(report.message.unwrap().contains(said));
        assert!(hint.is_none_or(|hint| report.hint.unwrap().contains(hint)));
        assert_eq!(report.message_id.is_some(), last >= StageName::Mail);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_refreshed_and_tried_once_more() {
    let mended = report(&["stale", "good"], None).await;
    assert!(mended.ok, "{mended:?}");
    let auth = detail(&mended, StageName::Auth);
    assert_eq!(auth, "refused (535 5.7.8 bad token), token refreshed, accepted by XOAUTH2");
    assert_eq!(stages(&mended)[4], (StageName::Auth, true, 20 + 250 + 20));
    assert!(mended.transcript.iter().any(|line| line.contains("refreshed")));

    let refused = report(&["stale", "stale too", "good"], None).await;
    assert_eq!(refused.stages.last().map(|stage| (stage.name, stage.ok)), Some((StageName::Auth, false)));
    assert_eq!(refused.diagnosis.as_deref(), Some("smtp.token_refused"));
    assert_eq!((mended.kind, refused.kind), (None, Some(Kind::SmtpAuthRejected.into())));
    assert_eq!(refused.hint.as_deref(), Some("grant again, signed in as a@x.example: `frankctl grant alerts`"));

    let no_refresh = report(&["stale", ""], None).await;
    let names: Vec<_> = no_refresh.stages.iter().map(|stage| stage.name).collect();
    assert_eq!(names, [StageName::Token, StageName::Dns, StageName::Tcp, StageName::Ehlo, StageName::Auth]);
    assert_eq!(no_refresh.diagnosis.as_deref(), Some("tk.invalid_grant.rt"));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nobody_connects() {
    let report = report(&[""], None).await;
    assert_eq!(stages(&report), [(StageName::Token, false, 250)]);
    assert_eq!(report.diagnosis.as_deref(), Some("tk.invalid_grant.rt"));
    assert_eq!(report.message.as_deref(), Some("profile alerts needs a grant"));
    assert_eq!(report.kind, Some(Kind::GrantRequired.into()));
    assert_eq!(report.hint.as_deref(), Some("frankctl grant alerts"));
    assert!(report.transcript.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_classic_profile_has_no_token() {
    let trials = trials(&["password"], None);
    let report = trials.email(&profile(ProfileKind::Smtp), params("Bo <b@y.example>")).await.unwrap();
    assert!(report.ok);
    assert_eq!(report.stages[0].name, StageName::Dns);
    assert_eq!(detail(&report, StageName::Auth), "accepted by PLAIN");
    assert_eq!(detail(&report, StageName::Rcpt), "b@y.example accepted");
}

#[tokio::test(start_paused = true)]
async fn bad_parameters_are_named() {
    let trials = trials(&["good"], None);
    let oauth = profile(ProfileKind::Oauth2Smtp);
    let field = |outcome: Result<EmailReport, RpcError>| outcome.unwrap_err().data.field.unwrap();
    for to in ["", "nobody", "b@y.example\r\nRCPT TO:<c@y.example>", "b@y.example, c@y.example"] {
        assert_eq!(field(trials.email(&oauth, params(to)).await), "to", "{to:?}");
    }
    let mut injected = params("b@y.example");
    injected.subject = Some("hi\r\nBcc: c@y.example".to_owned());
    assert_eq!(field(trials.email(&oauth, injected).await), "subject");
    let token = profile(ProfileKind::Token);
    assert_eq!(field(trials.email(&token, params("b@y.example")).await), "profile");
    let mut nobody = profile(ProfileKind::Smtp);
    nobody.username = Some("relay".to_owned());
    assert_eq!(field(trials.email(&nobody, params("b@y.example")).await), "profile");
}
