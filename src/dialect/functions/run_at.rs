//! `run_at()`: the instant of the source snapshot, where Postgres's `now()` would be another in every run. What is built
//! again of the same snapshot is the same star.

use crate::dialect::visit;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, Expr, Query, TimezoneInfo, TypedString, Value, VisitorMut,
};

use super::plain::in_zone;
use super::wrong;

pub const RUN_AT: &str = "run_at";

/// What stands for it in SQL for Postgres, until the snapshot is taken.
const STANDS_FOR: &str = "'starmill run_at'";

/// Puts in its place what Postgres will read.
pub fn for_postgres(query: &mut Query) {
    struct Calls;
    impl VisitorMut for Calls {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr
                && function.name.to_string().eq_ignore_ascii_case(RUN_AT)
            {
                *expr = Expr::TypedString(TypedString {
                    data_type: SqlType::Timestamp(None, TimezoneInfo::WithTimeZone),
                    value: Value::SingleQuotedString(STANDS_FOR.trim_matches('\'').to_owned()).into(),
                    uses_odbc_syntax: false,
                });
            }
            ControlFlow::Continue(())
        }
    }
    let _ = visit::change(query, &mut Calls);
}

/// SQL for Postgres in which the instant is known.
pub fn told(sql: &str, at: DateTime<Utc>) -> String {
    sql.replace(STANDS_FOR, &at.format("'%Y-%m-%d %H:%M:%S%.6f+00'").to_string())
}

/// Before the snapshot is taken its instant is not known: nothing is computed of it, and no condition with it is
/// handed to the source.
pub fn run_at(zone: Tz, at: Option<DateTime<Utc>>) -> ScalarUDF {
    let volatility = if at.is_some() { Volatility::Immutable } else { Volatility::Volatile };
    let signature = Signature::exact(Vec::new(), volatility);
    let at = at.map(|at| at.timestamp_micros());
    ScalarUDF::new_from_impl(RunAt { zone: zone.name(), at, signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RunAt {
    zone: &'static str,
    at: Option<i64>,
    signature: Signature,
}

impl RunAt {
    fn zone(&self) -> Result<Tz> {
        super::zone::zone(self.zone)
    }
}

impl ScalarUDFImpl for RunAt {
    fn name(&self) -> &str {
        RUN_AT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(in_zone(self.zone()?))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let at = self.at.ok_or_else(|| wrong("run_at() is known when the source snapshot is taken"))?;
        let zone = self.zone()?.name().into();
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(at), Some(zone))))
    }
}
