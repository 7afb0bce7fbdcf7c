//! Columns that travel as text and are none in Postgres: char(n) without its padding, and what the server
//! casts to text, such as enums and intervals. Their comparisons and order are not those of text.

use arrow::datatypes::Field;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::{Found, Refusal, shown};
use crate::dialect::enums::LABEL;
use crate::dialect::exactness::is_regex;
use crate::dialect::functions::json;
use crate::dialect::rewrite::is_comparison;
use crate::dialect::single::ONE;

/// How a column of the source travels, as its field's metadata says it to the planner alone.
const TRAVELS: &str = "starmill: travels";
const TYPE: &str = "starmill: type";
/// The labels of an enum, in their order.
const LABELS: &str = "starmill: labels";
/// What stands between them, and in none of them.
const BETWEEN: char = '\u{1}';
pub(super) const PADDED: &str = "padded";
pub(super) const VARYING: &str = "varying";
const AS_TEXT: &str = "as text";
pub(super) const JSON: &str = "json";
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
pub fn json_text(field: Field, type_name: &str) -> Field {
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

/// An enum of the source's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Enum {
    pub name: String,
    pub labels: Vec<String>,
}

/// Marks a column of an enum.
pub fn an_enum(field: Field, of: &Enum) -> Field {
    let mut field = as_text(field, &of.name);
    let mut metadata = field.metadata().clone();
    metadata.insert(LABELS.to_owned(), of.labels.join(&BETWEEN.to_string()));
    field.set_metadata(metadata);
    field
}

/// The enum that a value is of.
pub fn enum_of(expr: &Expr, schema: &DFSchema) -> Option<Enum> {
    traced(expr, schema, &|field| {
        let (name, labels) = (field.metadata().get(TYPE)?, field.metadata().get(LABELS)?);
        Some(Enum { name: name.clone(), labels: labels.split(BETWEEN).map(str::to_owned).collect() })
    })
}

/// What is known of a value that is no text in Postgres.
pub fn said_of(expr: &Expr, schema: &DFSchema) -> Option<FieldMetadata> {
    traced(expr, schema, &|field| {
        let travels = field.metadata().get(TRAVELS)?;
        [AS_TEXT, JSON].contains(&travels.as_str()).then(|| FieldMetadata::from(field.metadata()))
    })
}

/// Whether a column of texts is one in Postgres, too, as far as it is noted.
pub fn is_text_field(field: &Field) -> bool {
    let travels = field.metadata().get(TRAVELS);
    !travels.is_some_and(|travels| [AS_TEXT, JSON].contains(&travels.as_str()))
}

pub fn is_said(field: &Field, said: &FieldMetadata) -> bool {
    let said = said.to_hashmap();
    [TRAVELS, TYPE, LABELS].iter().all(|key| field.metadata().get(*key) == said.get(*key))
}

/// Functions that give one of their arguments.
pub const CHOOSE: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];
/// Aggregates and windows that give one of the values.
const GIVE_ONE: [&str; 8] =
    ["first_value", "last_value", "nth_value", "any_value", "lag", "lead", "min", "max"];

/// What is noted of the column that a value comes from, through whatever gives it as it is.
fn traced<T>(expr: &Expr, schema: &DFSchema, pick: &dyn Fn(&Field) -> Option<T>) -> Option<T> {
    match expr {
        Expr::OuterReferenceColumn(field, _) => pick(field),
        Expr::Column(column) => pick(schema.field_from_column(column).ok()?),
        Expr::Alias(alias) => traced(&alias.expr, schema, pick),
        Expr::ScalarSubquery(subquery) => pick(subquery.subquery.schema().fields().first()?),
        Expr::ScalarFunction(function) if CHOOSE.contains(&function.func.name()) => {
            function.args.iter().find_map(|arg| traced(arg, schema, pick))
        }
        Expr::Case(case) => {
            let results =
                case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref());
            results.into_iter().find_map(|result| traced(result, schema, pick))
        }
        Expr::ScalarFunction(function) if function.func.name() == ONE.name => {
            traced(function.args.first()?, schema, pick)
        }
        // Json that is taken out of json, and the label at a place.
        Expr::ScalarFunction(function)
            if json::gives_json(function.func.name()) || function.func.name() == LABEL =>
        {
            pick(expr.to_field(schema).ok()?.1.as_ref())
        }
        Expr::AggregateFunction(of) if GIVE_ONE.contains(&of.func.name()) => {
            traced(of.params.args.first()?, schema, pick)
        }
        Expr::WindowFunction(of) if GIVE_ONE.contains(&of.fun.name()) => {
            traced(of.params.args.first()?, schema, pick)
        }
        _ => None,
    }
}

pub(super) fn mark(expr: &Expr, schema: &DFSchema, travels: &str) -> Option<String> {
    match expr {
        _ if [AS_TEXT, JSON].contains(&travels) => traced(expr, schema, &|field| marked_as(field, travels)),
        Expr::OuterReferenceColumn(field, _) => marked_as(field, travels),
        Expr::Column(column) => marked_as(schema.field_from_column(column).ok()?, travels),
        Expr::Alias(alias) => mark(&alias.expr, schema, travels),
        _ => None,
    }
}

