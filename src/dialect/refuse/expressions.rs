//! Single operations, in the plan as it will run: every operand has its final type, every cast is there.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, Volatility,
    WindowFunctionDefinition,
};

use super::arguments::{is_abbreviation, is_one, prints_alike};
use super::{Found, Purpose, Refusal, Setting, shown};
use crate::dialect::functions::format::unformatted;
use crate::dialect::functions::number_pattern::unprintable;
use crate::dialect::functions::numeric::NUMERIC;
use crate::dialect::functions::run_at::RUN_AT;
use crate::dialect::functions::{print, quotient, zone};
use crate::dialect::gathered;
use crate::dialect::rewrite::{is_comparison, is_decimal, is_interval};

/// What a whole step of a plan would do otherwise: intervals and json values that are sorted or grouped.
pub fn node(node: &LogicalPlan, found: &mut Found) {
    let columns =
        |plan: &LogicalPlan| plan.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let keys: Vec<Expr> = match node {
        // Rows that are gathered again are told apart by their number.
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(gathered::is_number) => return,
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.clone(),
        LogicalPlan::Distinct(Distinct::All(input)) => columns(input),
        LogicalPlan::Distinct(Distinct::On(on)) => on.on_expr.clone(),
        LogicalPlan::Join(join) => {
            join.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]).collect()
        }
        LogicalPlan::Window(window) => {
            let calls = window.window_expr.iter().filter_map(|call| match call.clone().unalias() {
                Expr::WindowFunction(of) => Some(of.params.partition_by),
                _ => None,
            });
            calls.flatten().collect()
        }
        _ => return,
    };
    let schema = datafusion::logical_expr::utils::merge_schema(&node.inputs());
    for key in &keys {
        match key.get_type(&schema) {
            Ok(of) if holds_interval(&of) => found.add(
                key,
                Refusal::new(
                    format!(
                        "{} is an interval, which is not told from others here as in Postgres",
                        shown(key)
                    ),
                    "use its length in seconds: extract(epoch FROM x)",
                ),
            ),
            Ok(DataType::Union(..)) => found.add(key, json(key)),
            _ if super::kinds::is_json(key, &schema) => found.add(key, json(key)),
            _ => {}
        }
    }
}

fn holds_interval(of: &DataType) -> bool {
    match of {
        DataType::List(element) => holds_interval(element.data_type()),
        of => is_interval(of),
    }
}

pub(super) fn json(expr: &Expr) -> Refusal {
    Refusal::new(
        format!("{} is json, which is not compared here as in Postgres", shown(expr)),
        "compare its text: attributes->>'size' = 'L'; whether a key is missing, ask by (attributes ? 'size') IS NOT TRUE",
    )
}

pub(super) fn refusal(message: String, help: &str) -> Option<Refusal> {
    Some(Refusal::new(message, help))
}

/// What is refused of one expression; its parts are asked by themselves.
pub fn refused(expr: &Expr, schema: &DFSchema, setting: Setting) -> Vec<Refusal> {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    let found = match expr {
        Expr::BinaryExpr(binary) => of_binary(expr, binary, &type_of),
        Expr::Between(between) => type_of(&between.expr).and_then(|of| match of {
            DataType::List(_) => arrays_ordered(expr),
            of => compared(expr, &of),
        }),
        Expr::InList(list) => type_of(&list.expr).and_then(|of| compared(expr, &of)),
        Expr::InSubquery(list) => {
            type_of(&list.expr).filter(holds_interval).and_then(|of| compared(expr, &of))
        }
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => match type_of(inner) {
            Some(DataType::Union(..)) => Some(json(inner)),
            _ => None,
        },
        Expr::Case(case) => case.expr.as_ref().and_then(|of| type_of(of)).and_then(|of| compared(expr, &of)),
        Expr::Cast(cast) => type_of(&cast.expr).and_then(|from| of_cast(cast, &from, setting)),
        Expr::ScalarFunction(function) => of_quotient(expr, &type_of)
            .or_else(|| of_function(expr, function.func.name(), &function.args, &type_of))
            .or_else(|| unsteady(expr, function.func.signature().volatility, setting)),
        Expr::AggregateFunction(function) => of_aggregate(expr, function, &type_of),
        Expr::WindowFunction(window) => {
            let name = window.fun.name().to_owned();
            let of = window.params.args.first().and_then(type_of);
            let ordered = !window.params.order_by.is_empty();
            match (&window.fun, of) {
                (WindowFunctionDefinition::AggregateUDF(_), Some(of)) => aggregated(expr, &name, &of),
                _ if !ordered
                    && setting.purpose == Purpose::Model
                    && DEPEND_ON_ORDER.contains(&name.as_str()) =>
                {
                    refusal(
                        format!("{name} depends on the order of its rows, and states none"),
                        "add ORDER BY inside OVER (…), or to the window that it names",
                    )
                }
                _ => None,
            }
        }
        _ => None,
    };
    found.into_iter().collect()
}

