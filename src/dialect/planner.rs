//! Operators that the engine does not plan, as they are met while a query is planned: intervals times and over numbers.

use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::scaled;
use super::rewrite::is_interval;

#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match expr.op {
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let args = match (is_interval(&left), is_interval(&right)) {
            (true, false) if right.is_numeric() => vec![expr.left, expr.right],
            (false, true) if left.is_numeric() && op == Operator::Multiply => vec![expr.right, expr.left],
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let scaled = ScalarFunction::new_udf(scaled::scaled(op), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(scaled)))
    }
}
