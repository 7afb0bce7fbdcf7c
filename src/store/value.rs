//! A value that somebody writes, as a column's type has it exactly; what the type could only hold by rounding, cutting or
//! guessing is none.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Time64MicrosecondType};
use bigdecimal::BigDecimal;

use crate::error::{ErrorKind, Result, ResultExt};
use crate::star::shelf;

const DAY_MICROS: i64 = 86_400_000_000;

/// One row with the value; nothing where the text is no value of the type.
pub fn exact(text: &str, data_type: &DataType) -> Option<ArrayRef> {
    let given: ArrayRef = match data_type {
        DataType::Binary => return binary(text),
        // What the engine reads as a list of one element is none.
        DataType::List(_) | DataType::Struct(_) => return None,
        DataType::Timestamp(_, zone) if !is_instant(text, zone.is_some()) => return None,
        DataType::Time64(_) if !is_fine_enough(text) => return None,
        _ => Arc::new(StringArray::from(vec![text])),
    };
    let strictly = CastOptions { safe: false, ..CastOptions::default() };
    let array = cast_with_options(&given, data_type, &strictly).ok()?;
    if let Some(times) = array.as_primitive_opt::<Time64MicrosecondType>()
        && !(0..DAY_MICROS).contains(&times.value(0))
    {
        return None;
    }
    let plain = plainly(&array, "").ok()?;
    let plain = plain.as_string_opt::<i32>().filter(|plain| plain.is_valid(0))?.value(0);
    let number = |text: &str| BigDecimal::from_str(text).ok();
    let held = match data_type {
        DataType::Decimal128(..) | DataType::Decimal256(..) => number(plain)? == number(text)?,
        DataType::Float32 | DataType::Float64 => match (number(plain), number(text)) {
            (Some(held), Some(written)) => held == written,
            (None, None) => true,
            _ => false,
        },
        DataType::Date32 => plain == text,
        _ => true,
    };
    held.then_some(array)
}

/// Values in the words in which they are compared.
pub(super) fn plainly(array: &ArrayRef, column: &str) -> Result<ArrayRef> {
    if let Some(bytes) = array.as_binary_opt::<i32>() {
        let digits: StringArray = bytes.iter().map(|value| value.map(shelf::hex)).collect();
        return Ok(Arc::new(digits));
    }
    cast(array, &DataType::Utf8).or_error(ErrorKind::Bug, || column.to_owned())
}

fn binary(text: &str) -> Option<ArrayRef> {
    let digits = text.strip_prefix("\\x").unwrap_or(text);
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    let bytes = pairs.collect::<Option<Vec<u8>>>()?;
    Some(Arc::new(BinaryArray::from(vec![bytes.as_slice()])))
}

/// Whether a text says an instant to the microsecond, and its offset where the type knows instants: `…Z`, `…+01:00`. Without one
/// nobody knows which instant it is; a zone's name says it for some years only.
fn is_instant(text: &str, has_zone: bool) -> bool {
    let time = text.get(10..).unwrap_or_default();
    let named = time.trim_start_matches('T').trim_end_matches(['Z', 'z']);
    let is_named = named.chars().any(char::is_alphabetic);
    let has_offset = time.ends_with(['Z', 'z']) || time.contains(['+', '-']);
    !is_named && has_offset == has_zone && is_fine_enough(text)
}

/// Whether a time says no more than microseconds.
fn is_fine_enough(time: &str) -> bool {
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).count() <= 6
}

#[cfg(test)]
mod tests {
    use super::exact;
    use arrow::datatypes::{DataType, Field, TimeUnit};
    use std::sync::Arc;

    #[test]
    fn what_a_type_holds_by_rounding_or_guessing_is_no_value_of_it() {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let time = DataType::Time64(TimeUnit::Microsecond);
        let numeric = DataType::Decimal128(10, 2);
        let (real, double) = (DataType::Float32, DataType::Float64);
        let good = [
            ("10.5", &numeric),
            ("11", &numeric),
            ("0.3", &real),
            ("1e3", &real),
            ("Infinity", &double),
            ("NaN", &double),
            ("2024-01-31", &DataType::Date32),
            ("2024-01-01 10:00:00.123456", &micros(None)),
            ("2024-01-01T10:00:00", &micros(None)),
            ("2024-01-01 10:00:00+01:00", &micros(Some("UTC"))),
            ("2024-01-01T10:00:00Z", &micros(Some("UTC"))),
            ("23:59:59.999999", &time),
            ("\\x00fF", &DataType::Binary),
            ("00fF", &DataType::Binary),
            ("true", &DataType::Boolean),
            ("05", &DataType::Int32),
            ("", &DataType::Utf8),
        ];
        for (text, of) in good {
            assert!(exact(text, of).is_some(), "{text} {of}");
        }
        let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        let bad = [
            ("10.999", &numeric),
            ("1e50", &real),
            ("16777217", &real),
            ("0.30000000001", &real),
            ("1234567890.1234567891", &double),
            ("2024-01-01T10:00:00", &DataType::Date32),
            ("2024-01-02 00:00:00.0000004", &micros(None)),
            ("2024-01-01 10:00:00 Europe/Berlin", &micros(None)),
            ("2024-01-01 10:00:00 EST", &micros(None)),
            ("2024-01-01 10:00:00+01:00", &micros(None)),
            ("2024-01-01 10:00:00", &micros(Some("UTC"))),
            ("10:00:00.0000001", &time),
            ("23:59:60", &time),
            ("24:00:00", &time),
            ("\\x+f", &DataType::Binary),
            ("0ff", &DataType::Binary),
            ("{a,b}", &list),
            ("3000000000", &DataType::Int32),
        ];
        for (text, of) in bad {
            assert!(exact(text, of).is_none(), "{text} {of}");
        }
    }
}
