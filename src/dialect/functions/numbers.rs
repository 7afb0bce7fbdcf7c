//! Functions of numbers that the engine does not have, or answers otherwise: `div`, `width_bucket`, `to_hex`, shifts of
//! bits, and how many of some values are NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int16Array, Int32Array, Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int16Type, Int32Type, Int64Type};
use datafusion::common::Result;

use super::numeric::{PUBLISHED, digits_of};
use super::plain::{Call, Given, Plain, as_type, is_whole};
use super::wrong;
use crate::dialect::rewrite::is_decimal;

pub fn all() -> Vec<Plain> {
    let nulls = |name, work| Plain {
        name,
        takes: |types, _| Ok(types.to_vec()),
        gives: |_, _| Ok(Given::Type(DataType::Int32)),
        work,
    };
    vec![
        Plain {
            name: "div",
            takes: |types, _| numerics(types, 2),
            gives: |_, _| Ok(Given::Type(DataType::Decimal128(PUBLISHED, 0))),
            work: div,
        },
        Plain {
            name: "width_bucket",
            takes: |types, _| takes_bucket(types),
            gives: |_, _| Ok(Given::Type(DataType::Int32)),
            work: width_bucket,
        },
        Plain {
            name: "to_hex",
            takes: |types, _| match types {
                [of @ (DataType::Int16 | DataType::Int32)] => Ok(vec![widened(of)]),
                [of] if of.is_integer() => Ok(vec![DataType::Int64]),
                _ => Err(wrong("to_hex takes an integer")),
            },
            gives: |_, _| Ok(Given::Type(DataType::Utf8)),
            work: to_hex,
        },
        shift(SHIFT_LEFT, |call| shifted(call, i32::wrapping_shl, i64::wrapping_shl)),
        shift(SHIFT_RIGHT, |call| shifted(call, i32::wrapping_shr, i64::wrapping_shr)),
        nulls("num_nulls", |call| Ok(counted(call, |null| null))),
        nulls("num_nonnulls", |call| Ok(counted(call, |null| !null))),
    ]
}

pub const SHIFT_LEFT: &str = "starmill <<";
pub const SHIFT_RIGHT: &str = "starmill >>";

/// An integer's bits moved by a number of places, which counts within the integer's own number of bits.
fn shift(name: &'static str, work: fn(&Call) -> Result<ArrayRef>) -> Plain {
    Plain {
        name,
        takes: |types, _| match types {
            [of @ (DataType::Int16 | DataType::Int32 | DataType::Int64), by] if by.is_integer() => {
                Ok(vec![of.clone(), DataType::Int64])
            }
            _ => Err(wrong("an integer is shifted by an integer")),
        },
        gives: |types, _| Ok(Given::Type(types.first().cloned().unwrap_or(DataType::Int64))),
        work,
    }
}

