//! How the submission server misbehaves: what can strike, where, and which addresses ask for it.
//!
//! A rule strikes at a phase of the session, after some occurrences, a number of times. As with the authorization
//! server, the difference that matters is whether the command was carried out: [`Fault::reply`], [`Fault::drop`] and
//! [`Fault::silence`] come instead of it, [`Fault::lose_reply`] and the alterations come after it.
//! The session asks at one place, `Session::answer`.

use std::time::Duration;

/// A step of a session at which a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The greeting.
    Greeting,
    /// EHLO or HELO before TLS.
    Ehlo,
    /// The reply to STARTTLS.
    StartTls,
    /// The TLS handshake, of STARTTLS or of an implicit TLS port.
    Handshake,
    /// EHLO over TLS.
    EhloOverTls,
    /// The AUTH command, before the credentials are complete.
    Auth,
    /// Complete credentials, before they are judged.
    Login,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, before the body.
    Data,
    /// The body, while it is read.
    Body,
    /// The final dot, the message complete.
    FinalDot,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
}

impl Phase {
    /// Every phase, in the order of a session.
    pub const ALL: [Self; 15] = [
        Self::Greeting,
        Self::Ehlo,
        Self::StartTls,
        Self::Handshake,
        Self::EhloOverTls,
        Self::Auth,
        Self::Login,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Body,
        Self::FinalDot,
        Self::Rset,
        Self::Noop,
        Self::Quit,
    ];
}

/// One misbehaviour.
#[derive(Clone, Debug)]
pub struct Fault(pub(super) Act);

/// What a fault does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Reply(Vec<u8>),
    Drop,
    Silence,
    LoseReply,
    LoseReplyAndHang,
    Late(Duration),
    RefuseToken,
    Throttle(usize),
    Altered(Alteration),
}

/// How a proper reply is changed on its way out.
#[derive(Clone, Debug)]
pub(super) enum Alteration {
    Textless,
    Raw(Vec<u8>),
    LongLine(usize),
    ManyLines(usize),
    Endless,
    Followed(Vec<u8>),
}

impl Fault {
    /// Replies this instead of carrying the command out; `\n` separates lines, octets need not be UTF-8. A 421 also
    /// closes the connection.
    #[must_use]
    pub fn reply(text: impl AsRef<[u8]>) -> Self {
        Self(Act::Reply(text.as_ref().to_vec()))
    }

    /// Cuts the connection; the command is not carried out.
    #[must_use]
    pub fn drop() -> Self {
        Self(Act::Drop)
    }

    /// Says nothing more; the command is not carried out, the connection stays open until the peer leaves.
    #[must_use]
    pub fn silence() -> Self {
        Self(Act::Silence)
    }

    /// Carries the command out, then cuts the connection: at the final dot, the message is kept.
    #[must_use]
    pub fn lose_reply() -> Self {
        Self(Act::LoseReply)
    }

    /// Carries the command out, then says nothing more.
    #[must_use]
    pub fn lose_reply_and_hang() -> Self {
        Self(Act::LoseReplyAndHang)
    }

    /// Waits, then behaves.
    #[must_use]
    pub fn late(time: Duration) -> Self {
        Self(Act::Late(time))
    }

    /// Refuses the credentials at [`Phase::Login`] as if they were bad, in the server's own way.
    #[must_use]
    pub fn refuse_token() -> Self {
        Self(Act::RefuseToken)
    }

    /// Reads the body at most so many octets a second; at [`Phase::Body`].
    #[must_use]
    pub fn throttle(octets_per_second: usize) -> Self {
        Self(Act::Throttle(octets_per_second.max(1)))
    }

    /// Replies properly but without any text, not even a space (RFC 5321 §4.2 allows it).
    #[must_use]
    pub fn textless() -> Self {
        Self(Act::Altered(Alteration::Textless))
    }

    /// Carries the command out and writes these octets as the reply.
    #[must_use]
    pub fn raw(octets: impl AsRef<[u8]>) -> Self {
        Self(Act::Altered(Alteration::Raw(octets.as_ref().to_vec())))
    }

    /// Replies properly in one line of so many octets.
    #[must_use]
    pub fn long_line(octets: usize) -> Self {
        Self(Act::Altered(Alteration::LongLine(octets)))
    }

    /// Replies properly in so many lines.
    #[must_use]
    pub fn many_lines(lines: usize) -> Self {
        Self(Act::Altered(Alteration::ManyLines(lines)))
    }

    /// Begins a reply and never ends it (64 MiB of it, at most).
    #[must_use]
    pub fn endless() -> Self {
        Self(Act::Altered(Alteration::Endless))
    }

    /// Replies properly and writes more octets behind it in the same breath: at [`Phase::StartTls`], what a man in the
    /// middle injects (RFC 3207 §6).
    #[must_use]
    pub fn followed_by(octets: impl AsRef<[u8]>) -> Self {
        Self(Act::Altered(Alteration::Followed(octets.as_ref().to_vec())))
    }
}

