//! Functions with Postgres's meaning, one file a family.

pub mod arithmetic;
pub mod convert;
pub mod cut;
pub mod digits;
pub mod distinct;
pub mod from_text;
pub mod interval;
pub mod numeric;
pub mod padded;
mod pattern;
pub mod quotient;
pub mod scaled;
pub mod sum;
mod to_char;
pub mod zone;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
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
    context.register_udaf(sum::sum());
}

/// An error that a user reads: what is wrong with a value, in Postgres's words.
fn wrong(message: impl std::fmt::Display) -> DataFusionError {
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
