//! Rounds, and what is made of them.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{BenchError, Part};

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds for one call: a ratio of at most the aim is good.
    MicrosecondsPerCall,
    /// Messages in a second: a ratio of at least the aim is good.
    MessagesPerSecond,
}

impl Unit {
    /// The figure of `count` things that took `time`.
    pub(super) fn of(self, count: usize, time: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let count = count as f64;
        match self {
            Self::MicrosecondsPerCall => time.as_secs_f64() * 1e6 / count,
            Self::MessagesPerSecond => count / time.as_secs_f64(),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::MicrosecondsPerCall => "µs a call",
            Self::MessagesPerSecond => "messages/s",
        }
    }
}

/// One thing that was measured, with its reference.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// What it is measured against.
    pub reference: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// The ratio that is aimed at.
    pub aim: f64,
    /// frankd and its reference, round by round.
    pub rounds: Vec<(f64, f64)>,
}

impl Row {
    /// Measures `rounds` rounds: frankd and its reference in turns, each the first every other time.
    pub(super) fn measure(
        mut self,
        rounds: usize,
        mut frankd: impl FnMut() -> Result<f64, BenchError>,
        mut reference: impl FnMut() -> Result<f64, BenchError>,
    ) -> Result<Self, BenchError> {
        for round in 0..rounds {
            let pair = if round % 2 == 0 {
                let ours = frankd()?;
                (ours, reference()?)
            } else {
                let theirs = reference()?;
                (frankd()?, theirs)
            };
            self.rounds.push(pair);
        }
        Ok(self)
    }

    /// The median of the rounds' ratios.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    fn ratios(&self) -> Vec<f64> {
        self.rounds.iter().map(|(frankd, reference)| frankd / reference).collect()
    }

    fn met(&self) -> bool {
        match self.unit {
            Unit::MicrosecondsPerCall => self.ratio() <= self.aim,
            Unit::MessagesPerSecond => self.ratio() >= self.aim,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Largest less smallest, as a share of the median.
fn spread(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    (largest - smallest) / median(values.to_vec())
}

/// The rows for a person: medians, how far the rounds lie apart, and the ratio.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<44} {:>10} {:>6} {:>10} {:>6}  {:<11} {:>6} {:>6}  {}\n",
        "", "frankd", "±", "reference", "±", "", "ratio", "aim", "reference"
    );
    for row in rows {
        let (ours, theirs): (Vec<f64>, Vec<f64>) = row.rounds.iter().copied().unzip();
        let sign = if row.unit == Unit::MicrosecondsPerCall { '≤' } else { '≥' };
        let _ = writeln!(
            text,
            "{:<44} {:>10.1} {:>5.0}% {:>10.1} {:>5.0}%  {:<11} {:>6.2} {sign} {:>4} {} {}",
            row.name,
            median(ours.clone()),
            spread(&ours) * 100.0,
            median(theirs.clone()),
            spread(&theirs) * 100.0,
            row.unit.text(),
            row.ratio(),
            row.aim,
            if row.met() { " " } else { "✗" },
            row.reference,
        );
    }
    text
}

/// The rows for a program, with every round.
#[must_use]
pub fn json(part: Part, rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let rounds = row.rounds.iter().map(|(frankd, reference)| json!({"frankd": frankd, "reference": reference}));
        json!({
            "name": row.name,
            "reference": row.reference,
            "unit": row.unit.text(),
            "aim": row.aim,
            "ratio": row.ratio(),
            "met": row.met(),
            "rounds": rounds.collect::<Vec<_>>(),
        })
    };
    json!({"part": part.to_string(), "machine": machine(), "rows": rows.iter().map(row).collect::<Vec<_>>()})
}

/// The machine in one line, and how busy it was before.
#[must_use]
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = read("/proc/loadavg");
    format!(
        "{} × {}, Linux {}, load {}",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unit: Unit, aim: f64, rounds: &[(f64, f64)]) -> Row {
        Row { name: "x".to_owned(), reference: "y", unit, aim, rounds: rounds.to_vec() }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_is_held_against_its_aim() {
        let rounds = [(2.0, 1.0), (30.0, 10.0), (9.0, 1.0)];
        let slow = row(Unit::MicrosecondsPerCall, 3.0, &rounds);
        assert!((slow.ratio() - 3.0).abs() < 1e-9 && slow.met());
        assert!(row(Unit::MessagesPerSecond, 3.0, &rounds).met());
        assert!(!row(Unit::MicrosecondsPerCall, 2.9, &rounds).met());
        assert!(!row(Unit::MessagesPerSecond, 3.1, &rounds).met());
        assert!(!row(Unit::MessagesPerSecond, 0.1, &[]).met());
        assert_eq!(json(Part::Accept, &[slow])["rows"][0]["rounds"][1]["reference"], 10.0);
    }

    #[test]
    fn frankd_and_its_reference_take_turns_in_being_first() {
        let order = std::cell::RefCell::new(String::new());
        let note = |who: char| {
            order.borrow_mut().push(who);
            Ok(1.0)
        };
        let measured = row(Unit::MessagesPerSecond, 1.0, &[]).measure(3, || note('f'), || note('r')).unwrap();
        assert_eq!((measured.rounds.len(), order.into_inner().as_str()), (3, "frrffr"));
        let failed = row(Unit::MessagesPerSecond, 1.0, &[]).measure(
            3,
            || Err(BenchError::Unfinished("9 of 10".to_owned())),
            || Ok(1.0),
        );
        assert!(failed.is_err());
    }
}