/// A fault, where it strikes and how often.
#[derive(Clone, Debug)]
pub struct Rule {
    phase: Phase,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Strikes at every occurrence of `phase`.
    #[must_use]
    pub fn always(phase: Phase, fault: Fault) -> Self {
        Self { phase, skip: 0, times: usize::MAX, fault }
    }

    /// Strikes at the next occurrence of `phase`.
    #[must_use]
    pub fn once(phase: Phase, fault: Fault) -> Self {
        Self { times: 1, ..Self::always(phase, fault) }
    }

    /// Lets so many occurrences pass first.
    #[must_use]
    pub fn after(mut self, occurrences: usize) -> Self {
        self.skip = occurrences;
        self
    }

    /// Strikes so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// The rules that are in force.
#[derive(Debug, Default)]
pub(super) struct Script(Vec<Rule>);

impl Script {
    /// Adds a rule; of two that strike at one moment, the older one does.
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    /// Forgets every rule.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts an occurrence of `phase` and tells what strikes.
    pub(super) fn strikes(&mut self, phase: Phase) -> Option<Fault> {
        let mut struck = None;
        for rule in self.0.iter_mut().filter(|rule| rule.phase == phase) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if struck.is_none() && rule.times > 0 {
                rule.times = rule.times.saturating_sub(usize::from(rule.times != usize::MAX));
                struck = Some(rule.fault.clone());
            }
        }
        struck
    }
}

/// How a local part begins, the phase, and what it asks for there, told how long `slow` takes.
type AskedByRecipient = (&'static str, Phase, fn(Duration) -> Fault);
/// How a local part begins, and what it asks for at MAIL.
type AskedBySender = (&'static str, fn() -> Fault);

/// The local parts that ask for a fault by how they begin: phase and what is done there.
const RECIPIENTS: [AskedByRecipient; 9] = [
    ("tempfail", Phase::Rcpt, |_| Fault::reply("451 4.3.2 Temporary server error. Please try again later")),
    ("full", Phase::Rcpt, |_| Fault::reply("452 4.2.2 Mailbox full")),
    ("reject", Phase::Rcpt, |_| Fault::reply("550 5.1.1 The email account that you tried to reach does not exist")),
    ("relay", Phase::Rcpt, |_| Fault::reply("554 5.7.1 Relay access denied")),
    ("datatemp", Phase::FinalDot, |_| Fault::reply("451 4.3.0 Try again later")),
    ("datafail", Phase::FinalDot, |_| Fault::reply("554 5.6.0 Message content rejected")),
    ("dropbefore", Phase::FinalDot, |_| Fault::drop()),
    ("dropafter", Phase::FinalDot, |_| Fault::lose_reply()),
    ("slow", Phase::FinalDot, Fault::late),
];

/// The senders that ask for a fault at MAIL.
const SENDERS: [AskedBySender; 2] = [
    ("badfrom", || Fault::reply("550 5.7.60 SMTP; Client does not have permissions to send as this sender")),
    ("dropmail", Fault::drop),
];

/// The prefix of a recipient that is refused the first time and taken the second.
pub(super) const GREYLIST: &str = "greylist";

/// What a greylisted recipient is told the first time.
pub(super) const GREYLISTED: &str = "451 4.7.1 Greylisted, please try again";

/// What the address of a recipient asks for at `phase`.
pub(super) fn asked_by_recipient(address: &str, phase: Phase, slow: Duration) -> Option<Fault> {
    let asked = RECIPIENTS.iter().find(|(prefix, at, _)| *at == phase && begins(address, prefix));
    asked.map(|(_, _, fault)| fault(slow))
}

/// What the address of a sender asks for at MAIL.
pub(super) fn asked_by_sender(address: &str) -> Option<Fault> {
    SENDERS.iter().find(|(prefix, _)| begins(address, prefix)).map(|(_, fault)| fault())
}

/// Whether the address begins with `prefix`, in any case.
pub(super) fn begins(address: &str, prefix: &str) -> bool {
    address.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_after_so_many_and_so_often() {
        let mut script = Script::default();
        script.add(Rule::once(Phase::Login, Fault::drop()).after(2).times(2));
        let struck: Vec<bool> = (0..6).map(|_| script.strikes(Phase::Login).is_some()).collect();
        assert_eq!(struck, [false, false, true, true, false, false]);
        assert!(script.strikes(Phase::Mail).is_none());
    }

    #[test]
    fn addresses_ask_by_how_they_begin() {
        let asks = |address, phase| asked_by_recipient(address, phase, Duration::ZERO).is_some();
        assert!(asks("tempfail-7@sandbox.test", Phase::Rcpt));
        assert!(asks("DropAfter@sandbox.test", Phase::FinalDot));
        assert!(!asks("dropafter@sandbox.test", Phase::Rcpt));
        assert!(!asks("alice@sandbox.test", Phase::Rcpt));
        assert!(asked_by_sender("badfrom@sandbox.test").is_some());
        assert!(asked_by_sender("\u{e9}").is_none());
    }
}
