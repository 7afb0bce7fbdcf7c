//! The second rewriting, where operands have their final types and implicit casts are written out: arithmetic that
//! never wraps, casts that round, local times in the pipeline's zone.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, Operator};

use super::functions::{arithmetic, convert, cut, interval, print, readings, regular, zone};
use super::guards;
use super::rewrite::{call, is_arithmetic, is_comparison, is_interval};

/// Arithmetic that never wraps, casts that round, and local times in the pipeline's zone.
pub fn exactness(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. }) => {
            Ok(guards::guarded(expr, schema))
        }
        Expr::AggregateFunction(function) => Ok(guards::filtered(function, schema)),
        Expr::Case(case) => {
            let results =
                case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref());
            let is_condition =
                results.filter_map(|of| of.get_type(schema).ok()).any(|of| of == DataType::Boolean);
            Ok(guards::case_of_conditions(case, is_condition, schema))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (of_left, of_right) = (left.get_type(schema)?, right.get_type(schema)?);
            let numbers = of_left.is_numeric() && of_right.is_numeric();
            if is_arithmetic(op) && numbers {
                return Ok(call(arithmetic::checked(op), vec![*left, *right]));
            }
            let intervals = is_interval(&of_left) && is_interval(&of_right);
            if is_comparison(op) && intervals {
                let span = |side| Expr::ScalarFunction(ScalarFunction::new_udf(interval::span(), vec![side]));
                let (left, right) = (Box::new(span(*left)), Box::new(span(*right)));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            let instant = matches!(of_left, DataType::Timestamp(_, Some(_)));
            if instant && is_interval(&of_right) && matches!(op, Operator::Plus | Operator::Minus) {
                return Ok(call(zone::shift(op), vec![*left, *right]));
            }
            if op == Operator::Plus
                && is_interval(&of_left)
                && matches!(of_right, DataType::Timestamp(_, Some(_)))
            {
                return Ok(call(zone::shift(op), vec![*right, *left]));
            }
            if is_regex(op) {
                let (right, changed) = translated(*right, case_of(op));
                let expr = Expr::BinaryExpr(BinaryExpr { left, op, right: Box::new(right) });
                return Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) });
            }
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::Between(between) if is_interval(&between.expr.get_type(schema)?) => {
            let span = |side: Box<Expr>| {
                Box::new(Expr::ScalarFunction(ScalarFunction::new_udf(interval::span(), vec![*side])))
            };
            let (expr, low, high) = (span(between.expr), span(between.low), span(between.high));
            Ok(Transformed::yes(Expr::Between(Between { expr, negated: between.negated, low, high })))
        }
        Expr::Negative(inner) if inner.get_type(schema)?.is_numeric() => {
            Ok(call(arithmetic::negative(), vec![*inner]))
        }
        Expr::Cast(Cast { expr, field }) => {
            let (from, to) = (expr.get_type(schema)?, field.data_type().clone());
            if to == DataType::Utf8 && print::prints(&from) {
                return Ok(Transformed::yes(print::text(*expr)));
            }
            if from == DataType::Utf8
                && let Some(read) = readings::reading(&expr, &to)?
            {
                return Ok(Transformed::yes(read));
            }
            let function = match (&from, &to) {
                (DataType::Timestamp(_, None) | DataType::Date32, DataType::Timestamp(_, Some(_))) => {
                    Some(convert::to_instant(&to))
                }
                (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, None)) => {
                    Some(convert::to_local(&to))
                }
                (
                    DataType::Decimal128(..) | DataType::Decimal256(..),
                    DataType::Float64 | DataType::Float32,
                ) => Some(convert::to_double(&to)),
                (DataType::Float64, DataType::Float32) => Some(convert::to_real()),
                (from, to) if from.is_floating() && to.is_integer() => Some(convert::to_integer(to)),
                (from, DataType::Decimal128(..)) if from.is_floating() => Some(convert::to_numeric(&to)),
                // The engine would compare the value before it was rounded: 2.50::int = 3 as 2.50 = 3.
                (DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale), to)
                    if *scale > 0 && to.is_integer() =>
                {
                    let whole = call(cut::round(0), vec![*expr]).data;
                    return Ok(Transformed::yes(Expr::Cast(Cast::new_from_field(Box::new(whole), field))));
                }
                (
                    DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale),
                    DataType::Decimal128(_, to @ 0..),
                ) if scale > to => {
                    let round = call(cut::round(*to), vec![*expr]).data;
                    return Ok(Transformed::yes(Expr::Cast(Cast::new_from_field(Box::new(round), field))));
                }
                _ => None,
            };
            match function {
                Some(function) => Ok(call(function, vec![*expr])),
                None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
            }
        }
        Expr::ScalarFunction(mut function) => {
            if function.func.name().starts_with("regexp_") && function.args.len() > 1 {
                let case = regular::Case::of(&flags(&function).unwrap_or_default());
                let (pattern, changed) = translated(function.args[1].clone(), case);
                function.args[1] = pattern;
                let expr = Expr::ScalarFunction(function);
                return Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) });
            }
            let double = match function.args.as_slice() {
                [only] => only.get_type(schema)?.is_floating(),
                _ => false,
            };
            if CONCATENATES.contains(&function.func.name()) {
                function.args = function.args.into_iter().map(|arg| lettered(arg, schema)).collect();
                return Ok(Transformed::yes(Expr::ScalarFunction(function)));
            }
            match function.func.name() {
                "abs" => Ok(call(arithmetic::unordered(&function.func), function.args)),
                "round" if double => Ok(call(arithmetic::round_double(), function.args)),
                name if arithmetic::MAY_BE_INFINITE.contains(&name) => {
                    let checked = arithmetic::finite(&function.func);
                    Ok(call(checked, function.args))
                }
                _ => Ok(Transformed::no(Expr::ScalarFunction(function))),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Functions that put values together as texts, a boolean by its letter.
pub const CONCATENATES: [&str; 3] = ["concat", "concat_ws", "format"];

/// A boolean among texts that are put together: t or f.
fn lettered(arg: Expr, schema: &DFSchema) -> Expr {
    let bare = match &arg {
        Expr::Cast(cast) => &cast.expr,
        other => other,
    };
    match bare.get_type(schema) {
        Ok(DataType::Boolean) => print::letter(bare.clone()),
        _ => arg,
    }
}

pub fn is_regex(op: Operator) -> bool {
    matches!(
        op,
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch
    )
}

/// Whether an operator asks for either case.
pub fn case_of(op: Operator) -> regular::Case {
    match op {
        Operator::RegexIMatch | Operator::RegexNotIMatch => regular::Case::Either,
        _ => regular::Case::AsWritten,
    }
}

/// Where a function's flags stand.
pub fn flags_at(name: &str) -> usize {
    if name == "regexp_replace" { 3 } else { 2 }
}

/// The flags of a function, where they are written out.
fn flags(function: &ScalarFunction) -> Option<String> {
    written_text(function.args.get(flags_at(function.func.name()))?)
}

/// A text that is written out.
pub fn written_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        Expr::Cast(cast) if cast.field.data_type().is_string() => written_text(&cast.expr),
        _ => None,
    }
}

/// A pattern that is written out, in the engine's words; others are refused.
fn translated(pattern: Expr, case: regular::Case) -> (Expr, bool) {
    match &pattern {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) if !text.starts_with(regular::TRANSLATED) => {
            match regular::translated(text, case) {
                Some(text) => (Expr::Literal(ScalarValue::Utf8(Some(text)), metadata.clone()), true),
                None => (pattern, false),
            }
        }
        _ => (pattern, false),
    }
}
