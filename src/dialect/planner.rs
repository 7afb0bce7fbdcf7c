//! Operators that the engine does not plan, or plans otherwise, as they are met while a query is planned: intervals times
//! and over numbers, what is asked of json and of arrays.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use chrono_tz::Tz;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, binary_expr, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::arrays::{CONTAINS, ELEMENT_AT, OVERLAPS, SLICE};
use super::functions::json::change::{JOINED, WITHOUT, WITHOUT_PATH};
use super::functions::{array_text, json, named, quotient, scaled, spans};
use super::met::{as_numeric, is_written};
use super::numerics;
use super::refuse::kinds::is_jsonb;
use super::rewrite::{is_decimal, is_interval};

#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let expr = with_arrays(expr, schema);
        if let Some(array) = beside_nothing(&expr, schema) {
            return Ok(PlannerResult::Planned(array));
        }
        if let Some(changed) = changed(&expr, schema) {
            return Ok(PlannerResult::Planned(changed));
        }
        // Of conditions there may be thousands in a row, each with all before it as its side.
        if matches!(expr.op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat) {
            return Ok(PlannerResult::Original(expr));
        }
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        if let Some((name, turned)) = asked(&expr.op, &left, &right)
            && let Some(function) = named(name, Tz::UTC)
        {
            let args = if turned { vec![expr.right, expr.left] } else { vec![expr.left, expr.right] };
            let call = ScalarFunction::new_udf(function, args);
            return Ok(PlannerResult::Planned(Expr::ScalarFunction(call)));
        }
        if let Some(planned) = compared(&expr, &left, &right, schema) {
            return Ok(PlannerResult::Planned(planned));
        }
        if let Some(planned) = beside_boolean(&expr, &left, &right) {
            return Ok(PlannerResult::Planned(planned));
        }
        let (expr, left, right) = read_as_the_other(expr, left, right);
        if let Some(planned) = beside_interval(&expr, &left, &right) {
            return Ok(PlannerResult::Planned(planned));
        }
        if let Some(planned) = with_quotient(&expr, &left, &right, schema) {
            return Ok(PlannerResult::Planned(planned));
        }
        let op = match expr.op {
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let args = match (is_interval(&left), is_interval(&right)) {
            (true, false) if right.is_numeric() => vec![expr.left, expr.right],
            (false, true) if left.is_numeric() && op == Operator::Multiply => vec![expr.right, expr.left],
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let scaled = ScalarFunction::new_udf(scaled::scaled(op), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(scaled)))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::NamedStructField { name } = &expr.field_access
            && is_jsonb(&expr.expr, schema)
            && let Some(step) = named("starmill ->", Tz::UTC)
        {
            let args = vec![expr.expr, Expr::Literal(name.clone(), None)];
            return Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(step, args))));
        }
        let is_array = matches!(expr.expr.get_type(schema), Ok(DataType::List(_)));
        if let GetFieldAccess::ListIndex { key } = &expr.field_access
            && let (true, Some(element)) = (is_array, named(ELEMENT_AT, Tz::UTC))
        {
            let args = vec![expr.expr, key.as_ref().clone()];
            return Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(element, args))));
        }
        match (expr.field_access, is_array, named(SLICE, Tz::UTC)) {
            (GetFieldAccess::ListRange { start, stop, .. }, true, Some(slice)) => {
                let call = ScalarFunction::new_udf(slice, vec![expr.expr, *start, *stop]);
                Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
            }
            (field_access, ..) => {
                Ok(PlannerResult::Original(RawFieldAccessExpr { expr: expr.expr, field_access }))
            }
        }
    }
}

/// A text that is written out beside an array is one of its kind.
fn with_arrays(mut expr: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    use BinaryOperator::{ArrowAt, AtArrow, PGOverlap, StringConcat};
    let meets = matches!(expr.op, AtArrow | ArrowAt | PGOverlap | StringConcat);
    let is_array = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text.starts_with('{'));
    let (left, right) = (is_array(&expr.left), is_array(&expr.right));
    if !meets || left == right {
        return expr;
    }
    let other = if left { &expr.right } else { &expr.left };
    if let Ok(DataType::List(element)) = other.get_type(schema) {
        let side = if left { &mut expr.left } else { &mut expr.right };
        *side = array_text::read(std::mem::take(side), element.data_type().clone());
    }
    expr
}

/// `tags || NULL`, where the NULL is an array, and adds no element.
fn beside_nothing(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let is_nothing = |side: &Expr| matches!(side, Expr::Literal(value, _) if value.data_type().is_null());
    let is_array = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::List(_)));
    if !matches!(expr.op, BinaryOperator::StringConcat) {
        return None;
    }
    match (is_nothing(&expr.left), is_nothing(&expr.right)) {
        (false, true) if is_array(&expr.left) => Some(expr.left.clone()),
        (true, false) if is_array(&expr.right) => Some(expr.right.clone()),
        _ => None,
    }
}

/// Arithmetic with an average or another quotient, whose digits the engine's own types have no room for.
fn with_quotient(expr: &RawBinaryExpr, left: &DataType, right: &DataType, schema: &DFSchema) -> Option<Expr> {
    let op = match expr.op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        _ => return None,
    };
    let exact = |of: &DataType| is_decimal(of) || of.is_integer();
    let is_wide = |of: &DataType| matches!(of, DataType::Decimal256(..));
    let known = |side: &Expr| numerics::is_known(side, schema);
    (exact(left) && exact(right) && (is_wide(left) || is_wide(right)))
        .then(|| quotient::binary(expr.left.clone(), op, expr.right.clone(), &known))
}

