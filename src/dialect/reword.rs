//! Says a query in words that the engine plans with Postgres's meaning, before it is planned.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, LimitClause, ObjectName, ObjectNamePart, Query, Spanned as _, TableAlias, TableAliasColumnDef,
    TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::functions::numeric::NUMERIC;
use super::functions::padded::BPCHAR;
use super::lists::{as_in_list, as_like, is_bare_numeric, is_padded, is_text, renamed, with_backslash};
use super::words::folded;

/// Says a query in words that the engine plans with Postgres's meaning: `x AT TIME ZONE z` is Postgres's
/// own `timezone(z, x)`, where the engine would only show the instant in another zone; and a coalesce in a
/// coalesce is one, where the engine would write every argument twice, and twice again.
pub fn reworded(query: &mut Query) {
    struct Reworded;
    impl VisitorMut for Reworded {
        type Break = ();

        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            fetch_as_limit(query);
            ControlFlow::Continue(())
        }

        fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            name_series(factor);
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            flatten_coalesce(expr);
            with_backslash(expr);
            renamed(expr);
            if let Some(said) = as_in_list(expr).or_else(|| as_like(expr)) {
                *expr = said;
            }
            plain_operator(expr);
            if let Expr::AtTimeZone { timestamp, time_zone } = expr {
                *expr = call("timezone", timestamp.span(), &[time_zone, timestamp]);
            }
            if let Expr::Cast { expr: inner, data_type, .. } = expr {
                if is_text(data_type) {
                    *data_type = DataType::Text;
                } else if is_bare_numeric(data_type) {
                    let span = inner.span();
                    *expr = call(NUMERIC, span, &[inner]);
                } else if is_padded(data_type) {
                    *data_type = DataType::Text;
                    let span = inner.span();
                    *expr = call(BPCHAR, span, &[&expr.clone()]);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut Reworded);
}

/// `FETCH FIRST n ROWS ONLY` as `LIMIT n`.
fn fetch_as_limit(query: &mut Query) {
    let Some(fetch) = query.fetch.take_if(|fetch| is_plain(fetch)) else { return };
    let rows = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(rows),
        clause => {
            *clause = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() })
        }
    }
}

pub fn is_plain(fetch: &Fetch) -> bool {
    !fetch.with_ties && !fetch.percent
}

/// `|/ x` is `sqrt(x)`, `@ x` is `abs(x)`; a text collated by bytes is what it is here.
fn plain_operator(expr: &mut Expr) {
    match expr {
        Expr::UnaryOp { op, expr: inner } => {
            let name = match op {
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGAbs => "abs",
                _ => return,
            };
            *expr = call(name, inner.span(), &[inner]);
        }
        Expr::Collate { expr: inner, collation } if is_by_bytes(collation) => *expr = (**inner).clone(),
        _ => {}
    }
}

pub fn is_by_bytes(collation: &ObjectName) -> bool {
    let name = collation.0.last().and_then(ObjectNamePart::as_ident);
    name.is_some_and(|name| ["C", "POSIX", "ucs_basic"].contains(&name.value.as_str()))
}

/// The column of a series has the series's own name: `generate_series(1, 9) AS g` is `g (g)`.
fn name_series(factor: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(_), alias, .. } = factor else { return };
    let [ObjectNamePart::Identifier(called)] = name.0.as_slice() else { return };
    if folded(called) != "generate_series" {
        return;
    }
    let column = |name: Ident| TableAliasColumnDef { name, data_type: None };
    match alias {
        Some(alias) if alias.columns.is_empty() => alias.columns.push(column(alias.name.clone())),
        Some(_) => {}
        None => {
            let name = Ident::with_span(called.span, "generate_series");
            let columns = vec![column(name.clone())];
            *alias = Some(TableAlias { explicit: true, name, columns, at: None });
        }
    }
}

/// A call of a function by its bare name.
fn call(name: &str, span: Span, args: &[&Expr]) -> Expr {
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
