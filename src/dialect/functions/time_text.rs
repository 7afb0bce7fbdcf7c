//! A time as it is written: what its text says of a day, a time of day and a place, in every form whose meaning does not hang
//! on a server's DateStyle.

use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result};

use super::pattern::{DAYS, MONTHS};
use super::{wrong, zone};

pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;
/// Postgres's furthest offset from UTC, in seconds.
const FURTHEST: i32 = 16 * 3_600;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Date,
    Time,
    Timestamp,
    Instant,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::Timestamp => "timestamp",
            Kind::Instant => "timestamp with time zone",
        }
    }
}

/// What a text says: a day, microseconds since its midnight, and where.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub day: Option<NaiveDate>,
    pub clock: Option<i64>,
    pub place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Seconds east of Greenwich.
    Offset(i32),
    Zone(Tz),
}

pub fn invalid(text: &str, kind: Kind) -> DataFusionError {
    wrong(format!("invalid input syntax for type {}: \"{text}\"", kind.name()))
}

pub fn out_of_range(text: &str) -> DataFusionError {
    wrong(format!("date/time field value out of range: \"{text}\""))
}

pub fn read(text: &str, kind: Kind) -> Result<Written> {
    match plain(text) {
        Some(written) if kind != Kind::Time => Ok(written),
        _ => in_words(text, kind),
    }
}

/// `2024-01-31` and `2024-01-31 10:20:30`, as most are.
fn plain(text: &str) -> Option<Written> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && matches!(bytes.len(), 10 | 19)) {
        return None;
    }
    let year = i32::try_from(number(0, 4)?).ok().filter(|year| *year > 0)?;
    let day = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    if bytes.len() == 10 {
        return Some(Written { day: Some(day), ..Written::default() });
    }
    let (hours, minutes, seconds) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(is(10, b" T") && is(13, b":") && is(16, b":")) || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let clock = i64::from(hours * 3_600 + minutes * 60 + seconds) * SECOND;
    Some(Written { day: Some(day), clock: Some(clock), place: None })
}

/// What has been understood of a text so far.
#[derive(Debug, Default)]
struct Reading {
    written: Written,
    month: Option<u32>,
    /// Numbers beside a month's name: how many digits, and which.
    numbers: Vec<(usize, u32)>,
    half: Option<Half>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Morning,
    Afternoon,
}

fn in_words(text: &str, kind: Kind) -> Result<Written> {
    let said = text.trim().to_ascii_lowercase();
    if said == "epoch" && matches!(kind, Kind::Timestamp | Kind::Instant | Kind::Date) {
        let place = (kind == Kind::Instant).then_some(Place::Offset(0));
        return Ok(Written { day: Some(NaiveDate::default()), clock: None, place });
    }
    if ["infinity", "-infinity", "+infinity"].contains(&said.as_str()) {
        return Err(wrong(format!(
            "{said} is no time that a star can hold: take the last day that is meant, such as 9999-12-31"
        )));
    }
    if ["now", "today", "tomorrow", "yesterday"].contains(&said.as_str()) {
        return Err(wrong(format!("'{said}' is another time in every run: derive it from a column")));
    }
    let mut reading = Reading::default();
    for word in words(&said) {
        if !reading.takes(word, text)? {
            return Err(invalid(text, kind));
        }
    }
    reading.finished(text, kind)
}

/// The words of a text, a `t` between a day and a time left out.
fn words(said: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for word in said.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()) {
        let at = word.find('t').filter(|at| {
            let (before, after) = (&word[..*at], &word[at + 1..]);
            before.ends_with(|c: char| c.is_ascii_digit()) && after.starts_with(|c: char| c.is_ascii_digit())
        });
        match at {
            Some(at) => found.extend([&word[..at], &word[at + 1..]]),
            None => found.push(word),
        }
    }
    found
}

impl Reading {
    /// Whether a word is understood.
    fn takes(&mut self, word: &str, text: &str) -> Result<bool> {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        if word.contains(':') && word.starts_with(|c: char| c.is_ascii_digit()) {
            return self.clock(word, text);
        }
        if word.starts_with(['+', '-']) {
            return Ok(self.place(word));
        }
        if digits && word.len() == 8 && self.written.day.is_none() && self.month.is_none() {
            let part = |range: std::ops::Range<usize>| word[range].parse().unwrap_or(0);
            return self.day(part(0..4), part(4..6), part(6..8), text).map(|()| true);
        }
        if digits && word.len() == 6 && self.written.day.is_some() && self.written.clock.is_none() {
            let colons = format!("{}:{}:{}", &word[0..2], &word[2..4], &word[4..6]);
            return self.clock(&colons, text);
        }
        if digits && word.len() <= 6 && self.written.day.is_none() {
            self.numbers.push((word.len(), word.parse().unwrap_or(0)));
            return Ok(self.numbers.len() <= 2);
        }
        if let Some(month) = month(word) {
            return Ok(self.month.replace(month).is_none() && self.written.day.is_none());
        }
        match word {
            "am" | "pm" if self.half.is_none() => {
                self.half = Some(if word == "am" { Half::Morning } else { Half::Afternoon });
                return Ok(true);
            }
            "ad" => return Ok(true),
            "bc" => return Err(wrong(format!("\"{text}\": years before Christ are not read here"))),
            _ if weekday(word) => return Ok(true),
            _ => {}
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) && self.written.day.is_none() {
            return self.parted(word, text);
        }
        Ok(self.place(word))
    }

