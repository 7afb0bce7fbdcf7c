//! Arguments for which a function answers as in Postgres, and those for which it does not.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::{Refusal, shown};
use crate::dialect::table;

/// Elements that print as in Postgres.
pub(super) fn prints_alike(array: &DataType) -> bool {
    match array {
        DataType::List(element) | DataType::LargeList(element) => {
            let of = element.data_type();
            of.is_integer()
                || of.is_null()
                || matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Date32)
        }
        _ => true,
    }
}

/// Names that are abbreviations first in Postgres, and places here.
pub(super) fn is_abbreviation(zone: &Expr) -> bool {
    const BOTH: [&str; 7] = ["CET", "MET", "EET", "WET", "EST", "MST", "HST"];
    matches!(zone, Expr::Literal(name, _) if name.try_as_str().flatten().is_some_and(|name| BOTH.contains(&name)))
}

/// The first dimension, which alone is answered.
pub fn is_one(dimension: Option<&Expr>) -> bool {
    match dimension {
        Some(Expr::Literal(value, _)) => value.to_string() == "1",
        Some(Expr::Cast(cast)) => is_one(Some(&cast.expr)),
        _ => false,
    }
}

/// What may be true.
pub(super) fn is_condition(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|of| matches!(of, DataType::Boolean | DataType::Null))
}

/// Aggregates of what Postgres has none for.
pub(super) fn aggregated(function: &AggregateFunction, schema: &DFSchema) -> Option<Refusal> {
    let (name, args) = (function.func.name(), &function.params.args);
    if function.params.filter.as_ref().is_some_and(|filter| !is_condition(filter, schema)) {
        let message = format!("{name} is filtered by what is no condition");
        return Some(Refusal::new(message, "say which values are meant: FILTER (WHERE x <> 0)"));
    }
    if name == "count" && args.len() > 1 {
        let message = "count takes one argument in Postgres".to_owned();
        return Some(Refusal::new(
            message,
            "count the rows that have both: count(*) FILTER (WHERE a IS NOT NULL AND b IS NOT NULL)",
        ));
    }
    let of_booleans = args.first()?.get_type(schema).is_ok_and(|of| of == DataType::Boolean);
    (["max", "min"].contains(&name) && of_booleans).then(|| {
        let message = format!("Postgres has no {name} of booleans");
        Refusal::new(message, "any of them is bool_or(x), all of them bool_and(x)")
    })
}

/// Functions of texts that take other values, too.
const OF_ANY: [&str; 7] = ["concat", "concat_ws", "format", "chr", "quote_literal", "bpchar", "starts_with"];

/// A function of texts whose first argument is none.
pub(super) fn of_no_text(function: &ScalarFunction, schema: &DFSchema) -> Option<Refusal> {
    let name = function.func.name();
    let line = table::line(name).filter(|line| line.family == table::TEXT)?;
    if OF_ANY.contains(&name) || name.starts_with("starmill ") {
        return None;
    }
    let first = function.args.first()?;
    let of = first.get_type(schema).ok()?;
    (of.is_numeric() || of.is_temporal() || of == DataType::Boolean).then(|| {
        let message = format!("{} is given {}, which is no text", line.written, shown(first));
        Refusal::new(message, "say which text is meant: CAST(x AS text)")
    })
}
