//! Intervals as they are written, and made of numbers: `'1 day 04:05:06'`, `'P1Y2M'`, `'1-2'`, `make_interval`, and
//! `justify_hours` and its kin.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano};
use datafusion::common::Result;

use super::interval::intervals;
use super::plain::{Call, Given, INTERVAL, Plain, as_type};
use super::wrong;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Parts of `make_interval`, in Postgres's order and by Postgres's names.
pub const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// `-x` of an interval: each of its parts.
pub const NEGATIVE: &str = "starmill - interval";

pub fn all() -> Vec<Plain> {
    let interval = |name, work| Plain {
        name,
        takes: |types, _| match types {
            [DataType::Interval(_) | DataType::Duration(_)] => Ok(vec![INTERVAL]),
            _ => Err(wrong("an interval is expected")),
        },
        gives: |_, _| Ok(Given::Type(INTERVAL)),
        work,
    };
    vec![
        Plain {
            name: "make_interval",
            takes: |types, _| Ok(vec![DataType::Float64; types.len()]),
            gives: |_, _| Ok(Given::Type(INTERVAL)),
            work: make,
        },
        interval(NEGATIVE, |call| each(call, |months, days, micros| (-months, -days, -micros))),
        interval("justify_hours", |call| each(call, justified_hours)),
        interval("justify_days", |call| each(call, justified_days)),
        interval("justify_interval", |call| each(call, justified)),
    ]
}

type Parts = (i64, i64, i64);

fn each(call: &Call, change: impl Fn(i64, i64, i64) -> Parts) -> Result<ArrayRef> {
    let values = intervals(call.arg(0)?)?;
    let changed = values.iter().map(|value| {
        let Some(of) = value else { return Ok(None) };
        let (months, days, micros) = change(i64::from(of.months), i64::from(of.days), of.nanoseconds / 1_000);
        put_together(months, days, micros).map(Some)
    });
    Ok(Arc::new(changed.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

pub fn put_together(months: i64, days: i64, micros: i64) -> Result<IntervalMonthDayNano> {
    let out_of_range = || wrong("interval out of range");
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    let days = i32::try_from(days).map_err(|_| out_of_range())?;
    let nanos = micros.checked_mul(1_000).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

/// Whole days of the time become days, and both have one sign.
fn justified_hours(months: i64, days: i64, micros: i64) -> Parts {
    let (mut days, mut micros) = (days + micros / DAY, micros % DAY);
    if days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + DAY);
    } else if days < 0 && micros > 0 {
        (days, micros) = (days + 1, micros - DAY);
    }
    (months, days, micros)
}

/// Thirty days become a month, and both have one sign.
fn justified_days(months: i64, days: i64, micros: i64) -> Parts {
    let (mut months, mut days) = (months + days / 30, days % 30);
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    (months, days, micros)
}

fn justified(months: i64, days: i64, micros: i64) -> Parts {
    let (mut months, mut days, mut micros) = (months, days + micros / DAY, micros % DAY);
    (months, days) = (months + days / 30, days % 30);
    if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
        (months, days) = (months + 1, days - 30);
    }
    if days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + DAY);
    } else if days < 0 && micros > 0 {
        (days, micros) = (days + 1, micros - DAY);
    }
    (months, days, micros)
}