/// A text that is written beside a boolean is one: `ok = 'yes'`.
fn beside_boolean(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let op = match expr.op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        _ => return None,
    };
    let read = |side: &Expr| is_written(side).then(|| cast(side.clone(), DataType::Boolean));
    match (left, right) {
        (DataType::Boolean, DataType::Utf8) => Some(binary_expr(expr.left.clone(), op, read(&expr.right)?)),
        (DataType::Utf8, DataType::Boolean) => Some(binary_expr(read(&expr.left)?, op, expr.right.clone())),
        _ => None,
    }
}

/// A text that is written beside a number, or subtracted from a day or time, is one of its kind: `'5' + 1`, `day -
/// '2024-01-01'`.
fn read_as_the_other(
    mut expr: RawBinaryExpr,
    left: DataType,
    right: DataType,
) -> (RawBinaryExpr, DataType, DataType) {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    let calculates = matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo);
    let text = |side: &Expr, of: &DataType| *of == DataType::Utf8 && is_written(side);
    let takes = |of: &DataType| {
        let time = matches!(of, DataType::Date32 | DataType::Timestamp(..)) && matches!(expr.op, Minus);
        of.is_integer() || of.is_floating() || time
    };
    if !calculates {
        return (expr, left, right);
    }
    if is_decimal(&left)
        && let Some(read) = as_numeric(&expr.right)
    {
        expr.right = read;
        let of = expr.right.get_type(&DFSchema::empty()).unwrap_or(DataType::Utf8);
        return (expr, left, of);
    }
    if is_decimal(&right)
        && let Some(read) = as_numeric(&expr.left)
    {
        expr.left = read;
        let of = expr.left.get_type(&DFSchema::empty()).unwrap_or(DataType::Utf8);
        return (expr, of, right);
    }
    if text(&expr.right, &right) && takes(&left) {
        expr.right = cast(expr.right, left.clone());
        return (expr, left.clone(), left);
    }
    if text(&expr.left, &left) && takes(&right) {
        expr.left = cast(expr.left, right.clone());
        return (expr, right.clone(), right);
    }
    (expr, left, right)
}

/// A text that is written beside an interval, or added to a timestamp, is an interval.
fn beside_interval(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let op = match expr.op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Plus => Operator::Plus,
        _ => return None,
    };
    let meets =
        |of: &DataType| is_interval(of) || (op == Operator::Plus && matches!(of, DataType::Timestamp(..)));
    match (written_interval(&expr.left), written_interval(&expr.right)) {
        (None, Some(interval)) if meets(left) => Some(binary_expr(expr.left.clone(), op, interval)),
        (Some(interval), None) if meets(right) => Some(binary_expr(interval, op, expr.right.clone())),
        _ => None,
    }
}

fn written_interval(side: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = side else { return None };
    let (months, days, micros) = spans::read(text)?;
    let interval =
        IntervalMonthDayNano::new(months.try_into().ok()?, days.try_into().ok()?, micros.checked_mul(1_000)?);
    Some(Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), metadata.clone()))
}

/// A change of json: `a || b`, `a - 'key'`, `a #- '{path}'`.
fn changed(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let name = match expr.op {
        BinaryOperator::StringConcat => JOINED,
        BinaryOperator::Minus => WITHOUT,
        BinaryOperator::HashMinus => WITHOUT_PATH,
        _ => return None,
    };
    let literal = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Utf8(_), _));
    let (left, right) = (is_jsonb(&expr.left, schema), is_jsonb(&expr.right, schema));
    let both = (left || literal(&expr.left)) && (right || literal(&expr.right)) && (left || right);
    if !(if name == JOINED { both } else { left }) {
        return None;
    }
    let args = vec![expr.left.clone(), expr.right.clone()];
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(named(name, Tz::UTC)?, args)))
}

/// The function that asks something of json or of an array, and whether its sides are turned.
fn asked(op: &BinaryOperator, left: &DataType, right: &DataType) -> Option<(&'static str, bool)> {
    let arrays = [left, right].into_iter().any(|of| matches!(of, DataType::List(_)));
    match op {
        BinaryOperator::AtArrow if arrays => Some((CONTAINS, false)),
        BinaryOperator::ArrowAt if arrays => Some((CONTAINS, true)),
        BinaryOperator::PGOverlap if arrays => Some((OVERLAPS, false)),
        op => json::operator(op),
    }
}

/// Comparisons of json by what it is worth, and of an array with one that is written as a text.
fn compared(expr: &RawBinaryExpr, left: &DataType, right: &DataType, schema: &DFSchema) -> Option<Expr> {
    let op = match expr.op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        _ => return None,
    };
    if (is_jsonb(&expr.left, schema) || is_jsonb(&expr.right, schema))
        && let Some(function) = named(json::COMPARED, Tz::UTC)
    {
        let side = |side: &Expr| {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&function), vec![side.clone()]))
        };
        return Some(binary_expr(side(&expr.left), op, side(&expr.right)));
    }
    let as_array = |side: &Expr, of: &DataType| match (side, of) {
        (Expr::Literal(ScalarValue::Utf8(Some(_)), _), DataType::List(element)) => {
            Some(array_text::read(side.clone(), element.data_type().clone()))
        }
        _ => None,
    };
    match (as_array(&expr.left, right), as_array(&expr.right, left)) {
        (Some(array), _) => Some(binary_expr(array, op, expr.right.clone())),
        (_, Some(array)) => Some(binary_expr(expr.left.clone(), op, array)),
        _ => None,
    }
}
