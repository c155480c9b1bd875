//! Times, sizes and foreign text as people read them.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

/// Two units at most, the smaller one only where it tells something: "45 s", "52 min", "3 h 12 min", "79 d".
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => pair(hours, "h", minutes % 60, "min"),
        (1..=13, _, _) => pair(days, "d", hours % 24, "h"),
        _ => format!("{days} d"),
    }
}

/// A moment seen from `now`: "in 52 min", "3 h 12 min ago", "now".
pub(crate) fn relative(moment: Timestamp, now: Timestamp) -> String {
    let distance = moment.duration_since(now);
    let length = distance.unsigned_abs();
    if length < Duration::from_secs(1) {
        "now".to_owned()
    } else if distance.is_negative() {
        format!("{} ago", self::duration(length))
    } else {
        format!("in {}", self::duration(length))
    }
}

/// The time from one moment to a later one; nothing if it is not later.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> String {
    duration(Duration::try_from(to.duration_since(from)).unwrap_or_default())
}

/// A moment and how far it is: "2026-08-27 12:00:05Z (in 12 d)".
pub(crate) fn moment(moment: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", absolute(moment), relative(moment, now))
}

/// A moment to the second, in UTC.
pub(crate) fn absolute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Octets: "731 B", "2.0 KiB", "38 MiB".
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(octets: u64) -> String {
    let mut value = octets as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" || value >= 10.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// "1 message", "3 messages".
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Foreign text that cannot move the cursor or hide anything: control and bidirectional characters become `�`.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(bad) { Cow::Owned(text.replace(bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (45, "45 s"),
            (52 * 60 + 59, "52 min"),
            (3 * 3600 + 12 * 60, "3 h 12 min"),
            (3 * 3600, "3 h"),
            (12 * 86_400 + 4 * 3600, "12 d 4 h"),
            (79 * 86_400 + 4 * 3600, "79 d"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn moments_are_told_from_now() {
        let now: Timestamp = "2026-08-15T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(relative(at("2026-08-15T12:52:10Z"), now), "in 52 min");
        assert_eq!(relative(at("2026-08-15T08:48:00Z"), now), "3 h 12 min ago");
        assert_eq!(relative(at("2026-08-15T12:00:00.5Z"), now), "now");
        assert_eq!(between(at("2026-08-15T12:00:09Z"), now), "0 s");
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(size(731), "731 B");
        assert_eq!(size(2048), "2.0 KiB");
        assert_eq!(size(38 * 1024 * 1024), "38 MiB");
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\rc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert!(matches!(clean("plain é ✓"), Cow::Borrowed(_)));
    }
}
