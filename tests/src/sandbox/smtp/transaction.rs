//! A mail transaction: MAIL, RCPT, DATA, and what each message and address is refused for.

use tokio::io::{AsyncRead, AsyncWrite};

use super::fault::{Act, Fault, GREYLIST, GREYLISTED, Phase, asked_by_recipient, asked_by_sender, begins};
use super::mailbox::Delivered;
use super::reply::Reply;
use super::session::Session;
use super::wire::{Body, Over};

/// An envelope in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    from: String,
    parameters: Vec<String>,
    to: Vec<String>,
}

impl Transaction {
    fn has(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|known| known.eq_ignore_ascii_case(parameter))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Carries a MAIL command out.
    pub(super) async fn mail(&mut self, argument: &str) -> Result<u16, Over> {
        let path = path(argument, "FROM:").map(|(address, _)| address.to_owned()).unwrap_or_default();
        self.answer(Phase::Mail, asked_by_sender(&path), |session| session.begin(argument)).await
    }

    fn begin(&mut self, argument: &str) -> Reply {
        let behaviour = self.server.behaviour();
        if !self.greeted {
            return Reply::of("503 5.5.1 Say EHLO first");
        }
        if self.transaction.is_some() {
            self.server.offence("MAIL inside a mail transaction");
            return Reply::of("503 5.5.1 Nested MAIL command");
        }
        if behaviour.login_required && self.login.is_none() {
            return Reply::of("530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM");
        }
        let Some((address, parameters)) = path(argument, "FROM:") else {
            return Reply::of("501 5.5.4 Syntax: MAIL FROM:<address>");
        };
        if let Err(refusal) = self.check_parameters(address, &parameters) {
            return Reply::of(refusal);
        }
        self.mails += 1;
        if behaviour.max_messages.is_some_and(|most| self.mails > most) {
            return Reply::of("421 4.7.0 Too many messages on this connection");
        }
        self.transaction = Some(Transaction { from: address.to_owned(), parameters, to: Vec::new() });
        Reply::of("250 2.1.0 Sender OK")
    }

