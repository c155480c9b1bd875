//! The conversation as a person may see it: no credential, no message, and no more than [`EDGE`] lines at each end.

use std::collections::VecDeque;

/// Lines that are kept at the beginning, and again at the end.
const EDGE: usize = 60;

/// Longest line, in characters.
const WIDTH: usize = 400;

/// A conversation, with `C:` before what frankd said, `S:` before what the server said, and `*` before what happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    head: Vec<String>,
    tail: VecDeque<String>,
    left_out: usize,
}

impl Transcript {
    /// What frankd said. Never call it with a credential or a message.
    pub(super) fn client(&mut self, line: &str) {
        self.push("C: ", line);
    }

    /// What the server said.
    pub(super) fn server(&mut self, line: &str) {
        self.push("S: ", line);
    }

    /// What happened besides.
    pub(super) fn note(&mut self, line: &str) {
        self.push("* ", line);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The lines in their order.
    pub(super) fn lines(&self) -> Vec<String> {
        let gap = (self.left_out > 0).then(|| format!("* {} lines left out", self.left_out));
        self.head.iter().cloned().chain(gap).chain(self.tail.iter().cloned()).collect()
    }

    fn push(&mut self, mark: &str, line: &str) {
        let mut shown = String::with_capacity(mark.len() + line.len().min(WIDTH));
        shown.push_str(mark);
        match line.char_indices().nth(WIDTH) {
            None => shown.push_str(line),
            Some((at, _)) => {
                shown.push_str(&line[..at]);
                shown.push('…');
            }
        }
        if self.head.len() < EDGE {
            self.head.push(shown);
            return;
        }
        if self.tail.len() == EDGE {
            self.tail.pop_front();
            self.left_out += 1;
        }
        self.tail.push_back(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_conversation_keeps_both_its_ends() {
        let mut transcript = Transcript::default();
        for at in 0..500 {
            transcript.client(&format!("RCPT TO:<{at}@x.example>"));
        }
        let lines = transcript.lines();
        assert_eq!(lines.len(), 2 * EDGE + 1);
        assert_eq!(lines[0], "C: RCPT TO:<0@x.example>");
        assert_eq!(lines[EDGE], format!("* {} lines left out", 500 - 2 * EDGE));
        assert_eq!(lines[2 * EDGE], "C: RCPT TO:<499@x.example>");
    }
}