pub(super) fn marked_as(field: &Field, travels: &str) -> Option<String> {
    let metadata = field.metadata();
    (metadata.get(TRAVELS).map(String::as_str) == Some(travels)).then(|| metadata.get(TYPE).cloned())?
}

/// The enum that a field is of.
pub(super) fn enum_in(field: &Field) -> Option<&str> {
    field.metadata().contains_key(LABELS).then(|| field.metadata().get(TYPE).map(String::as_str))?
}

/// Whether a text is a label of a field's enum, if it has one.
pub(super) fn has_label(field: &Field, text: &str) -> Option<bool> {
    Some(field.metadata().get(LABELS)?.split(BETWEEN).any(|label| label == text))
}

/// The type that a field has in Postgres, where it is noted.
pub(super) fn type_in(field: &Field) -> Option<&str> {
    field.metadata().get(TYPE).map(String::as_str)
}

/// Whether a value is json, or of what kind jsonb alone.
pub fn is_json(expr: &Expr, schema: &DFSchema) -> bool {
    mark(expr, schema, JSON).is_some()
}

pub fn is_jsonb(expr: &Expr, schema: &DFSchema) -> bool {
    mark(expr, schema, JSON).as_deref() == Some("jsonb")
}

/// What a value is in Postgres that is a text here.
fn no_text(expr: &Expr, schema: &DFSchema) -> Option<String> {
    mark(expr, schema, AS_TEXT).or_else(|| mark(expr, schema, JSON))
}

/// Functions that take a value of any type.
const TAKE_ANY: [&str; 13] = [
    "format",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "concat",
    "concat_ws",
    "make_array",
    "array_append",
    "array_prepend",
    "array_position",
    "array_remove_all",
    "array_to_string",
];

/// A function of texts, given what is none in Postgres.
fn misread(name: &str, args: &[Expr], schema: &DFSchema) -> Option<Refusal> {
    if TAKE_ANY.contains(&name)
        || name.starts_with("starmill ")
        || name.starts_with("jsonb_")
        || json::gives_json(name)
    {
        return None;
    }
    taken_as_text(if name == "struct" { "a row" } else { name }, args.iter(), schema)
}

/// What takes texts, given what is none in Postgres.
fn taken_as_text<'a>(
    what: &str,
    mut values: impl Iterator<Item = &'a Expr>,
    schema: &DFSchema,
) -> Option<Refusal> {
    let is_none = |value: &Expr| no_text(value, schema).filter(|of| of != "citext");
    let (value, type_name) = values.find_map(|value| Some((value, is_none(value)?)))?;
    let message = format!("{what} is given {}, which is a {type_name} and no text in Postgres", shown(value));
    Some(Refusal::new(message, "say which text is meant: CAST(x AS text)"))
}

/// What is a text here alone, beside a text that is one in Postgres, too, and beside which it has no operator there.
fn beside_text(sides: [&Expr; 2], schema: &DFSchema) -> Option<Refusal> {
    let is_text = |side: &Expr| {
        let written = matches!(side, Expr::Literal(..) | Expr::Placeholder(_));
        !written && side.get_type(schema).is_ok_and(|of| of.is_string()) && no_text(side, schema).is_none()
    };
    let of = |side: &Expr| mark(side, schema, AS_TEXT).filter(|of| of != "citext");
    let [left, right] = sides;
    let (value, type_name) = match (of(left), of(right)) {
        (Some(type_name), None) if is_text(right) => (left, type_name),
        (None, Some(type_name)) if is_text(left) => (right, type_name),
        _ => return None,
    };
    let message = format!("{} is a {type_name}, which Postgres compares with no text", shown(value));
    Some(Refusal::new(message, "say which text is meant: CAST(x AS text)"))
}

