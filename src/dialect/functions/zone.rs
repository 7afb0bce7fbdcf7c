//! Local times and instants, resolved as Postgres does it: a time that a zone skips is taken with the
//! offset before the gap, one that it has twice with the later offset.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use chrono::{DateTime, Months, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::convert::{EXACT, micros, over, shifted, typed};
use super::{from_text, only, wrong};

/// A zone by the name that a type or a user gives it.
pub fn zone(name: &str) -> Result<Tz> {
    // A type may write the zone as an offset of nothing.
    if name == "+00:00" {
        return Ok(Tz::UTC);
    }
    if let Ok(zone) = name.parse() {
        return Ok(zone);
    }
    // Postgres takes a name in letters of any size.
    let named = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
    named.copied().ok_or_else(|| wrong(format!("time zone \"{name}\" not recognized")))
}

/// Microseconds of the instant at which a zone's clocks show a local time; none beyond the calendar.
pub fn instant(local: i64, zone: Tz) -> Option<i64> {
    if zone == Tz::UTC {
        return Some(local);
    }
    let naive = DateTime::from_timestamp_micros(local)?.naive_utc();
    let offset = match zone.offset_from_local_datetime(&naive) {
        chrono::LocalResult::Single(offset) => seconds(offset),
        // The second of two is standard time, as Postgres takes it.
        chrono::LocalResult::Ambiguous(one, other) => seconds(one).min(seconds(other)),
        chrono::LocalResult::None => before_gap(naive, zone)?,
    };
    local.checked_sub(i64::from(offset).checked_mul(1_000_000)?)
}

/// The offset that a zone had before it skipped a local time.
fn before_gap(local: NaiveDateTime, zone: Tz) -> Option<i32> {
    // A gap is never longer than a day, so the day before has the offset from before it.
    let earlier = local.checked_sub_signed(TimeDelta::days(1))?;
    match zone.offset_from_local_datetime(&earlier) {
        chrono::LocalResult::Single(offset) | chrono::LocalResult::Ambiguous(_, offset) => {
            Some(seconds(offset))
        }
        chrono::LocalResult::None => None,
    }
}

fn seconds(offset: impl Offset) -> i32 {
    offset.fix().local_minus_utc()
}

/// Microseconds of the local time that a zone's clocks show at an instant.
pub fn local(instant: i64, zone: Tz) -> Option<i64> {
    if zone == Tz::UTC {
        return Some(instant);
    }
    let at: DateTime<Utc> = DateTime::from_timestamp_micros(instant)?;
    let offset = seconds(zone.offset_from_utc_datetime(&at.naive_utc()));
    instant.checked_add(i64::from(offset).checked_mul(1_000_000)?)
}

/// `timezone(zone, x)`, which is `x AT TIME ZONE zone`: of an instant the local time there, of a local
/// time the instant.
pub fn timezone(own: Tz) -> ScalarUDF {
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::new_from_impl(Timezone { own: own.name(), signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timezone {
    own: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, DataType::Timestamp(_, Some(_)) | DataType::Date32] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            [_, DataType::Timestamp(_, None)] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(self.own.into())))
            }
            _ => Err(wrong("AT TIME ZONE takes a timestamp: cast the value to timestamp or timestamptz")),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(name), value] = args.args.as_slice() else {
            return Err(wrong("AT TIME ZONE takes the zone as a literal: AT TIME ZONE 'Europe/Berlin'"));
        };
        let name = name.try_as_str().flatten();
        let there = zone(name.ok_or_else(|| wrong("AT TIME ZONE takes a zone's name"))?)?;
        let own = zone(self.own)?;
        let to = args.return_field.data_type();
        over(value, |array| match array.data_type() {
            DataType::Timestamp(_, Some(_)) => shifted(array, to, |at| local(at, there)),
            // A day is the instant of its midnight here, shown there.
            DataType::Date32 => shifted(array, to, |day| local(instant(day, own)?, there)),
            _ => shifted(array, to, |at| instant(at, there)),
        })
    }
}