const DEPEND_ON_ORDER: [&str; 9] =
    ["row_number", "rank", "dense_rank", "ntile", "lag", "lead", "first_value", "last_value", "nth_value"];

/// What is another value in every run.
fn unsteady(expr: &Expr, volatility: Volatility, setting: Setting) -> Option<Refusal> {
    let is_run_at = matches!(expr, Expr::ScalarFunction(function) if function.func.name() == RUN_AT);
    if setting.purpose == Purpose::Question || volatility == Volatility::Immutable || is_run_at {
        return None;
    }
    refusal(
        format!("{} gives another answer in every run", shown(expr)),
        "the same source must give the same star: for the time write run_at(), the instant of the source snapshot; else derive the value from a column, such as (SELECT max(ordered_at) FROM orders)",
    )
}

/// A NULL among the elements is the least here, and the largest in Postgres.
fn arrays_ordered(expr: &Expr) -> Option<Refusal> {
    refusal(
        format!("{} orders arrays otherwise than Postgres", shown(expr)),
        "compare their elements: a[1] < b[1] OR (a[1] = b[1] AND a[2] < b[2])",
    )
}

fn of_binary(
    expr: &Expr,
    binary: &BinaryExpr,
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
) -> Option<Refusal> {
    let (left, right) = (type_of(&binary.left)?, type_of(&binary.right)?);
    match binary.op {
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
            if [&left, &right].iter().any(|side| matches!(side, DataType::List(_))) =>
        {
            arrays_ordered(expr)
        }
        op if is_comparison(op) => compared(expr, &left).or_else(|| compared(expr, &right)),
        Operator::Plus | Operator::Minus => {
            let (day, length) = match (&left, &right) {
                (DataType::Date32, length) if is_interval(length) => (&binary.left, &binary.right),
                (length, DataType::Date32) if is_interval(length) => (&binary.right, &binary.left),
                _ => return None,
            };
            let whole_days = match length.as_ref() {
                Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(it)), _) => it.nanoseconds == 0,
                // The engine's own form of `day + 1`.
                Expr::Cast(days) => type_of(&days.expr) == Some(DataType::Duration(TimeUnit::Second)),
                _ => false,
            };
            if whole_days {
                return None;
            }
            refusal(
                format!(
                    "{} would drop the hours of the interval, where Postgres gives a timestamp",
                    shown(expr)
                ),
                &format!("add to a timestamp: CAST({} AS timestamp) {} …", shown(day), binary.op),
            )
        }
        // What the engine makes of grouping().
        Operator::BitwiseShiftRight if shown(&binary.left).contains("__grouping_id") => None,
        Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight => refusal(
            format!("{} shifts a bigint, where Postgres shifts an integer and lets its bits go", shown(expr)),
            "multiply or divide by the power of two",
        ),
        _ => None,
    }
}

/// A comparison of what the engine compares otherwise.
fn compared(expr: &Expr, of: &DataType) -> Option<Refusal> {
    match of {
        DataType::Struct(_) => refusal(
            format!("{} compares rows, where NULL counts otherwise than in Postgres", shown(expr)),
            "compare column by column: a < x OR (a = x AND b < y); for equality a = x AND b = y",
        ),
        of if holds_interval(of) => refusal(
            format!(
                "{} compares intervals field by field, where Postgres compares their lengths",
                shown(expr)
            ),
            "write x >= a AND x <= b, or compare extract(epoch FROM x)",
        ),
        DataType::Union(..) => Some(json(expr)),
        _ => None,
    }
}

