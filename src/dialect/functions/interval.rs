//! Intervals: months, days and a time, compared by their length, as Postgres counts it: a month has
//! thirty days, a day twenty-four hours.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, IntervalMonthDayNanoArray};
use arrow::compute::cast_with_options;
use arrow::datatypes::{
    DataType, Field, FieldRef, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::convert::{EXACT, micros, over};
use super::wrong;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const DAY: i64 = 86_400_000_000;

/// `a - b` of two times: whole days and the rest, as Postgres gives it.
pub fn difference() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Difference { signature: Signature::any(2, Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Difference {
    signature: Signature,
}

impl ScalarUDFImpl for Difference {
    fn name(&self) -> &str {
        "starmill difference"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, left), DataType::Timestamp(_, right)]
                if left.is_some() == right.is_some() =>
            {
                Ok(INTERVAL)
            }
            [DataType::Timestamp(..), DataType::Timestamp(..)] => {
                Err(wrong("a local time and an instant are subtracted: cast one of them to the other's type"))
            }
            _ => Err(wrong("two times are subtracted")),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return Err(wrong("a difference has two sides")) };
        let rows = if let (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) = (left, right) {
            1
        } else {
            args.number_rows
        };
        let (left, right) = (micros(&left.to_array(rows)?)?, micros(&right.to_array(rows)?)?);
        let mut found = IntervalMonthDayNanoArray::builder(rows);
        for (left, right) in left.iter().zip(&right) {
            let (Some(left), Some(right)) = (left, right) else {
                found.append_null();
                continue;
            };
            let micros = left.checked_sub(right).ok_or_else(|| wrong("interval out of range"))?;
            let days = i32::try_from(micros / DAY).map_err(|_| wrong("interval out of range"))?;
            found.append_value(IntervalMonthDayNano::new(0, days, micros % DAY * 1_000));
        }
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}

/// An interval's length, to compare it by.
pub fn length_of(interval: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(span(), vec![interval]))
}

/// The length of an interval, to compare it by.
pub fn span() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Span { signature: Signature::any(1, Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Span {
    signature: Signature,
}

impl ScalarUDFImpl for Span {
    fn name(&self) -> &str {
        "starmill span"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("one interval is measured")) };
        over(value, |array| {
            let spans = intervals(array)?.iter().map(|value| value.map(length)).collect::<Decimal128Array>();
            Ok(Arc::new(spans.with_precision_and_scale(38, 0)?))
        })
    }
}

/// Nanoseconds of an interval, a month of thirty days.
fn length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) * 1_000 + i128::from(interval.nanoseconds)
}

/// Intervals and durations as intervals.
pub fn intervals(array: &ArrayRef) -> Result<IntervalMonthDayNanoArray> {
    let cast = cast_with_options(array, &INTERVAL, &EXACT)?;
    Ok(cast.as_primitive::<IntervalMonthDayNanoType>().clone())
}

/// `extract(field FROM …)`: what the engine's `date_part` gives, with fractions where Postgres has them.
pub fn date_part() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(DatePart { inner: datetime::date_part() })));
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    inner: Arc<ScalarUDF>,
}

const FRACTION: DataType = DataType::Decimal128(38, 6);

/// The field that is asked for, in lower case and as Postgres names it.
fn field_of(value: Option<&ScalarValue>) -> Result<String> {
    let text = value.and_then(|value| value.try_as_str().flatten());
    let text = text.ok_or_else(|| wrong("extract needs the field as a literal"))?.to_lowercase();
    Ok(match text.trim_matches('\'') {
        "seconds" | "sec" | "s" => "second".to_owned(),
        "millenniums" | "millennia" => "millennium".to_owned(),
        "centuries" => "century".to_owned(),
        "decades" => "decade".to_owned(),
        "millisecond" | "msec" | "msecs" | "ms" => "milliseconds".to_owned(),
        "microsecond" | "usec" | "usecs" | "us" => "microseconds".to_owned(),
        other => other.to_owned(),
    })
}

