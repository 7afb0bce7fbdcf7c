//! `EXCEPT ALL` and `INTERSECT ALL`, which count equal rows: each copy of a row is numbered on both sides.

use std::sync::Arc;

use datafusion::common::{Column, NullEquality, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::{
    Expr, JoinType, LogicalPlan, LogicalPlanBuilder, SortExpr, WindowFunctionDefinition,
};

use super::lateral::columns_of;

const COPY: &str = "\u{1}copy";
const OTHER: &str = "\u{1}other copy";

pub fn counted(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Join(join) = node else { return Ok(node) };
    let set = matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none();
    if !set || is_distinct(&join.left) || is_counted(&join) {
        return Ok(LogicalPlan::Join(join));
    }
    let whole = columns_of(&join.left);
    let left = numbered(&join.left, COPY)?;
    let right = numbered(&join.right, OTHER)?;
    let mut on = join.on.clone();
    on.push((Expr::Column(Column::new_unqualified(COPY)), Expr::Column(Column::new_unqualified(OTHER))));
    let counted = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(counted)).project(whole)?.build()
}

fn numbered(plan: &LogicalPlan, name: &str) -> Result<LogicalPlan> {
    let columns = columns_of(plan);
    let mut number = WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new());
    // Copies are alike, whatever their order.
    number.params.order_by =
        columns.iter().take(1).map(|key| SortExpr::new(key.clone(), true, false)).collect();
    number.params.partition_by = columns;
    LogicalPlanBuilder::from(plan.clone()).window(vec![Expr::from(number).alias(name)])?.build()
}

fn is_counted(join: &Join) -> bool {
    join.on.iter().any(|(left, _)| matches!(left, Expr::Column(column) if column.name == COPY))
}

fn is_distinct(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Distinct(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_distinct(&alias.input),
        _ => false,
    }
}
