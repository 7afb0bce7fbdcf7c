//! When a pipeline runs: a POSIX cron line in a time zone. Pure: the time is always handed in.
//!
//! A cron line names local times. Each of them is one instant: a local time that the clocks skip is
//! the first instant after the gap, one that they show twice is the first of the two.

use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::name::{list, nearest};

/// When the nights of a pipeline begin, and how stubbornly they are tried.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub line: CronLine,
    pub timezone: Tz,
    /// How often a night that failed for a passing reason is tried again.
    pub retries: u32,
    /// The wait before the first of them; it doubles from one to the next.
    pub retry_wait: Duration,
    /// A night that has not ended well so long after its time is late.
    pub late_after: Duration,
}

/// Five fields as POSIX means them, or one of the nicknames.
#[derive(Debug, Clone)]
pub struct CronLine {
    text: String,
    cron: Cron,
}

/// What is wrong with a cron line, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronMistake {
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
}

struct Field {
    what: &'static str,
    range: &'static str,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { what: "minute", range: "0 to 59", names: &[] },
    Field { what: "hour", range: "0 to 23", names: &[] },
    Field { what: "day of month", range: "1 to 31", names: &[] },
    Field {
        what: "month",
        range: "1 to 12, or JAN to DEC",
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field {
        what: "day of week",
        range: "0 to 7 (Sunday is 0 and 7), or SUN to SAT",
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    },
];

const NICKNAMES: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// The clocks of no zone are ever set by more than a day.
const LARGEST_SHIFT: TimeDelta = TimeDelta::hours(26);

impl CronLine {
    pub fn parse(text: &str) -> Result<CronLine, CronMistake> {
        let trimmed = text.trim();
        if trimmed.starts_with('@') {
            nickname(text, trimmed)?;
        } else {
            fields(text)?;
        }
        let whole = |message: String| CronMistake {
            span: 0..text.len(),
            message,
            help: "minute, hour, day of month, month, day of week: \"30 3 * * *\"".to_owned(),
        };
        let cron = parser().parse(trimmed).map_err(|error| whole(error.to_string()))?;
        let line = CronLine { text: trimmed.to_owned(), cron };
        // Over four centuries every date comes up that the calendar has.
        match line.next_local(NaiveDateTime::default()) {
            Some(_) => Ok(line),
            None => Err(CronMistake {
                span: days(text),
                message: "no year has such a date".to_owned(),
                help: "the line would never run; the last day of a month is reached by 28".to_owned(),
            }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&after, false).ok()
    }

    fn last_local(&self, until: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_previous_occurrence(&until, true).ok()
    }
}

impl Schedule {
    /// The first night after an instant.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut local = instant.with_timezone(&self.timezone).naive_local();
        loop {
            local = self.line.next_local(local)?;
            // Local times that were shown before, or skipped, lie at or before the instant.
            match self.instant(local) {
                Some(night) if night > instant => return Some(night),
                _ => {}
            }
        }
    }

    /// The last night up to an instant, that one included.
    pub fn last_until(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Where the clocks were set back lately, later local times than theirs have been already.
        let behind = self.offset(instant.checked_sub_signed(LARGEST_SHIFT)?) - self.offset(instant);
        let shown = instant.with_timezone(&self.timezone).naive_local();
        let mut local = shown.checked_add_signed(behind.max(TimeDelta::zero()))?;
        loop {
            local = self.line.last_local(local)?;
            match self.instant(local) {
                Some(night) if night <= instant => return Some(night),
                _ => local = local.checked_sub_signed(TimeDelta::seconds(1))?,
            }
        }
    }

    /// How far the clocks are ahead of UTC.
    fn offset(&self, instant: DateTime<Utc>) -> TimeDelta {
        instant.with_timezone(&self.timezone).naive_local() - instant.naive_utc()
    }

    /// The one instant of a local time.
    fn instant(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(at) => Some(at.to_utc()),
            LocalResult::Ambiguous(first, second) => Some(first.min(second).to_utc()),
            LocalResult::None => self.end_of_gap(local),
        }
    }

