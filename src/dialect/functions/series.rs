//! `generate_series(start, stop, step)` as a list, of which a FROM or a SELECT makes rows; and the numbers of a list's
//! elements, for WITH ORDINALITY.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListArray, PrimitiveArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
};
use chrono_tz::Tz;
use datafusion::common::Result;

use super::convert::{micros, typed};
use super::plain::{Call, Given, INTERVAL, LOCAL, Plain, as_type, is_whole};
use super::{wrong, zone};

/// A name that nobody can write: the numbers of a list's elements.
pub const ORDINALS: &str = "starmill ordinals";

pub const SERIES: Plain = Plain { name: "generate_series", takes, gives, work };

pub const NUMBERED: Plain = Plain {
    name: ORDINALS,
    takes: |types, _| Ok(types.to_vec()),
    gives: |_, _| Ok(Given::Type(list(DataType::Int64))),
    work: ordinals,
};

pub fn list(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(of, true)))
}

/// What the rows of a batch hold together: it is in memory at once, and no more than is known to fit.
const MOST: usize = 20_000_000;

fn takes(types: &[DataType], zone: Tz) -> Result<Vec<DataType>> {
    let is_time = |of: &DataType| matches!(of, DataType::Timestamp(..) | DataType::Date32);
    let is_number = |of: &DataType| of.is_integer() || of.is_null();
    let is_exact = |of: &DataType| is_number(of) || matches!(of, DataType::Decimal128(..));
    match types {
        [start, stop, step] if is_time(start) || is_time(stop) => {
            let local = [start, stop].into_iter().any(|of| matches!(of, DataType::Timestamp(_, None)))
                && ![start, stop].into_iter().any(|of| matches!(of, DataType::Timestamp(_, Some(_))));
            if !matches!(step, DataType::Interval(_) | DataType::Duration(_) | DataType::Utf8) {
                return Err(wrong("generate_series over times takes an interval as its step"));
            }
            // Days are instants of the pipeline's zone, as in Postgres.
            let instant = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into()));
            let of = if local { LOCAL } else { instant };
            Ok(vec![of.clone(), of, INTERVAL])
        }
        _ if !(2..=3).contains(&types.len()) => {
            Err(wrong("generate_series takes a start, a stop and a step: generate_series(1, 10, 2)"))
        }
        _ if types.iter().all(is_number) => Ok(vec![DataType::Int64; types.len()]),
        _ if types.iter().all(is_exact) => {
            let scale =
                types.iter().map(|of| if let DataType::Decimal128(_, scale) = of { *scale } else { 0 });
            Ok(vec![DataType::Decimal128(38, scale.max().unwrap_or(0)); types.len()])
        }
        _ => Err(wrong(
            "generate_series takes integers, numerics, or two times and an interval: generate_series(DATE '2024-01-01', DATE '2024-12-31', INTERVAL '1 day')",
        )),
    }
}

fn gives(types: &[DataType], _: Tz) -> Result<Given> {
    types.first().cloned().map(list).map(Given::Type).ok_or_else(|| wrong("generate_series of nothing"))
}

fn work(call: &Call) -> Result<ArrayRef> {
    let of = call.arg(0)?.data_type();
    match of {
        DataType::Int64 => {
            let ints =
                |at: usize| -> Result<Int64Array> { Ok(call.arg(at)?.as_primitive::<Int64Type>().clone()) };
            let (start, stop) = (ints(0)?, ints(1)?);
            let step = if call.args.len() == 3 { Some(ints(2)?) } else { None };
            lists(call, of, |row, found| {
                let step = step.as_ref().map_or(1, |step| step.value(row));
                steps(start.value(row), stop.value(row), step, found, |at, by| at.checked_add(by))
            })
        }
        DataType::Decimal128(_, scale) => {
            let numbers = |at: usize| -> Result<PrimitiveArray<Decimal128Type>> {
                Ok(call.arg(at)?.as_primitive::<Decimal128Type>().clone())
            };
            let (start, stop) = (numbers(0)?, numbers(1)?);
            let step = if call.args.len() == 3 { Some(numbers(2)?) } else { None };
            let one = 10_i128.pow(u32::try_from(*scale).unwrap_or(0));
            let mut values = Vec::new();
            let lengths = lengths(call, |row| {
                let before = values.len();
                let step = step.as_ref().map_or(one, |step| step.value(row));
                steps(start.value(row), stop.value(row), step, &mut values, |at, by| at.checked_add(by))?;
                Ok(values.len() - before)
            })?;
            let values = PrimitiveArray::<Decimal128Type>::from(values).with_data_type(of.clone());
            listed(call, lengths, Arc::new(values))
        }
        DataType::Timestamp(_, named) => {
            let there = named.as_ref().map_or(Ok(Tz::UTC), |name| zone::zone(name))?;
            let (start, stop) = (micros(call.arg(0)?)?, micros(call.arg(1)?)?);
            let step = as_type(call.arg(2)?, &INTERVAL)?;
            let step = step.as_primitive::<IntervalMonthDayNanoType>();
            lists(call, of, |row, found| {
                times(start.value(row), stop.value(row), step.value(row), there, found)
            })
        }
        _ => Err(wrong("generate_series of another type")),
    }
}

