//! Columns that travel as text and are none in Postgres: char(n) without its padding, and what the server
//! casts to text, such as enums and intervals. Their comparisons and order are not those of text.

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};

use super::{Found, Refusal, shown};
use crate::dialect::rewrite::is_comparison;

/// How a column of the source travels, as its field's metadata says it to the planner alone.
const TRAVELS: &str = "starmill: travels";
const TYPE: &str = "starmill: type";
pub(super) const PADDED: &str = "padded";
pub(super) const VARYING: &str = "varying";
const AS_TEXT: &str = "as text";
const JSON: &str = "json";
const UNDECLARED: &str = "undeclared";

/// Marks a column of type char(n), which comes without its padding.
pub fn padded(field: Field, type_name: &str) -> Field {
    marked(field, PADDED, type_name)
}

/// Marks a column of type varchar, which Postgres compares with a char(n) as one.
pub fn varying(field: Field, type_name: &str) -> Field {
    marked(field, VARYING, type_name)
}

/// Marks a column that the server casts to text.
pub fn as_text(field: Field, type_name: &str) -> Field {
    marked(field, AS_TEXT, type_name)
}

/// Marks a column of json, which comes as its text.
pub fn json(field: Field, type_name: &str) -> Field {
    marked(field, JSON, type_name)
}

/// Marks a numeric declared without digits, of which each value has its own.
pub fn undeclared(field: Field, type_name: &str) -> Field {
    marked(field, UNDECLARED, type_name)
}

/// Whether a column is not known to have been declared without digits.
pub fn is_declared(column: &Expr, schema: &DFSchema) -> bool {
    mark(column, schema, UNDECLARED).is_none()
}

fn marked(field: Field, travels: &str, type_name: &str) -> Field {
    let marks = [(TRAVELS, travels), (TYPE, type_name)];
    field.with_metadata(marks.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

pub(super) fn mark<'a>(expr: &'a Expr, schema: &'a DFSchema, travels: &str) -> Option<&'a str> {
    let column = match expr {
        Expr::OuterReferenceColumn(field, _) => return marked_as(field, travels),
        Expr::Column(column) => column,
        Expr::Alias(alias) => return mark(&alias.expr, schema, travels),
        _ => return None,
    };
    marked_as(schema.field_from_column(column).ok()?, travels)
}

pub(super) fn marked_as<'a>(field: &'a Field, travels: &str) -> Option<&'a str> {
    let metadata = field.metadata();
    (metadata.get(TRAVELS).map(String::as_str) == Some(travels))
        .then(|| metadata.get(TYPE).map(String::as_str))?
}

pub(super) fn refused(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            let sides = [&*binary.left, &*binary.right];
            let equal = matches!(
                binary.op,
                Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom
            );
            if let Some(side) = sides.iter().find(|side| mark(side, schema, JSON).is_some()) {
                return Some(super::expressions::json(side));
            }
            let literal = sides.iter().any(|side| matches!(side, Expr::Literal(..)));
            sides.iter().find_map(|side| {
                let type_name = mark(side, schema, AS_TEXT)?;
                let texts_differ =
                    ["interval", "citext"].contains(&type_name) || (literal && is_spelled_freely(type_name));
                (!equal || texts_differ).then(|| order(side, type_name))
            })
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
            let sides = [&*binary.left, &*binary.right];
            let side = sides.iter().find(|side| mark(side, schema, JSON).is_some())?;
            Some(super::expressions::json(side))
        }
        Expr::Between(between) => mark(&between.expr, schema, AS_TEXT).map(|name| order(&between.expr, name)),
        Expr::ScalarFunction(function) => {
            let name = function.func.name();
            let ordered = ["greatest", "least"].contains(&name);
            let mut args = function.args.iter().filter(|_| ordered);
            args.find_map(|arg| mark(arg, schema, AS_TEXT).map(|type_name| order(arg, type_name)))
        }
        Expr::AggregateFunction(function) => {
            let ordered = ["min", "max"].contains(&function.func.name());
            let first = function.params.args.first()?;
            match mark(first, schema, AS_TEXT) {
                Some(type_name) if ordered => Some(order(first, type_name)),
                _ => sorted(function.params.order_by.iter().map(|sort| &sort.expr), schema),
            }
        }
        Expr::WindowFunction(window) => sorted(window.params.order_by.iter().map(|sort| &sort.expr), schema),
        _ => None,
    }
}

/// An order that decides which rows stay.
pub(super) fn node(node: &LogicalPlan, found: &mut Found) {
    let LogicalPlan::Limit(limit) = node else { return };
    let mut below = limit.input.as_ref();
    while let LogicalPlan::Projection(projection) = below {
        below = projection.input.as_ref();
    }
    let LogicalPlan::Sort(sort) = below else { return };
    for key in &sort.expr {
        if let Some(type_name) = mark(&key.expr, sort.input.schema(), AS_TEXT) {
            found.add(&key.expr, order(&key.expr, type_name));
        }
    }
}

fn sorted<'a>(mut keys: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<Refusal> {
    keys.find_map(|key| mark(key, schema, AS_TEXT).map(|type_name| order(key, type_name)))
}

/// Types of which one value is spelled in several ways: an array with or without spaces, an address.
fn is_spelled_freely(type_name: &str) -> bool {
    let names = ["inet", "cidr", "macaddr", "macaddr8", "bit", "bit varying", "time with time zone"];
    type_name.ends_with("[]") || type_name.ends_with("range") || names.contains(&type_name)
}

fn order(expr: &Expr, type_name: &str) -> Refusal {
    let message =
        format!("{} is a {type_name}, which would be compared and ordered as text here", shown(expr));
    Refusal::new(
        message,
        "compare for equality with a label, or order by a number: CASE x WHEN 'low' THEN 1 WHEN 'high' THEN 2 END",
    )
}