fn of_cast(cast: &Cast, from: &DataType, setting: Setting) -> Option<Refusal> {
    let to = cast.field.data_type();
    let inner = &cast.expr;
    let text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let time = |of: &DataType| matches!(of, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    match (from, to) {
        (from, to) if text(to) => as_text(inner, from, setting),
        (from, to)
            if text(from)
                && matches!(to, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) =>
        {
            refusal(
                format!(
                    "CAST({} AS bytea) would take the text's own bytes, where Postgres decodes it",
                    shown(inner)
                ),
                "write decode(x, 'hex') over the digits alone",
            )
        }
        (from, to) if (time(from) && to.is_numeric()) || (from.is_numeric() && time(to)) => refusal(
            format!(
                "{} would be compared or cast as a number of days or ticks, which Postgres refuses",
                shown(inner)
            ),
            "write a date as text: date '2024-02-01'; for a number of seconds, extract(epoch FROM x)",
        ),
        (DataType::Decimal256(_, scale), to) if *scale > 0 && to.is_integer() => refusal(
            format!(
                "CAST({} AS {}) would be cut, where Postgres rounds",
                shown(inner),
                super::super::functions::arithmetic::postgres_name(to)
            ),
            "round it first: CAST(CAST(x AS numeric(38,0)) AS bigint)",
        ),
        _ => None,
    }
}

/// Values that print otherwise than in Postgres.
fn as_text(inner: &Expr, from: &DataType, setting: Setting) -> Option<Refusal> {
    let what = shown(inner);
    match from {
        of if print::prints(of) => None,
        DataType::Decimal128(precision, scale) if (*precision, *scale) == setting.numeric && *scale > 0 => {
            refusal(
                format!("{what} as text would print {scale} digits after the point, whatever the value has"),
                "state the digits: CAST(CAST(x AS numeric(20,2)) AS text)",
            )
        }
        DataType::Decimal256(_, scale) if *scale > 0 && !matches!(inner, Expr::Cast(_)) => refusal(
            format!("{what} as text would print {scale} digits after the point, whatever the value has"),
            "state the digits: CAST(CAST(x AS numeric(20,2)) AS text)",
        ),
        DataType::FixedSizeBinary(_) => refusal(
            format!("{what} as text would be its bytes, where Postgres prints their digits"),
            "write encode(x, 'hex')",
        ),
        DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) | DataType::Map(..) => refusal(
            format!("{what} as text would print otherwise than in Postgres"),
            "publish its elements: array_to_string(x, ', '), or the fields as columns",
        ),
        _ => None,
    }
}

/// A quotient of a quotient that was computed elsewhere: how many digits Postgres gave that is not known here.
fn of_quotient(expr: &Expr, type_of: &dyn Fn(&Expr) -> Option<DataType>) -> Option<Refusal> {
    let (quotient, Expr::ScalarFunction(function)) = (quotient::of(expr)?, expr) else { return None };
    // Where it is rounded the digits beyond decide in one case in billions, and that is an error then.
    if quotient.is_rounded() {
        return None;
    }
    let is_wide = |arg: &Expr| matches!(type_of(arg), Some(DataType::Decimal256(..)));
    let unknown = quotient.unknown(&function.args).find(|arg| is_wide(arg))?;
    refusal(
        format!(
            "{} divides with {}, of which it is not known how many digits Postgres gives it",
            shown(expr),
            shown(unknown)
        ),
        "round the whole: round(x / y, 6)",
    )
}

