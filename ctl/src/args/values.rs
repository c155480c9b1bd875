//! Readers of option values.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use frankd_proto::UnknownWord;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// Reads `unix:///PATH`, or an absolute path alone.
pub(crate) fn address(address: &str) -> Result<PathBuf, String> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    if path.starts_with('/') { Ok(PathBuf::from(path)) } else { Err(format!("{address:?} is not unix:///PATH")) }
}

/// A moment, or how far it is from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A date and time.
    At(Timestamp),
    /// As far from now.
    Away(Duration),
}

impl Moment {
    /// The moment, where a distance counts into the past.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Away(distance) => {
                let distance = SignedDuration::try_from(distance).unwrap_or(SignedDuration::MAX);
                now.saturating_sub(distance).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

/// Reads a duration: `90`, `90s`, `5m`, `1h30m`, `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration like 90, 90s, 5m, 1h30m or 2d");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: Span = text.parse().map_err(|_| wrong())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(length).map_err(|_| wrong())
}

/// Reads a moment: RFC 3339, a date (its midnight in UTC), or a duration with or without `+`.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(moment) = timestamp(text) {
        return Ok(Moment::At(moment));
    }
    duration(text.strip_prefix('+').unwrap_or(text))
        .map(Moment::Away)
        .map_err(|_| format!("{text:?} is not a time like 2026-08-27T06:00:00Z, 2026-08-27 or 2h"))
}

/// Where to begin among events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// After the event of this number.
    Seq(u64),
    /// At a moment.
    Moment(Moment),
}

/// Reads a sequence number, or a moment as [`moment`] does; a number alone is a sequence number.
pub(crate) fn mark(text: &str) -> Result<Mark, String> {
    match text.parse() {
        Ok(seq) => Ok(Mark::Seq(seq)),
        Err(_) => moment(text).map(Mark::Moment).map_err(|problem| format!("{problem}, and no sequence number")),
    }
}

/// Reads a moment: RFC 3339, or a date (its midnight in UTC).
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| format!("{text:?} is not a time like 2026-08-27T06:00:00Z or 2026-08-27"))
}

/// Reads `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Reads `Name: value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim().to_owned())),
        _ => Err(format!("{text:?} is not 'Name: value'")),
    }
}

/// Reads a word of a vocabulary; its words are listed in help and completion.
pub(crate) fn words<T>(all: &'static [T], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + FromStr<Err = UnknownWord> + Send + Sync,
{
    PossibleValuesParser::new(all.iter().map(move |value| word(*value))).try_map(|text| text.parse::<T>())
}

/// Whole seconds of a duration; the largest number there is if it is longer.
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "x", "-5m", "5 parsecs", "1mo"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_times_dates_or_distances() {
        let now: Timestamp = "2026-08-15T12:00:00Z".parse().unwrap();
        let at = |text: &str| moment(text).unwrap().before(now).to_string();
        assert_eq!(at("2026-08-27"), "2026-08-27T00:00:00Z");
        assert_eq!(at("2026-08-27T06:00:00+02:00"), "2026-08-27T04:00:00Z");
        assert_eq!(at("30m"), "2026-08-15T11:30:00Z");
        assert_eq!(moment("+2h"), Ok(Moment::Away(Duration::from_secs(7200))));
        assert_eq!((mark("7"), mark("7s")), (Ok(Mark::Seq(7)), Ok(Mark::Moment(Moment::Away(Duration::from_secs(7))))));
        assert!(mark("yesterday").is_err());
        assert!(moment("tomorrow").is_err());
    }

    #[test]
    fn pairs_and_headers_are_split_once() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("X-A: b: c"), Ok(("X-A".to_owned(), "b: c".to_owned())));
        assert!(pair("=x").is_err() && header("nothing").is_err());
    }
}
