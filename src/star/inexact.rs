//! Arithmetic to which the engine would silently give another number than Postgres.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use crate::diagnostic::Diagnostic;
use crate::pipeline::sql::SelectSql;

/// Every such expression of a planned model, once, with what to write instead.
pub fn refusals(plan: &LogicalPlan, sql: &SelectSql) -> Vec<Diagnostic> {
    let mut messages: BTreeMap<String, &str> = BTreeMap::new();
    let _ = plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let schemas: Vec<_> = inputs.iter().map(|input| input.schema().as_ref()).collect();
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                for schema in &schemas {
                    if let Some((message, help)) = inexact(expr, schema) {
                        messages.insert(message, help);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    let refused = |(message, help)| {
        let message: String = message;
        let help: &str = help;
        Diagnostic::error(message).at(&sql.document, sql.whole()).help(help)
    };
    messages.into_iter().map(refused).collect()
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    )
}

/// What is silently different about an expression, and what to write instead.
fn inexact(expr: &Expr, schema: &datafusion::common::DFSchema) -> Option<(String, &'static str)> {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    match expr {
        Expr::BinaryExpr(binary) if binary.op == Operator::Divide => {
            let (left, right) = (type_of(&binary.left)?, type_of(&binary.right)?);
            let decimal =
                (is_decimal(&left) && !right.is_floating()) || (is_decimal(&right) && !left.is_floating());
            decimal.then(|| {
                (
                    format!(
                        "the decimal division {expr} would be cut to four more digits, where Postgres rounds"
                    ),
                    "divide doubles: CAST(a AS DOUBLE PRECISION) / b",
                )
            })
        }
        Expr::BinaryExpr(binary) if binary.op.supports_propagation() => {
            let zoned =
                |of: &DataType| matches!(of, DataType::Timestamp(_, Some(zone)) if zone.as_ref() != "UTC");
            let (left, right) = (type_of(&binary.left)?, type_of(&binary.right)?);
            let mixed =
                (zoned(&left) && right == DataType::Date32) || (zoned(&right) && left == DataType::Date32);
            mixed.then(|| {
                (
                    format!("{expr} would compare with that day's midnight in UTC, where Postgres takes the one in the pipeline's zone"),
                    "compare with a timestamp: x >= '2024-06-01 00:00:00'; or compare days: CAST(x AS date) >= date '2024-06-01'",
                )
            })
        }
        Expr::Between(between) => {
            let of = type_of(&between.expr)?;
            let zoned = matches!(&of, DataType::Timestamp(_, Some(zone)) if zone.as_ref() != "UTC");
            let day =
                [&between.low, &between.high].into_iter().any(|end| type_of(end) == Some(DataType::Date32));
            (zoned && day).then(|| {
                (
                    format!("{expr} would compare with midnights in UTC, where Postgres takes those in the pipeline's zone"),
                    "compare with timestamps, or compare days: CAST(x AS date) BETWEEN …",
                )
            })
        }
        Expr::Cast(cast) => {
            let (message, help) = inexact_cast(&cast.expr, &type_of(&cast.expr)?, cast.field.data_type())?;
            Some((format!("{expr} {message}"), help))
        }
        Expr::AggregateFunction(function) if function.func.name() == "avg" => {
            let of = type_of(function.params.args.first()?)?;
            is_decimal(&of).then(|| {
                (
                    format!("{expr} of a decimal would be cut to four more digits, where Postgres rounds"),
                    "average doubles: avg(CAST(x AS DOUBLE PRECISION)); or publish sum and count",
                )
            })
        }
        _ => None,
    }
}

fn inexact_cast(inner: &Expr, from: &DataType, to: &DataType) -> Option<(&'static str, &'static str)> {
    let said = matches!(inner, Expr::ScalarFunction(function)
        if ["round", "floor", "ceil", "trunc"].contains(&function.func.name()));
    let fraction = from.is_floating() || matches!(from, DataType::Decimal128(_, scale) if *scale > 0);
    let text = matches!(to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (from, to) {
        _ if fraction && to.is_integer() && !said => Some((
            "would be cut, where Postgres rounds",
            "say which is meant: CAST(round(x) AS …) or CAST(trunc(x) AS …)",
        )),
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, None)) => Some((
            "would be the time in UTC, where Postgres gives the one in the pipeline's zone",
            "write to_local_time(x)",
        )),
        (DataType::Timestamp(..), _) if text => Some((
            "would print otherwise than Postgres (2024-02-29T12:00:00Z)",
            "state the form: to_char(x, '%Y-%m-%d %H:%M:%S')",
        )),
        _ => None,
    }
}
