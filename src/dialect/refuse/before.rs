//! Operands that Postgres would not let meet, seen before the engine turns the one into the other.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::arguments::{aggregated, is_condition, of_no_text};
use super::expressions::json;
use super::windows::windowed;
use super::{Found, Refusal, kinds, shown};
use crate::dialect::functions::combination;
use crate::dialect::rewrite::{is_comparison, is_decimal};
use crate::dialect::told::in_sql;
use crate::dialect::{numerics, table};
use crate::name::nearest;

/// What kind of value a type holds, as far as Postgres mixes them without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    Time,
}

/// Values of one kind that the engine makes one type of otherwise than Postgres: numerics among doubles, and
/// days and local times among instants.
fn clash(types: &[DataType]) -> Option<&'static str> {
    let any = |is: &dyn Fn(&DataType) -> bool| types.iter().any(is);
    if any(&|of| of.is_floating()) && any(&|of| is_decimal(of)) {
        return Some("doubles and numerics");
    }
    let instant = any(&|of| matches!(of, DataType::Timestamp(_, Some(_))));
    (instant && any(&|of| matches!(of, DataType::Date32 | DataType::Timestamp(_, None))))
        .then_some("instants and days or local times")
}

fn meet(what: &str, clash: &str) -> Refusal {
    Refusal::new(
        format!("{what} brings {clash} together, which become one type otherwise than in Postgres"),
        "cast them to the type that is meant: CAST(x AS double precision), CAST(x AS timestamptz)",
    )
}

fn kind(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Text),
        DataType::Boolean => Some(Kind::Boolean),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(Kind::Time),
        number if number.is_numeric() => Some(Kind::Number),
        _ => None,
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "a number",
        Kind::Boolean => "a boolean",
        Kind::Time => "a date or time",
    }
}

