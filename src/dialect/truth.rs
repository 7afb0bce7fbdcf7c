//! `IS TRUE`, `IS NOT UNKNOWN` and their kin, which are never NULL. The engine is of two minds about that between planning and
//! running, and refuses below DISTINCT, UNION and GROUP BY what it planned itself.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit};

/// The same test in an operator that is never NULL to both; other expressions as they are.
pub fn told(expr: Expr) -> Result<Expr, Expr> {
    let told = |value: Box<Expr>, by: Operator, from: bool| {
        Ok(Expr::BinaryExpr(BinaryExpr::new(value, by, Box::new(lit(from)))))
    };
    match expr {
        Expr::IsTrue(value) => told(value, Operator::IsNotDistinctFrom, true),
        Expr::IsNotTrue(value) => told(value, Operator::IsDistinctFrom, true),
        Expr::IsFalse(value) => told(value, Operator::IsNotDistinctFrom, false),
        Expr::IsNotFalse(value) => told(value, Operator::IsDistinctFrom, false),
        Expr::IsUnknown(value) => Ok(Expr::IsNull(value)),
        Expr::IsNotUnknown(value) => Ok(Expr::IsNotNull(value)),
        other => Err(other),
    }
}
