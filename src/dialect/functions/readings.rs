//! Numbers and truth values as Postgres reads them from texts: `' 42 '`, `'1e3'`, `'yes'`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
    IntervalMonthDayNanoArray,
};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit};
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arithmetic::postgres_name;
use super::convert::{EXACT, over};
use super::plain::as_type;
use super::{moments, spans, wrong};
use crate::dialect::rewrite::call;

pub const READ: &str = "starmill read";

/// A text as a value of a type; of a literal the value itself. None where the engine reads it as Postgres does, or
/// where nothing is read.
pub fn reading(text: &Expr, to: &DataType) -> Result<Option<Expr>> {
    if let Some(time) = moments::reading(text, to)? {
        return Ok(Some(time));
    }
    let reads = to.is_integer()
        || matches!(
            to,
            DataType::Float32
                | DataType::Float64
                | DataType::Boolean
                | DataType::Decimal128(_, 0..)
                | DataType::Interval(IntervalUnit::MonthDayNano)
        );
    if !reads {
        return Ok(None);
    }
    let reading = Reading { to: to.clone(), signature: Signature::any(1, Volatility::Immutable) };
    Ok(Some(match text {
        Expr::Literal(value, metadata) => {
            let read = reading.read(&value.cast_to(&DataType::Utf8)?.to_array_of_size(1)?)?;
            Expr::Literal(datafusion::common::ScalarValue::try_from_array(&read, 0)?, metadata.clone())
        }
        text => call(Arc::new(ScalarUDF::new_from_impl(reading)), vec![text.clone()]).data,
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Reading {
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Reading {
    fn name(&self) -> &str {
        READ
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text] = args.args.as_slice() else { return Err(wrong("a text is read")) };
        over(text, |array| self.read(array))
    }
}

impl Reading {
    fn read(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let texts = as_type(texts, &DataType::Utf8)?;
        let texts = arrow::array::AsArray::as_string::<i32>(&texts);
        let name = postgres_name(&self.to);
        let invalid = |text: &str| wrong(format!("invalid input syntax for type {name}: \"{text}\""));
        let beyond = |text: &str| wrong(format!("\"{text}\" is out of range for type {name}"));
        let each = texts.iter();
        match &self.to {
            DataType::Boolean => {
                let read = |text: &str| truth(text).ok_or_else(|| invalid(text));
                Ok(Arc::new(each.map(|text| text.map(read).transpose()).collect::<Result<BooleanArray>>()?))
            }
            DataType::Interval(_) => {
                let read = |text: &str| {
                    let (months, days, micros) = spans::read(text).ok_or_else(|| invalid(text))?;
                    spans::put_together(months, days, micros)
                };
                let read = each.map(|text| text.map(read).transpose());
                Ok(Arc::new(read.collect::<Result<IntervalMonthDayNanoArray>>()?))
            }
            DataType::Float64 => {
                let read =
                    |text: &str| double(text).ok_or_else(|| invalid(text))?.ok_or_else(|| beyond(text));
                Ok(Arc::new(each.map(|text| text.map(read).transpose()).collect::<Result<Float64Array>>()?))
            }
            DataType::Float32 => {
                let read = |text: &str| real(text).ok_or_else(|| invalid(text))?.ok_or_else(|| beyond(text));
                Ok(Arc::new(each.map(|text| text.map(read).transpose()).collect::<Result<Float32Array>>()?))
            }
            DataType::Decimal128(precision, scale) => {
                let read = |text: &str| numeric(text, *precision, *scale, &|| invalid(text));
                let read =
                    each.map(|text| text.map(read).transpose()).collect::<Result<Decimal128Array>>()?;
                Ok(Arc::new(read.with_precision_and_scale(*precision, *scale)?))
            }
            to => {
                let read = |text: &str| match whole(text) {
                    Some(number) => number.ok_or_else(|| beyond(text)),
                    None => Err(invalid(text)),
                };
                let read = each.map(|text| text.map(read).transpose()).collect::<Result<Int64Array>>()?;
                cast_with_options(&read, to, &EXACT).map_err(|_| {
                    let narrowed = arrow::compute::cast(&read, to);
                    let first = narrowed.ok().and_then(|narrowed| {
                        use arrow::array::Array as _;
                        (0..read.len()).find(|at| read.is_valid(*at) && narrowed.is_null(*at))
                    });
                    beyond(first.map(|at| texts.value(at)).unwrap_or_default())
                })
            }
        }
    }
}

/// Blanks as Postgres skips them.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
}

/// None where it is no number; none within where no bigint holds it.
fn whole(text: &str) -> Option<Option<i64>> {
    let text = trimmed(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())
}

/// A floating text in letters of one size, or none where it is not one of Postgres's.
fn floating(text: &str) -> Option<String> {
    let text = trimmed(text).to_ascii_lowercase();
    let bare = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let word = ["nan", "inf", "infinity"].contains(&bare) && !(bare == "nan" && bare.len() < text.len());
    let number = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && bare.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
    (word || number).then_some(text)
}

fn double(text: &str) -> Option<Option<f64>> {
    let text = floating(text)?;
    let value: f64 = text.parse().ok()?;
    let lost = (value.is_infinite() && !text.contains("inf")) || (value == 0.0 && has_digits(&text));
    Some((!lost).then_some(value))
}

fn real(text: &str) -> Option<Option<f32>> {
    let text = floating(text)?;
    let value: f32 = text.parse().ok()?;
    let lost = (value.is_infinite() && !text.contains("inf")) || (value == 0.0 && has_digits(&text));
    Some((!lost).then_some(value))
}

/// Whether a number is not nothing, as it is written.
fn has_digits(text: &str) -> bool {
    let mantissa = text.split('e').next().unwrap_or(text);
    mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
}

fn numeric(text: &str, precision: u8, scale: i8, invalid: &dyn Fn() -> DataFusionError) -> Result<i128> {
    let said = trimmed(text).to_ascii_lowercase();
    if ["nan", "inf", "infinity", "-inf", "-infinity", "+inf", "+infinity"].contains(&said.as_str()) {
        return Err(wrong(format!("\"{text}\" is no numeric that a star can hold")));
    }
    let (mantissa, exponent) = said.split_once('e').unwrap_or((&said, "0"));
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().map_err(|_| invalid())?;
    let bare = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (before, after) = bare.split_once('.').unwrap_or((bare, ""));
    let digits = before.len() + after.len();
    let plain = before.bytes().chain(after.bytes()).all(|byte| byte.is_ascii_digit()) && digits > 0;
    if !plain {
        return Err(invalid());
    }
    let overflow = || wrong(format!("numeric field overflow: \"{text}\" is no numeric({precision},{scale})"));
    if exponent.abs() > 1_000 || digits > 2_000 || precision > DECIMAL128_MAX_PRECISION {
        return Err(overflow());
    }
    let number = format!("{before}{after}").parse().map_err(|_| invalid())?;
    let value = BigDecimal::new(number, i64::try_from(after.len()).unwrap_or(i64::MAX) - exponent);
    let rounded = value.with_scale_round(i64::from(scale), RoundingMode::HalfUp);
    let (whole, _) = rounded.into_bigint_and_exponent();
    let bound = 10_u128.checked_pow(u32::from(precision)).ok_or_else(overflow)?;
    let number = whole.to_i128().filter(|number| number.unsigned_abs() < bound).ok_or_else(overflow)?;
    Ok(if mantissa.starts_with('-') { -number } else { number })
}

/// `true`, `yes`, `on`, `1`, or the first letters of one of them.
fn truth(text: &str) -> Option<bool> {
    let text = trimmed(text).to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    match () {
        () if begins("true", 1) || begins("yes", 1) || text == "on" || text == "1" => Some(true),
        () if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_postgres_reads_them() {
        assert_eq!(whole(" +42\n"), Some(Some(42)));
        assert_eq!(whole("99999999999999999999"), Some(None));
        for text in ["", "4 2", "1.0", "1e3", "+-1", "0x1f", "\u{a0}1"] {
            assert_eq!(whole(text), None, "{text}");
        }
        assert_eq!(double(" 1e3 "), Some(Some(1000.0)));
        assert_eq!(double("-inf"), Some(Some(f64::NEG_INFINITY)));
        assert_eq!(double("1e400"), Some(None));
        assert_eq!(double("1e-400"), Some(None));
        assert_eq!(double("0e-400"), Some(Some(0.0)));
        assert_eq!(double("1,5"), None);
        let hundredths = |text: &str| numeric(text, 6, 2, &|| wrong("")).ok();
        for (text, read) in [
            ("1.005", Some(101)),
            (" -1.5e2 ", Some(-15_000)),
            ("-.5", Some(-50)),
            ("5.", Some(500)),
            ("1e-400", Some(0)),
            ("9999.995", None),
            ("1e5", None),
            ("NaN", None),
            (".", None),
            ("1 000", None),
        ] {
            assert_eq!(hundredths(text), read, "{text}");
        }
    }

    #[test]
    fn truth_is_known_by_its_first_letters() {
        for (text, read) in [
            ("t", Some(true)),
            (" TRUE ", Some(true)),
            ("ye", Some(true)),
            ("on", Some(true)),
            ("1", Some(true)),
            ("f", Some(false)),
            ("n", Some(false)),
            ("of", Some(false)),
            ("0", Some(false)),
            ("o", None),
            ("", None),
            ("truth", None),
            ("2", None),
        ] {
            assert_eq!(truth(text), read, "{text}");
        }
    }
}
