//! Intervals times and over numbers, and `age`: in months, days and a time, as Postgres counts them.

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray, PrimitiveArray};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalUnit};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::convert::{EXACT, micros};
use super::interval::intervals;
use super::{given, rows_of, wrong, zone};

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const SECONDS_A_DAY: f64 = 86_400.0;
const DAYS_A_MONTH: f64 = 30.0;

/// `interval * number` and `interval / number`.
pub fn scaled(op: Operator) -> Arc<ScalarUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    let name = format!("starmill {op}");
    Arc::new(ScalarUDF::new_from_impl(Scaled { op, name, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    op: Operator,
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [interval, factor] = args.args.as_slice() else { return Err(wrong("an operator has two sides")) };
        let rows = rows_of(&args.args, args.number_rows);
        let intervals = intervals(&interval.to_array(rows)?)?;
        let factors = cast_with_options(&factor.to_array(rows)?, &DataType::Float64, &EXACT)?;
        let apply = |value: f64, factor: f64| match self.op {
            Operator::Divide => value / factor,
            _ => value * factor,
        };
        let mut found = IntervalMonthDayNanoArray::builder(rows);
        for (interval, factor) in intervals.iter().zip(factors.as_primitive::<Float64Type>()) {
            match (interval, factor) {
                (Some(_), Some(0.0)) if self.op == Operator::Divide => return Err(wrong("division by zero")),
                (Some(interval), Some(factor)) => {
                    let scaled = cascaded(interval, |value| apply(value, factor));
                    found.append_value(scaled.ok_or_else(|| wrong("interval out of range"))?);
                }
                _ => found.append_null(),
            }
        }
        given(Arc::new(found.finish()), &args.args)
    }
}

/// Parts of months go to days, parts of days to the time: in doubles, rounded to microseconds, as Postgres does it.
pub fn cascaded(of: IntervalMonthDayNano, scale: impl Fn(f64) -> f64) -> Option<IntervalMonthDayNano> {
    let rounded = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let whole = |value: f64| {
        let fits = value.is_finite() && value > f64::from(i32::MIN) && value < f64::from(i32::MAX);
        fits.then_some(value as i32)
    };
    let (exact_months, exact_days) = (scale(f64::from(of.months)), scale(f64::from(of.days)));
    let (months, mut days) = (whole(exact_months)?, whole(exact_days)?);
    let month_days = rounded((exact_months - f64::from(months)) * DAYS_A_MONTH);
    let mut seconds =
        rounded((exact_days - f64::from(days) + month_days - month_days.trunc()) * SECONDS_A_DAY);
    if seconds.abs() >= SECONDS_A_DAY {
        days = days.checked_add(whole(seconds / SECONDS_A_DAY)?)?;
        seconds -= (seconds / SECONDS_A_DAY).trunc() * SECONDS_A_DAY;
    }
    days = days.checked_add(whole(month_days)?)?;
    let time = (scale((of.nanoseconds / 1_000) as f64) + seconds * 1e6).round_ties_even();
    let micros = (time.is_finite() && time.abs() < 9e15).then_some(time as i64)?;
    Some(IntervalMonthDayNano::new(months, days, micros * 1_000))
}

/// `age(later, earlier)`: years, months, days and a time between two times, by the calendar.
pub fn age() -> ScalarUDF {
    ScalarUDF::new_from_impl(Age { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Age {
    signature: Signature,
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let instant = types.iter().find(|of| matches!(of, DataType::Timestamp(_, Some(_))));
        let time = |of: &DataType| matches!(of, DataType::Timestamp(..) | DataType::Date32 | DataType::Utf8);
        match types {
            [one, other] if time(one) && time(other) => {
                let local = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
                Ok(vec![instant.cloned().unwrap_or(local); 2])
            }
            _ => Err(wrong("age takes two times, the later first; of one it would be another in every run")),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [later, earlier] = args.args.as_slice() else { return Err(wrong("age takes two times")) };
        let rows = rows_of(&args.args, args.number_rows);
        let clocks = |value: &ColumnarValue| -> Result<PrimitiveArray<Int64Type>> {
            let array = value.to_array(rows)?;
            let shown_in = match array.data_type() {
                DataType::Timestamp(_, Some(name)) => zone::zone(name)?,
                _ => chrono_tz::Tz::UTC,
            };
            micros(&array)?
                .try_unary(|at| zone::local(at, shown_in).ok_or_else(|| wrong("timestamp out of range")))
        };
        let (later, earlier) = (clocks(later)?, clocks(earlier)?);
        let mut found = IntervalMonthDayNanoArray::builder(rows);
        for (later, earlier) in later.iter().zip(&earlier) {
            match (later, earlier) {
                (Some(later), Some(earlier)) => {
                    found
                        .append_value(between(later, earlier).ok_or_else(|| wrong("interval out of range"))?);
                }
                _ => found.append_null(),
            }
        }
        given(Arc::new(found.finish()), &args.args)
    }
}

/// Fields are taken from each other, and what is short is borrowed from the next; a month borrowed has the days of the
/// earlier time's month.
fn between(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
    if later < earlier {
        let other = between(earlier, later)?;
        return Some(IntervalMonthDayNano::new(-other.months, -other.days, -other.nanoseconds));
    }
    let (to, from) = (clock(later)?, clock(earlier)?);
    let time = |at: &NaiveDateTime| {
        i64::from(at.num_seconds_from_midnight()) * 1_000_000 + i64::from(at.nanosecond() / 1_000)
    };
    let mut micros = time(&to) - time(&from);
    let mut days = i32::try_from(to.day()).ok()? - i32::try_from(from.day()).ok()?;
    let mut months = (to.year() - from.year()) * 12 + i32::try_from(to.month()).ok()?
        - i32::try_from(from.month()).ok()?;
    if micros < 0 {
        micros += 86_400_000_000;
        days -= 1;
    }
    while days < 0 {
        days += days_of_month(&from)?;
        months -= 1;
    }
    Some(IntervalMonthDayNano::new(months, days, micros * 1_000))
}

fn clock(micros: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp_micros(micros)?.naive_utc())
}

fn days_of_month(at: &NaiveDateTime) -> Option<i32> {
    let first = NaiveDate::from_ymd_opt(at.year(), at.month(), 1)?;
    let next = first.checked_add_months(Months::new(1))?;
    i32::try_from((next - first).num_days()).ok()
}
