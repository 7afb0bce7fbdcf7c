//! Functions with Postgres's meaning, one file a family.

pub mod arithmetic;
pub mod array_text;
pub mod arrays;
pub mod combination;
pub mod convert;
pub mod cut;
pub mod digits;
pub mod distinct;
mod extreme;
pub mod format;
pub mod formula;
pub mod from_text;
pub mod interval;
pub mod interval_sums;
pub mod json;
mod made;
mod meeting;
pub mod moments;
pub mod number_pattern;
pub mod numbers;
pub mod numeric;
pub mod padded;
mod pattern;
mod patterns;
mod percentile;
pub mod periods;
pub mod plain;
pub mod powers;
pub mod print;
pub mod quotient;
pub mod readings;
pub mod regular;
pub mod run_at;
pub mod scaled;
pub mod series;
mod short_quotient;
mod span_text;
pub mod spans;
mod statistics;
pub mod sum;
mod text;
pub mod time_text;
mod to_char;
pub mod truncate;
pub mod zone;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};
use datafusion::prelude::SessionContext;

/// Makes Postgres's own functions known to a session of a pipeline's zone.
pub fn register(context: &SessionContext, zone: Tz) {
    context.register_udf(zone::timezone(zone));
    context.register_udf(zone::to_timestamp(zone));
    context.register_udf(to_char::to_char(zone));
    context.register_udf(from_text::to_date());
    context.register_udf(scaled::age());
    context.register_udf(cut::sign());
    context.register_udf(padded::bpchar());
    context.register_udf(numeric::numeric());
    context.register_udf(run_at::run_at(zone, None));
    for plain in families() {
        context.register_udf(plain.udf(zone));
    }
    for function in meeting::all() {
        context.register_udf(function);
    }
    for aggregate in percentile::all().into_iter().chain(statistics::all()) {
        context.register_udaf(aggregate);
    }
    context.register_udaf(sum::sum());
    context.register_udaf(extreme::max());
    context.register_udaf(extreme::min());
    context.register_udaf(interval_sums::avg());
}

fn families() -> Vec<plain::Plain> {
    [
        vec![
            series::SERIES,
            series::NUMBERED,
            print::PRINTED,
            print::LETTERS,
            truncate::TRUNCATED,
            truncate::ROUNDED,
        ],
        arrays::all(),
        json::all(),
        spans::all(),
        moments::all(),
        made::all(),
        numbers::all(),
        patterns::all(),
        text::all(),
        vec![
            combination::COMBINATION,
            format::FORMAT,
            periods::PERIODS,
            super::single::ONE,
            super::apart::TOLD_APART,
            super::independent::END,
        ],
    ]
    .concat()
}

/// One of our own functions by its name.
pub fn named(name: &str, zone: Tz) -> Option<Arc<ScalarUDF>> {
    families().into_iter().find(|plain| plain.name == name).map(|plain| Arc::new(plain.udf(zone)))
}

/// An error that a user reads: what is wrong with a value, in Postgres's words.
pub(super) fn wrong(message: impl std::fmt::Display) -> DataFusionError {
    exec_datafusion_err!("{message}")
}

/// The type of a function's only argument.
fn only(types: &[DataType]) -> Result<&DataType> {
    match types {
        [only] => Ok(only),
        _ => Err(wrong("a function of one argument got another number of them")),
    }
}

/// How many rows a call has: one where all of its arguments are single values.
pub fn rows_of(args: &[ColumnarValue], rows: usize) -> usize {
    if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { rows }
}

/// A single value where all arguments are.
pub fn given(array: ArrayRef, args: &[ColumnarValue]) -> Result<ColumnarValue> {
    match args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
        false => Ok(ColumnarValue::Array(array)),
    }
}
