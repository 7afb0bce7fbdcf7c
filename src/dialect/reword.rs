//! Says a query in words that the engine plans with Postgres's meaning, before it is planned.

use crate::dialect::visit;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, OrderByExpr, OrderByOptions, Query, Select, Spanned as _, TableFactor,
    UnaryOperator, Value, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::functions::numeric::NUMERIC;
use super::functions::padded::BPCHAR;
use super::functions::truncate::DIGITS;
use super::lists::{
    as_in_list, as_like, is_bare_numeric, is_padded, is_text, like_any, renamed, varying, with_backslash,
};
use super::words::folded;
use super::{aggregated, apart, grammar, named, outputs, patterned, rows, sets, shape, using, written};

/// Says a query in words that the engine plans with Postgres's meaning: `x AT TIME ZONE z` is Postgres's
/// own `timezone(z, x)`, where the engine would only show the instant in another zone; and a coalesce in a
/// coalesce is one, where the engine would write every argument twice, and twice again.
pub fn reworded(query: &mut Query) {
    struct Reworded {
        bare: BTreeSet<String>,
    }
    impl VisitorMut for Reworded {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            using::merged(query);
            outputs::named_outside(query);
            grammar::steps(query);
            apart::named_columns(query);
            apart::branches(query);
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            shape::limited(query);
            shape::distinct_as_sorted(query);
            apart::in_query(query);
            ControlFlow::Continue(())
        }

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            grammar::windows(select);
            for condition in conditions(select) {
                grammar::distinct_from(condition);
                rows::keeping_rows(condition);
            }
            rows::values(select);
            grammar::one_group(select);
            ControlFlow::Continue(())
        }

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            sets::in_select(select);
            grammar::numbered_keys(select);
            grammar::written_keys(select);
            ControlFlow::Continue(())
        }

        fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            sets::in_from(factor, &self.bare);
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            grammar::distinct_from(expr);
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(cast) = written::as_cast(expr) {
                *expr = cast;
            }
            sets::array_of(expr);
            sets::array_written_out(expr);
            written::number(expr);
            written::interval(expr);
            written::negative_interval(expr);
            written::array(expr);
            written::json(expr);
            written::arguments_by_name(expr);
            flatten_coalesce(expr);
            with_backslash(expr);
            renamed(expr);
            shape::or_default(expr);
            grammar::default_frame(expr);
            patterned::as_regular(expr);
            written::bounds(expr);
            aggregated::as_arrays(expr);
            if let Some(said) = as_in_list(expr).or_else(|| as_like(expr)).or_else(|| like_any(expr)) {
                *expr = said;
            }
            rows::anywhere(expr);
            plain_operator(expr);
            if let Expr::AtTimeZone { timestamp, time_zone } = expr {
                *expr = call("timezone", timestamp.span(), &[time_zone, timestamp]);
            }
            if let Expr::TypedString(typed) = expr {
                grammar::micros(&mut typed.data_type);
            }
            if let Expr::Cast { expr: inner, data_type, .. } = expr {
                grammar::float(data_type);
                grammar::named_type(data_type);
                if let Some(length) = varying(data_type) {
                    *data_type = DataType::Text;
                    let span = inner.span();
                    let length = Expr::value(Value::Number(length.to_string(), false));
                    *expr = call("left", span, &[&expr.clone(), &length]);
                } else if let DataType::Timestamp(digits @ Some(_), _) = data_type {
                    let digits =
                        digits.replace(grammar::MICROSECONDS).unwrap_or(grammar::MICROSECONDS).to_string();
                    let span = inner.span();
                    let digits = Expr::value(Value::Number(digits, false));
                    *expr = call(DIGITS, span, &[&expr.clone(), &digits]);
                } else if is_text(data_type) {
                    *data_type = DataType::Text;
                } else if is_bare_numeric(data_type) {
                    let span = inner.span();
                    *expr = call(NUMERIC, span, &[inner]);
                } else if is_padded(data_type) {
                    *data_type = DataType::Text;
                    let span = inner.span();
                    *expr = call(BPCHAR, span, &[&expr.clone()]);
                } else {
                    grammar::micros(data_type);
                }
            }
            ControlFlow::Continue(())
        }
    }
    named::in_query(query);
    let bare = sets::bare_names(query);
    let _ = visit::change(query, &mut Reworded { bare });
}

