//! The story: client, profile, grant, refresh, mail, crash.

use frankd_proto::methods::{message, token};
use frankd_proto::{HoldReason, MessageId, MessageState, TokenState};

use super::DemoError;
use super::stage::Stage;
use crate::sandbox::authorization::{Endpoint, MAIL_SCOPE};
use crate::sandbox::{WEB_CLIENT, WEB_MAILBOX};

/// Whom the mail goes to.
const OPS: &str = "ops@sandbox.test";

/// Whom the test mail goes to.
const TESTER: &str = "tester@sandbox.test";

/// Tells it.
pub(super) async fn tell(stage: &mut Stage) -> Result<(), DemoError> {
    objects(stage).await?;
    let early = send(stage, "Before the grant", "frankctl send", "").await?;
    waits_for_a_grant(stage, early).await?;
    grant(stage).await?;
    arrives(stage, early, "Before the grant").await?;
    refresh(stage).await?;
    mail(stage).await?;
    test(stage).await?;
    crash(stage).await?;
    look(stage).await
}

async fn objects(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("The daemon");
    stage.start_daemon().await?;
    stage.run("frankctl version", 0).await?;

    stage.screen.chapter("An OAuth2 client");
    stage.screen.tell("The client secret comes by standard input: no secret is ever in a command line.");
    let issuer = stage.sandbox.issuer.clone();
    let create = format!(
        "frankctl client create sandbox --client-id {} --client-secret-stdin --scope {MAIL_SCOPE} \\\n    \
         --issuer {issuer} --authorization-endpoint {issuer}/authorize \\\n    \
         --token-endpoint {issuer}/token --revocation-endpoint {issuer}/revoke \\\n    \
         --ca-bundle ca.pem < client.secret",
        WEB_CLIENT.0
    );
    let shown = stage.run(&create, 0).await?;
    stage.check("the secret is not shown", !shown.contains(WEB_CLIENT.1))?;

    stage.screen.chapter("An e-mail profile");
    let port = stage.sandbox.starttls_port;
    let create = format!(
        "frankctl profile create alerts --kind oauth2_smtp --client sandbox --interactive \\\n    \
         --username {WEB_MAILBOX} --default --smtp-host localhost --smtp-port {port} --tls starttls --ca-bundle ca.pem"
    );
    stage.run(&create, 0).await?;
    Ok(())
}

async fn waits_for_a_grant(stage: &mut Stage, id: MessageId) -> Result<(), DemoError> {
    stage.run("frankctl queue list", 0).await?;
    let held = stage.ask::<message::Get>(message::ById { id }).await?;
    let waits = held.state == MessageState::Held && held.held == Some(HoldReason::GrantRequired);
    stage.check("the mail is accepted, and waits for a person to grant access", waits)
}

async fn grant(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("A person grants access");
    let line = "frankctl grant alerts --no-browser";
    let mut output = stage.begin(line)?;
    while let Some(text) = output.line().await? {
        stage.screen.output(&text);
        if text.trim_start().starts_with("https://") {
            stage.screen.tell("  (Alice opens the address, signs in, allows, and is sent back to frankctl's port.)");
            let page = stage.person.sign_in(text.trim()).await?;
            stage.screen.tell(&format!("  (Her browser says: {page})"));
            stage.check("the page in the browser tells the truth", page.contains("Access granted"))?;
        }
    }
    output.end(line, 0).await?;
    stage.run("frankctl token show alerts", 0).await?;
    let token = info(stage).await?;
    stage.check("the token is valid, and has a refresh token", {
        token.state == TokenState::Valid && token.refresh_token.set
    })
}

async fn refresh(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("The token is refreshed before it expires, whoever asks or nobody does");
    stage.screen.tell("Its life is 15 s here. The next refresh, as it happens (Ctrl-C would end this):");
    let before = info(stage).await?;
    let mut events = stage.begin("frankctl events -f -n 0 --type token.refreshed --profile alerts")?;
    let Some(event) = events.line().await? else {
        return Err(DemoError::Unmet("the events go on".to_owned()));
    };
    drop(events);
    stage.screen.output(&event);
    stage.run("frankctl token show alerts", 0).await?;
    let after = info(stage).await?;
    stage.check("a new token came, the generation rose", after.generation > before.generation)?;
    stage.check("the token was never out of use", after.state == TokenState::Valid)?;
    stage.check("nobody had to sign in again", signed_in(stage) == 1)
}

async fn mail(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("A mail");
    let id = send(stage, "Disk almost full", "frankctl send", " --wait").await?;
    arrives(stage, id, "Disk almost full").await
}

async fn test(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("A mail past the queue, stage by stage: what to type when something does not work");
    let report = stage.run(&format!("frankctl test email alerts --to {TESTER}"), 0).await?;
    let stages = ["dns", "tcp", "tls", "ehlo", "auth", "mail", "rcpt", "data"];
    let told = stages.iter().all(|name| report.to_lowercase().contains(name));
    stage.check("every stage is told of", told)?;
    let arrived = stage.sandbox.smtp.delivered_to(TESTER).len();
    stage.check("the test mail arrived", arrived == 1)
}