fn shifted(call: &Call, narrow: fn(i32, u32) -> i32, wide: fn(i64, u32) -> i64) -> Result<ArrayRef> {
    let by = as_type(call.arg(1)?, &DataType::Int64)?;
    let by = by.as_primitive::<Int64Type>();
    // Of more places than there are bits the lowest bits of their number count.
    let places = |by: i64| (by & 63) as u32;
    Ok(match call.arg(0)?.data_type() {
        // In four bytes, of which two are kept.
        DataType::Int16 => {
            let values = call.arg(0)?.as_primitive::<Int16Type>();
            let moved = |value: i16, by| narrow(i32::from(value), places(by)) as i16;
            let each = values.iter().zip(by).map(|(value, by)| Some(moved(value?, by?)));
            Arc::new(each.collect::<Int16Array>())
        }
        DataType::Int32 => {
            let values = call.arg(0)?.as_primitive::<Int32Type>();
            let each = values.iter().zip(by).map(|(value, by)| Some(narrow(value?, places(by?))));
            Arc::new(each.collect::<Int32Array>())
        }
        _ => {
            let values = as_type(call.arg(0)?, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            let each = values.iter().zip(by).map(|(value, by)| Some(wide(value?, places(by?))));
            Arc::new(each.collect::<Int64Array>())
        }
    })
}

fn widened(of: &DataType) -> DataType {
    if *of == DataType::Int16 { DataType::Int32 } else { of.clone() }
}

/// Integers as numerics, and numerics as they are.
fn numerics(types: &[DataType], number: usize) -> Result<Vec<DataType>> {
    let each = types.iter().map(|of| match digits_of(of) {
        Some(digits) => Ok(DataType::Decimal128(digits, 0)),
        None if matches!(of, DataType::Decimal128(..)) => Ok(of.clone()),
        None => Err(wrong("a numeric or an integer is expected; cast it: CAST(x AS numeric(20,6))")),
    });
    if types.len() == number {
        each.collect()
    } else {
        Err(wrong(format!("{number} arguments are expected")))
    }
}

fn takes_bucket(types: &[DataType]) -> Result<Vec<DataType>> {
    let [values @ .., count] = types else { return Err(wrong("width_bucket takes four arguments")) };
    let exact = values.iter().any(is_decimal) && !values.iter().any(DataType::is_floating);
    if values.len() != 3 || !count.is_integer() {
        return Err(wrong("width_bucket takes a number, two bounds, and how many buckets lie between them"));
    }
    let mut taken = if exact { numerics(values, 3)? } else { vec![DataType::Float64; 3] };
    taken.push(DataType::Int64);
    Ok(taken)
}

/// Numerics of one scale, which are compared and divided as integers.
fn aligned(arrays: &[ArrayRef]) -> Result<Vec<Vec<Option<i128>>>> {
    let scale = |array: &ArrayRef| match array.data_type() {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    let most = arrays.iter().map(scale).max().unwrap_or(0);
    let each = arrays.iter().map(|array| {
        let by = u32::try_from(most - scale(array)).unwrap_or(0);
        let factor = 10_i128.checked_pow(by).ok_or_else(too_long)?;
        let values =
            array.as_primitive_opt::<Decimal128Type>().ok_or_else(|| wrong("a numeric is expected"))?;
        values.iter().map(|of| of.map(|of| of.checked_mul(factor).ok_or_else(too_long)).transpose()).collect()
    });
    each.collect()
}

fn too_long() -> datafusion::common::DataFusionError {
    wrong("numeric out of range: more than 38 digits")
}

/// The quotient without what stands after its point.
fn div(call: &Call) -> Result<ArrayRef> {
    let sides = aligned(call.args)?;
    let row = |row: usize| match (sides[0][row], sides[1][row]) {
        (Some(_), Some(0)) => Err(wrong("division by zero")),
        (Some(left), Some(right)) => Ok(Some(left / right)),
        _ => Ok(None),
    };
    let found = (0..call.rows).map(row).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(found.with_precision_and_scale(PUBLISHED, 0)?))
}

fn width_bucket(call: &Call) -> Result<ArrayRef> {
    let counts = call.arg(3)?.as_primitive::<Int64Type>();
    let count = |row: usize| match counts.value(row) {
        count @ 1.. => i32::try_from(count).map_err(|_| wrong("integer out of range")),
        _ => Err(wrong("count must be greater than zero")),
    };
    let floating = *call.arg(0)?.data_type() == DataType::Float64;
    let exact = if floating { Vec::new() } else { aligned(&call.args[..3])? };
    let doubles: Vec<_> =
        call.args[..3].iter().filter_map(|of| of.as_primitive_opt::<Float64Type>()).collect();
    let row = |row: usize| -> Result<Option<i32>> {
        if !is_whole(call.args, row) {
            return Ok(None);
        }
        let count = count(row)?;
        if floating {
            return of_doubles([0, 1, 2].map(|at| doubles[at].value(row)), count).map(Some);
        }
        let [Some(value), Some(low), Some(high)] = [0, 1, 2].map(|at| exact[at][row]) else {
            return Ok(None);
        };
        of_numerics(value, low, high, count).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<Int32Array>>()?))
}