/// The branches of a UNION have one type in each column.
pub fn node(node: &LogicalPlan, found: &mut Found) {
    let nowhere = |name: &str| Expr::Column(name.into());
    match node {
        LogicalPlan::RecursiveQuery(recursive) => {
            if let Some(refusal) = widened(&recursive.static_term, &recursive.recursive_term) {
                found.add(&nowhere("recursive"), refusal);
            }
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (join.left.schema(), join.right.schema());
            for (one, other) in &join.on {
                let types: Vec<DataType> =
                    [one.get_type(left), other.get_type(right)].into_iter().flatten().collect();
                if let Some(clash) = clash(&types) {
                    found.add(one, meet(&format!("the join or set operation by {}", shown(one)), clash));
                }
            }
        }
        LogicalPlan::Values(values) => {
            let divides = |cell: &&Expr| {
                cell.exists(|part| {
                    let of = part.get_type(&values.schema);
                    let divided = matches!(part, Expr::BinaryExpr(binary) if binary.op == Operator::Divide);
                    Ok(divided && of.is_ok_and(|of| is_decimal(&of)))
                })
                .unwrap_or(true)
            };
            if let Some(cell) = values.values.iter().flatten().find(divides) {
                let message = format!("the quotient {} in VALUES would lose digits here", shown(cell));
                found.add(cell, Refusal::new(message, "write SELECT 1 / 3.0 AS x UNION ALL SELECT …"));
            }
            for column in 0..values.schema.fields().len() {
                // The engine has made them one type already: a cast tells from which.
                let cells = values.values.iter().filter_map(|row| row.get(column));
                let mut types: Vec<DataType> = Vec::new();
                for cell in cells {
                    let cell_type = cell.get_type(&values.schema).ok();
                    let cast = match cell {
                        // A literal that is written as a double is one.
                        Expr::Cast(cast) if !cell_type.as_ref().is_some_and(DataType::is_floating) => {
                            cast.expr.get_type(&values.schema).ok()
                        }
                        _ => None,
                    };
                    types.extend(cell_type.into_iter().chain(cast));
                }
                if let Some(clash) = clash(&types) {
                    found.add(&nowhere("values"), meet("VALUES", clash));
                }
            }
        }
        _ => {}
    }
    let LogicalPlan::Union(union) = node else { return };
    let Some(first) = union.inputs.first() else { return };
    for (column, field) in first.schema().fields().iter().enumerate() {
        let json = |input: &LogicalPlan| {
            let field = input.schema().fields().get(column)?;
            // Its text is json no more.
            if let LogicalPlan::Projection(of) = input
                && matches!(of.expr.get(column).cloned().map(Expr::unalias), Some(Expr::Cast(_)))
            {
                return Some(false);
            }
            (!field.data_type().is_null()).then(|| kinds::marked_as(field, kinds::JSON).is_some())
        };
        let mut json = union.inputs.iter().filter_map(|input| json(input));
        if let Some(first) = json.next()
            && json.any(|other| other != first)
        {
            let message =
                format!("the UNION's column {} is json in one branch and text in another", field.name());
            let help = "say which is meant: '{\"a\": 1}'::jsonb, or CAST(x AS text)".to_owned();
            found.add(&Expr::Column(field.name().as_str().into()), Refusal::new(message, help));
        }
        let labels = |input: &LogicalPlan| {
            let field = input.schema().fields().get(column)?;
            if let LogicalPlan::Projection(of) = input {
                match of.expr.get(column).cloned().map(Expr::unalias) {
                    // Its text is no enum more, and one that is written out becomes a label, if it is one.
                    Some(Expr::Cast(_)) => return Some(None),
                    Some(Expr::Literal(value, _)) => {
                        let text = value.try_as_str().flatten()?;
                        let known =
                            |of: &Arc<LogicalPlan>| kinds::has_label(of.schema().fields().get(column)?, text);
                        return union.inputs.iter().any(|of| known(of) == Some(false)).then_some(None);
                    }
                    _ => {}
                }
            }
            (!field.data_type().is_null()).then(|| kinds::enum_in(field).map(str::to_owned))
        };
        let mut labels = union.inputs.iter().filter_map(|input| labels(input));
        if let Some(first) = labels.next()
            && labels.any(|other| other != first)
        {
            let message =
                format!("the UNION's column {} is an enum in one branch and none in another", field.name());
            let help = "cast both to the type that is meant: CAST(x AS text)".to_owned();
            found.add(&Expr::Column(field.name().as_str().into()), Refusal::new(message, help));
        }
        let kinds =
            union.inputs.iter().filter_map(|input| kind(input.schema().fields().get(column)?.data_type()));
        if let Some((one, other)) = differing(kinds) {
            let message = format!(
                "the UNION's column {} is {} in one branch and {} in another",
                field.name(),
                word(one),
                word(other)
            );
            let help = "cast both to the type that is meant: CAST(x AS text)".to_owned();
            found.add(&Expr::Column(field.name().as_str().into()), Refusal::new(message, help));
        }
    }
}

/// A column of a recursive query that each step would make the type of the first member's, where Postgres refuses it, or
/// keeps digits that the first has not.
fn widened(first: &LogicalPlan, step: &LogicalPlan) -> Option<Refusal> {
    let step = match step {
        LogicalPlan::SubqueryAlias(alias) => &alias.input,
        other => other,
    };
    let LogicalPlan::Projection(projection) = step else { return None };
    let schema = projection.input.schema();
    projection.expr.iter().zip(first.schema().fields()).find_map(|(expr, field)| {
        // One that is written is written twice (`grammar::steps`).
        let Expr::Cast(cast) = expr.clone().unalias() else { return None };
        let (to, from) = (cast.field.data_type(), cast.expr.get_type(schema).ok()?);
        let counts = to.is_integer() && from.is_integer() && *to != DataType::Int16;
        (*to != from && !counts).then(|| {
            let (one, other) = (in_sql(&to.to_string()), in_sql(&from.to_string()));
            let message = format!(
                "column {} of a recursive query is {one} in its first member and {other} in the next",
                field.name()
            );
            Refusal::new(message, "cast it in both members to one type: CAST(x AS numeric(30,10))")
        })
    })
}

fn differing(kinds: impl Iterator<Item = Kind>) -> Option<(Kind, Kind)> {
    let kinds: Vec<Kind> = kinds.collect();
    let first = *kinds.first()?;
    kinds.into_iter().find(|kind| *kind != first).map(|other| (first, other))
}

