//! Delivers one message in a session: envelope, message, final dot, and what is certain afterwards.

use std::fmt::Write as _;
use std::future::Future;

use super::content::Content;
use super::session::{Session, fault};
use super::wire::limit;
use crate::domain::delivery::{Delivery, Envelope, Fault, RecipientResult, Stage, Trouble, leaves_doubt};
use frankd_proto::error::SmtpReply;

/// Most commands that are on their way without a reply.
const IN_FLIGHT: usize = 50;

/// Most octets of commands that are sent before their replies are read: less than any connection buffers, so that
/// neither side waits for the other to read (RFC 2920 §3.1).
const IN_FLIGHT_OCTETS: usize = 4 * 1024;

/// A command of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
}

impl Step {
    const fn stage(self) -> Stage {
        match self {
            Self::Reset | Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
        }
    }
}

/// What the server said to the envelope.
#[derive(Debug)]
struct Answers {
    mail: Option<SmtpReply>,
    recipients: Vec<RecipientResult>,
    accepted: Vec<usize>,
    data: Option<SmtpReply>,
}

impl Session {
    /// Delivers a message.
    ///
    /// `before_dot` runs when everything but the final dot is with the server. If it fails, the connection ends without
    /// the dot, and nothing was sent.
    pub async fn deliver(
        &mut self,
        envelope: &Envelope,
        content: &mut dyn Content,
        before_dot: impl Future<Output = Result<(), String>> + Send,
    ) -> Delivery {
        if self.messages > 0 {
            self.wire.transcript.clear();
            self.wire.transcript.note(&format!("message {} of this connection", self.messages + 1));
            self.watch.restart();
        }
        self.messages += 1;
        let mut answers = Answers {
            mail: None,
            recipients: vec![RecipientResult::NotSent; envelope.recipients.len()],
            accepted: Vec::new(),
            data: None,
        };
        let was_in_step = self.in_step;
        // Until the last reply has been read: a dropped future must leave a session that nobody uses again.
        self.in_step = false;
        let outcome = if was_in_step {
            self.exchange(envelope, content, &mut answers, before_dot).await
        } else {
            Err(fault(Stage::Mail, Trouble::Closed))
        };
        if let Err(fault) = &outcome
            && self.watch.timings.last().is_none_or(|(stage, _)| *stage != fault.stage)
        {
            self.watch.lap(fault.stage);
        }
        Delivery { recipients: answers.recipients, fault: outcome.err(), reusable: self.in_step }
    }

    async fn exchange(
        &mut self,
        envelope: &Envelope,
        content: &mut dyn Content,
        answers: &mut Answers,
        before_dot: impl Future<Output = Result<(), String>> + Send,
    ) -> Result<(), Fault> {
        if let Err(trouble) = self.fits(envelope, content.size()) {
            self.in_step = true;
            return Err(fault(Stage::Mail, trouble));
        }
        self.envelope(envelope, content.size(), answers).await?;
        let go = answers.data.as_ref().is_some_and(|reply| reply.code == 354);
        let refused = answers.mail.as_ref().is_some_and(|mail| mail.code >= 300);
        if go && (refused || answers.accepted.is_empty()) {
            return self.lone_dot(answers).await;
        }
        if !go {
            self.in_step = true;
            return match (&answers.mail, &answers.data) {
                (Some(mail), _) if mail.code >= 300 => Err(fault(Stage::Mail, Trouble::Reply(mail.clone()))),
                (_, Some(data)) if !answers.accepted.is_empty() => {
                    Err(fault(Stage::Data, Trouble::Reply(data.clone())))
                }
                _ => Ok(()),
            };
        }
        self.message(content).await?;
        self.final_dot(answers, before_dot).await
    }

    /// Refuses here what the server would refuse after the whole message.
    fn fits(&self, envelope: &Envelope, size: u64) -> Result<(), Trouble> {
        let server = &self.server;
        if let Some(limit) = server.size_limit
            && size > limit
        {
            return Err(Trouble::TooLarge { size, limit });
        }
        let lacking = |what: &str| Err(Trouble::Lacking(what.to_owned()));
        if envelope.eight_bit && !server.eight_bit {
            return lacking("the message has octets over 127, and the server does not offer 8BITMIME");
        }
        if envelope.smtputf8 && !server.smtputf8 {
            return lacking("the message needs SMTPUTF8, and the server does not offer it");
        }
        for address in std::iter::once(&envelope.from).chain(&envelope.recipients) {
            let carries =
                |c: char| !c.is_control() && !matches!(c, '<' | '>' | ' ') && (envelope.smtputf8 || c.is_ascii());
            if !address.chars().all(carries) {
                return Err(Trouble::Lacking(format!("SMTP cannot carry the address {address:?}")));
            }
        }
        Ok(())
    }

