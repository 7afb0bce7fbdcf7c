//! Numerics that become texts. In Postgres each value has digits of its own; here all of a column have the same, so a
//! text is right only where all of them have the same there, too.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, Operator};

use super::trace::origins;
use super::{Found, Refusal, kinds, shown};
use crate::dialect::exactness::CONCATENATES;
use crate::dialect::functions::json::build::BUILDERS;
use crate::dialect::printed::branches;
use crate::dialect::rewrite::is_decimal;

/// What of a step becomes a text with other digits than in Postgres.
pub(super) fn node(node: &LogicalPlan, found: &mut Found) {
    let inputs = node.inputs();
    for expr in node.expressions() {
        let _ = expr.apply(|expr| {
            match expr {
                Expr::Cast(Cast { expr: inner, field }) if field.data_type().is_string() => {
                    printed(inner, &inputs, found);
                }
                Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
                    printed(&binary.left, &inputs, found);
                    printed(&binary.right, &inputs, found);
                }
                Expr::ScalarFunction(function)
                    if CONCATENATES.contains(&function.func.name())
                        || BUILDERS.contains(&function.func.name()) =>
                {
                    function.args.iter().for_each(|arg| printed(arg, &inputs, found));
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
}

fn printed(value: &Expr, inputs: &[&LogicalPlan], found: &mut Found) {
    // Each of several is printed by itself.
    if let Some(branches) = branches(value, &merge_schema(inputs)) {
        branches.into_iter().for_each(|branch| printed(branch, inputs, found));
        return;
    }
    // A column of several branches may be called an integer where one of them gives a numeric.
    let number = value.get_type(&merge_schema(inputs)).is_ok_and(|of| is_decimal(&of) || of.is_integer());
    if number && scale(value, inputs).is_none() {
        let message = format!(
            "{} as text would print the same digits after the point for all rows, where Postgres prints those of each value",
            shown(value)
        );
        let help = "state the digits: CAST(CAST(x AS numeric(20,2)) AS text)";
        found.add(value, Refusal::new(message, help));
    }
}

/// The digits after the point that every value has in Postgres, and here.
fn scale(expr: &Expr, inputs: &[&LogicalPlan]) -> Option<i8> {
    let schema = merge_schema(inputs);
    let of = expr.get_type(&schema).ok()?;
    let own = match (&of, expr) {
        (DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale), _) => *scale,
        (of, Expr::Column(_)) if of.is_integer() => 0,
        (of, _) if of.is_integer() => return Some(0),
        _ => return None,
    };
    let same = |all: &mut dyn Iterator<Item = &Expr>| {
        let mut scales = all.filter(|value| !is_null(value)).map(|value| scale(value, inputs));
        let first = scales.next().flatten()?;
        (first == own && scales.all(|other| other == Some(first))).then_some(first)
    };
    match expr {
        Expr::Literal(..) | Expr::Cast(_) => Some(own),
        Expr::Alias(alias) => scale(&alias.expr, inputs),
        Expr::Negative(inner) => scale(inner, inputs),
        Expr::OuterReferenceColumn(..) => kinds::is_declared(expr, &schema).then_some(own),
        Expr::Column(column) => {
            let mut found: Option<Option<i8>> = None;
            origins(column, inputs, &mut |origin, below| {
                if is_null(origin) {
                    return;
                }
                let one = match origin {
                    Expr::Column(_) => {
                        let schema = merge_schema(below);
                        // What an array is taken apart to has the type that it is called by.
                        match origin.get_type(&schema).unwrap_or(of.clone()) {
                            DataType::Decimal128(_, scale) => {
                                kinds::is_declared(origin, &schema).then_some(scale)
                            }
                            of if of.is_integer() => Some(0),
                            _ => None,
                        }
                    }
                    other => scale(other, below),
                };
                found = Some(match found {
                    None => one,
                    Some(before) => before.filter(|before| Some(*before) == one),
                });
            });
            found.unwrap_or(Some(own)).filter(|scale| *scale == own)
        }
        Expr::BinaryExpr(binary) => {
            let (left, right) = (scale(&binary.left, inputs)?, scale(&binary.right, inputs)?);
            match binary.op {
                Operator::Plus | Operator::Minus | Operator::Modulo => Some(left.max(right)),
                Operator::Multiply => Some(left.saturating_add(right)),
                _ => None,
            }
            .filter(|scale| *scale == own)
        }
        Expr::Case(case) => {
            same(&mut case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref()))
        }
        Expr::AggregateFunction(function) if GIVE_THEIRS.contains(&function.func.name()) => {
            function.params.args.first().and_then(|arg| scale(arg, inputs)).filter(|scale| *scale == own)
        }
        Expr::WindowFunction(window) if GIVE_THEIRS.contains(&window.fun.name()) => {
            let args = &window.params.args;
            same(&mut args.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, arg)| arg))
        }
        Expr::ScalarFunction(function) => match function.func.name() {
            "coalesce" | "greatest" | "least" => same(&mut function.args.iter()),
            "nullif" | "abs" => function.args.first().and_then(|arg| scale(arg, inputs)),
            "round" | "trunc" | "sign" | "starmill any numeric" => Some(own),
            _ => None,
        },
        Expr::ScalarSubquery(subquery) => {
            let plan = subquery.subquery.as_ref();
            let column = plan.schema().columns().into_iter().next()?;
            scale(&Expr::Column(column), &[plan])
        }
        _ => None,
    }
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(cast) => is_null(&cast.expr),
        _ => false,
    }
}

/// Aggregates and windows that give one of their arguments, or a sum of them.
const GIVE_THEIRS: [&str; 8] = ["sum", "min", "max", "lag", "lead", "first_value", "last_value", "nth_value"];