/// Functions of which it is said with more words what is wrong.
const SAID_ELSEWHERE: [&str; 3] = ["now", "current_date", "random"];

/// A function that nobody held against Postgres.
pub fn unknown(expr: &Expr, allow: &[String]) -> Option<Refusal> {
    let name = match expr {
        Expr::ScalarFunction(function) => function.func.name(),
        Expr::AggregateFunction(function) => function.func.name(),
        Expr::WindowFunction(window) => window.fun.name(),
        _ => return None,
    };
    if let Some(table::Line { answer: table::Answer::Refused(instead), .. }) = table::line(name) {
        return (!allow.iter().any(|allowed| allowed == name) && !SAID_ELSEWHERE.contains(&name))
            .then(|| Refusal::new(format!("{name} does not answer as in Postgres here"), *instead));
    }
    if table::line(name).is_some()
        || table::SYNTAX.contains(&name)
        // Postgres has nothing like it, and nobody can write it.
        || name == combination::NAME
        || allow.iter().any(|allowed| allowed == name)
    {
        return None;
    }
    let near = table::lines().filter(|line| !line.written.contains(' ')).map(|line| line.written);
    let help = match nearest(name, near) {
        Some(near) => format!(
            "{near} is, if that is meant; `allow = [\"{name}\"]` in [sql] takes it as the engine answers it"
        ),
        None => format!("`allow = [\"{name}\"]` in [sql] takes it as the engine answers it"),
    };
    Some(Refusal::new(format!("{name} is not known to answer as in Postgres"), help))
}

const EXACT_AGGREGATES: [&str; 4] = ["stddev", "stddev_pop", "var", "var_pop"];

/// A function that would give a double where Postgres gives a numeric.
fn inexact(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    let of = |arg: &Expr| arg.get_type(schema).ok();
    let refused = match expr {
        Expr::ScalarFunction(function) if function.func.name() == "trunc" => {
            let decimal = function.args.iter().filter_map(of).any(|of| is_decimal(&of));
            decimal && numerics::trunc(&function.args, schema).is_none()
        }
        Expr::AggregateFunction(function) => {
            let (name, args) = (function.func.name(), &function.params.args);
            let exact = args.iter().filter_map(of).any(|of| is_decimal(&of) || of.is_integer());
            // Of what is kept once the squares are not those of its values.
            EXACT_AGGREGATES.contains(&name) && exact && function.params.distinct
        }
        _ => return None,
    };
    refused.then(|| {
        let message = format!("{} gives a numeric in Postgres, whose digits are not known here", shown(expr));
        let help = match expr {
            Expr::ScalarFunction(_) => "write how many digits as a number: trunc(x, 2)",
            _ => "compute it in doubles: stddev(DISTINCT CAST(x AS double precision))",
        };
        Refusal::new(message, help)
    })
}

/// A sum of reals, which Postgres rounds to a real at every step, in the order in which it meets them.
fn added_up(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    let (name, args) = match expr {
        Expr::AggregateFunction(of) => (of.func.name(), &of.params.args),
        Expr::WindowFunction(of) => (of.fun.name(), &of.params.args),
        _ => return None,
    };
    let of = args.first()?.get_type(schema).ok()?;
    (name == "sum" && of == DataType::Float32).then(|| {
        let message = format!("{} adds reals, which Postgres rounds at every step", shown(expr));
        Refusal::new(
            message,
            "say in which type: sum(CAST(x AS double precision)), sum(CAST(x AS numeric(20,4)))",
        )
    })
}