    /// Checks the parameters of MAIL against what is offered (RFC 5321 §4.1.1.11).
    fn check_parameters(&self, address: &str, parameters: &[String]) -> Result<(), &'static str> {
        let behaviour = self.server.behaviour();
        let mut utf8 = false;
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let offered = match name.to_ascii_uppercase().as_str() {
                "SIZE" => {
                    if let (Some(limit), Ok(size)) = (behaviour.size, value.parse::<u64>())
                        && size > limit
                    {
                        return Err("552 5.3.4 Message size exceeds fixed maximum message size");
                    }
                    behaviour.size.is_some()
                }
                "BODY" => behaviour.eight_bit_mime && ["7BIT", "8BITMIME"].contains(&value),
                "SMTPUTF8" => {
                    utf8 = true;
                    behaviour.smtp_utf8
                }
                "AUTH" => true,
                _ => false,
            };
            if !offered {
                self.server.offence(format!("MAIL parameter that is not offered: {parameter}"));
                return Err("555 5.5.4 Unsupported parameter");
            }
        }
        if !address.is_ascii() && !utf8 {
            self.server.offence("an address beyond ASCII without SMTPUTF8");
            return Err("553 5.6.7 The address needs SMTPUTF8");
        }
        Ok(())
    }

    /// Carries a RCPT command out.
    pub(super) async fn rcpt(&mut self, argument: &str) -> Result<u16, Over> {
        let address = path(argument, "TO:").map(|(address, _)| address.to_owned()).unwrap_or_default();
        let asked = asked_by_recipient(&address, Phase::Rcpt, self.server.behaviour().slow);
        // A command out of order is refused for that, whatever its address asks for.
        let asked = asked.filter(|_| self.transaction.is_some());
        self.answer(Phase::Rcpt, asked, |session| session.add_recipient(argument)).await
    }

    fn add_recipient(&mut self, argument: &str) -> Reply {
        let behaviour = self.server.behaviour();
        let Some(transaction) = &mut self.transaction else {
            return Reply::of("503 5.5.1 MAIL first");
        };
        let Some((address, parameters)) = path(argument, "TO:") else {
            return Reply::of("501 5.5.4 Syntax: RCPT TO:<address>");
        };
        if !parameters.is_empty() {
            self.server.offence(format!("RCPT parameter that is not offered: {}", parameters.join(" ")));
            return Reply::of("555 5.5.4 Unsupported parameter");
        }
        if address.is_empty() || !address.contains('@') {
            return Reply::of("501 5.1.3 Bad recipient address syntax");
        }
        if !address.is_ascii() && !transaction.has("SMTPUTF8") {
            self.server.offence("an address beyond ASCII without SMTPUTF8");
            return Reply::of("553 5.6.7 The address needs SMTPUTF8");
        }
        if behaviour.max_recipients.is_some_and(|most| transaction.to.len() >= most) {
            return Reply::of(&behaviour.too_many_recipients);
        }
        if begins(address, GREYLIST) && self.server.mailbox().first_time(address) {
            return Reply::of(GREYLISTED);
        }
        transaction.to.push(address.to_owned());
        Reply::of("250 2.1.5 Recipient OK")
    }

    /// Carries DATA out, body and final dot included.
    pub(super) async fn data(&mut self) -> Result<u16, Over> {
        let code = self
            .answer(Phase::Data, None, |session| match &session.transaction {
                None => Reply::of("503 5.5.1 MAIL first"),
                Some(transaction)
                    if transaction.to.is_empty() && !session.server.behaviour().data_without_recipients =>
                {
                    Reply::of("554 5.5.1 No valid recipients")
                }
                Some(_) => Reply::of("354 Go ahead, end with a dot"),
            })
            .await?;
        if code != 354 {
            return Ok(code);
        }
        if let Some(fault) = self.server.strikes(Phase::Body) {
            self.strike_body(fault).await?;
        }
        let body = self.wire.body(self.server.behaviour().size).await?;
        self.wire.set_pace(None);
        let Some(transaction) = self.transaction.take() else {
            // Only a fault answers 354 without a transaction.
            return self.say(&Reply::of("503 5.5.1 MAIL first")).await;
        };
        let slow = self.server.behaviour().slow;
        let asked = transaction.to.iter().find_map(|address| asked_by_recipient(address, Phase::FinalDot, slow));
        let refusal = self.refusal_of(&transaction, &body);
        // A message that is refused for what it is does not reach the recipients that would have asked for a fault.
        let asked = asked.filter(|_| refusal.is_none());
        self.answer(Phase::FinalDot, asked, |session| match refusal {
            Some(refusal) => Reply::of(refusal),
            None => session.keep(transaction, body),
        })
        .await
    }

    /// Lets a fault strike at the first line of the body.
    async fn strike_body(&mut self, fault: Fault) -> Result<(), Over> {
        if let Act::Throttle(octets_per_second) = fault.0 {
            self.wire.set_pace(Some(octets_per_second));
            return Ok(());
        }
        self.wire.line().await?;
        self.answer_struck(Some(fault), |_| Reply::of("421 4.3.2 Shutting down")).await?;
        self.wire.flush().await?;
        Err(Over)
    }

    fn refusal_of(&self, transaction: &Transaction, body: &Body) -> Option<&'static str> {
        let behaviour = self.server.behaviour();
        if transaction.to.is_empty() {
            return Some("554 5.5.1 No valid recipients");
        }
        if behaviour.size.is_some_and(|limit| body.length > limit) {
            return Some("552 5.3.4 Message size exceeds fixed maximum message size");
        }
        if body.bare {
            self.server.offence("a message with a bare CR or LF");
            if behaviour.refuses_bare_line_feed {
                return Some("554 5.6.0 Bare CR or LF is not allowed");
            }
        }
        if body.nul {
            self.server.offence("a message with a NUL");
            return Some("554 5.6.0 NUL is not allowed");
        }
        if body.eight_bit && !transaction.has("BODY=8BITMIME") {
            self.server.offence("8-bit octets without BODY=8BITMIME");
            return (!behaviour.eight_bit_mime).then_some("554 5.6.3 Conversion required but not supported");
        }
        None
    }

    fn keep(&self, transaction: Transaction, body: Body) -> Reply {
        let id = self.server.keep(Delivered {
            id: 0,
            at: jiff::Timestamp::UNIX_EPOCH,
            connection: self.number,
            login: self.login.clone(),
            tls: self.wire.is_tls(),
            from: transaction.from,
            to: transaction.to,
            parameters: transaction.parameters,
            octets: body.octets,
        });
        Reply::of(format!("250 {}", self.server.behaviour().accepted.replace("{id}", &id.to_string())))
    }
}

/// The address and the parameters behind `keyword`: no space before the bracket (RFC 5321 §3.3).
fn path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, Vec<String>)> {
    let head = argument.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (address, rest) = argument[keyword.len()..].strip_prefix('<')?.split_once('>')?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    if address.contains(['<', ' ', '\r', '\t']) {
        return None;
    }
    Some((address, rest.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()))
}
