//! `to_char` of intervals, and of times of a day, which are intervals to it: parts that no calendar is needed for.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, IntervalMonthDayNano, Time64MicrosecondType, TimeUnit};
use datafusion::common::Result;

use super::interval::intervals;
use super::pattern::{Case, Field, Key, Piece};
use super::to_char::{cased, ordinal};
use super::wrong;

/// A time of a day, as it is printed from.
pub const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

/// Each by its own pattern; one without a pattern is NULL.
pub fn printed<'a>(values: &ArrayRef, pieces: impl Fn(usize) -> Option<&'a [Piece]>) -> Result<StringArray> {
    let spans: Vec<Option<IntervalMonthDayNano>> = match *values.data_type() == TIME {
        true => {
            let times = values.as_primitive::<Time64MicrosecondType>();
            times.iter().map(|at| at.map(|at| IntervalMonthDayNano::new(0, 0, at * 1_000))).collect()
        }
        false => intervals(values)?.iter().collect(),
    };
    let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 10);
    for (row, span) in spans.into_iter().enumerate() {
        let (Some(pieces), Some(span)) = (pieces(row), span) else {
            texts.append_null();
            continue;
        };
        for piece in pieces {
            match piece {
                Piece::Text(letter, _) => texts.write_char(*letter)?,
                Piece::Field(field) => texts.write_str(&part(*field, span)?)?,
            }
        }
        texts.append_value("");
    }
    Ok(texts.finish())
}

fn part(field: Field, span: IntervalMonthDayNano) -> Result<String> {
    let micros = span.nanoseconds / 1_000;
    let (hours, minutes, seconds) =
        (micros / 3_600_000_000, micros / 60_000_000 % 60, micros / 1_000_000 % 60);
    let fraction = micros % 1_000_000;
    let (years, months) = (i64::from(span.months / 12), i64::from(span.months % 12));
    // A sign takes a place of its own.
    let number = |number: i64, width: usize| {
        let width = if field.bare { 0 } else { width + usize::from(number < 0) };
        ordinal(format!("{number:0width$}"), field.ordinal)
    };
    // By the sign of the hours, and not of what is printed.
    let of_hours = |number: i64| {
        let width = if field.bare { 0 } else { 2 + usize::from(hours < 0) };
        ordinal(format!("{number:0width$}"), field.ordinal)
    };
    Ok(match field.key {
        Key::Hour24 => of_hours(hours),
        Key::Hour12 => of_hours(if hours % 12 == 0 { 12 } else { hours % 12 }),
        Key::Minute => number(minutes, 2),
        Key::Second => number(seconds, 2),
        Key::SecondOfDay => ordinal((hours * 3_600 + minutes * 60 + seconds).to_string(), field.ordinal),
        Key::Millisecond => ordinal(format!("{:03}", fraction / 1_000), field.ordinal),
        Key::Microsecond => ordinal(format!("{fraction:06}"), field.ordinal),
        Key::Fraction(digits) => {
            let width = digits as usize;
            ordinal(format!("{:0width$}", fraction / 10_i64.pow(6 - digits)), field.ordinal)
        }
        Key::Meridiem(case, dots) => meridiem(hours % 24 >= 12, case, dots),
        Key::DayOfMonth => ordinal(filled(i64::from(span.days), 2, field), field.ordinal),
        Key::Month => number(months, 2),
        Key::Year(4) => number(years, 4),
        other => {
            return Err(wrong(format!(
                "to_char of an interval does not print {other:?} here: HH24, HH12, MI, SS, MS, US, FF1 to FF6, SSSS, AM, DD, MM and YYYY are"
            )));
        }
    })
}

fn filled(number: i64, width: usize, field: Field) -> String {
    let width = if field.bare { 0 } else { width };
    format!("{number:0width$}")
}

fn meridiem(is_after_noon: bool, case: Case, dots: bool) -> String {
    let word = match (is_after_noon, dots) {
        (true, false) => "PM",
        (true, true) => "P.M.",
        (false, false) => "AM",
        (false, true) => "A.M.",
    };
    cased(word, case)
}
