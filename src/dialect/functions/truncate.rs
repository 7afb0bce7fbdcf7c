//! `date_trunc` by the clocks of the pipeline's zone, to every field that Postgres knows; and times rounded to fewer
//! digits of a second.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;
use datafusion::common::Result;

use super::convert::{micros, typed};
use super::interval::intervals;
use super::plain::{Call, Given, INTERVAL, LOCAL, Plain, is_text};
use super::{wrong, zone};

/// A time with fewer digits of its second, rounded; a name that nobody can write.
pub const DIGITS: &str = "starmill digits of a second";

pub const TRUNCATED: Plain = Plain { name: "date_trunc", takes, gives, work };

pub const ROUNDED: Plain = Plain {
    name: DIGITS,
    takes: |types, _| match types {
        [of @ DataType::Timestamp(..), _] => Ok(vec![of.clone(), DataType::Int64]),
        _ => Err(wrong("a timestamp is rounded to digits of a second")),
    },
    gives: |types, _| types.first().cloned().map(Given::Type).ok_or_else(|| wrong("a time is rounded")),
    work: rounded,
};

fn takes(types: &[DataType], zone: Tz) -> Result<Vec<DataType>> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into()));
    match types {
        [field, DataType::Timestamp(_, None)] if is_text(field) => Ok(vec![DataType::Utf8, LOCAL]),
        [field, of @ DataType::Timestamp(_, Some(_))] if is_text(field) => {
            Ok(vec![DataType::Utf8, of.clone()])
        }
        // Of a day it is the instant at which the clocks of the pipeline's zone show its midnight.
        [field, DataType::Date32 | DataType::Utf8] if is_text(field) => Ok(vec![DataType::Utf8, instant]),
        [field, DataType::Interval(_) | DataType::Duration(_)] if is_text(field) => {
            Ok(vec![DataType::Utf8, INTERVAL])
        }
        [field, DataType::Timestamp(_, Some(_)) | DataType::Date32, there]
            if is_text(field) && is_text(there) =>
        {
            Ok(vec![DataType::Utf8, instant, DataType::Utf8])
        }
        _ => Err(wrong("date_trunc takes a field and a time: date_trunc('month', ordered_at)")),
    }
}

