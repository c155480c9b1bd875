//! How messages look, and what their states mean for the exit status.

use frankd_proto::methods::message as rpc;
use frankd_proto::{HoldReason, Kind, MessageState};

use crate::failure::{exit, smtp_words};
use crate::human;
use crate::output::{BAD, GOOD, Page, Render, WARNING, join, text};

/// The exit status of waiting for a message that is now like this.
pub(crate) fn wait_status(message: &rpc::MessageView) -> u8 {
    match message.state {
        MessageState::Sent => exit::OK,
        MessageState::Held if message.held == Some(HoldReason::GrantRequired) => exit::INTERACTION,
        MessageState::Held
        | MessageState::Scheduled
        | MessageState::Queued
        | MessageState::Sending
        | MessageState::Deferred => exit::PENDING,
        MessageState::InDoubt => exit::TEMPORARY,
        MessageState::Partial | MessageState::Failed | MessageState::Expired | MessageState::Cancelled => {
            exit::REJECTED
        }
    }
}

/// What became of a message, in lines for a person.
pub(crate) fn outcome(message: &rpc::MessageView, page: &Page) -> Vec<String> {
    let mut lines = vec![format!("{} {}", mark(message.state), state(message, page))];
    let said = message.recipients.iter().filter_map(|recipient| {
        let reply = recipient.reply.as_ref()?;
        Some(format!("  {} {}: {}", recipient.address, word(recipient.state.as_str()), smtp_words(reply)))
    });
    lines.extend(said);
    if let Some(attempt) = &message.last_attempt {
        lines.push(format!("  {}: {}", attempt.server, attempt.outcome));
        lines.extend(attempt.diagnosis.iter().map(|id| format!("  diagnosis {id}")));
    }
    lines.extend(way_out(message).map(|fix| format!("  Fix: {fix}")));
    lines
}

/// The command that sets a waiting message going.
fn way_out(message: &rpc::MessageView) -> Option<String> {
    let profile = &message.profile;
    let fix = match (message.state, message.held) {
        (MessageState::InDoubt, _) => format!("frankctl queue resolve {} --outcome sent|retry|fail", message.id),
        (_, Some(HoldReason::GrantRequired)) => format!("frankctl grant {profile}"),
        (_, Some(HoldReason::Operator)) => format!("frankctl queue release {}", message.id),
        (_, Some(HoldReason::Paused)) => format!("frankctl profile resume {profile}"),
        (_, Some(HoldReason::AuthRefused | HoldReason::HostFault | HoldReason::AccountLimit)) => {
            format!("frankctl test email {profile} --to ADDRESS")
        }
        (_, Some(HoldReason::NoProfile)) => format!("frankctl queue cancel {}", message.id),
        (_, Some(HoldReason::ClientFault)) => format!("frankctl token show {profile}"),
        _ => return None,
    };
    Some(fix)
}

fn mark(state: MessageState) -> &'static str {
    match state {
        MessageState::Sent => GOOD,
        MessageState::Failed | MessageState::Expired | MessageState::Cancelled => BAD,
        MessageState::Partial | MessageState::InDoubt | MessageState::Held => WARNING,
        MessageState::Scheduled | MessageState::Queued | MessageState::Sending | MessageState::Deferred => "…",
    }
}

fn state(message: &rpc::MessageView, page: &Page) -> String {
    let mut words = word(message.state.as_str());
    if let Some(reason) = message.held {
        words.push_str(": ");
        words.push_str(&word(reason.as_str()));
    }
    if let Some(next) = message.next_attempt_at.filter(|_| !message.state.is_final()) {
        words.push_str(", next attempt ");
        words.push_str(&human::relative(next, page.now));
    }
    words
}

fn word(word: &str) -> String {
    word.replace('_', " ")
}

