//! Postgres's text form of dates, times and other small values.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// Days since 1970-01-01 of `2024-02-29`.
pub fn date(text: &str) -> Option<i32> {
    let date = calendar_date(text)?;
    i32::try_from((date - NaiveDate::default()).num_days()).ok()
}

fn calendar_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    // Two-digit years and other orders of the parts would be a guess.
    let plain = |part: &str, min: usize| part.len() >= min && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(year, 4) || !plain(month, 1) || !plain(day, 1) {
        return None;
    }
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// Microseconds since midnight of `13:45:00.5`; 24:00 is none, since Arrow has no such time.
pub fn time(text: &str) -> Option<i64> {
    let time = clock_time(text)?;
    Some(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000))
}

fn clock_time(text: &str) -> Option<NaiveTime> {
    if let Some((_, fraction)) = text.split_once('.')
        && fraction.len() > 6
    {
        return None;
    }
    let format = if text.matches(':').count() == 1 { "%H:%M" } else { "%H:%M:%S%.f" };
    NaiveTime::parse_from_str(text, format).ok().filter(|time| time.nanosecond() < 1_000_000_000)
}

/// Microseconds since 1970-01-01 of `2024-02-29 13:45:00.5`, as it stands.
pub fn timestamp(text: &str) -> Option<i64> {
    Some(naive(text)?.and_utc().timestamp_micros())
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    match text.split_once([' ', 'T']) {
        Some((date, time)) => Some(calendar_date(date)?.and_time(clock_time(time)?)),
        None => Some(calendar_date(text)?.and_time(NaiveTime::MIN)),
    }
}

/// Microseconds since 1970-01-01 UTC of `2024-02-29 13:45:00+01`. An offset is required: without
/// one the instant would depend on who reads it.
pub fn timestamp_tz(text: &str) -> Option<i64> {
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return timestamp(utc);
    }
    let time_start = text.find([' ', 'T'])? + 1;
    let sign = time_start + text[time_start..].find(['+', '-'])?;
    let local = timestamp(&text[..sign])?;
    let mut parts = text[sign + 1..].split(':');
    let mut seconds = 0_i64;
    for unit in [3_600, 60, 1] {
        let Some(part) = parts.next() else { break };
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i64>().ok()? * unit;
    }
    if parts.next().is_some() || seconds > 16 * 3_600 {
        return None;
    }
    let offset = if text.as_bytes()[sign] == b'-' { -seconds } else { seconds };
    local.checked_sub(offset * 1_000_000)
}

/// Postgres's words for true and false.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `\x0aff`, the hex form of bytea.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let hex = text.strip_prefix("\\x")?;
    if hex.len() % 2 != 0 || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

/// A uuid in Postgres's form: lower case, with hyphens.
pub fn uuid(text: &str) -> Option<String> {
    let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
    let hex: String = inner.chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = bytes(&format!("\\x{hex}"))?;
    Some(format_uuid(bytes.as_slice().try_into().ok()?))
}

/// char(n) without its padding.
pub fn unpadded(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &bytes[..end]
}

/// A date as Postgres prints it, which knows no year 0.
pub fn format_date(date: NaiveDate) -> String {
    match date.year() {
        year @ 1.. => format!("{year:04}-{:02}-{:02}", date.month(), date.day()),
        year => format!("{:04}-{:02}-{:02} BC", 1 - i64::from(year), date.month(), date.day()),
    }
}

pub fn format_uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_day_exists_only_in_leap_years() {
        assert_eq!(date("2024-02-29"), Some(19_782));
        assert_eq!(date("2023-02-29"), None);
        assert_eq!(date("29.02.2024"), None);
        assert_eq!(date("24-02-29"), None);
    }

    #[test]
    fn an_instant_needs_an_offset() {
        assert_eq!(timestamp_tz("1970-01-01 01:00:00+01"), Some(0));
        assert_eq!(timestamp_tz("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(timestamp_tz("1969-12-31 19:30:00-04:30"), Some(0));
        assert_eq!(timestamp_tz("1970-01-01 00:00:00"), None);
        assert_eq!(timestamp_tz("1970-01-01 00:00:00.000001+00"), Some(1));
        assert_eq!(timestamp_tz("1970-01-01 00:00:00.0000001+00"), None);
    }

    #[test]
    fn midnight_at_the_end_of_a_day_is_no_time_of_arrow() {
        assert_eq!(time("23:59:59.999999"), Some(86_399_999_999));
        assert_eq!(time("24:00:00"), None);
        assert_eq!(time("23:59:60"), None);
    }

    #[test]
    fn a_uuid_gets_postgres_s_form() {
        let uuid = uuid("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}");
        assert_eq!(uuid.as_deref(), Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    }
}