/// `|/ x` is `sqrt(x)`, `@ x` is `abs(x)`; a text collated by bytes is what it is here.
fn plain_operator(expr: &mut Expr) {
    match expr {
        Expr::UnaryOp { op, expr: inner } => {
            let name = match op {
                // Of a double, whatever stands behind it.
                UnaryOperator::PGSquareRoot => {
                    let (kind, data_type) = (CastKind::Cast, DataType::Double(ExactNumberInfo::None));
                    let of = Expr::Cast { kind, expr: inner.clone(), data_type, array: false, format: None };
                    *expr = call("sqrt", inner.span(), &[&of]);
                    return;
                }
                UnaryOperator::PGAbs => "abs",
                // All bits turned: -x - 1, which no integer leaves.
                UnaryOperator::BitwiseNot => {
                    let minus_one = Box::new(Expr::Nested(Box::new(Expr::UnaryOp {
                        op: UnaryOperator::Minus,
                        expr: Box::new(Expr::value(Value::Number("1".to_owned(), false))),
                    })));
                    let right = Box::new(Expr::Nested(inner.clone()));
                    let turned = Expr::BinaryOp { left: minus_one, op: BinaryOperator::Minus, right };
                    *expr = Expr::Nested(Box::new(turned));
                    return;
                }
                _ => return,
            };
            *expr = call(name, inner.span(), &[inner]);
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
            *expr = call("starts_with", left.span(), &[left, right]);
        }
        // One that is another is refused as it is written.
        Expr::Collate { expr: inner, .. } => *expr = (**inner).clone(),
        Expr::Value(value) => {
            if let Value::UnicodeStringLiteral(text) = &value.value {
                value.value = Value::SingleQuotedString(text.clone());
            }
        }
        _ => {}
    }
}

pub fn is_by_bytes(collation: &ObjectName) -> bool {
    let name = collation.0.last().and_then(ObjectNamePart::as_ident);
    name.is_some_and(|name| ["C", "POSIX", "ucs_basic"].contains(&name.value.as_str()))
}

/// The conditions by which a SELECT keeps rows.
fn conditions(select: &mut Select) -> Vec<&mut Expr> {
    let mut found: Vec<&mut Expr> = select.selection.iter_mut().chain(&mut select.having).collect();
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) =
            &mut join.join_operator
        {
            found.push(on);
        }
    }
    found
}

/// A call of a function by its bare name.
pub fn call(name: &str, span: Span, args: &[&Expr]) -> Expr {
    let unnamed = |expr: &&Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr((*expr).clone()));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_span(span, name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// What an ORDER BY within a call sorts by, upwards.
pub fn sorted_by(expr: Expr) -> FunctionArgumentClause {
    let options = OrderByOptions { asc: None, nulls_first: None };
    FunctionArgumentClause::OrderBy(vec![OrderByExpr { expr, options, with_fill: None }])
}

/// The arguments of a coalesce, and of those among them that are one themselves.
fn flatten_coalesce(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if !is_coalesce(function) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let mut flat = Vec::new();
    for arg in std::mem::take(&mut list.args) {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(mut inner))) if is_coalesce(&inner) => {
                match std::mem::replace(&mut inner.args, FunctionArguments::None) {
                    FunctionArguments::List(inner) => flat.extend(inner.args),
                    _ => return,
                }
            }
            other => flat.push(other),
        }
    }
    list.args = flat;
}

fn is_coalesce(function: &Function) -> bool {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
    let plain = function.filter.is_none() && function.over.is_none() && function.within_group.is_empty();
    name.as_deref() == Some("coalesce") && plain && matches!(function.args, FunctionArguments::List(_))
}
