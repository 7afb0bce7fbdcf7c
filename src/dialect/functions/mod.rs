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

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
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