fn make(call: &Call) -> Result<ArrayRef> {
    let parts = call.args.iter().map(|arg| as_type(arg, &DataType::Float64)).collect::<Result<Vec<_>>>()?;
    let made = (0..call.rows).map(|row| {
        if parts.iter().any(|part| part.is_null(row)) {
            return Ok(None);
        }
        let part =
            |at: usize| parts.get(at).map_or(0.0, |part| part.as_primitive::<Float64Type>().value(row));
        let out_of_range = || wrong("interval out of range");
        // All parts but the seconds are integers.
        let whole = |at: usize| part(at) as i64;
        let months = whole(0).checked_mul(12).and_then(|months| months.checked_add(whole(1)));
        let days = whole(2).checked_mul(7).and_then(|days| days.checked_add(whole(3)));
        let seconds = (part(6) * 1e6).round_ties_even() as i64;
        let micros = in_micros(whole(4), whole(5), 0).and_then(|micros| micros.checked_add(seconds));
        let (months, days) = (months.ok_or_else(out_of_range)?, days.ok_or_else(out_of_range)?);
        let micros = micros.ok_or_else(out_of_range)?;
        put_together(months, days, micros).map(Some)
    });
    Ok(Arc::new(made.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// An interval as somebody wrote it: months, days and microseconds. None where Postgres would not read it, or reads what
/// is not known here.
pub fn read(text: &str) -> Option<Parts> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(iso) = text.strip_prefix('p') {
        return iso_read(iso);
    }
    let (text, ago) = match text.strip_suffix("ago") {
        Some(before) => (before.trim_end().to_owned(), true),
        None => (text, false),
    };
    let text = text.strip_prefix('@').unwrap_or(&text).trim();
    let mut total = Total::default();
    let mut words = spaced(text).into_iter().peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            total.micros = total.micros.checked_add(clock(&word)?)?;
        } else if let Some((years, months)) = years_and_months(&word) {
            total.months = total.months.checked_add(years)?.checked_add(months)?;
        } else {
            let number = Number::read(&word)?;
            match words.peek().map(String::as_str).and_then(unit) {
                Some(unit) => {
                    words.next();
                    total.add(&number, unit)?;
                }
                // A number alone at the end is of seconds; before a time it is of days.
                None => match words.peek() {
                    None => total.add(&number, Unit::Micros(SECOND))?,
                    Some(next) if next.contains(':') => total.add(&number, Unit::Days(1))?,
                    Some(_) => return None,
                },
            }
        }
    }
    let signed = |part: i64| if ago { part.checked_neg() } else { Some(part) };
    Some((signed(total.months)?, signed(total.days)?, signed(total.micros)?))
}

/// Words apart, and numbers apart from the units that touch them: `1d2h`.
fn spaced(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in text.split_whitespace() {
        if part.contains(':') {
            words.push(part.to_owned());
            continue;
        }
        let mut word = String::new();
        for letter in part.chars() {
            let turns = word
                .chars()
                .last()
                .is_some_and(|last| last.is_ascii_alphabetic() != letter.is_ascii_alphabetic());
            if turns {
                words.push(std::mem::take(&mut word));
            }
            word.push(letter);
        }
        words.push(word);
    }
    // A sign that stands apart belongs to the number after it.
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(last) if last == "-" || last == "+" => last.push_str(&word),
            _ => joined.push(word),
        }
    }
    joined
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "millennium" | "millennia" | "millenniums" | "mil" | "mils" => Unit::Months(12_000),
        "century" | "centuries" | "c" | "cent" => Unit::Months(1_200),
        "decade" | "decades" | "dec" | "decs" => Unit::Months(120),
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Months(12),
        "month" | "months" | "mon" | "mons" => Unit::Months(1),
        "week" | "weeks" | "w" => Unit::Days(7),
        "day" | "days" | "d" => Unit::Days(1),
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Micros(3_600 * SECOND),
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Micros(60 * SECOND),
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Micros(SECOND),
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Unit::Micros(1_000),
        "microsecond" | "microseconds" | "usec" | "usecs" | "us" => Unit::Micros(1),
        _ => return None,
    })
}

/// A number as its whole part and what follows the point.
#[derive(Debug)]
struct Number {
    whole: i64,
    fraction: f64,
}

impl Number {
    fn read(word: &str) -> Option<Number> {
        let (negative, digits) = match word.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, word.strip_prefix('+').unwrap_or(word)),
        };
        let (whole, after) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(after) || digits.is_empty() || digits == "." {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let fraction: f64 = format!("0.{after}0").parse().ok()?;
        let sign = if negative { -1 } else { 1 };
        Some(Number { whole: whole * sign, fraction: fraction * sign as f64 })
    }
}

#[derive(Debug, Default)]
struct Total {
    months: i64,
    days: i64,
    micros: i64,
}

impl Total {
    /// What is a part of a unit goes to the next smaller: of a month to days, of a day to the time.
    fn add(&mut self, number: &Number, unit: Unit) -> Option<()> {
        match unit {
            Unit::Months(1) => {
                self.months = self.months.checked_add(number.whole)?;
                self.part_of_days(number.fraction * 30.0)?;
            }
            Unit::Months(length) => {
                let months = (number.fraction * length as f64).round_ties_even() as i64;
                self.months =
                    self.months.checked_add(number.whole.checked_mul(length)?)?.checked_add(months)?;
            }
            Unit::Days(length) => {
                self.days = self.days.checked_add(number.whole.checked_mul(length)?)?;
                self.part_of_days(number.fraction * length as f64)?;
            }
            Unit::Micros(length) => {
                let part = (number.fraction * length as f64).round_ties_even() as i64;
                self.micros =
                    self.micros.checked_add(number.whole.checked_mul(length)?)?.checked_add(part)?;
            }
        }
        Some(())
    }

