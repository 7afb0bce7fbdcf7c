//! Times that are made of numbers: `make_timestamp`, `make_timestamptz`, `make_time`; and `isfinite`.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, Time64MicrosecondArray};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use chrono::NaiveDate;
use datafusion::common::Result;

use super::convert::{EXACT, typed};
use super::plain::{Call, Given, LOCAL, Plain, in_zone, is_whole};
use super::time_text::SECOND;
use super::{wrong, zone};

pub fn all() -> Vec<Plain> {
    vec![
        Plain {
            name: "make_date",
            takes: |types, _| match types {
                [_, _, _] if types.iter().all(|of| of.is_integer() || of.is_null()) => {
                    Ok(vec![DataType::Int64; 3])
                }
                _ => Err(wrong("make_date takes a year, a month and a day")),
            },
            gives: |_, _| Ok(Given::Type(DataType::Date32)),
            work: |call| {
                let row = |row| is_whole(call.args, row).then(|| day(call, row)).transpose();
                let days = (0..call.rows).map(row).collect::<Result<Int64Array>>()?;
                Ok(cast_with_options(
                    &cast_with_options(&days, &DataType::Int32, &EXACT)?,
                    &DataType::Date32,
                    &EXACT,
                )?)
            },
        },
        Plain {
            name: "make_time",
            takes: |types, _| parts(types, 3),
            gives: |_, _| Ok(Given::Type(DataType::Time64(TimeUnit::Microsecond))),
            work: |call| {
                let row = |row| is_whole(call.args, row).then(|| clock(call, row, 0)).transpose();
                Ok(Arc::new((0..call.rows).map(row).collect::<Result<Time64MicrosecondArray>>()?))
            },
        },
        Plain {
            name: "make_timestamp",
            takes: |types, _| parts(types, 6),
            gives: |_, _| Ok(Given::Type(LOCAL)),
            work: |call| {
                let row = |row| is_whole(call.args, row).then(|| local(call, row)).transpose();
                typed((0..call.rows).map(row).collect::<Result<Int64Array>>()?, &LOCAL)
            },
        },
        Plain {
            name: "make_timestamptz",
            takes: |types, _| match types {
                [numbers @ .., DataType::Utf8] => {
                    let mut taken = parts(numbers, 6)?;
                    taken.push(DataType::Utf8);
                    Ok(taken)
                }
                types => parts(types, 6),
            },
            gives: |_, own| Ok(Given::Type(in_zone(own))),
            work: |call| {
                let row = |row: usize| {
                    if !is_whole(call.args, row) {
                        return Ok(None);
                    }
                    let there = match call.args.len() {
                        7 => zone::zone(call.text(6)?.value(row))?,
                        _ => call.zone,
                    };
                    let instant = zone::instant(local(call, row)?, there);
                    instant.map(Some).ok_or_else(|| wrong("timestamp out of range"))
                };
                typed((0..call.rows).map(row).collect::<Result<Int64Array>>()?, &in_zone(call.zone))
            },
        },
        Plain {
            name: "isfinite",
            takes: |types, _| match types {
                [
                    DataType::Date32
                    | DataType::Timestamp(..)
                    | DataType::Interval(_)
                    | DataType::Duration(_),
                ] => Ok(types.to_vec()),
                _ => Err(wrong("isfinite takes a day, a time or an interval")),
            },
            gives: |_, _| Ok(Given::Type(DataType::Boolean)),
            // What is infinite does not come this far.
            work: |call| {
                let value = call.arg(0)?;
                let row = |row: usize| value.is_valid(row).then_some(true);
                Ok(Arc::new((0..call.rows).map(row).collect::<BooleanArray>()))
            },
        },
    ]
}

/// Whole numbers, and seconds last.
fn parts(types: &[DataType], number: usize) -> Result<Vec<DataType>> {
    let whole = types.split_last().is_some_and(|(_, whole)| whole.iter().all(DataType::is_integer));
    if types.len() != number || !whole {
        return Err(wrong(format!("{number} numbers are expected, the seconds last")));
    }
    let mut taken = vec![DataType::Int64; number - 1];
    taken.push(DataType::Float64);
    Ok(taken)
}

fn number(call: &Call, at: usize, row: usize) -> Result<i64> {
    Ok(call.arg(at)?.as_primitive::<Int64Type>().value(row))
}

/// Microseconds of a time of day whose hours are the argument at a place.
fn clock(call: &Call, row: usize, at: usize) -> Result<i64> {
    let (hours, minutes) = (number(call, at, row)?, number(call, at + 1, row)?);
    let seconds = call.arg(at + 2)?.as_primitive::<Float64Type>().value(row);
    let out_of_range = || wrong(format!("time field value out of range: {hours}:{minutes:02}:{seconds}"));
    let fits = (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0.0..=60.0).contains(&seconds);
    if !fits {
        return Err(out_of_range());
    }
    let micros = (hours * 60 + minutes) * 60 * SECOND + (seconds * 1e6).round_ties_even() as i64;
    if micros <= 86_400 * SECOND { Ok(micros) } else { Err(out_of_range()) }
}

/// Days since 1970 of the first three arguments.
fn day(call: &Call, row: usize) -> Result<i64> {
    let (year, month, day) = (number(call, 0, row)?, number(call, 1, row)?, number(call, 2, row)?);
    if year < 0 {
        return Err(wrong(format!("{year}-{month:02}-{day:02}: years before Christ are not made here")));
    }
    let narrow = |number: i64| u32::try_from(number).ok();
    let date = i32::try_from(year)
        .ok()
        .filter(|year| *year > 0)
        .and_then(|year| NaiveDate::from_ymd_opt(year, narrow(month)?, narrow(day)?));
    let date =
        date.ok_or_else(|| wrong(format!("date field value out of range: {year}-{month:02}-{day:02}")))?;
    Ok(date.signed_duration_since(NaiveDate::default()).num_days())
}

/// Microseconds of a local time made of the first six arguments.
fn local(call: &Call, row: usize) -> Result<i64> {
    Ok(day(call, row)? * 86_400 * SECOND + clock(call, row, 3)?)
}
