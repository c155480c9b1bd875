//! `test email`: the report of the daemon, stage by stage, up to the one that failed.

use std::fmt::Write as _;

use frankd_proto::methods::test as rpc;

use crate::app::App;
use crate::args::Format;
use crate::args::daemon::{TestAction, TestEmail};
use crate::failure::{Doing, Failure, exit, fact};
use crate::output::{BAD, GOOD, Page, Render};

/// Does it.
pub(crate) async fn run(app: &mut App, action: TestAction) -> Result<u8, Failure> {
    let TestAction::Email(TestEmail { profile, to, subject, text, transcript }) = action;
    let params = rpc::EmailParams { profile, to, subject, text };
    if app.rehearse::<rpc::Email>(&params)? {
        return Ok(exit::OK);
    }
    let session = app.connect().await?;
    app.note(format!("Test mail with profile {} to {}", params.profile, params.to))?;
    let doing = Doing::profile("test", &params.profile);
    let answer = session.call::<rpc::Email>(params, doing).await?;
    let code = app.print(&answer)?;
    let failed = !answer.value.ok;
    if app.format() == Format::Table && (transcript || failed) && !answer.value.transcript.is_empty() {
        let lines = answer.value.transcript.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "  {line}");
            text
        });
        app.data_page(&format!("\nThe conversation, without credentials:\n{lines}"))?;
    }
    Ok(code)
}

impl Render for rpc::EmailReport {
    fn items(&self) -> Option<&'static str> {
        Some("stages")
    }

    fn page(&self, page: &mut Page) {
        for stage in &self.stages {
            let mark = if stage.ok { GOOD } else { BAD };
            page.line(format!(
                "{mark} {:<6} {:>6} ms  {}",
                name(stage.name),
                stage.ms,
                stage.detail.replace('\n', " ")
            ));
        }
        let mut facts = String::new();
        if let Some(message) = &self.message {
            fact(&mut facts, "what", message);
        }
        if let Some(hint) = &self.hint {
            fact(&mut facts, "fix", hint);
        }
        if let Some(diagnosis) = &self.diagnosis {
            fact(&mut facts, "diagnosis", diagnosis);
        }
        if let Some(kind) = &self.kind {
            fact(&mut facts, "kind", kind.name());
        }
        if !facts.is_empty() {
            page.line(facts);
        }
        match (self.ok, &self.message_id) {
            (true, Some(id)) => page.line(format!("{GOOD} The server took the mail, Message-ID {id}.")),
            (true, None) => page.line(format!("{GOOD} The server took the mail.")),
            (false, _) => page.line(format!("{BAD} The mail was not sent.")),
        }
    }

    fn names(&self) -> Vec<String> {
        self.stages.iter().map(|stage| name(stage.name).to_owned()).collect()
    }

    /// That of the error's kind, as elsewhere.
    fn exit_code(&self) -> u8 {
        match &self.kind {
            _ if self.ok => exit::OK,
            Some(kind) => kind.exit_code(false),
            None => exit::FAILED,
        }
    }
}

fn name(stage: rpc::StageName) -> &'static str {
    match stage {
        rpc::StageName::Token => "token",
        rpc::StageName::Dns => "DNS",
        rpc::StageName::Tcp => "TCP",
        rpc::StageName::Tls => "TLS",
        rpc::StageName::Ehlo => "EHLO",
        rpc::StageName::Auth => "AUTH",
        rpc::StageName::Mail => "MAIL",
        rpc::StageName::Rcpt => "RCPT",
        rpc::StageName::Data => "DATA",
    }
}