    fn part_of_days(&mut self, days: f64) -> Option<()> {
        let whole = days.trunc();
        self.days = self.days.checked_add(whole as i64)?;
        let micros = ((days - whole) * DAY as f64).round_ties_even() as i64;
        self.micros = self.micros.checked_add(micros)?;
        Some(())
    }
}

/// `[-]hh:mm[:ss[.ffffff]]`.
fn clock(word: &str) -> Option<i64> {
    let (sign, bare) = match word.strip_prefix('-') {
        Some(bare) => (-1, bare),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let mut parts = bare.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let hours: i64 = hours.parse().ok()?;
    // `mm:ss.f` without hours.
    if seconds.is_none() && minutes.contains('.') {
        let seconds = Number::read(minutes)?;
        let micros = (seconds.fraction * 1e6).round_ties_even() as i64;
        let minutes = hours;
        return Some(sign * in_micros(0, minutes, seconds.whole)?.checked_add(micros)?);
    }
    let minutes: i64 = minutes.parse().ok()?;
    let seconds = seconds.map_or(Some(Number { whole: 0, fraction: 0.0 }), Number::read)?;
    if !(0..60).contains(&minutes) || !(0..60).contains(&seconds.whole) {
        return None;
    }
    let micros = (seconds.fraction * 1e6).round_ties_even() as i64;
    Some(sign * in_micros(hours, minutes, seconds.whole)?.checked_add(micros)?)
}

fn in_micros(hours: i64, minutes: i64, seconds: i64) -> Option<i64> {
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    minutes.checked_mul(60)?.checked_add(seconds)?.checked_mul(SECOND)
}

/// `[-]years-months`, as months.
fn years_and_months(word: &str) -> Option<(i64, i64)> {
    let (sign, bare) = match word.strip_prefix('-') {
        Some(bare) => (-1, bare),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (years, months) = bare.split_once('-')?;
    let (years, months): (i64, i64) = (years.parse().ok()?, months.parse().ok()?);
    let years = years.checked_mul(12)?;
    (0..12).contains(&months).then_some((sign * years, sign * months))
}

/// `1Y2M3DT4H5M6S`.
fn iso_read(text: &str) -> Option<Parts> {
    let mut total = Total::default();
    let (mut number, mut time, mut any) = (String::new(), false, false);
    for letter in text.chars() {
        match letter {
            't' if number.is_empty() => time = true,
            '0'..='9' | '.' | '-' | '+' => number.push(letter),
            letter => {
                let unit = match (letter, time) {
                    ('y', false) => Unit::Months(12),
                    ('m', false) => Unit::Months(1),
                    ('w', false) => Unit::Days(7),
                    ('d', false) => Unit::Days(1),
                    ('h', true) => Unit::Micros(3_600 * SECOND),
                    ('m', true) => Unit::Micros(60 * SECOND),
                    ('s', true) => Unit::Micros(SECOND),
                    _ => return None,
                };
                total.add(&Number::read(&std::mem::take(&mut number))?, unit)?;
                any = true;
            }
        }
    }
    (number.is_empty() && any).then_some((total.months, total.days, total.micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_postgres_reads_them() {
        for (text, months, days, micros) in [
            ("1 day 04:05:06", 0, 1, 14_706 * SECOND),
            ("04:05:06.5", 0, 0, 14_706 * SECOND + 500_000),
            ("1-2", 14, 0, 0),
            ("-1-2 +3 -4:05:06", -14, 3, -14_706 * SECOND),
            ("P1Y2M3DT4H5M6S", 14, 3, 14_706 * SECOND),
            ("pt90m", 0, 0, 5_400 * SECOND),
            ("1 month - 1 day", 1, -1, 0),
            ("1.5 months", 1, 15, 0),
            ("1.5 days", 0, 1, 43_200 * SECOND),
            ("0.5 years", 6, 0, 0),
            ("2 weeks ago", 0, -14, 0),
            ("1d2h", 0, 1, 7_200 * SECOND),
            ("100", 0, 0, 100 * SECOND),
            ("3 04:00", 0, 3, 14_400 * SECOND),
            ("@ 1 hour 30 mins", 0, 0, 5_400 * SECOND),
            ("02:03.5", 0, 0, 123 * SECOND + 500_000),
        ] {
            assert_eq!(read(text), Some((months, days, micros)), "{text}");
        }
        for text in [
            "9223372036854775807:00",
            "9223372036854775807-1",
            "9223372036854775807 weeks",
            "",
            "soon",
            "1 fortnight",
            "1 2",
            "day",
            "p",
            "1:99",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