impl Render for rpc::Messages {
    fn items(&self) -> Option<&'static str> {
        Some("items")
    }

    fn page(&self, page: &mut Page) {
        let row = |message: &rpc::MessageView| {
            let to = match &message.recipients[..] {
                [] => "–".to_owned(),
                [one] => one.address.clone(),
                all if page.wide => join(all.iter().map(|recipient| &recipient.address), ", "),
                [first, rest @ ..] => format!("{} (+{})", first.address, rest.len()),
            };
            let reason = message
                .held
                .map(|reason| word(reason.as_str()))
                .or_else(|| Some(message.last_attempt.as_ref()?.outcome.clone()))
                .filter(|_| message.state != MessageState::Sent);
            [
                message.id.to_string(),
                message.profile.to_string(),
                word(message.state.as_str()),
                message.attempts.to_string(),
                page.relative(message.next_attempt_at.filter(|_| !message.state.is_final())),
                human::between(message.queued_at, page.now),
                format!("{} → {to}", sender(message)),
                reason.unwrap_or_default(),
                text(message.subject.as_ref()),
                human::size(message.size_bytes),
                message.priority.to_string(),
                message.uid.to_string(),
                message.message_id.clone(),
            ]
        };
        let rows = self.items.iter().map(row).collect();
        let header = [
            "ID",
            "PROFILE",
            "STATE",
            "TRY",
            "NEXT",
            "AGE",
            "FROM → TO",
            "REASON",
            "SUBJECT",
            "SIZE",
            "PRIORITY",
            "UID",
            "MESSAGE-ID",
        ];
        page.table_of(8, header, rows);
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|message| message.id.to_string()).collect()
    }
}

impl Render for rpc::MessageView {
    fn page(&self, page: &mut Page) {
        let fields = vec![
            ("Message", self.id.to_string()),
            ("Message-ID", self.message_id.clone()),
            ("Profile", self.profile.to_string()),
            ("State", format!("{} {}", mark(self.state), state(self, page))),
            ("From", sender(self)),
            ("Subject", text(self.subject.as_ref())),
            ("Size", human::size(self.size_bytes)),
            ("Priority", self.priority.to_string()),
            ("Queued", format!("{} by uid {}", page.moment(Some(self.queued_at)), self.uid)),
            ("Not before", page.moment(self.send_at)),
            ("Given up", page.moment(self.expires_at)),
            ("Ended", page.moment(self.ended_at)),
            ("Attempts", self.attempts.to_string()),
        ];
        page.fields(fields);
        page.line("");
        let row = |recipient: &rpc::RecipientView| {
            [
                recipient.address.clone(),
                word(recipient.state.as_str()),
                recipient.reply.as_ref().map_or_else(String::new, smtp_words),
            ]
        };
        page.table(["RECIPIENT", "STATE", "SERVER SAID"], self.recipients.iter().map(row).collect());
        if let Some(attempt) = &self.last_attempt {
            page.line("");
            page.line(format!(
                "Last attempt {} at {}, {} ms: {}",
                page.moment(Some(attempt.at)),
                attempt.server,
                attempt.ms,
                attempt.outcome
            ));
        }
        if let Some(fix) = way_out(self) {
            page.line(format!("Fix: {fix}"));
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}

fn sender(message: &rpc::MessageView) -> String {
    if message.from.is_empty() { "<>".to_owned() } else { message.from.clone() }
}

impl Render for rpc::Receipt {
    fn page(&self, page: &mut Page) {
        let again = if self.duplicate { " (sent before with this key)" } else { "" };
        page.fields(vec![
            ("Message", format!("{}{again}", self.id)),
            ("Message-ID", self.message_id.clone()),
            ("Profile", self.profile.to_string()),
            ("State", word(self.state.as_str())),
        ]);
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}

impl Render for rpc::Changed {
    fn page(&self, page: &mut Page) {
        page.line(format!("{} changed", human::count(self.changed.len() as u64, "message")));
        for skipped in &self.skipped {
            page.line(format!("{WARNING} {}: {}", skipped.id, skipped.reason));
        }
    }

    fn names(&self) -> Vec<String> {
        self.changed.iter().map(ToString::to_string).collect()
    }

    /// That of what was skipped: all of it unknown, or a conflict.
    fn exit_code(&self) -> u8 {
        let unknown = |skipped: &rpc::Skipped| skipped.kind == Kind::ObjectNotFound;
        match &self.skipped[..] {
            [] => exit::OK,
            skipped if skipped.iter().all(unknown) => exit::NOT_FOUND,
            _ => exit::CONFLICT,
        }
    }
}

/// The conversation of the last attempt.
pub(crate) fn transcript(message: &rpc::MessageView) -> String {
    let lines = message.last_attempt.iter().flat_map(|attempt| &attempt.transcript);
    join(lines.map(|line| format!("  {line}\n")), "")
}
