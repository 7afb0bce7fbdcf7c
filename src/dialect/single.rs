//! `(SELECT c.name FROM customers c WHERE c.id = o.customer_id)`: the one row that a subquery finds for each, and an error
//! where it finds more.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use chrono_tz::Tz;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, lit};

use super::first_rows::Numbered;
use super::functions::plain::{Call, Given, Plain};
use super::functions::wrong;
use super::gathered;
use super::lateral::columns_of;

/// A value, unless there is more than one.
pub const ONE: Plain = Plain {
    name: "starmill one value",
    takes: |types, _| match types {
        [of, _] => Ok(vec![of.clone(), DataType::Int64]),
        _ => Err(wrong("a value and a number of rows are expected")),
    },
    gives: |types, _| match types {
        [of, ..] => Ok(Given::Type(of.clone())),
        [] => Err(wrong("a value is expected")),
    },
    work: one,
};

fn one(call: &Call) -> Result<arrow::array::ArrayRef> {
    let counts = call.arg(1)?.as_primitive::<Int64Type>();
    let several = (0..counts.len()).any(|row| counts.is_valid(row) && counts.value(row) > 1);
    match several {
        true => Err(wrong("more than one row returned by a subquery used as an expression")),
        false => Ok(Arc::clone(call.arg(0)?)),
    }
}

/// Subqueries that may find nothing give NULL then, whatever their columns may be: `coalesce((SELECT 1 …), 0)`.
pub fn perhaps_nothing(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_up(|expr| {
            let Expr::ScalarSubquery(of) = &expr else { return Ok(Transformed::no(expr)) };
            let Some(field) = of.subquery.schema().fields().first().filter(|field| !field.is_nullable())
            else {
                return Ok(Transformed::no(expr));
            };
            if gathered::is_one_row(&of.subquery) {
                return Ok(Transformed::no(expr));
            }
            let Some(column) = columns_of(&of.subquery).into_iter().next() else {
                return Ok(Transformed::no(expr));
            };
            let inner = LogicalPlanBuilder::from(LogicalPlan::clone(&of.subquery));
            let plan = match of.outer_ref_columns.is_empty() {
                // Of a value that is written out the engine would know that it is one.
                true => {
                    let none: Vec<Expr> = Vec::new();
                    let counted = inner.aggregate(none, parts(column, ["value", "count"]))?;
                    counted.project(vec![checked("value", "count").alias(field.name())])?
                }
                false => {
                    let one = ScalarFunction::new_udf(Arc::new(ONE.udf(Tz::UTC)), vec![column, lit(1_i64)]);
                    inner.project(vec![Expr::ScalarFunction(one).alias(field.name())])?
                }
            };
            let plan = plan.build()?;
            let subquery = Subquery { subquery: Arc::new(plan), ..of.clone() };
            Ok(Transformed::yes(Expr::ScalarSubquery(subquery)))
        })?;
        Ok(replaced.update_data(|expr| name.restore(expr)))
    })
}

/// The value of the one row that a subquery finds for each of the rows, as a column that is added to them.
pub fn value_of(subquery: &LogicalPlan, rows: &mut LogicalPlan) -> Result<Option<Expr>> {
    match by_keys(subquery, rows)? {
        Some(value) => Ok(Some(value)),
        None => gathered(subquery, rows),
    }
}

/// Its first value, and how many there are.
fn parts(of: Expr, names: [&str; 2]) -> Vec<Expr> {
    let call = |function, arg| {
        Expr::AggregateFunction(AggregateFunction::new_udf(
            function,
            vec![arg],
            false,
            None,
            Vec::new(),
            None,
        ))
    };
    vec![call(first_value_udaf(), of).alias(names[0]), call(count_udaf(), lit(1_i64)).alias(names[1])]
}

fn checked(value: &str, count: &str) -> Expr {
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let args = vec![column(value), column(count)];
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ONE.udf(Tz::UTC)), args))
}

/// Found by equal keys: each key's rows are counted once, whatever number of rows asks for it.
fn by_keys(subquery: &LogicalPlan, rows: &mut LogicalPlan) -> Result<Option<Expr>> {
    let mut numbered = Numbered::after(rows.schema().fields().len());
    let Some(step) = numbered.step(subquery, None)? else { return Ok(None) };
    let (Some(value), false) = (step.columns.first(), step.keys.is_empty()) else { return Ok(None) };
    let names = ["value", "count"].map(|of| numbered.name(of));
    let calls = parts(value.clone(), [&names[0], &names[1]]);
    let mut keys = Vec::new();
    let mut conditions = Vec::new();
    for (outer, key) in step.keys {
        let name = numbered.name("found by");
        conditions.push(outer.eq(Expr::Column(Column::new_unqualified(&name))));
        keys.push(key.alias(name));
    }
    let found = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(step.plan), keys, calls)?);
    let mut all = columns_of(rows);
    let joined = LogicalPlanBuilder::from(rows.clone()).join_on(found, JoinType::Left, conditions)?;
    all.push(checked(&names[0], &names[1]).alias(&names[0]));
    *rows = joined.project(all)?.build()?;
    Ok(Some(Expr::Column(Column::new_unqualified(&names[0]))))
}

fn gathered(subquery: &LogicalPlan, rows: &mut LogicalPlan) -> Result<Option<Expr>> {
    let Some(column) = subquery.schema().columns().into_iter().next() else { return Ok(None) };
    let calls = parts(Expr::Column(column), ["value", "count"]);
    let aggregate =
        LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(subquery.clone()), Vec::new(), calls)?);
    let one = LogicalPlanBuilder::from(aggregate).project(vec![checked("value", "count").alias("value")])?;
    gathered::value_of(&one.build()?, rows)
}