fn gives(types: &[DataType], _: Tz) -> Result<Given> {
    types.get(1).cloned().map(Given::Type).ok_or_else(|| wrong("date_trunc needs a time"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// Of a fixed length in microseconds.
    Micros(i64),
    Week,
    Months(i32),
    Era(i32),
}

fn field(name: &str) -> Result<Field> {
    Ok(match name.trim().to_ascii_lowercase().trim_end_matches('s') {
        "microsecond" | "usec" | "us" | "u" => Field::Micros(1),
        "millisecond" | "msec" | "m" => Field::Micros(1_000),
        "second" | "sec" => Field::Micros(1_000_000),
        "minute" | "min" => Field::Micros(60_000_000),
        "hour" | "hr" => Field::Micros(3_600_000_000),
        "day" => Field::Micros(DAY),
        "week" => Field::Week,
        "month" | "mon" => Field::Months(1),
        "quarter" | "qtr" => Field::Months(3),
        "year" | "yr" => Field::Months(12),
        "decade" => Field::Era(10),
        "century" | "centurie" => Field::Era(100),
        "millennium" | "millennia" => Field::Era(1_000),
        _ => return Err(wrong(format!("unit \"{name}\" not recognized by date_trunc"))),
    })
}

const DAY: i64 = 86_400_000_000;

fn work(call: &Call) -> Result<ArrayRef> {
    let (names, of) = (call.text(0)?, call.arg(1)?);
    let known = (!names.is_empty() && names.is_valid(0)).then(|| field(names.value(0))).transpose()?;
    let field_at = |row: usize| match known {
        Some(known) if names.value(row) == names.value(0) => Ok(known),
        _ => field(names.value(row)),
    };
    if let DataType::Interval(_) = of.data_type() {
        let values = intervals(of)?;
        let each = values.iter().enumerate().map(|(row, value)| match value {
            Some(value) if names.is_valid(row) => of_interval(value, field_at(row)?).map(Some),
            _ => Ok(None),
        });
        return Ok(Arc::new(each.collect::<Result<IntervalMonthDayNanoArray>>()?));
    }
    let own = match of.data_type() {
        DataType::Timestamp(_, Some(name)) => zone::zone(name)?,
        _ => Tz::UTC,
    };
    let there = if call.args.len() == 3 { Some(call.text(2)?) } else { None };
    let times = micros(of)?;
    let each = times.iter().enumerate().map(|(row, at)| {
        let Some(at) = at.filter(|_| names.is_valid(row)) else { return Ok(None) };
        let there = match there {
            Some(there) if there.is_null(row) => return Ok(None),
            Some(there) => zone::zone(there.value(row))?,
            None => own,
        };
        let cut = truncated(at, field_at(row)?, there);
        cut.map(Some).ok_or_else(|| wrong("timestamp out of range"))
    });
    typed(each.collect::<Result<Int64Array>>()?, of.data_type())
}

/// Down to an hour the offset stays what it is; from a day on it is that of the clocks then.
fn truncated(at: i64, field: Field, zone: Tz) -> Option<i64> {
    let local = zone::local(at, zone)?;
    if let Field::Micros(length @ ..DAY) = field {
        return at.checked_sub(local.rem_euclid(length));
    }
    let day = DateTime::from_timestamp_micros(local)?.date_naive();
    let first = match field {
        Field::Micros(_) => day,
        Field::Week => {
            day.checked_sub_days(chrono::Days::new(u64::from(day.weekday().num_days_from_monday())))?
        }
        Field::Months(length) => {
            let month = i32::try_from(day.month0()).ok()? / length * length;
            NaiveDate::from_ymd_opt(day.year(), u32::try_from(month).ok()? + 1, 1)?
        }
        Field::Era(10) => NaiveDate::from_ymd_opt(day.year().div_euclid(10) * 10, 1, 1)?,
        // Centuries and millennia begin with year 1.
        Field::Era(length) => {
            NaiveDate::from_ymd_opt((day.year() - 1).div_euclid(length) * length + 1, 1, 1)?
        }
    };
    zone::instant(first.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros(), zone)
}

fn of_interval(value: IntervalMonthDayNano, field: Field) -> Result<IntervalMonthDayNano> {
    let new = IntervalMonthDayNano::new;
    Ok(match field {
        Field::Micros(DAY) => new(value.months, value.days, 0),
        Field::Micros(length) => {
            let length = length * 1_000;
            new(value.months, value.days, value.nanoseconds / length * length)
        }
        Field::Week => return Err(wrong("date_trunc of an interval has no weeks, since months have none")),
        Field::Months(length) => new(value.months / length * length, 0, 0),
        Field::Era(years) => new(value.months / (years * 12) * (years * 12), 0, 0),
    })
}

fn rounded(call: &Call) -> Result<ArrayRef> {
    let times = micros(call.arg(0)?)?;
    let digits = call.arg(1)?.as_primitive::<Int64Type>();
    let each = times.iter().zip(digits).map(|(at, digits)| {
        let (Some(at), Some(digits)) = (at, digits) else { return Ok(None) };
        let unit = 10_i64.pow(u32::try_from(6 - digits.clamp(0, 6)).unwrap_or(0));
        let up = at.checked_add(unit / 2).ok_or_else(|| wrong("timestamp out of range"))?;
        // Half of a unit before 1970 goes away from zero, as all of Postgres's halves do.
        let cut =
            if at < 0 && up.rem_euclid(unit) == 0 && unit > 1 { up - unit } else { up - up.rem_euclid(unit) };
        Ok(Some(cut))
    });
    typed(each.collect::<Result<Int64Array>>()?, call.arg(0)?.data_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_where_postgres_cuts_them() {
        let micros = |text: &str| text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        for (name, at, cut) in [
            ("decade", "2009-07-01T10:00:00", "2000-01-01T00:00:00"),
            ("century", "2000-07-01T10:00:00", "1901-01-01T00:00:00"),
            ("century", "2001-07-01T10:00:00", "2001-01-01T00:00:00"),
            ("millennium", "2000-07-01T10:00:00", "1001-01-01T00:00:00"),
            ("quarter", "2024-12-31T10:00:00", "2024-10-01T00:00:00"),
            ("week", "2024-03-31T23:59:59", "2024-03-25T00:00:00"),
            ("milliseconds", "1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.999"),
        ] {
            assert_eq!(
                truncated(micros(at), field(name).unwrap(), Tz::UTC),
                Some(micros(cut)),
                "{name} {at}"
            );
        }
        // SELECT date_trunc('hour', timestamptz '2024-10-27 00:30:00Z') at Europe/Berlin, the first of two 02:30.
        let at = micros("2024-10-27T00:30:00");
        let hour = truncated(at, field("hour").unwrap(), Tz::Europe__Berlin);
        assert_eq!(hour, Some(micros("2024-10-27T00:00:00")));
        let day = truncated(at, field("day").unwrap(), Tz::Europe__Berlin);
        assert_eq!(day, Some(micros("2024-10-26T22:00:00")));
    }
}