fn of_function(
    expr: &Expr,
    name: &str,
    args: &[Expr],
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
) -> Option<Refusal> {
    let of = |at: usize| args.get(at).and_then(type_of);
    match name {
        "starmill /" if of(0).is_some_and(|of| is_decimal(&of)) => refusal(
            format!("{} divides what is not known to be a numeric", shown(expr)),
            "cast both sides: CAST(x AS numeric(20,6)) / CAST(y AS numeric(20,6))",
        ),
        NUMERIC => refusal(
            format!(
                "{} as numeric has as many digits as each of its values, which are not known here",
                shown(expr)
            ),
            "state them: CAST(x AS numeric(20,6))",
        ),
        "round" | "trunc" if args.len() == 2 && of(0).is_some_and(|of| of.is_floating()) => refusal(
            format!(
                "{} rounds a double to a number of digits, which Postgres does for numerics only",
                shown(expr)
            ),
            "CAST(x AS numeric(38,2)) rounds as Postgres does",
        ),
        "lpad" | "rpad" if !matches!(args.get(1), Some(Expr::Literal(..))) => refusal(
            format!("{} has a length that may be negative, which the engine cannot take", shown(expr)),
            "write the length as a number: lpad(x, 8, '0')",
        ),
        "lpad" | "rpad" if args.get(1).and_then(literal_length).is_some_and(|length| length > LONGEST) => {
            refusal(format!("{} makes texts of more than {LONGEST} letters", shown(expr)), "ask for fewer")
        }
        "array_to_string" if !of(0).is_some_and(|of| prints_alike(&of)) => refusal(
            format!("{} would print its elements otherwise than in Postgres", shown(expr)),
            "make texts of them first, as they are meant: ARRAY[CASE WHEN x THEN 't' ELSE 'f' END], array_agg(CAST(x AS text) ORDER BY y)",
        ),
        "timezone" if args.first().and_then(literal_text).is_none_or(|name| zone::zone(name).is_err()) => {
            refusal(
                format!("{} takes its zone from what is no name of a place that is written out", shown(expr)),
                "write a name: AT TIME ZONE 'Europe/Berlin'; for one offset all year AT TIME ZONE 'Etc/GMT-1', an hour east of Greenwich",
            )
        }
        "timezone" if args.first().is_some_and(is_abbreviation) => refusal(
            format!("{} takes an abbreviation, which is one offset all year in Postgres", shown(expr)),
            "for one offset all year AT TIME ZONE 'Etc/GMT-1', an hour east of Greenwich; for a place's clocks AT TIME ZONE 'Europe/Berlin'",
        ),
        "to_char" if of(0).is_some_and(|of| of.is_numeric()) => {
            let said = literal_text(args.get(1)?).and_then(unprintable)?;
            refusal(plain_error(&said), "9, 0, the point, the comma, FM, S, MI, SG and PR are printed")
        }
        "format" => {
            let said = literal_text(args.first()?).and_then(unformatted)?;
            refusal(plain_error(&said), "%s and %L are, with positions and widths; %% is a percent sign")
        }
        "array_length" if !is_one(args.get(1)) => refusal(
            "array_length is answered for the first dimension only".to_owned(),
            "write array_length(x, 1), or cardinality(x)",
        ),
        _ => None,
    }
}

/// Letters that a text is filled up to at most.
const LONGEST: i64 = 1_000_000;

fn literal_length(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(length) => length,
            _ => None,
        },
        _ => None,
    }
}

fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// What a function of ours says, without the engine's word before it.
fn plain_error(said: &str) -> String {
    said.trim_start_matches("Execution error: ").to_owned()
}

fn of_aggregate(
    expr: &Expr,
    function: &AggregateFunction,
    type_of: &dyn Fn(&Expr) -> Option<DataType>,
) -> Option<Refusal> {
    let of = type_of(function.params.args.first()?)?;
    if function.params.distinct && is_interval(&of) {
        return refusal(
            format!("{} tells intervals apart otherwise than Postgres", shown(expr)),
            "use their lengths in seconds: extract(epoch FROM x)",
        );
    }
    aggregated(expr, function.func.name(), &of)
}

fn aggregated(expr: &Expr, name: &str, of: &DataType) -> Option<Refusal> {
    match (name, of) {
        ("count" | "first_value" | "array_agg", _) => None,
        (name, _) if name.starts_with("starmill ") => None,
        (_, of) if is_interval(of) => refusal(
            format!("{} aggregates an interval otherwise than Postgres", shown(expr)),
            "aggregate its length in seconds: extract(epoch FROM x)",
        ),
        (_, DataType::Union(..)) => Some(json(expr)),
        _ => None,
    }
}