    /// `2024-1-31`, `2024/01/31`, `5-Jan-2024`.
    fn parted(&mut self, word: &str, text: &str) -> Result<bool> {
        let by = if word.contains('/') { '/' } else { '-' };
        let parts: Vec<&str> = word.split(by).collect();
        let [one, two, three] = parts.as_slice() else { return Ok(false) };
        if let Some(month) = month(two) {
            let numbers = [one, three].map(|part| (part.len(), part.parse()));
            let [(width, Ok(one)), (other_width, Ok(other))] = numbers else { return Ok(false) };
            self.numbers = vec![(width, one), (other_width, other)];
            return Ok(self.month.replace(month).is_none());
        }
        let (Ok(year), Ok(month), Ok(day)) = (one.parse(), two.parse(), three.parse()) else {
            return Ok(false);
        };
        if one.len() < 3 {
            return Err(style(text));
        }
        self.day(year, month, day, text).map(|()| true)
    }

    fn day(&mut self, year: u32, month: u32, day: u32, text: &str) -> Result<()> {
        let year = i32::try_from(year).ok().filter(|year| *year > 0);
        let day = year.and_then(|year| NaiveDate::from_ymd_opt(year, month, day));
        self.written.day = Some(day.ok_or_else(|| out_of_range(text))?);
        Ok(())
    }

    /// `10:20[:30[.5]]`, and what stands behind it without a blank.
    fn clock(&mut self, word: &str, text: &str) -> Result<bool> {
        let ends = word.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(word.len());
        let (clock, rest) = word.split_at(ends);
        let mut parts = clock.split(':');
        let mut whole = || parts.next().map(|part| part.parse::<i64>());
        let (Some(Ok(hours)), Some(Ok(minutes))) = (whole(), whole()) else { return Ok(false) };
        let micros = match parts.next() {
            None => 0,
            Some(seconds) => {
                let Some(micros) = seconds_of(seconds) else { return Ok(false) };
                micros
            }
        };
        if parts.next().is_some() || self.written.clock.is_some() {
            return Ok(false);
        }
        let clock = hours * 3_600 * SECOND + minutes * 60 * SECOND + micros;
        if minutes > 59 || micros > 60 * SECOND || hours > 24 || clock > DAY {
            return Err(out_of_range(text));
        }
        self.written.clock = Some(clock);
        match rest {
            "" => Ok(true),
            "am" | "pm" => self.takes(rest, text),
            rest => Ok(self.place(rest)),
        }
    }

    fn place(&mut self, word: &str) -> bool {
        let place = match word {
            "z" | "utc" | "gmt" | "zulu" => Some(Place::Offset(0)),
            word if word.starts_with(['+', '-']) => offset(word).map(Place::Offset),
            word if word.contains('/') => zone::zone(word).ok().map(Place::Zone),
            _ => None,
        };
        let known = place.is_some() && self.written.place.is_none();
        self.written.place = place.or(self.written.place);
        known
    }

    fn finished(mut self, text: &str, kind: Kind) -> Result<Written> {
        match (self.month, self.numbers.as_slice()) {
            (None, []) => {}
            (Some(month), [(width, one), (other_width, other)]) if self.written.day.is_none() => {
                match (*width >= 3, *other_width >= 3) {
                    (false, true) => self.day(*other, month, *one, text)?,
                    (true, false) => self.day(*one, month, *other, text)?,
                    _ => return Err(style(text)),
                }
            }
            _ => return Err(invalid(text, kind)),
        }
        if let Some(half) = self.half {
            let hour = 3_600 * SECOND;
            let clock = self.written.clock.ok_or_else(|| invalid(text, kind))?;
            if clock >= 13 * hour {
                return Err(out_of_range(text));
            }
            let noon = clock >= 12 * hour;
            self.written.clock = Some(match (half, noon) {
                (Half::Morning, true) => clock - 12 * hour,
                (Half::Afternoon, false) => clock + 12 * hour,
                _ => clock,
            });
        }
        let wanted =
            if kind == Kind::Time { self.written.clock.is_some() } else { self.written.day.is_some() };
        if wanted { Ok(self.written) } else { Err(invalid(text, kind)) }
    }
}