async fn crash(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("kill -9 with a mail in the queue");
    stage.run("frankctl profile pause alerts --reason 'so that mail is still here when the daemon dies'", 0).await?;
    let id = send(stage, "Queued before the crash", "frankctl send", "").await?;
    stage.run("frankctl queue list --state held", 0).await?;
    let before = info(stage).await?;
    stage.kill_daemon().await?;
    stage.run("frankctl status", 5).await?;
    stage.start_daemon().await?;
    stage.screen.tell("Client, profile, token, pause and mail are all there:");
    stage.run("frankctl client list", 0).await?;
    stage.run("frankctl profile list", 0).await?;
    stage.run("frankctl queue list --state held", 0).await?;
    let held = stage.ask::<message::Get>(message::ById { id }).await?;
    stage.check("the mail is still there and still held", held.held == Some(HoldReason::Paused))?;
    let after = info(stage).await?;
    let kept = after.state == TokenState::Valid && after.refresh_token.set && after.generation >= before.generation;
    stage.check("the token is still there", kept)?;
    stage.run("frankctl profile resume alerts", 0).await?;
    arrives(stage, id, "Queued before the crash").await?;
    stage.run(&format!("frankctl queue show {id} --transcript"), 0).await?;
    stage.check("nobody had to sign in again", signed_in(stage) == 1)
}

async fn look(stage: &mut Stage) -> Result<(), DemoError> {
    stage.screen.chapter("In one glance");
    stage.run("frankctl queue summary", 0).await?;
    stage.run("frankctl status", 0).await?;
    stage.run("frankctl events", 0).await?;
    let servers = &stage.sandbox;
    let at_once = servers.authorization.max_concurrent_of(WEB_CLIENT.0);
    let offences = servers.smtp.offences();
    let (delivered, logins) = (servers.smtp.delivered_to(OPS).len(), servers.smtp.logins());
    let told = servers.authorization.secrets().into_iter().find(|secret| stage.log().contains(secret.as_str()));
    stage.check("the servers saw never two token requests at once", at_once == 1)?;
    stage.check("the mail server has nothing to object to", offences.is_empty())?;
    stage.check("no secret is in the daemon's log", told.is_none())?;
    stage.check("every login was accepted", logins.iter().all(|login| login.accepted))?;
    stage.check("three mails were queued, and three arrived, each once", delivered == 3)
}

/// Queues a mail; gives its id.
async fn send(stage: &mut Stage, subject: &str, command: &str, options: &str) -> Result<MessageId, DemoError> {
    let line = format!("{command} --to {OPS} -s '{subject}' --text letter.txt{options}");
    let text = stage.run(&line, 0).await?;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let id = words.filter(|word| word.starts_with("msg_")).find_map(|word| word.parse().ok());
    id.ok_or_else(|| DemoError::Unmet("the id of a queued mail is told".to_owned()))
}

/// Waits until a mail is sent, and shows it as the mail server has it.
async fn arrives(stage: &mut Stage, id: MessageId, subject: &str) -> Result<(), DemoError> {
    let ended = stage.ask::<message::Wait>(message::WaitParams { id, timeout_s: Some(50) }).await?;
    stage.check(&format!("frankd says: {}", ended.state), ended.state == MessageState::Sent)?;
    let mails = stage.sandbox.smtp.delivered_to(OPS);
    let Some(mail) = mails.into_iter().find(|mail| mail.header("Subject").as_deref() == Some(subject)) else {
        return Err(DemoError::Unmet(format!("the mail {subject:?} is in the mailbox of {OPS}")));
    };
    let login = mail.login.as_deref().unwrap_or("nobody");
    let tls = if mail.tls { "TLS" } else { "plaintext" };
    stage.screen.tell(&format!("  In the mailbox (from {} by {tls}, logged in as {login}):", mail.from));
    mail.text().lines().for_each(|line| stage.screen.output(&format!("│ {line}")));
    let whole = mail.text().contains("91 %") && mail.text().ends_with("\r\n.\r\n");
    stage.check("the mail arrived whole, over TLS, as who it should be from", {
        whole && mail.tls && mail.from == WEB_MAILBOX && mail.login.as_deref() == Some(WEB_MAILBOX)
    })
}

async fn info(stage: &Stage) -> Result<token::TokenInfo, DemoError> {
    let profile = "alerts".parse().map_err(|_| DemoError::Unmet("alerts is a name".to_owned()))?;
    stage.ask::<token::Info>(token::OfProfile { profile }).await
}

/// How often a person's code was exchanged for tokens.
fn signed_in(stage: &Stage) -> usize {
    let exchanged = |entry: &crate::sandbox::authorization::Entry| {
        entry.endpoint == Endpoint::Token && entry.granted && entry.grant_type.as_deref() == Some("authorization_code")
    };
    stage.sandbox.authorization.journal().iter().filter(|entry| exchanged(entry)).count()
}
