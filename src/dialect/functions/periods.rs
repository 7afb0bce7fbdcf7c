//! `(a, b) OVERLAPS (c, d)`: whether two periods have a moment in common. A period's ends may come in any order, its
//! latter end is no part of it, and one of no length is its one moment.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Result;

use super::convert::micros;
use super::plain::{Call, Given, LOCAL, Plain, as_type, in_zone, is_text};
use super::wrong;

pub const OVERLAPS: &str = "starmill periods overlap";

const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

pub const PERIODS: Plain = Plain {
    name: OVERLAPS,
    takes: |types, zone| {
        let timed = |of: &DataType| {
            matches!(of, DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(_)) || is_text(of)
        };
        let is_instant = |of: &DataType| matches!(of, DataType::Timestamp(_, Some(_)));
        let is_clock = |of: &DataType| matches!(of, DataType::Time64(_));
        if types.len() != 4 || !types.iter().all(timed) || types.iter().all(is_text) {
            return Err(wrong(
                "OVERLAPS takes two periods of a begin and an end each: (a, b) OVERLAPS (c, d), an end written a + INTERVAL '1 day'",
            ));
        }
        let met = match (types.iter().any(is_instant), types.iter().any(is_clock)) {
            (true, _) => in_zone(zone),
            (false, true) => TIME,
            _ => LOCAL,
        };
        Ok(vec![met; 4])
    },
    gives: |_, _| Ok(Given::Type(DataType::Boolean)),
    work: |call| {
        let ends = (0..4).map(|at| ticks(call, at)).collect::<Result<Vec<Int64Array>>>()?;
        let at = |side: usize, row: usize| ends[side].is_valid(row).then(|| ends[side].value(row));
        let each = (0..call.rows).map(|row| overlap((at(0, row), at(1, row)), (at(2, row), at(3, row))));
        Ok(Arc::new(each.collect::<BooleanArray>()))
    },
};

fn ticks(call: &Call, at: usize) -> Result<Int64Array> {
    let array = call.arg(at)?;
    match array.data_type() {
        DataType::Time64(_) => Ok(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(
            &as_type(array, &DataType::Int64)?,
        )
        .clone()),
        _ => micros(array),
    }
}

type Period = (Option<i64>, Option<i64>);

/// With a NULL among the ends it may still be certain.
fn overlap(one: Period, other: Period) -> Option<bool> {
    let ordered = |(from, to): Period| match (from, to) {
        (None, to) => to.map(|to| (to, None)),
        (Some(from), Some(to)) if from > to => Some((to, Some(from))),
        (Some(from), to) => Some((from, to)),
    };
    let ((from, to), (begin, end)) = (ordered(one)?, ordered(other)?);
    // Whichever begins first must not have ended when the other begins.
    let within = |later: i64, of_earlier: Option<i64>, of_later: Option<i64>| match of_earlier {
        None => None,
        Some(end) if later < end => Some(true),
        Some(_) => of_later.map(|_| false),
    };
    match from.cmp(&begin) {
        std::cmp::Ordering::Greater => within(from, end, to),
        std::cmp::Ordering::Less => within(begin, to, end),
        std::cmp::Ordering::Equal => (to.is_some() && end.is_some()).then_some(true),
    }
}
