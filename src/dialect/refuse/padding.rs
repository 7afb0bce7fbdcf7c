//! char(n) and `x::bpchar`: to Postgres the blanks at their ends are nothing where two of them are compared, and
//! something elsewhere; here such a value comes without them.

use arrow::datatypes::Field;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Case, Expr, LogicalPlan};

use super::kinds::{PADDED, VARYING, mark, marked_as};
use super::{Found, Refusal, shown};
use crate::dialect::exactness::is_regex;
use crate::dialect::functions::padded::is_bpchar;
use crate::dialect::rewrite::is_comparison;

/// Functions that see the blanks at the end of a char(n).
const PADDING_COUNTS: [&str; 4] = ["octet_length", "bit_length", "concat", "concat_ws"];

/// Functions that give one of their arguments.
const GIVE_ONE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

pub(super) fn refused(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    if let Some(refusal) = of_bpchar(expr, schema) {
        return Some(refusal);
    }
    match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            compared(&[&*binary.left, &*binary.right], schema)
        }
        Expr::BinaryExpr(binary) if is_regex(binary.op) => {
            is_padded(&binary.left, schema).then(|| counts(&binary.left, "a pattern", PATTERN_HELP))
        }
        Expr::Like(like) => is_padded(&like.expr, schema).then(|| counts(&like.expr, "LIKE", PATTERN_HELP)),
        Expr::Between(between) => compared(&[&*between.expr, &*between.low, &*between.high], schema),
        Expr::InList(list) => list.list.iter().find_map(|item| compared(&[&*list.expr, item], schema)),
        Expr::InSubquery(within) => {
            let field = within.subquery.subquery.schema().fields().first()?;
            let met = |a, b| mark(&within.expr, schema, a).is_some() && marked_as(field, b).is_some();
            let other = Expr::Column(Column::new_unqualified(field.name()));
            (met(PADDED, VARYING) || met(VARYING, PADDED)).then(|| varies(&within.expr, &other))
        }
        Expr::Case(case) => {
            let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
            let compares: Vec<&Expr> = case.expr.iter().map(|of| &**of).chain(whens).collect();
            let compares = case.expr.as_ref().and_then(|_| compared(&compares, schema));
            compares.or_else(|| compared(&results(case), schema))
        }
        Expr::ScalarFunction(function) if GIVE_ONE.contains(&function.func.name()) => {
            compared(&function.args.iter().collect::<Vec<_>>(), schema)
        }
        Expr::AggregateFunction(function) if function.func.name() == "array_agg" => {
            let padded = function.params.args.iter().find(|arg| is_padded(arg, schema))?;
            Some(counts(
                padded,
                "array_agg",
                "cast it to text first, which takes its padding: CAST(x AS text)",
            ))
        }
        Expr::ScalarFunction(function) if PADDING_COUNTS.contains(&function.func.name()) => {
            let padded = function.args.iter().find(|arg| is_padded(arg, schema))?;
            let help = "cast it to text first, which takes its padding: CAST(x AS text)";
            Some(counts(padded, function.func.name(), help))
        }
        _ => None,
    }
}

/// Where a bpchar is a column or a key, and where a UNION makes one column of a char(n) and a varchar.
pub(super) fn node(node: &LogicalPlan, found: &mut Found) {
    for expr in node.expressions() {
        let bare = expr.clone().unalias();
        if is_bpchar(&bare) {
            found.add(&bare, unpadded(&bare));
        }
    }
    let LogicalPlan::Union(union) = node else { return };
    for (position, field) in union.schema.fields().iter().enumerate() {
        let any = |travels| {
            let mut fields = union.inputs.iter().filter_map(|input| input.schema().fields().get(position));
            fields.any(|field: &std::sync::Arc<Field>| marked_as(field, travels).is_some())
        };
        if any(PADDED) && any(VARYING) {
            let column = Expr::Column(Column::new_unqualified(field.name()));
            found.add(&column, varies(&column, &column));
        }
    }
}

/// Whether a value is a char(n) to Postgres: a column, or what gives one of several.
fn is_padded(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::ScalarFunction(function) if GIVE_ONE.contains(&function.func.name()) => {
            all_padded(&function.args.iter().collect::<Vec<_>>(), schema)
        }
        Expr::Case(case) => all_padded(&results(case), schema),
        Expr::Alias(alias) => is_padded(&alias.expr, schema),
        expr => mark(expr, schema, PADDED).is_some(),
    }
}

/// Literals take the type of what they stand beside.
fn all_padded(values: &[&Expr], schema: &DFSchema) -> bool {
    values.iter().any(|value| is_padded(value, schema))
        && values.iter().all(|value| is_padded(value, schema) || matches!(value, Expr::Literal(..)))
}

fn results(case: &Case) -> Vec<&Expr> {
    case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref()).collect()
}

/// Values that Postgres compares, or makes one type of, without the blanks at their ends.
fn compared(values: &[&Expr], schema: &DFSchema) -> Option<Refusal> {
    let padded = values.iter().find(|value| is_padded(value, schema))?;
    if let Some(varying) = values.iter().find(|value| mark(value, schema, VARYING).is_some()) {
        return Some(varies(padded, varying));
    }
    let ends_in_blanks = |value: &&&Expr| match value {
        Expr::Literal(value, _) => value.try_as_str().flatten().is_some_and(|text| text.ends_with(' ')),
        _ => false,
    };
    values.iter().find(ends_in_blanks).map(|_| {
        let message =
            format!("{} is a char(n), to which blanks at the end are nothing in Postgres", shown(padded));
        Refusal::new(message, "leave the blanks out of the literal")
    })
}

fn varies(one: &Expr, other: &Expr) -> Refusal {
    let message = format!(
        "{} and {} are a char(n) and a varchar, which Postgres compares without the blanks at their ends",
        shown(one),
        shown(other)
    );
    Refusal::new(message, "write the varchar without its blanks: c = rtrim(v)")
}

/// A `x::bpchar` anywhere but in a comparison with its like: it came without its blanks.
fn of_bpchar(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    let like_it =
        |side: &Expr| is_bpchar(side) || is_padded(side, schema) || matches!(side, Expr::Literal(..));
    let compared = match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            like_it(&binary.left) && like_it(&binary.right)
        }
        Expr::InList(list) => std::iter::once(&*list.expr).chain(&list.list).all(like_it),
        Expr::IsNull(_) | Expr::IsNotNull(_) => true,
        expr => is_bpchar(expr),
    };
    let mut found = None;
    let _ = expr.apply_children(|child| {
        if is_bpchar(child) && !compared {
            found = Some(unpadded(child));
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn unpadded(expr: &Expr) -> Refusal {
    let message = format!("{} is a char(n), whose padding is not here", shown(expr));
    Refusal::new(message, "compare it with another bpchar, a char(n) or a literal; for a value cast to text")
}

const PATTERN_HELP: &str = "compare it whole: x = 'ab'; or its beginning: left(x, 2) = 'ab'; or cast it to text first, which takes its padding: CAST(x AS text)";

fn counts(expr: &Expr, whom: &str, help: &str) -> Refusal {
    let column = shown(expr);
    let message =
        format!("{column} is a char(n), whose padding counts for {whom} in Postgres and is not here");
    Refusal::new(message, help)
}