    async fn envelope(&mut self, envelope: &Envelope, size: u64, answers: &mut Answers) -> Result<(), Fault> {
        let mut steps = Vec::with_capacity(envelope.recipients.len() + 3);
        steps.extend(self.needs_reset.then_some(Step::Reset));
        steps.push(Step::Mail);
        steps.extend((0..envelope.recipients.len()).map(Step::Rcpt));
        steps.push(Step::Data);
        let mut next = 0;
        while next < steps.len() {
            let refused = answers.mail.as_ref().is_some_and(|reply| reply.code >= 300);
            let useless = steps[next] == Step::Data && answers.accepted.is_empty();
            if refused || useless {
                break;
            }
            let first = next;
            while next < steps.len() && self.has_room(next - first) {
                let line = self.line(steps[next], envelope, size);
                self.wire.command(&line);
                next += 1;
            }
            let stage = steps[first].stage();
            self.wire.flush(limit::ENVELOPE).await.map_err(|trouble| fault(stage, trouble))?;
            for step in &steps[first..next] {
                self.answer(*step, answers).await?;
            }
        }
        Ok(())
    }

    fn has_room(&self, in_flight: usize) -> bool {
        let most = if self.server.pipelining { IN_FLIGHT } else { 1 };
        in_flight == 0 || in_flight < most && self.wire.waiting() < IN_FLIGHT_OCTETS
    }

    fn line(&self, step: Step, envelope: &Envelope, size: u64) -> String {
        match step {
            Step::Reset => "RSET".to_owned(),
            Step::Mail => {
                let mut line = format!("MAIL FROM:<{}>", envelope.from);
                if self.server.size {
                    let _infallible = write!(line, " SIZE={size}");
                }
                if envelope.eight_bit {
                    line.push_str(" BODY=8BITMIME");
                }
                if envelope.smtputf8 {
                    line.push_str(" SMTPUTF8");
                }
                line
            }
            Step::Rcpt(at) => format!("RCPT TO:<{}>", envelope.recipients[at]),
            Step::Data => "DATA".to_owned(),
        }
    }

    /// Reads the reply to one command of the envelope.
    async fn answer(&mut self, step: Step, answers: &mut Answers) -> Result<(), Fault> {
        let stage = step.stage();
        let time = if step == Step::Data { limit::DATA } else { limit::ENVELOPE };
        let reply = self.wire.reply(time).await.map_err(|trouble| fault(stage, trouble))?;
        let said = reply.to_smtp();
        let expected = match step {
            Step::Data => matches!(reply.code, 354 | 400..),
            _ => reply.class() != 3,
        };
        // 421 is the end of the connection, whatever the command was (RFC 5321 §3.8).
        if reply.code == 421 {
            return Err(fault(stage, Trouble::Reply(said)));
        }
        if !expected {
            return Err(fault(stage, odd(stage, &said)));
        }
        match step {
            Step::Reset if reply.class() != 2 => return Err(fault(stage, Trouble::Reply(said))),
            Step::Reset => self.needs_reset = false,
            Step::Mail => {
                self.needs_reset = reply.class() == 2;
                answers.mail = Some(said);
                self.watch.lap(Stage::Mail);
            }
            Step::Rcpt(at) if reply.class() == 2 => answers.accepted.push(at),
            Step::Rcpt(at) => {
                if answers.mail.as_ref().is_some_and(|mail| mail.code < 300) {
                    answers.recipients[at] = RecipientResult::Refused(said);
                }
            }
            Step::Data => answers.data = Some(said),
        }
        if matches!(step, Step::Rcpt(at) if at + 1 == answers.recipients.len()) {
            self.watch.lap(Stage::Rcpt);
        }
        Ok(())
    }

