//! What turns on the terminal while a person signs in elsewhere: who is waited for, and how long still.

use std::time::Duration;

use frankd_proto::methods::grant::GrantView;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use crate::app::App;
use crate::clock::{self, Clock};
use crate::failure::Failure;
use crate::human;

/// Time between two pictures.
const TURN: Duration = Duration::from_millis(120);

/// A spinner; where standard error is no terminal it says its line once and keeps still.
#[derive(Debug)]
pub(crate) struct Spinner {
    bar: Option<ProgressBar>,
    what: String,
    ends: Timestamp,
}

impl Spinner {
    /// Begins to wait for the person.
    pub(crate) fn start(app: &mut App, grant: &GrantView, account: Option<&str>) -> Result<Self, Failure> {
        let who = account.map_or_else(String::new, |account| format!(" as {}", human::clean(account)));
        let what = format!("Waiting for sign-in{who}");
        let turns = app.io.terminal.stderr && !app.global.quiet && app.io.variable("TERM") != Some("dumb");
        let bar = turns.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_draw_target(ProgressDrawTarget::stderr());
            // A line that is too long for the terminal is cut, not wrapped.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        if bar.is_none() {
            let left = human::relative(grant.expires_at, app.io.clock.now());
            app.note(format!("{what}; the grant ends {left} …"))?;
        }
        Ok(Self { bar, what, ends: grant.expires_at })
    }

    /// Draws one picture, and waits for the time of the next.
    pub(crate) async fn turn(&self, clock: Clock) {
        if let Some(bar) = &self.bar {
            let left = self.ends.duration_since(clock.now()).as_secs().max(0);
            bar.set_message(format!(
                "{} …  {}:{:02} left  (Ctrl-C: the grant stays pending)",
                self.what,
                left / 60,
                left % 60
            ));
            bar.tick();
        }
        clock::sleep(TURN).await;
    }

    /// Says what is being done instead of waiting.
    pub(crate) fn say(&self, what: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what);
            bar.tick();
        }
    }

    /// Takes the spinner off the terminal while something else is written.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes it away.
    pub(crate) fn stop(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