fn beyond(count: i32) -> Result<i32> {
    count.checked_add(1).ok_or_else(|| wrong("integer out of range"))
}

fn of_numerics(value: i128, low: i128, high: i128, count: i32) -> Result<i32> {
    let (value, low, high) = match low.cmp(&high) {
        std::cmp::Ordering::Less => (value, low, high),
        // Buckets that go down: the same, mirrored.
        std::cmp::Ordering::Greater => (-value, -low, -high),
        std::cmp::Ordering::Equal => return Err(wrong("lower bound cannot equal upper bound")),
    };
    if value < low {
        return Ok(0);
    }
    if value >= high {
        return beyond(count);
    }
    let parts = (value - low).checked_mul(i128::from(count)).ok_or_else(too_long)?;
    i32::try_from(parts / (high - low) + 1).map_err(|_| wrong("integer out of range"))
}

fn of_doubles([value, low, high]: [f64; 3], count: i32) -> Result<i32> {
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Err(wrong("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(wrong("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(wrong("lower bound cannot equal upper bound"));
    }
    let up = low < high;
    if (up && value < low) || (!up && value > low) {
        return Ok(0);
    }
    if (up && value >= high) || (!up && value <= high) {
        return beyond(count);
    }
    // Versions of Postgres multiply in another order; where it matters there is no one answer.
    let (part, whole) = if up { (value - low, high - low) } else { (low - value, low - high) };
    let (before, after) = (f64::from(count) * part / whole, f64::from(count) * (part / whole));
    if before.floor() != after.floor() || before >= f64::from(count) {
        return Err(wrong(format!(
            "{value} lies on a bucket's edge, where servers of several versions differ: cast it to a numeric"
        )));
    }
    Ok(before as i32 + 1)
}

fn to_hex(call: &Call) -> Result<ArrayRef> {
    let narrow = *call.arg(0)?.data_type() == DataType::Int32;
    let values = as_type(call.arg(0)?, &DataType::Int64)?;
    let each = values.as_primitive::<Int64Type>().iter().map(|value| match value {
        // What is written out is an integer in Postgres, of eight digits, and a bigint here.
        Some(..0) if !narrow => Err(wrong("to_hex of a negative bigint is not answered here")),
        Some(value @ ..0) => Ok(Some(format!("{:x}", value as i32))),
        Some(value) => Ok(Some(format!("{value:x}"))),
        None => Ok(None),
    });
    Ok(Arc::new(each.collect::<Result<StringArray>>()?))
}

fn counted(call: &Call, counts: impl Fn(bool) -> bool) -> ArrayRef {
    let row = |row: usize| {
        let found =
            call.args.iter().filter(|arg| counts(arg.is_null(row) || *arg.data_type() == DataType::Null));
        i32::try_from(found.count()).ok()
    };
    Arc::new((0..call.rows).map(row).collect::<Int32Array>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_counted_as_postgres_counts_them() {
        // SELECT width_bucket(x::numeric, low, high, count)
        for ((value, low, high, count), bucket) in [
            ((535, 24, 1_006, 5), 3),
            ((0, 0, 10, 5), 1),
            ((10, 0, 10, 5), 6),
            ((-1, 0, 10, 5), 0),
            ((3, 10, 0, 5), 4),
            ((0, 10, 0, 5), 6),
            ((11, 10, 0, 5), 0),
        ] {
            assert_eq!(of_numerics(value, low, high, count).unwrap(), bucket, "{value}");
            assert_eq!(
                of_doubles([value as f64, low as f64, high as f64], count).unwrap(),
                bucket,
                "{value}"
            );
        }
        assert!(of_numerics(1, 2, 2, 5).is_err());
    }
}
