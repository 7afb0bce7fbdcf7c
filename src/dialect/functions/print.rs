//! Values as texts, each as Postgres prints it: doubles by their shortest digits, times in ISO's form with the offset of
//! the pipeline's clocks, intervals in words, arrays in braces, bytes by their digits.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, IntervalMonthDayNano, TimeUnit};
use chrono::{DateTime, Datelike, Offset, TimeZone, Timelike};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;

use super::convert::{EXACT, micros};
use super::interval::intervals;
use super::plain::{Call, Given, Plain};
use super::{wrong, zone};

/// A name that nobody can write.
pub const TEXT: &str = "starmill text";
/// A boolean as `concat` prints it: t or f.
pub const LETTER: &str = "starmill letter";

pub const PRINTED: Plain = Plain {
    name: TEXT,
    takes: |types, _| Ok(types.to_vec()),
    gives: |_, _| Ok(Given::Type(DataType::Utf8)),
    work: |call| printed(call.arg(0)?),
};

pub const LETTERS: Plain = Plain {
    name: LETTER,
    takes: |_, _| Ok(vec![DataType::Boolean]),
    gives: |_, _| Ok(Given::Type(DataType::Utf8)),
    work: letters,
};

/// `x` as a text.
pub fn text(value: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(PRINTED.udf(Tz::UTC)), vec![value]))
}

/// A boolean's letter.
pub fn letter(value: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(LETTERS.udf(Tz::UTC)), vec![value]))
}

/// Whether values of a type are printed here, and not by the engine.
pub fn prints(of: &DataType) -> bool {
    match of {
        DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Time64(_)
        | DataType::Interval(_)
        | DataType::Duration(_)
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => true,
        DataType::List(element) => {
            let of = element.data_type();
            prints(of)
                || of.is_integer()
                || of.is_null()
                || matches!(of, DataType::Utf8 | DataType::Boolean | DataType::Date32)
        }
        _ => false,
    }
}

fn letters(call: &Call) -> Result<ArrayRef> {
    let letter = |value: Option<bool>| value.map(|value| if value { "t" } else { "f" });
    let values = call.arg(0)?.as_boolean();
    Ok(Arc::new(values.iter().map(letter).collect::<StringArray>()))
}

pub fn printed(array: &ArrayRef) -> Result<ArrayRef> {
    let mut found = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut row = String::new();
    let mut all = |array: &ArrayRef, print: &dyn Fn(usize, &mut String) -> Result<()>| -> Result<()> {
        for at in 0..array.len() {
            if array.is_null(at) {
                found.append_null();
                continue;
            }
            row.clear();
            print(at, &mut row)?;
            found.append_value(&row);
        }
        Ok(())
    };
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            all(array, &|at, row| double(row, values.value(at)))?;
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            all(array, &|at, row| real(row, values.value(at)))?;
        }
        DataType::Timestamp(_, named) => {
            let there = named.as_ref().map(|name| zone::zone(name)).transpose()?;
            let micros = micros(array)?;
            all(array, &|at, row| time(row, micros.value(at), there))?;
        }
        DataType::Time64(_) => {
            let micros =
                arrow::compute::cast_with_options(array, &DataType::Time64(TimeUnit::Microsecond), &EXACT)?;
            let micros = cast(&micros, &DataType::Int64)?;
            let micros = micros.as_primitive::<Int64Type>();
            all(array, &|at, row| {
                clock(row, micros.value(at));
                Ok(())
            })?;
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let values = intervals(array)?;
            all(array, &|at, row| {
                interval(row, values.value(at));
                Ok(())
            })?;
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = cast(array, &DataType::Binary)?;
            let bytes = bytes.as_binary::<i32>();
            all(array, &|at, row| {
                row.push_str("\\x");
                for byte in bytes.value(at) {
                    let _ = write!(row, "{byte:02x}");
                }
                Ok(())
            })?;
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            all(array, &|at, row| elements(row, &lists.value(at)))?;
        }
        _ => return Ok(cast(array, &DataType::Utf8)?),
    }
    Ok(Arc::new(found.finish()))
}