/// `to_timestamp(seconds)`: the instant so many seconds after 1970 began in UTC; and `to_timestamp(text, pattern)`, what
/// the pipeline's clocks show then.
pub fn to_timestamp(own: Tz) -> ScalarUDF {
    let forms = vec![TypeSignature::String(2), TypeSignature::Any(1)];
    let signature = Signature::one_of(forms, Volatility::Immutable);
    ScalarUDF::new_from_impl(ToTimestamp { own: own.name(), signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    own: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        "to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.len() != 2 && !only(types)?.is_numeric() {
            return Err(wrong(
                "to_timestamp takes a number of seconds, or a text and its pattern: to_timestamp(x, 'YYYY-MM-DD HH24:MI')",
            ));
        }
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(self.own.into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        if args.args.len() == 2 {
            let own = zone(self.own)?;
            let instants = |local: Int64Array| {
                let instant = |local| instant(local, own).ok_or_else(|| wrong("timestamp out of range"));
                let instants: Int64Array = local.try_unary(instant)?;
                typed(instants, to)
            };
            return from_text::over(&args, instants);
        }
        let [value] = args.args.as_slice() else { return Err(wrong("to_timestamp takes seconds")) };
        over(value, |array| {
            // Postgres takes the seconds as a double, whatever they are.
            let seconds = arrow::compute::cast_with_options(array, &DataType::Float64, &EXACT)?;
            let seconds = seconds.as_primitive::<Float64Type>();
            let micros: Int64Array = seconds.try_unary(|seconds| {
                let micros = (seconds * 1e6).round_ties_even();
                let fits = micros.is_finite() && micros.abs() < 9e18;
                if fits {
                    Ok(micros as i64)
                } else {
                    Err(wrong(format!("timestamp out of range: {seconds}")))
                }
            })?;
            typed(micros, to)
        })
    }
}

/// An instant plus or minus an interval: its months and days by the local calendar, its time by the clock.
pub fn shift(op: Operator) -> Arc<ScalarUDF> {
    let name = if op == Operator::Minus { "starmill earlier" } else { "starmill later" };
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Shift { earlier: op == Operator::Minus, name, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shift {
    earlier: bool,
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Shift {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| wrong("an instant is moved"))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [at, by] = args.args.as_slice() else { return Err(wrong("an instant is moved by an interval")) };
        let to = args.return_field.data_type();
        let there = match to {
            DataType::Timestamp(_, Some(name)) => zone(name)?,
            _ => Tz::UTC,
        };
        let (at, by) = (micros(&at.to_array(args.number_rows)?)?, by.to_array(args.number_rows)?);
        let by =
            arrow::compute::cast_with_options(&by, &DataType::Interval(IntervalUnit::MonthDayNano), &EXACT)?;
        let by = by.as_primitive::<IntervalMonthDayNanoType>();
        let mut moved = Int64Array::builder(at.len());
        for (at, by) in at.iter().zip(by) {
            match (at, by) {
                (Some(at), Some(by)) => moved.append_value(
                    moved_by(at, by, self.earlier, there).ok_or_else(|| wrong("timestamp out of range"))?,
                ),
                _ => moved.append_null(),
            }
        }
        Ok(ColumnarValue::Array(typed(moved.finish(), to)?))
    }
}

/// An instant moved by an interval; none beyond the calendar.
pub fn moved_by(at: i64, by: IntervalMonthDayNano, earlier: bool, zone: Tz) -> Option<i64> {
    let sign = if earlier { -1 } else { 1 };
    let mut at = at;
    if by.months != 0 || by.days != 0 {
        let mut there = DateTime::from_timestamp_micros(local(at, zone)?)?.naive_utc();
        let months = by.months.checked_mul(sign)?;
        let length = Months::new(months.unsigned_abs());
        there = match months {
            0.. => there.checked_add_months(length)?,
            _ => there.checked_sub_months(length)?,
        };
        let days = TimeDelta::try_days(i64::from(by.days).checked_mul(i64::from(sign))?)?;
        at = instant(there.checked_add_signed(days)?.and_utc().timestamp_micros(), zone)?;
    }
    at.checked_add((by.nanoseconds / 1_000).checked_mul(i64::from(sign))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn days_follow_the_calendar_and_hours_the_clock() {
        // SET timezone = 'Europe/Berlin'; SELECT timestamptz '2024-03-30 02:30+01' + interval '1 day', …
        let day = IntervalMonthDayNano::new(0, 1, 0);
        let hours = IntervalMonthDayNano::new(0, 0, 24 * 3_600_000_000_000);
        let month = IntervalMonthDayNano::new(1, 0, 0);
        let from = micros("2024-03-30T01:30:00");
        for (by, earlier, expected) in [
            (day, false, "2024-03-31T01:30:00"),
            (hours, false, "2024-03-31T01:30:00"),
            (day, true, "2024-03-29T01:30:00"),
            (month, false, "2024-04-30T00:30:00"),
            (month, true, "2024-02-29T01:30:00"),
        ] {
            assert_eq!(moved_by(from, by, earlier, Tz::Europe__Berlin), Some(micros(expected)), "{expected}");
        }
    }

    fn resolved(text: &str, zone: Tz) -> i64 {
        instant(micros(text), zone).unwrap()
    }

    #[test]
    fn skipped_and_doubled_times_are_what_postgres_takes() {
        // SELECT ('2024-03-31 02:30'::timestamp AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'UTC'
        assert_eq!(resolved("2024-03-31T02:30:00", Tz::Europe__Berlin), micros("2024-03-31T01:30:00"));
        assert_eq!(resolved("2024-10-27T02:30:00", Tz::Europe__Berlin), micros("2024-10-27T01:30:00"));
        assert_eq!(resolved("2024-03-10T02:30:00", Tz::America__New_York), micros("2024-03-10T07:30:00"));
        assert_eq!(resolved("2024-11-03T01:30:00", Tz::America__New_York), micros("2024-11-03T06:30:00"));
        assert_eq!(resolved("2024-07-01T12:00:00", Tz::Europe__Berlin), micros("2024-07-01T10:00:00"));
        for text in ["2024-07-01T10:00:00", "1999-12-31T23:30:00"] {
            let there = local(micros(text), Tz::Asia__Kathmandu).unwrap();
            assert_eq!(instant(there, Tz::Asia__Kathmandu), Some(micros(text)));
        }
    }
}