/// From start to stop by equal steps.
fn steps<N: Copy + Default + PartialOrd>(
    start: N,
    stop: N,
    step: N,
    found: &mut Vec<N>,
    plus: impl Fn(N, N) -> Option<N>,
) -> Result<()> {
    if step == N::default() {
        return Err(wrong("step size cannot equal zero"));
    }
    let up = step > N::default();
    let mut at = start;
    while if up { at <= stop } else { at >= stop } {
        push(found, at)?;
        match plus(at, step) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(())
}

fn push<N>(found: &mut Vec<N>, value: N) -> Result<()> {
    if found.len() >= MOST {
        return Err(wrong(
            "generate_series gives more rows at once than are held in memory: write its bounds as numbers, or join a table of them",
        ));
    }
    found.push(value);
    Ok(())
}

/// From start to stop by the calendar of a zone.
fn times(start: i64, stop: i64, step: IntervalMonthDayNano, zone: Tz, found: &mut Vec<i64>) -> Result<()> {
    // Postgres looks at the interval's length for the direction.
    let days = i128::from(step.months) * 30 + i128::from(step.days);
    let length = days * 86_400_000_000_000 + i128::from(step.nanoseconds);
    if length == 0 {
        return Err(wrong("step size cannot equal zero"));
    }
    let mut at = start;
    while if length > 0 { at <= stop } else { at >= stop } {
        push(found, at)?;
        at = zone::moved_by(at, step, false, zone).ok_or_else(|| wrong("timestamp out of range"))?;
    }
    Ok(())
}

/// A list a row of whole numbers or of microseconds.
fn lists(
    call: &Call,
    of: &DataType,
    mut fill: impl FnMut(usize, &mut Vec<i64>) -> Result<()>,
) -> Result<ArrayRef> {
    let mut values: Vec<i64> = Vec::new();
    let lengths = lengths(call, |row| {
        let before = values.len();
        fill(row, &mut values)?;
        Ok(values.len() - before)
    })?;
    let values = Int64Array::from(values);
    listed(call, lengths, if *of == DataType::Int64 { Arc::new(values) } else { typed(values, of)? })
}

/// How long each row's list is; one of NULL is none.
fn lengths(call: &Call, mut fill: impl FnMut(usize) -> Result<usize>) -> Result<Vec<usize>> {
    (0..call.rows).map(|row| if is_whole(call.args, row) { fill(row) } else { Ok(0) }).collect()
}

fn listed(call: &Call, lengths: Vec<usize>, values: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let nulls = NullBuffer::from_iter((0..call.rows).map(|row| is_whole(call.args, row)));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(nulls))?))
}

fn ordinals(call: &Call) -> Result<ArrayRef> {
    let Some(lists) = call.arg(0)?.as_list_opt::<i32>() else {
        return Ok(new_null_array(&list(DataType::Int64), call.rows));
    };
    let mut numbers = Int64Builder::new();
    let mut lengths = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let length = if lists.is_null(row) { 0 } else { lists.value_length(row) };
        numbers.extend((1..=i64::from(length)).map(Some));
        lengths.push(usize::try_from(length).unwrap_or(0));
    }
    listed(call, lengths, Arc::new(numbers.finish()))
}