/// The shortest digits that are read as the same double, with an exponent from 15 digits on.
fn double(row: &mut String, value: f64) -> Result<()> {
    digits(row, value.is_nan(), value.is_infinite(), value.is_sign_negative(), &shortest(value.abs()), 15);
    Ok(())
}

/// The fewest digits that are read back as the same double; of two that are as near, the even ones.
fn shortest(value: f64) -> String {
    let up = format!("{value:e}");
    even(&up, &|digits| format!("{value:.digits$e}"), &|text| text.parse() == Ok(value)).unwrap_or(up)
}

/// The neighbour below, where it is as near, and ends with an even digit.
fn even(up: &str, exact: &dyn Fn(usize) -> String, is_same: &dyn Fn(&str) -> bool) -> Option<String> {
    /// Digits behind the middle between two neighbours, all zeros.
    const BEHIND: usize = 40;
    let (mantissa, exponent) = up.split_once('e')?;
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    if !mantissa.ends_with(['1', '3', '5', '7', '9']) {
        return None;
    }
    let exact = exact(digits - 1 + BEHIND);
    let (below, its_exponent) = exact.split_once('e')?;
    let (below, rest) = below.split_at(below.len() - BEHIND);
    let is_middle = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
    let below = format!("{}e{exponent}", below.trim_end_matches('.'));
    (is_middle && its_exponent == exponent && is_same(&below)).then_some(below)
}

fn real(row: &mut String, value: f32) -> Result<()> {
    let positive = value.abs();
    let up = format!("{positive:e}");
    let exact = |digits: usize| format!("{positive:.digits$e}");
    let nearest = even(&up, &exact, &|text| text.parse() == Ok(positive)).unwrap_or(up);
    digits(row, value.is_nan(), value.is_infinite(), value.is_sign_negative(), &nearest, 6);
    Ok(())
}

