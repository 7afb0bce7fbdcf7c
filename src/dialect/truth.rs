//! `IS TRUE`, `IS NOT UNKNOWN` and their kin, which are never NULL. The engine is of two minds about that between planning and
//! running, and refuses below DISTINCT, UNION and GROUP BY what it planned itself.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// The same test in an operator that is never NULL to both; other expressions as they are.
pub fn told(expr: Expr) -> Result<Expr, Expr> {
    let told = |value: Box<Expr>, by: Operator, from: Option<bool>| {
        let from = Expr::Literal(ScalarValue::Boolean(from), None);
        Ok(Expr::BinaryExpr(BinaryExpr::new(value, by, Box::new(from))))
    };
    match expr {
        Expr::IsTrue(value) => told(value, Operator::IsNotDistinctFrom, Some(true)),
        Expr::IsNotTrue(value) => told(value, Operator::IsDistinctFrom, Some(true)),
        Expr::IsFalse(value) => told(value, Operator::IsNotDistinctFrom, Some(false)),
        Expr::IsNotFalse(value) => told(value, Operator::IsDistinctFrom, Some(false)),
        Expr::IsUnknown(value) => told(value, Operator::IsNotDistinctFrom, None),
        Expr::IsNotUnknown(value) => told(value, Operator::IsDistinctFrom, None),
        other => Err(other),
    }
}