pub fn expression(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    let is_json = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Union(..)));
    if let Some(refusal) = added_up(expr, schema).or_else(|| windowed(expr, schema)) {
        return Some(refusal);
    }
    if let Some(refusal) = inexact(expr, schema) {
        return Some(refusal);
    }
    match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            if let Some(side) = [&binary.left, &binary.right].into_iter().find(|side| is_json(side)) {
                return Some(json(side));
            }
        }
        Expr::InList(list) if is_json(&list.expr) => return Some(json(&list.expr)),
        Expr::InList(list)
            if list.list.len() > 1 && list.expr.get_type(schema).is_ok_and(|of| of == DataType::Float32) =>
        {
            return Some(Refusal::new(
                format!(
                    "{} IN (…) compares a real as double, where Postgres makes the list real",
                    shown(&list.expr)
                ),
                "cast the items: x IN (CAST(0.1 AS real), CAST(0.3 AS real)), or compare one by one",
            ));
        }
        Expr::InSubquery(within) => {
            let given =
                within.subquery.subquery.schema().fields().first().map(|field| field.data_type().clone());
            let types: Vec<DataType> = within.expr.get_type(schema).into_iter().chain(given).collect();
            return clash(&types).map(|clash| meet(&format!("{} IN (SELECT …)", shown(&within.expr)), clash));
        }
        _ => {}
    }
    let kind_of = |expr: &Expr| expr.get_type(schema).ok().and_then(|data_type| kind(&data_type));
    match expr {
        Expr::BinaryExpr(binary) if binary.op == Operator::Modulo => {
            let floats = |side: &Expr| side.get_type(schema).is_ok_and(|of| of.is_floating());
            (floats(&binary.left) || floats(&binary.right)).then(|| {
                let message = format!("{} divides doubles, of which Postgres has no remainder", shown(expr));
                Refusal::new(message, "say in which numerics: CAST(x AS numeric(20,6)) % y")
            })
        }
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            let quoted = is_quoted(&binary.left) || is_quoted(&binary.right);
            meeting(expr, kind_of(&binary.left)?, kind_of(&binary.right)?, quoted)
        }
        Expr::Between(between) => [&between.low, &between.high].into_iter().find_map(|end| {
            let quoted = is_quoted(end) || is_quoted(&between.expr);
            meeting(expr, kind_of(&between.expr)?, kind_of(end)?, quoted)
        }),
        Expr::InList(list) => list.list.iter().find_map(|item| {
            let quoted = is_quoted(item) || is_quoted(&list.expr);
            meeting(expr, kind_of(&list.expr)?, kind_of(item)?, quoted)
        }),
        Expr::Case(case)
            if case.expr.is_none()
                && case.when_then_expr.iter().any(|(when, _)| !is_condition(when, schema)) =>
        {
            Some(Refusal::new(
                "a CASE asks WHEN what is no condition".to_owned(),
                "say which values are meant: CASE WHEN x <> 0 THEN …",
            ))
        }
        Expr::AggregateFunction(function) => aggregated(function, schema),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let (one, other) = differing(results.filter_map(|result| kind_of(result)))?;
            Some(Refusal::new(
                format!("a CASE gives {} in one branch and {} in another", word(one), word(other)),
                "cast its branches to the type that is meant: CAST(x AS text)".to_owned(),
            ))
        }
        Expr::ScalarFunction(function)
            if !["coalesce", "greatest", "least", "nullif"].contains(&function.func.name()) =>
        {
            of_no_text(function, schema)
        }
        Expr::ScalarFunction(function) => {
            // A quoted literal takes the others' type.
            let literal = |arg: &&Expr| is_literal(arg) && kind_of(arg) == Some(Kind::Text);
            let typed = function.args.iter().filter(|arg| !literal(arg));
            let (one, other) = differing(typed.filter_map(kind_of))?;
            Some(Refusal::new(
                format!("{} is given {} and {}", function.func.name(), word(one), word(other)),
                "cast its arguments to the type that is meant: CAST(x AS text)".to_owned(),
            ))
        }
        _ => None,
    }
}

/// A quoted literal takes the other side's type, in Postgres and here.
fn meeting(whole: &Expr, one: Kind, other: Kind, quoted: bool) -> Option<Refusal> {
    if one == other || (quoted && (one == Kind::Text || other == Kind::Text)) {
        return None;
    }
    Some(Refusal::new(
        format!("{} compares {} with {}, which Postgres does not", shown(whole), word(one), word(other)),
        "cast one side to the other's type, or quote a literal: day > '2024-02-01'".to_owned(),
    ))
}

/// A text that stands there in quotes, and is of the type of what it meets.
fn is_quoted(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_string() || value.is_null())
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_literal(&cast.expr),
        _ => false,
    }
}