/// `1.25e-7` as Postgres writes it.
fn digits(row: &mut String, nan: bool, infinite: bool, negative: bool, scientific: &str, most: i32) {
    if nan {
        return row.push_str("NaN");
    }
    if negative {
        row.push('-');
    }
    if infinite {
        return row.push_str("Infinity");
    }
    let bare = scientific.trim_start_matches('-');
    let (mantissa, exponent) = bare.split_once('e').unwrap_or((bare, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if !(-4..most).contains(&exponent) {
        row.push_str(mantissa);
        let _ = write!(row, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    } else if exponent < 0 {
        row.push_str("0.");
        row.extend(std::iter::repeat_n('0', usize::try_from(-exponent - 1).unwrap_or(0)));
        row.push_str(&digits);
    } else {
        let whole = usize::try_from(exponent + 1).unwrap_or(1);
        let (before, after) = digits.split_at(whole.min(digits.len()));
        row.push_str(before);
        row.extend(std::iter::repeat_n('0', whole - before.len()));
        if !after.is_empty() {
            row.push('.');
            row.push_str(after);
        }
    }
}

fn time(row: &mut String, micros: i64, zone: Option<Tz>) -> Result<()> {
    let out_of_range = || wrong("timestamp out of range");
    let instant = DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?;
    let offset = zone.map(|zone| zone.offset_from_utc_datetime(&instant.naive_utc()).fix());
    let local = match offset {
        Some(offset) => instant.naive_utc().checked_add_offset(offset).ok_or_else(out_of_range)?,
        None => instant.naive_utc(),
    };
    let before_christ = local.year() <= 0;
    let year = if before_christ { 1 - local.year() } else { local.year() };
    let _ = write!(row, "{year:04}-{:02}-{:02} ", local.month(), local.day());
    let seconds = i64::from(local.num_seconds_from_midnight());
    clock(row, seconds * 1_000_000 + i64::from(local.nanosecond() / 1_000));
    if let Some(offset) = offset {
        let seconds = offset.local_minus_utc();
        let (hours, minutes, rest) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60, seconds.abs() % 60);
        let _ = write!(row, "{}{hours:02}", if seconds < 0 { '-' } else { '+' });
        if minutes != 0 || rest != 0 {
            let _ = write!(row, ":{minutes:02}");
        }
        if rest != 0 {
            let _ = write!(row, ":{rest:02}");
        }
    }
    if before_christ {
        row.push_str(" BC");
    }
    Ok(())
}

/// Hours, minutes and seconds, with as many digits after the point as there are.
fn clock(row: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    let _ = write!(row, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        row.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
}

/// `1 year 2 mons -3 days +04:05:06`: a sign that is written after a part below nothing, too.
fn interval(row: &mut String, of: IntervalMonthDayNano) {
    let mut negative = false;
    for (number, word) in [(of.months / 12, "year"), (of.months % 12, "mon"), (of.days, "day")] {
        if number == 0 {
            continue;
        }
        let blank = if row.is_empty() { "" } else { " " };
        let sign = if negative && number > 0 { "+" } else { "" };
        let _ = write!(row, "{blank}{sign}{number} {word}{}", if number == 1 { "" } else { "s" });
        negative = number < 0;
    }
    let micros = of.nanoseconds / 1_000;
    if micros != 0 || row.is_empty() {
        let blank = if row.is_empty() { "" } else { " " };
        let sign = match micros {
            ..0 => "-",
            _ if negative => "+",
            _ => "",
        };
        row.push_str(blank);
        row.push_str(sign);
        clock(row, micros.abs());
    }
}

/// `{1,NULL,"a b"}`: quotes where an element could be read otherwise.
fn elements(row: &mut String, values: &ArrayRef) -> Result<()> {
    let nested = matches!(values.data_type(), DataType::List(_));
    let texts = match values.data_type() {
        DataType::Boolean => {
            letters(&Call { name: LETTER, args: &[Arc::clone(values)], rows: values.len(), zone: Tz::UTC })?
        }
        _ => printed(values)?,
    };
    let texts = texts.as_string::<i32>();
    row.push('{');
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            row.push(',');
        }
        match text {
            None => row.push_str("NULL"),
            Some(text) if nested || !needs_quotes(text) => row.push_str(text),
            Some(text) => {
                row.push('"');
                for letter in text.chars() {
                    if matches!(letter, '"' | '\\') {
                        row.push('\\');
                    }
                    row.push(letter);
                }
                row.push('"');
            }
        }
    }
    row.push('}');
    Ok(())
}

fn needs_quotes(text: &str) -> bool {
    let special =
        |letter| matches!(letter, '{' | '}' | ',' | '"' | '\\' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_postgres_prints_them() {
        // SELECT x::float8::text
        for (value, text) in [
            (100.0, "100"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (0.30000000000000004, "0.30000000000000004"),
            (1e15, "1e+15"),
            (123456789012345.6, "123456789012345.6"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e300, "1e+300"),
            (1e15 + 0.25, "1.0000000000000002e+15"),
            (1e15 + 1.25, "1.0000000000000012e+15"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut row = String::new();
            double(&mut row, value).unwrap();
            assert_eq!(row, text);
        }
        for (value, text) in [
            (1e6_f32, "1e+06"),
            (123456.0, "123456"),
            (0.1, "0.1"),
            (1e10, "1e+10"),
            (2_097_152.0 + 0.25, "2.0971522e+06"),
        ] {
            let mut row = String::new();
            real(&mut row, value).unwrap();
            assert_eq!(row, text);
        }
    }

    #[test]
    fn intervals_are_printed_as_postgres_prints_them() {
        for (months, days, micros, text) in [
            (14, 3, 14_706_000_000, "1 year 2 mons 3 days 04:05:06"),
            (0, 0, 0, "00:00:00"),
            (-1, 2, 0, "-1 mons +2 days"),
            (0, -1, 3_600_000_000, "-1 days +01:00:00"),
            (1, 1, -1_500_000, "1 mon 1 day -00:00:01.5"),
            (-14, 0, 0, "-1 years -2 mons"),
            (0, 0, 90_000_000_000_000, "25000:00:00"),
        ] {
            let mut row = String::new();
            interval(&mut row, IntervalMonthDayNano::new(months, days, micros * 1_000));
            assert_eq!(row, text);
        }
    }
}