/// What clocks show, and a day does not.
const OF_CLOCKS: [&str; 5] = ["hour", "minute", "second", "milliseconds", "microseconds"];

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        "starmill extract"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(wrong("extract needs the field as a literal"))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = field_of(args.scalar_arguments.first().copied().flatten())?;
        let of = args.arg_fields.get(1).map(|field| field.data_type().clone()).unwrap_or(DataType::Null);
        if of == DataType::Date32 && OF_CLOCKS.contains(&field.as_str()) {
            return Err(wrong(format!(
                "a date has no {field}: ask a timestamp, extract({field} FROM CAST(x AS timestamp))"
            )));
        }
        let data_type = match field.as_str() {
            // A day's is whole.
            "epoch" if of == DataType::Date32 => DataType::Decimal128(38, 0),
            "epoch" | "second" => FRACTION,
            "milliseconds" => DataType::Decimal128(38, 3),
            "microseconds" => DataType::Int64,
            "julian" if of == DataType::Date32 => DataType::Int32,
            "century" | "decade" | "millennium" | "year" | "month" | "day" | "hour" | "minute"
            | "quarter" | "week" | "dow" | "isodow" | "doy" | "isoyear" => DataType::Int32,
            other => {
                return Err(wrong(format!(
                    "extract({other} …) is not answered here: ask for epoch, microseconds, milliseconds, second, minute, hour, day, dow, isodow, doy, week, month, quarter, year, isoyear, decade, century or millennium; of a date for julian, too"
                )));
            }
        };
        let of_interval = matches!(of, DataType::Interval(_) | DataType::Duration(_));
        let known =
            ["epoch", "microseconds", "milliseconds", "second", "minute", "hour", "day", "month", "year"];
        let known = known.contains(&field.as_str());
        if of_interval && !known {
            return Err(wrong(format!(
                "extract({field} …) of an interval is not answered here: ask for epoch, microseconds, milliseconds, second, minute, hour, day, month or year"
            )));
        }
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let field = match args.args.first() {
            Some(ColumnarValue::Scalar(scalar)) => field_of(Some(scalar))?,
            _ => return Err(wrong("extract needs the field as a literal")),
        };
        let Some(value) = args.args.get(1).cloned() else { return Err(wrong("extract needs a time")) };
        let data_type = value.data_type();
        if matches!(data_type, DataType::Interval(_) | DataType::Duration(_)) {
            return over(&value, |array| of_interval(&field, array));
        }
        match field.as_str() {
            "epoch" if data_type == DataType::Date32 => over(&value, |array| {
                let micros = micros(array)?;
                let seconds = micros.iter().map(|micros| micros.map(|at| i128::from(at / 1_000_000)));
                let seconds: Decimal128Array = seconds.collect();
                Ok(Arc::new(seconds.with_precision_and_scale(38, 0)?))
            }),
            "epoch" => over(&value, |array| {
                let micros = match data_type {
                    DataType::Time32(_) | DataType::Time64(_) => time_of_day(array)?,
                    _ => micros(array)?.iter().map(|micros| micros.map(i128::from)).collect(),
                };
                fractions(micros)
            }),
            "second" | "milliseconds" | "microseconds" => over(&value, |array| {
                let micros: Vec<Option<i128>> = match data_type {
                    DataType::Time32(_) | DataType::Time64(_) => time_of_day(array)?,
                    _ => micros(array)?.iter().map(|micros| micros.map(i128::from)).collect(),
                };
                // Zones differ by whole minutes, but for some of the nineteenth century.
                let micros = micros.into_iter().map(|micros| micros.map(|m| m.rem_euclid(60_000_000)));
                of_a_minute(&field, micros.collect())
            }),
            "julian" => over(&value, |array| {
                let days = micros(array)?;
                let julian = days.iter().map(|at| at.map(|at| at.div_euclid(DAY) + UNIX_JULIAN));
                let julian: Int32Array =
                    julian.map(|day| day.and_then(|day| i32::try_from(day).ok())).collect();
                Ok(Arc::new(julian))
            }),
            "century" | "decade" | "millennium" => {
                let years = self.part("year", value, &args)?;
                over(&years, |array| {
                    let years = array.as_primitive::<Int32Type>();
                    let whole: Int32Array = years.unary(|year| era(&field, year));
                    Ok(Arc::new(whole))
                })
            }
            other => self.part(other, value, &args),
        }
    }
}

impl DatePart {
    /// A whole part, by the engine, which looks at the clocks of the type's zone.
    fn part(&self, field: &str, value: ColumnarValue, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let asked = ScalarValue::Utf8(Some(field.to_owned()));
        let inner = ScalarFunctionArgs {
            args: vec![ColumnarValue::Scalar(asked), value],
            arg_fields: args.arg_fields.clone(),
            number_rows: args.number_rows,
            return_field: Arc::new(Field::new("part", DataType::Int32, true)),
            config_options: Arc::clone(&args.config_options),
        };
        self.inner.invoke_with_args(inner)
    }
}

