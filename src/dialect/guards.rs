//! Conditions that keep others from being asked: `i <> 0 AND 12 / i > 1`. Postgres stops at the first that is false;
//! the engine computes both sides of many rows at once. So what may raise is asked under a CASE, of the rows alone for
//! which it decides.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Case};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Operator, cast, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::functions::{moments, readings};

/// Functions that raise for some of their arguments.
const RAISE: [&str; 24] = [
    "starmill /",
    "starmill %",
    "sqrt",
    "ln",
    "log",
    "log10",
    "power",
    "acos",
    "div",
    "width_bucket",
    "make_date",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "jsonb_array_length",
    "jsonb_set",
    "starmill jsonb",
    "starmill json as it is",
    "starmill one value",
    readings::READ,
    moments::DATE,
    moments::TIME,
    moments::TIMESTAMP,
    moments::TIMESTAMPTZ,
];

/// Whether an expression raises for some rows: it divides, or reads a number or a time from a text.
fn may_raise(expr: &Expr, schema: &DFSchema) -> bool {
    let raises = |expr: &Expr| match expr {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Divide | Operator::Modulo) => {
            !is_number(&binary.right)
        }
        Expr::ScalarFunction(function) => {
            let name = function.func.name();
            RAISE.contains(&name) && !function.args.get(1).is_some_and(is_number)
                || super::functions::quotient::of(expr).is_some()
        }
        Expr::Cast(cast) => {
            let text = cast.expr.get_type(schema).is_ok_and(|of| of.is_string());
            text && !cast.field.data_type().is_string() && !matches!(cast.expr.as_ref(), Expr::Literal(..))
        }
        _ => false,
    };
    expr.exists(|expr| Ok(raises(expr))).unwrap_or(false)
}

/// A number that is written out, and not zero.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value
            .cast_to(&DataType::Float64)
            .is_ok_and(|value| !matches!(value, ScalarValue::Float64(Some(0.0) | None))),
        Expr::Cast(cast) => is_number(&cast.expr),
        _ => false,
    }
}

/// A condition as a small integer, which the engine does not take apart again.
fn as_number(expr: Expr) -> Expr {
    cast(expr, DataType::Int8)
}

fn decided(whens: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let boxed = whens.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    let case = Case { expr: None, when_then_expr: boxed, else_expr: Some(Box::new(otherwise)) };
    Expr::Case(case).eq(lit(ScalarValue::Int8(Some(1))))
}

/// AND, OR and CASE of conditions of which one may raise.
pub fn guarded(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right })
            if may_raise(&right, schema) && !is_guarded(&right) =>
        {
            let whole = Expr::BinaryExpr(BinaryExpr { left: left.clone(), op, right });
            let (decides, answer) = match op {
                Operator::And => (left.clone().is_false(), 0_i8),
                _ => (left.clone().is_true(), 1_i8),
            };
            let asked = decided(vec![(decides, lit(answer))], as_number(whole));
            // The first condition stays one of its own, which a scan can be asked.
            let expr = match op {
                Operator::And => left.and(asked),
                _ => asked,
            };
            Transformed::yes(expr)
        }
        other => Transformed::no(other),
    }
}

/// What an aggregate is given, of the rows alone that its FILTER keeps, where it may raise.
pub fn filtered(mut function: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let Some(filter) = function.params.filter.clone() else {
        return Transformed::no(Expr::AggregateFunction(function));
    };
    let mut guarded = false;
    for arg in &mut function.params.args {
        if may_raise(arg, schema) && !matches!(arg, Expr::Case(_)) {
            guarded = true;
            let asked = vec![(filter.clone(), Box::new(std::mem::take(arg)))];
            *arg = Expr::Case(Case { expr: None, when_then_expr: asked, else_expr: None });
        }
    }
    let whole = Expr::AggregateFunction(function);
    if guarded { Transformed::yes(whole) } else { Transformed::no(whole) }
}

fn is_guarded(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
        if matches!(left.as_ref(), Expr::Case(_))
            && matches!(right.as_ref(), Expr::Literal(ScalarValue::Int8(Some(1)), _)))
}

/// A CASE that gives conditions, of which one may raise: the engine would make ANDs and ORs of it.
pub fn case_of_conditions(case: Case, is_condition: bool, schema: &DFSchema) -> Transformed<Expr> {
    let raising = |expr: &Expr| may_raise(expr, schema);
    let raises = case.when_then_expr.iter().any(|(when, then)| raising(when) || raising(then))
        || case.else_expr.as_deref().is_some_and(raising);
    if !is_condition || !raises {
        return Transformed::no(Expr::Case(case));
    }
    let number = |expr: Box<Expr>| Box::new(as_number(*expr));
    let case = Case {
        expr: case.expr,
        when_then_expr: case.when_then_expr.into_iter().map(|(when, then)| (when, number(then))).collect(),
        else_expr: case.else_expr.map(number),
    };
    Transformed::yes(Expr::Case(case).eq(lit(ScalarValue::Int8(Some(1)))))
}

/// Conditions of several steps that the engine made one: those that may raise are asked last, and only of the rows that
/// the others keep.
#[derive(Debug)]
pub struct RaisingLast;

impl OptimizerRule for RaisingLast {
    fn name(&self) -> &str {
        "raising_conditions_last"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => {
                let predicate = last(filter.predicate.clone(), filter.input.schema());
                Ok(match predicate {
                    Some(predicate) => {
                        Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?))
                    }
                    None => Transformed::no(LogicalPlan::Filter(filter)),
                })
            }
            LogicalPlan::Join(mut join) => {
                match join.filter.clone().and_then(|filter| last(filter, &join.schema)) {
                    Some(filter) => {
                        join.filter = Some(filter);
                        Ok(Transformed::yes(LogicalPlan::Join(join)))
                    }
                    None => Ok(Transformed::no(LogicalPlan::Join(join))),
                }
            }
            plan => Ok(Transformed::no(plan)),
        }
    }
}

fn last(predicate: Expr, schema: &DFSchema) -> Option<Expr> {
    let parts = split_conjunction_owned(predicate);
    let (raising, plain): (Vec<Expr>, Vec<Expr>) =
        parts.into_iter().partition(|part| may_raise(part, schema) && !is_guarded(part));
    let kept = conjunction(plain)?;
    let raising = conjunction(raising)?;
    let asked = decided(vec![(kept.clone(), as_number(raising))], lit(0_i8));
    Some(kept.and(asked))
}