/// Which of its numbers is the year hangs on a setting of the server.
fn style(text: &str) -> DataFusionError {
    wrong(format!("\"{text}\" means what the server's DateStyle says: write the year first, 2024-01-31"))
}

/// Microseconds of `30.5`, rounded as Postgres does it, in doubles.
fn seconds_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let fraction = match fraction {
        "" => 0.0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("0.{digits}").parse::<f64>().ok()?
        }
        _ => return None,
    };
    whole.checked_mul(SECOND)?.checked_add((fraction * 1e6).round_ties_even() as i64)
}

/// `+2`, `-0330`, `+05:30`, `-04:56:02` in seconds.
fn offset(word: &str) -> Option<i32> {
    let sign = if word.starts_with('-') { -1 } else { 1 };
    let digits = word.get(1..)?;
    let number = |part: &str| {
        let short = matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        short.then(|| part.parse::<i32>().ok()).flatten()
    };
    let parts: Vec<&str> = match digits.len() {
        4 if !digits.contains(':') => vec![&digits[..2], &digits[2..]],
        _ => digits.split(':').collect(),
    };
    let mut seconds = 0;
    for (part, unit) in parts.iter().zip([3_600, 60, 1]) {
        seconds += number(part).filter(|part| unit == 3_600 || *part < 60)? * unit;
    }
    (parts.len() <= 3 && seconds < FURTHEST).then_some(sign * seconds)
}

/// A month by its name, or the first letters of it.
fn month(word: &str) -> Option<u32> {
    let named = |name: &&str| {
        let name = name.to_ascii_lowercase();
        word == name || word == &name[..3] || (word == "sept" && name == "september")
    };
    MONTHS.iter().position(named).and_then(|at| u32::try_from(at + 1).ok())
}

/// A day of the week, which says nothing.
fn weekday(word: &str) -> bool {
    DAYS.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        word == name || word == &name[..3]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, kind: Kind) -> Option<String> {
        let written = read(text, kind).ok()?;
        let place = match written.place {
            Some(Place::Offset(seconds)) => format!(" {seconds}"),
            Some(Place::Zone(zone)) => format!(" {zone}"),
            None => String::new(),
        };
        let day = written.day.map(|day| day.to_string()).unwrap_or_default();
        Some(format!("{day} {}{place}", written.clock.unwrap_or(0)))
    }

    #[test]
    fn times_are_read_as_postgres_reads_them() {
        for (text, told) in [
            ("2024-10-27", "2024-10-27 0"),
            (" 2024-1-5 ", "2024-01-05 0"),
            ("2024/01/05", "2024-01-05 0"),
            ("20240105", "2024-01-05 0"),
            ("20240105T101500", "2024-01-05 36900000000"),
            ("Jan 5, 2024", "2024-01-05 0"),
            ("Friday, 5 January 2024 10:00", "2024-01-05 36000000000"),
            ("5-Jan-2024", "2024-01-05 0"),
            ("2024-01-05 24:00", "2024-01-05 86400000000"),
            ("2024-01-05 12:30 AM", "2024-01-05 1800000000"),
            ("2024-01-05 1:30pm", "2024-01-05 48600000000"),
            ("2024-10-27 02:30:15.0000005", "2024-10-27 9015000000"),
            ("2024-10-27 02:30:15.0000015", "2024-10-27 9015000002"),
            ("2024-10-27T02:30:00Z", "2024-10-27 9000000000 0"),
            ("2024-10-27 02:30-03:30", "2024-10-27 9000000000 -12600"),
            ("2024-10-27 02:30 +2", "2024-10-27 9000000000 7200"),
            ("2024-10-27 02:30 America/New_York", "2024-10-27 9000000000 America/New_York"),
            ("10000-01-01", "+10000-01-01 0"),
        ] {
            assert_eq!(shown(text, Kind::Instant).as_deref(), Some(told), "{text}");
        }
        assert_eq!(shown("4:05:06.5 pm", Kind::Time).as_deref(), Some(" 57906500000"));
    }

    #[test]
    fn what_hangs_on_a_setting_or_is_no_time_is_refused() {
        for text in [
            "",
            "soon",
            "01/02/2024",
            "5-6-07",
            "2024-02-30",
            "2024-13-01",
            "0000-01-01",
            "2024-10-27 25:00",
            "2024-10-27 10:60",
            "2024-10-27 10:00+17",
            "2024-10-27 10:00 CET",
            "2024-01",
            "2024",
            "infinity",
            "now",
            "2024-01-05 13:00 pm",
            "2024-01-05 10:00:00:00",
            "Jan 5",
            "240105",
            "2024-10-27 10:00 10:00",
        ] {
            assert_eq!(shown(text, Kind::Instant), None, "{text}");
        }
    }
}