    /// The sender or all recipients were refused, and the server took DATA all the same: it gets an empty message that it
    /// has nobody to give to (RFC 2920 §3.1).
    async fn lone_dot(&mut self, answers: &Answers) -> Result<(), Fault> {
        let reply = self.wire.ask(".", limit::FINAL).await;
        let reply = reply.map_err(|trouble| fault(Stage::Data, trouble))?;
        self.needs_reset = false;
        self.in_step = reply.code != 421;
        match &answers.mail {
            Some(mail) if mail.code >= 300 => Err(fault(Stage::Mail, Trouble::Reply(mail.clone()))),
            _ => Ok(()),
        }
    }

    /// Sends the message up to the final dot, dot-stuffed (RFC 5321 §4.5.2).
    async fn message(&mut self, content: &mut dyn Content) -> Result<(), Fault> {
        self.wire.transcript.client(&format!("[message, {} octets]", content.size()));
        let mut stuffed = Vec::new();
        // The last two octets: together they tell whether a line begins, and whether the last one has its end.
        let mut tail = *b"\r\n";
        loop {
            let piece = match content.piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(why) => {
                    self.wire.transcript.note("closed within the message");
                    return Err(fault(Stage::Data, Trouble::Aborted(why)));
                }
            };
            stuffed.clear();
            stuffed.reserve(piece.len() + piece.len() / 64);
            let mut at_line_start = tail[1] == b'\n';
            for line in piece.split_inclusive(|octet| *octet == b'\n') {
                if at_line_start && line[0] == b'.' {
                    stuffed.push(b'.');
                }
                stuffed.extend_from_slice(line);
                at_line_start = line.ends_with(b"\n");
            }
            match *piece {
                [.., before, last] => tail = [before, last],
                [last] => tail = [tail[1], last],
                [] => {}
            }
            self.send_block(&stuffed).await?;
        }
        if tail != *b"\r\n" {
            self.send_block(b"\r\n").await?;
        }
        Ok(())
    }

    async fn send_block(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let Err(trouble) = self.wire.write(octets, limit::DATA).await else {
            return Ok(());
        };
        // A server that has enough says why before it hangs up.
        if trouble == Trouble::Closed
            && let Ok(reply) = self.wire.reply(limit::LAST_WORDS).await
            && reply.code >= 400
        {
            return Err(fault(Stage::Data, Trouble::Reply(reply.to_smtp())));
        }
        Err(fault(Stage::Data, trouble))
    }

    async fn final_dot(
        &mut self,
        answers: &mut Answers,
        before_dot: impl Future<Output = Result<(), String>> + Send,
    ) -> Result<(), Fault> {
        if let Err(why) = before_dot.await {
            self.wire.transcript.note("closed without the final dot");
            return Err(fault(Stage::Data, Trouble::Aborted(why)));
        }
        // A reply that is already here answers no final dot.
        if let Some(trouble) = self.wire.unasked() {
            let trouble = match trouble {
                Trouble::Reply(reply) if reply.code < 400 => odd(Stage::Data, &reply),
                other => other,
            };
            return Err(fault(Stage::Data, trouble));
        }
        self.watch.lap(Stage::Data);
        for at in &answers.accepted {
            answers.recipients[*at] = RecipientResult::InDoubt;
        }
        let after = |trouble| fault(Stage::AfterDot, trouble);
        let reply = self.wire.ask(".", limit::FINAL).await.map_err(after)?;
        self.watch.lap(Stage::AfterDot);
        let said = reply.to_smtp();
        if reply.class() == 3 {
            return Err(after(odd(Stage::AfterDot, &said)));
        }
        self.needs_reset = false;
        self.in_step = reply.code != 421;
        if leaves_doubt(&said) {
            return Err(after(Trouble::Reply(said)));
        }
        let sent = reply.class() == 2;
        for at in &answers.accepted {
            answers.recipients[*at] = if sent { RecipientResult::Sent(said.clone()) } else { RecipientResult::NotSent };
        }
        if sent { Ok(()) } else { Err(after(Trouble::Reply(said))) }
    }
}

fn odd(stage: Stage, reply: &SmtpReply) -> Trouble {
    Trouble::Protocol(format!("{} does not answer {stage:?}", reply.code))
}
