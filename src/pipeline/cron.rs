//! A cron line: five fields as POSIX means them. What each field names is read here, and the local times that
//! follow from it are found by the crate `cron`, which wants seconds first, numbers Sunday 1, and joins the two
//! fields of days with AND where POSIX joins them with OR.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use chrono::{NaiveDateTime, TimeDelta, Timelike};

use crate::name::{list, nearest};

/// Five fields as POSIX means them, or one of the nicknames.
#[derive(Debug, Clone)]
pub struct CronLine {
    text: String,
    /// Two where both fields of days are restricted: a day that either of them names is one.
    alternatives: Vec<cron::Schedule>,
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
    low: u32,
    high: u32,
    /// The first of them is the lowest value.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 5] = [
    Field { what: "minute", range: "0 to 59", low: 0, high: 59, names: &[] },
    Field { what: "hour", range: "0 to 23", low: 0, high: 23, names: &[] },
    Field { what: "day of month", range: "1 to 31", low: 1, high: 31, names: &[] },
    Field { what: "month", range: "1 to 12, or JAN to DEC", low: 1, high: 12, names: &MONTHS },
    Field {
        what: "day of week",
        range: "0 to 7 (Sunday is 0 and 7), or SUN to SAT",
        low: 0,
        high: 7,
        names: &WEEKDAYS,
    },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const SHAPE: &str = "minute, hour, day of month, month, day of week: \"30 3 * * *\"";

impl CronLine {
    pub fn parse(text: &str) -> Result<CronLine, CronMistake> {
        let trimmed = text.trim();
        let fields = if trimmed.starts_with('@') { nickname(text, trimmed)? } else { text };
        let alternatives = alternatives(fields)?;
        let line = CronLine { text: trimmed.to_owned(), alternatives };
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

    /// The first local time of the line after one. The zone is the schedule's to know: here clocks never jump.
    pub(super) fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let nexts = self.alternatives.iter().filter_map(|days| days.after(&after.and_utc()).next());
        nexts.map(|found| found.naive_utc()).min()
    }

    /// The last local time of the line up to one, that one included.
    pub(super) fn last_local(&self, until: NaiveDateTime) -> Option<NaiveDateTime> {
        let beyond = until.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?.and_utc();
        let lasts = self.alternatives.iter().filter_map(|days| days.after(&beyond).next_back());
        lasts.map(|found| found.naive_utc()).max()
    }
}

fn nickname(text: &str, trimmed: &str) -> Result<&'static str, CronMistake> {
    let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(trimmed));
    known.map(|(_, fields)| *fields).ok_or_else(|| {
        let names = NICKNAMES.map(|(name, _)| name);
        let help = match nearest(trimmed, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("valid: {}; or five fields", list(names)),
        };
        CronMistake { span: 0..text.len(), message: format!("there is no `{trimmed}` in cron"), help }
    })
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

/// The line in the crate's words.
fn alternatives(text: &str) -> Result<Vec<cron::Schedule>, CronMistake> {
    let words: [_; 5] = split(text).try_into().map_err(|words: Vec<_>| CronMistake {
        span: 0..text.len(),
        message: format!("a cron line has five fields, not {}", words.len()),
        help: SHAPE.to_owned(),
    })?;
    let mut said: [Option<String>; 5] = Default::default();
    for (((span, word), field), said) in words.iter().zip(&FIELDS).zip(&mut said) {
        let values = field.values(word).ok_or_else(|| CronMistake {
            span: span.clone(),
            message: format!("`{word}` is no {}", field.what),
            help: format!(
                "{} goes from {}; also lists (1,15), ranges (1-5), steps (*/10, 10-50/10)",
                field.what, field.range
            ),
        })?;
        *said = (*word != "*").then(|| field.said(values));
    }
    let [minute, hour, day, month, weekday] = &said;
    let or_any = |field: &Option<String>| field.clone().unwrap_or("*".to_owned());
    let line = |day: &Option<String>, weekday: &Option<String>| {
        let fields = [minute, hour, day, month, weekday].map(or_any);
        cron::Schedule::from_str(&format!("0 {}", fields.join(" "))).map_err(|error| CronMistake {
            span: 0..text.len(),
            message: error.to_string(),
            help: SHAPE.to_owned(),
        })
    };
    match (day, weekday) {
        (Some(_), Some(_)) => Ok(vec![line(day, &None)?, line(&None, weekday)?]),
        _ => Ok(vec![line(day, weekday)?]),
    }
}

impl Field {
    /// The values that a field names: numbers, names, lists, ranges and steps of ranges, on which POSIX and every
    /// cron agree. None when it is not one.
    fn values(&self, word: &str) -> Option<BTreeSet<u32>> {
        let mut values = BTreeSet::new();
        for part in word.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
                None => (part, None),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.low, self.high),
                Some((from, to)) => (self.value(from)?, self.value(to)?),
                // To some crons `5/15` is 5, to others 5, 20, 35 and 50.
                None if step.is_some() => return None,
                None => (self.value(range)?, self.value(range)?),
            };
            if from > to {
                return None;
            }
            values.extend((from..=to).step_by(usize::try_from(step.unwrap_or(1)).ok()?));
        }
        Some(values)
    }

    fn value(&self, word: &str) -> Option<u32> {
        let name = self.names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let value = match name {
            Some(at) => self.low + u32::try_from(at).ok()?,
            None => number(word)?,
        };
        (self.low..=self.high).contains(&value).then_some(value)
    }

    /// The values as the crate numbers them.
    fn said(&self, values: BTreeSet<u32>) -> String {
        let weekday = self.high == 7;
        let values: BTreeSet<u32> = match weekday {
            true => values.into_iter().map(|day| day % 7 + 1).collect(),
            false => values,
        };
        values.iter().map(u32::to_string).collect::<Vec<String>>().join(",")
    }
}

fn number(word: &str) -> Option<u32> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("5/15 0 * * *", "5/15", "`5/15` is no minute"),
            ("0 0 * * fri-", "fri-", "`fri-` is no day of week"),
            ("0, 0 * * *", "0,", "`0,` is no minute"),
            ("?  0 * * *", "?", "`?` is no minute"),
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