/// Postgres's centuries and millennia begin with year 1, its decades with 0; there is no year 0.
fn era(field: &str, year: i32) -> i32 {
    let of = |length: i32| match year {
        1.. => (year + length - 1) / length,
        // Year 0 here is 1 BC, which is in century -1.
        _ => -((length - year) / length),
    };
    match field {
        "century" => of(100),
        "millennium" => of(1_000),
        _ => year.div_euclid(10),
    }
}

fn time_of_day(array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let micros =
        cast_with_options(array, &DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), &EXACT)?;
    let micros = micros.as_primitive::<arrow::datatypes::Time64MicrosecondType>();
    Ok(micros.iter().map(|micros| micros.map(i128::from)).collect())
}

/// The Julian day of 1970-01-01.
const UNIX_JULIAN: i64 = 2_440_588;

/// What has passed of a minute, in the unit that is asked for.
fn of_a_minute(field: &str, micros: Vec<Option<i128>>) -> Result<ArrayRef> {
    match field {
        "microseconds" => {
            let whole = micros.into_iter().map(|micros| micros.and_then(|micros| i64::try_from(micros).ok()));
            Ok(Arc::new(whole.collect::<Int64Array>()))
        }
        "milliseconds" => {
            let numbers: Decimal128Array = micros.into_iter().collect();
            Ok(Arc::new(numbers.with_precision_and_scale(38, 3)?))
        }
        _ => fractions(micros),
    }
}

fn fractions(micros: Vec<Option<i128>>) -> Result<ArrayRef> {
    let numbers: Decimal128Array = micros.into_iter().collect();
    Ok(Arc::new(numbers.with_precision_and_scale(38, 6)?))
}

/// A part of an interval. Its epoch counts a year of 365.25 days, and a month of 30.
fn of_interval(field: &str, array: &ArrayRef) -> Result<ArrayRef> {
    let intervals = intervals(array)?;
    let day = i128::from(DAY);
    match field {
        "epoch" => fractions(
            intervals
                .iter()
                .map(|value| {
                    value.map(|it| {
                        let (years, months) = (i128::from(it.months / 12), i128::from(it.months % 12));
                        // 365.25 days, in microseconds.
                        let years = years * (365 * day + day / 4);
                        let days = (months * 30 + i128::from(it.days)) * day;
                        years + days + i128::from(it.nanoseconds) / 1_000
                    })
                })
                .collect(),
        ),
        "second" | "milliseconds" | "microseconds" => {
            let passed = |it: IntervalMonthDayNano| i128::from(it.nanoseconds / 1_000) % 60_000_000;
            of_a_minute(field, intervals.iter().map(|value| value.map(passed)).collect())
        }
        _ => {
            let part = |it: IntervalMonthDayNano| -> i64 {
                match field {
                    "year" => i64::from(it.months / 12),
                    "month" => i64::from(it.months % 12),
                    "day" => i64::from(it.days),
                    "hour" => it.nanoseconds / 3_600_000_000_000,
                    _ => it.nanoseconds / 60_000_000_000 % 60,
                }
            };
            let mut parts = Int32Array::builder(intervals.len());
            for value in &intervals {
                match value.map(part) {
                    None => parts.append_null(),
                    Some(part) => parts
                        .append_value(i32::try_from(part).map_err(|_| wrong("interval field out of range"))?),
                }
            }
            Ok(Arc::new(parts.finish()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_begin_where_postgres_begins_them() {
        // SELECT extract(century FROM date '2000-12-31'), …
        for (year, century, decade, millennium) in [
            (2000, 20, 200, 2),
            (2001, 21, 200, 3),
            (1999, 20, 199, 2),
            (1, 1, 0, 1),
            (0, -1, 0, -1),
            (-99, -1, -10, -1),
            (-100, -2, -10, -1),
        ] {
            assert_eq!(era("century", year), century, "{year}");
            assert_eq!(era("decade", year), decade, "{year}");
            assert_eq!(era("millennium", year), millennium, "{year}");
        }
    }

    #[test]
    fn intervals_are_as_long_as_postgres_counts_them() {
        let hours = |hours: i64| IntervalMonthDayNano::new(0, 0, hours * 3_600_000_000_000);
        assert_eq!(length(hours(24)), length(IntervalMonthDayNano::new(0, 1, 0)));
        assert!(length(hours(36)) > length(IntervalMonthDayNano::new(0, 1, 0)));
        assert_eq!(length(IntervalMonthDayNano::new(1, 0, 0)), length(IntervalMonthDayNano::new(0, 30, 0)));
        let most = IntervalMonthDayNano::new(i32::MAX, i32::MAX, i64::MAX);
        assert!(length(most) < 10_i128.pow(38));
    }
}