    /// The first instant at which the clocks have passed a local time that they never show.
    fn end_of_gap(&self, skipped: NaiveDateTime) -> Option<DateTime<Utc>> {
        let passed = |at: DateTime<Utc>| at.with_timezone(&self.timezone).naive_local() > skipped;
        let mut before = skipped.and_utc().checked_sub_signed(LARGEST_SHIFT)?;
        let mut after = skipped.and_utc().checked_add_signed(LARGEST_SHIFT)?;
        while after - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if passed(middle) { after = middle } else { before = middle }
        }
        Some(after)
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

fn nickname(text: &str, trimmed: &str) -> Result<(), CronMistake> {
    if NICKNAMES.contains(&trimmed.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let help = match nearest(trimmed, NICKNAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("valid: {}; or five fields", list(NICKNAMES)),
    };
    Err(CronMistake { span: 0..text.len(), message: format!("there is no `{trimmed}` in cron"), help })
}

/// The fields of a line with their places.
fn split(text: &str) -> Vec<(Range<usize>, &str)> {
    let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|word| (start(word)..start(word) + word.len(), word)).collect()
}

/// Where the days stand in a line of five fields.
fn days(text: &str) -> Range<usize> {
    match split(text).as_slice() {
        [_, _, (day, _), (month, _), _] => day.start..month.end,
        _ => 0..text.len(),
    }
}

/// Holds each field against what POSIX and every cron agree on: numbers, names, lists, ranges, steps.
fn fields(text: &str) -> Result<(), CronMistake> {
    let words = split(text);
    if words.len() != FIELDS.len() {
        return Err(CronMistake {
            span: 0..text.len(),
            message: format!("a cron line has five fields, not {}", words.len()),
            help: "minute, hour, day of month, month, day of week: \"30 3 * * *\"".to_owned(),
        });
    }
    for (at, ((span, word), field)) in words.into_iter().zip(FIELDS).enumerate() {
        let mut alone = ["*"; 5];
        alone[at] = word;
        let known = |part: &str| {
            part == "*"
                || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
                || field.names.iter().any(|name| name.eq_ignore_ascii_case(part))
        };
        if !word.split([',', '-', '/']).all(known) || parser().parse(&alone.join(" ")).is_err() {
            return Err(CronMistake {
                span,
                message: format!("`{word}` is no {}", field.what),
                help: format!(
                    "{} goes from {}; also lists (1,15), ranges (1-5), steps (*/10)",
                    field.what, field.range
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(line: &str, zone: Tz) -> Schedule {
        Schedule {
            line: CronLine::parse(line).unwrap(),
            timezone: zone,
            retries: 0,
            retry_wait: Duration::ZERO,
            late_after: Duration::ZERO,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_skipped_local_time_runs_at_the_first_instant_after_the_gap() {
        // Berlin's clocks jump from 2:00 to 3:00 on 29 March 2026, at 1:00 UTC.
        let nightly = schedule("30 2 * * *", Tz::Europe__Berlin);
        assert_eq!(nightly.next_after(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(nightly.next_after(at("2026-03-29T01:00:00Z")), Some(at("2026-03-30T00:30:00Z")));
        assert_eq!(nightly.last_until(at("2026-03-29T05:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        // Samoa had no 30 December 2011 at all.
        let samoa = schedule("0 12 30 * *", Tz::Pacific__Apia);
        assert_eq!(samoa.next_after(at("2011-12-15T00:00:00Z")), Some(at("2011-12-30T10:00:00Z")));
    }

    #[test]
    fn a_local_time_that_occurs_twice_runs_once() {
        // Berlin's clocks show 2:00 to 3:00 twice on 25 October 2026: from 0:00 and from 1:00 UTC.
        let nightly = schedule("30 2 * * *", Tz::Europe__Berlin);
        assert_eq!(nightly.next_after(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(nightly.next_after(at("2026-10-25T00:30:00Z")), Some(at("2026-10-26T01:30:00Z")));
        assert_eq!(nightly.last_until(at("2026-10-25T01:10:00Z")), Some(at("2026-10-25T00:30:00Z")));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told_with_its_place() {
        for (line, place, message) in [
            ("30 3 * *", "30 3 * *", "a cron line has five fields, not 4"),
            ("0 30 3 * * *", "0 30 3 * * *", "a cron line has five fields, not 6"),
            ("61 3 * * *", "61", "`61` is no minute"),
            ("0 24 * * *", "24", "`24` is no hour"),
            ("0 0 0 * *", "0", "`0` is no day of month"),
            ("0 0 L * *", "L", "`L` is no day of month"),
            ("0 0 1 MON *", "MON", "`MON` is no month"),
            ("0 0 * * 8", "8", "`8` is no day of week"),
            ("*/0 0 * * *", "*/0", "`*/0` is no minute"),
            ("0 5-2 * * *", "5-2", "`5-2` is no hour"),
            ("0 0 30 FEB *", "30 FEB", "no year has such a date"),
            ("0 0 31 4,6 *", "31 4,6", "no year has such a date"),
            ("@dayly", "@dayly", "there is no `@dayly` in cron"),
            ("@reboot", "@reboot", "there is no `@reboot` in cron"),
            ("", "", "a cron line has five fields, not 0"),
        ] {
            let mistake = CronLine::parse(line).err().unwrap_or_else(|| panic!("{line} is taken"));
            assert_eq!((&line[mistake.span.clone()], mistake.message.as_str()), (place, message), "{line}");
        }
        for line in ["0 0 29 2 *", "0 0 30 2 MON", "*/15 8-18 * * mon-fri", "@daily", " 5  4 1,15 * 7 "] {
            assert!(CronLine::parse(line).is_ok(), "{line}");
        }
    }
}