/// A literal beside what it would be compared with as a text, where one value has several spellings.
fn beside_literal<'a>(values: impl Iterator<Item = &'a Expr> + Clone, schema: &DFSchema) -> Option<Refusal> {
    let literal =
        values.clone().any(|value| matches!(value, Expr::Literal(literal, _) if !literal.is_null()));
    let mut values = values.filter(|_| literal);
    values.find_map(|value| {
        if mark(value, schema, JSON).is_some() {
            return Some(super::expressions::json(value));
        }
        let type_name = mark(value, schema, AS_TEXT)?;
        is_spelled_freely(&type_name).then(|| order(value, &type_name))
    })
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
            if let Some(refusal) = beside_text(sides, schema) {
                return Some(refusal);
            }
            let literal = sides.iter().any(|side| matches!(side, Expr::Literal(..)));
            sides.iter().find_map(|side| {
                let type_name = mark(side, schema, AS_TEXT)?;
                let texts_differ = ["interval", "citext"].contains(&type_name.as_str())
                    || (literal && is_spelled_freely(&type_name));
                (!equal || texts_differ).then(|| order(side, &type_name))
            })
        }
        Expr::BinaryExpr(binary) if is_regex(binary.op) => {
            taken_as_text("a pattern", [&*binary.left, &*binary.right].into_iter(), schema)
        }
        Expr::Like(like) | Expr::SimilarTo(like) => {
            taken_as_text("LIKE", [&*like.expr, &*like.pattern].into_iter(), schema)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
            let sides = [&*binary.left, &*binary.right];
            sides.iter().find_map(|side| {
                let of = no_text(side, schema).filter(|of| of.starts_with("json") || of.ends_with("[]"))?;
                let message =
                    format!("{} is a {of}, to which || does something else in Postgres", shown(side));
                Some(Refusal::new(message, "say which text is meant: CAST(x AS text) || y"))
            })
        }
        Expr::Between(between) => {
            mark(&between.expr, schema, AS_TEXT).map(|name| order(&between.expr, &name))
        }
        Expr::InSubquery(list) if mark(&list.expr, schema, JSON).is_some() => {
            Some(super::expressions::json(&list.expr))
        }
        Expr::InList(list) => beside_literal(std::iter::once(&*list.expr).chain(&list.list), schema),
        Expr::Case(case) => {
            let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
            case.expr.as_deref().and_then(|of| beside_literal(std::iter::once(of).chain(whens), schema))
        }
        Expr::ScalarFunction(function) => {
            let name = function.func.name();
            let json = function.args.iter().find(|arg| mark(arg, schema, JSON).is_some());
            let one = function.args.iter().find_map(|arg| Some((arg, mark(arg, schema, AS_TEXT)?)));
            if let (Some((one, of)), "make_array" | "array_append" | "array_prepend") = (&one, name) {
                return Some(of_texts(one, of));
            }
            let by_order = name.starts_with("starmill any") || name.starts_with("starmill all");
            if let (Some((one, of)), true) =
                (&one, by_order && name.contains(['<', '>']) && !name.ends_with("<>"))
            {
                return Some(order(one, of));
            }
            if let (Some(json), "make_array" | "array_append" | "array_prepend") = (json, name) {
                return Some(in_array(json));
            }
            if let Some(refusal) = misread(name, &function.args, schema) {
                return Some(refusal);
            }
            if let Some(refusal) = beside_literal(function.args.iter(), schema)
                && ["nullif", "coalesce"].contains(&name)
            {
                return Some(refusal);
            }
            let ordered = ["greatest", "least"].contains(&name);
            if let Some(json) = json.filter(|_| ordered || name == "nullif") {
                return Some(super::expressions::json(json));
            }
            let mut args = function.args.iter().filter(|_| ordered);
            args.find_map(|arg| mark(arg, schema, AS_TEXT).map(|type_name| order(arg, &type_name)))
        }
        Expr::AggregateFunction(function) => {
            let ordered = ["min", "max", "mode", "percentile_disc"].contains(&function.func.name());
            let first = function.params.args.first()?;
            if mark(first, schema, JSON).is_some() && function.func.name() == "array_agg" {
                return Some(in_array(first));
            }
            if mark(first, schema, JSON).is_some() && (ordered || function.params.distinct) {
                return Some(super::expressions::json(first));
            }
            if function.func.name() == "string_agg"
                && let Some(refusal) = taken_as_text("string_agg", std::iter::once(first), schema)
            {
                return Some(refusal);
            }
            match mark(first, schema, AS_TEXT) {
                Some(type_name) if function.func.name() == "array_agg" => Some(of_texts(first, &type_name)),
                Some(type_name) if ordered => Some(order(first, &type_name)),
                _ => sorted(function.params.order_by.iter().map(|sort| &sort.expr), schema),
            }
        }
        Expr::WindowFunction(window) => sorted(window.params.order_by.iter().map(|sort| &sort.expr), schema),
        _ => None,
    }
}

/// Of what is in an array nobody knows any more what it was.
fn of_texts(value: &Expr, type_name: &str) -> Refusal {
    let message = format!("{} is a {type_name}, and an array of it would be one of texts here", shown(value));
    Refusal::new(message, "say so: array_agg(CAST(x AS text) ORDER BY y), ARRAY[CAST(x AS text)]")
}

fn in_array(json: &Expr) -> Refusal {
    let message = format!("{} is json, and an array of it would be one of texts here", shown(json));
    Refusal::new(message, "put it together as json: jsonb_agg(x ORDER BY y), jsonb_build_array(a, b)")
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
            found.add(&key.expr, order(&key.expr, &type_name));
        }
        if mark(&key.expr, sort.input.schema(), JSON).is_some() {
            found.add(&key.expr, super::expressions::json(&key.expr));
        }
    }
}

fn sorted<'a>(mut keys: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<Refusal> {
    keys.find_map(|key| {
        if mark(key, schema, JSON).is_some() {
            return Some(super::expressions::json(key));
        }
        mark(key, schema, AS_TEXT).map(|type_name| order(key, &type_name))
    })
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
