//! Whole numbers here that are numerics in Postgres: sums of bigints, and what `extract` gives. Divided, they are cut
//! here, and not there.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::trace::origins;
use super::{Found, Refusal, shown};
use crate::dialect::numerics::gives_numeric;
use crate::dialect::rewrite::is_decimal;

/// Integer divisions of a step by or of such a number.
pub(super) fn node(node: &LogicalPlan, found: &mut Found) {
    let inputs = node.inputs();
    let schema = merge_schema(&inputs);
    let whole = |side: &Expr| side.get_type(&schema).is_ok_and(|of| of.is_integer());
    for expr in node.expressions() {
        let _ = expr.apply(|expr| {
            if let Expr::BinaryExpr(binary) = expr
                && binary.op == Operator::Divide
                && whole(&binary.left)
                && whole(&binary.right)
                && !(gives_numeric(&binary.left) || gives_numeric(&binary.right))
                && let Some(side) =
                    [&*binary.left, &*binary.right].into_iter().find(|side| is_numeric_there(side, &inputs))
            {
                let message = format!(
                    "{} is a numeric in Postgres, which {} would not cut there, and does here",
                    shown(side),
                    shown(expr)
                );
                let help =
                    "say which is meant: CAST(x AS numeric(38,0)) / y, or CAST(x AS bigint) / y, which cuts";
                found.add(expr, Refusal::new(message, help));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
}

/// Whether a whole number is a numeric in Postgres. A cast says that it is not.
fn is_numeric_there(expr: &Expr, inputs: &[&LogicalPlan]) -> bool {
    let sums = |name: &str, args: &[Expr]| {
        name == "sum"
            && args.first().is_some_and(|arg| !is_integer_there(arg, inputs) && !becomes_numeric(arg, inputs))
    };
    match expr {
        Expr::Cast(_) | Expr::TryCast(_) | Expr::Literal(..) | Expr::ScalarSubquery(_) => false,
        Expr::Column(column) => {
            let mut found = false;
            origins(column, inputs, &mut |origin, below| {
                found |= !matches!(origin, Expr::Column(_)) && is_numeric_there(origin, below);
            });
            found
        }
        Expr::AggregateFunction(of) => sums(of.func.name(), &of.params.args),
        Expr::WindowFunction(of) => sums(of.fun.name(), &of.params.args),
        Expr::ScalarFunction(of) if ["date_part", "extract"].contains(&of.func.name()) => true,
        other => {
            let mut any = false;
            let _ = other.apply_children(|child| {
                any |= is_numeric_there(child, inputs);
                Ok(TreeNodeRecursion::Continue)
            });
            any
        }
    }
}

/// Whether it is called an integer by its first branch, and is a numeric here too once its branches are one type.
fn becomes_numeric(expr: &Expr, inputs: &[&LogicalPlan]) -> bool {
    if expr.get_type(&merge_schema(inputs)).is_ok_and(|of| is_decimal(&of)) {
        return true;
    }
    match expr {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            results.into_iter().any(|result| becomes_numeric(result, inputs))
        }
        Expr::Column(column) => {
            let mut found = false;
            origins(column, inputs, &mut |origin, below| {
                found |= match origin {
                    Expr::Column(_) => origin.get_type(&merge_schema(below)).is_ok_and(|of| is_decimal(&of)),
                    other => becomes_numeric(other, below),
                };
            });
            found
        }
        Expr::Negative(inner) => becomes_numeric(inner, inputs),
        Expr::BinaryExpr(of) => becomes_numeric(&of.left, inputs) || becomes_numeric(&of.right, inputs),
        _ => false,
    }
}

/// Whether what is summed is surely an integer or less, of which the sum is a bigint.
fn is_integer_there(expr: &Expr, inputs: &[&LogicalPlan]) -> bool {
    let schema = merge_schema(inputs);
    match expr {
        Expr::Literal(value, _) => {
            let number = value.cast_to(&DataType::Int64).ok().map(|number| number.to_string());
            value.is_null() || number.and_then(|number| number.parse::<i32>().ok()).is_some()
        }
        Expr::BinaryExpr(binary) => {
            is_integer_there(&binary.left, inputs) && is_integer_there(&binary.right, inputs)
        }
        Expr::Negative(inner) => is_integer_there(inner, inputs),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            results.into_iter().all(|result| is_integer_there(result, inputs))
        }
        Expr::ScalarFunction(of)
            if ["coalesce", "greatest", "least", "nullif", "abs"].contains(&of.func.name()) =>
        {
            of.args.iter().all(|arg| is_integer_there(arg, inputs))
        }
        other => !matches!(other.get_type(&schema), Ok(DataType::Int64 | DataType::UInt64)),
    }
}
