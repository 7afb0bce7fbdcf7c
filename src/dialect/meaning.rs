//! What an operation means in Postgres, said before the engine settles the types: times subtract to intervals, a double
//! meets a numeric as a double, a day among instants is an instant.

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::core::nullif;
use datafusion::functions::math::log10;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Operator, WindowFrame, WindowFrameBound, WindowFrameUnits, cast,
    lit,
};

use super::functions::arrays::REMOVE;
use super::functions::formula::Room;
use super::functions::json::{self, build};
use super::functions::named;
use super::functions::numbers::{SHIFT_LEFT, SHIFT_RIGHT};
use super::functions::numeric::PUBLISHED;
use super::functions::padded::is_bpchar;
use super::functions::{interval, interval_sums, numeric, quotient};
use super::met::{
    as_instant, as_numeric, between, case, in_list, instant_among, is_written, meeting, without_blanks,
};
use super::refuse::is_one;
use super::refuse::kinds::{enum_of, is_json};
use super::rewrite::{call, is_arithmetic, is_comparison, is_decimal};
use super::{apart, enums, exactness, numerics, printed, truth};

/// A local time.
const LOCAL: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Functions whose arguments become one type.
const MEET: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

pub fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

pub fn meaning(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    enums::require_labels(&expr, schema)?;
    if let Some(by_place) = enums::by_place(&expr, schema) {
        return Ok(Transformed::yes(by_place));
    }
    let expr = match truth::told(expr) {
        Ok(told) => return Ok(Transformed::yes(told)),
        Err(other) => other,
    };
    match expr {
        // `'a%'::text`, as Postgres prints every text: what asks for a literal shall see it.
        Expr::Cast(Cast { expr, field })
            if matches!(&*expr, Expr::Literal(ScalarValue::Utf8(_), _))
                && *field.data_type() == DataType::Utf8 =>
        {
            Ok(Transformed::yes(*expr))
        }
        Expr::Negative(inner) if is_open(&inner) => Ok(Transformed::yes(quotient::negative(*inner))),
        // Its text is json no more.
        Expr::Cast(Cast { expr, field })
            if *field.data_type() == DataType::Utf8 && is_json(&expr, schema) =>
        {
            Ok(Transformed::yes(build::as_text(*expr)))
        }
        // Nor is the text of an enum one.
        Expr::Cast(Cast { expr, field })
            if *field.data_type() == DataType::Utf8 && enum_of(&expr, schema).is_some() =>
        {
            Ok(Transformed::yes(build::as_text(*expr)))
        }
        Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Utf8 => {
            match printed::apart(&expr, schema) {
                Some(text) => Ok(Transformed::yes(text)),
                None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
            }
        }
        Expr::Cast(Cast { expr, field }) => match numerics::rounded(&expr, field.data_type()) {
            Some(rounded) => Ok(Transformed::yes(rounded)),
            None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
        },
        Expr::BinaryExpr(of) if matches!(of.op, Operator::And | Operator::Or) => {
            Ok(Transformed::no(Expr::BinaryExpr(of)))
        }
        Expr::BinaryExpr(of) => Ok(binary(of, schema)),
        Expr::Between(of) => Ok(between(of, schema)),
        Expr::InList(of) => Ok(in_list(of, schema)),
        Expr::Case(of) => Ok(case(of, schema)),
        Expr::AggregateFunction(of) => {
            let first = of.params.args.first().and_then(|arg| arg.get_type(schema).ok());
            match first.and_then(|first| interval_sums::aggregate(of.clone(), &first)) {
                Some(said) => Ok(Transformed::yes(Expr::AggregateFunction(said))),
                None => Ok(Transformed::no(Expr::AggregateFunction(of))),
            }
        }
        Expr::WindowFunction(of) => {
            let first = of.params.args.first().and_then(|arg| arg.get_type(schema).ok());
            let mut of = of;
            reaching(&mut of.params, schema);
            if matches!(of.fun.name(), "lag" | "lead") {
                wide_enough(&mut of.params.args, schema);
            }
            if WITHOUT_FRAME.contains(&of.fun.name()) {
                // The engine knows no ranges of some types, which these would not look at.
                of.params.window_frame = WindowFrame::new_bounds(
                    WindowFrameUnits::Rows,
                    WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                    WindowFrameBound::CurrentRow,
                );
            }
            match first.and_then(|first| interval_sums::window((*of).clone(), &first)) {
                Some(said) => Ok(Transformed::yes(Expr::from(said))),
                None => Ok(Transformed::no(Expr::WindowFunction(of))),
            }
        }
        Expr::ScalarFunction(mut of) => {
            if let Some(bare) = apart::bare(&of) {
                return Ok(Transformed::yes(bare));
            }
            if let Some(joined) = quotient::joined(&of, &|side| numerics::is_known(side, schema)) {
                return Ok(Transformed::yes(joined));
            }
            match build::of_values(&mut of, schema, &|value| is_json(value, schema))? {
                true => Ok(Transformed::yes(Expr::ScalarFunction(of))),
                false => Ok(function(of, schema)),
            }
        }
        // `1e2` is 100.
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale @ ..0), metadata) => {
            let digits = precision.saturating_add(scale.unsigned_abs());
            match 10_i128.checked_pow(u32::from(scale.unsigned_abs())).and_then(|ten| value.checked_mul(ten))
            {
                Some(value) if digits <= 38 => {
                    let whole = ScalarValue::Decimal128(Some(value), digits, 0);
                    Ok(Transformed::yes(Expr::Literal(whole, metadata)))
                }
                _ => {
                    let literal = ScalarValue::Decimal128(Some(value), precision, scale);
                    Ok(Transformed::no(Expr::Literal(literal, metadata)))
                }
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Windows that look at no frame, whatever is written.
const WITHOUT_FRAME: [&str; 6] = ["row_number", "rank", "dense_rank", "ntile", "lag", "lead"];

/// What stands in for a row that isn't there may have more digits than the values, which then have as many: the engine
/// would round it.
fn wide_enough(args: &mut [Expr], schema: &DFSchema) {
    let [value, _, other] = args else { return };
    if let (Some(read), Ok(of)) = (as_numeric(other), value.get_type(schema))
        && is_decimal(&of)
    {
        *other = read;
    }
    let room = |of: &Expr| of.get_type(schema).ok().and_then(|of| Room::of(&of).ok());
    if let (Some(has), Some(wanted)) = (room(value), room(other))
        && wanted.after > has.after
    {
        let whole = Room { before: has.before.max(wanted.before), after: wanted.after };
        let (precision, scale) = whole.data_type(PUBLISHED, whole.after);
        *value = cast(std::mem::take(value), DataType::Decimal128(precision, scale));
    }
}

/// A RANGE over integers reaches beyond all of them, which only a wider number holds.
fn reaching(params: &mut WindowFunctionParams, schema: &DFSchema) {
    let frame = &params.window_frame;
    let reaches = |bound: &WindowFrameBound| !bound.is_unbounded() && *bound != WindowFrameBound::CurrentRow;
    if frame.units != WindowFrameUnits::Range || !(reaches(&frame.start_bound) || reaches(&frame.end_bound)) {
        return;
    }
    for key in &mut params.order_by {
        if matches!(key.expr.get_type(schema), Ok(DataType::Int16 | DataType::Int32)) {
            key.expr = cast(std::mem::take(&mut key.expr), DataType::Int64);
        }
    }
}

fn binary(BinaryExpr { left, op, right }: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    if op == Operator::StringConcat {
        let apart = |side: Box<Expr>| printed::apart(&side, schema).map_or(side, Box::new);
        let (left, right) = (apart(left), apart(right));
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    let (Ok(of_left), Ok(of_right)) = (left.get_type(schema), right.get_type(schema)) else {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    };
    match of_times(BinaryExpr { left, op, right }, &of_left, &of_right, schema) {
        Ok(said) => Transformed::yes(said),
        Err(of) => of_values(of, &of_left, &of_right, schema),
    }
}

/// Differences of times, and days moved by intervals.
fn of_times(
    BinaryExpr { left, op, right }: BinaryExpr,
    of_left: &DataType,
    of_right: &DataType,
    schema: &DFSchema,
) -> Result<Expr, BinaryExpr> {
    if op == Operator::Minus && is_timestamp(of_left) && is_timestamp(of_right) {
        let sides = [&*left, &*right];
        let (left, right) = match instant_among(sides.into_iter(), schema) {
            Some(instant) => (as_instant(*left, &instant, schema), as_instant(*right, &instant, schema)),
            None => (*left, *right),
        };
        return Ok(call(interval::difference(), vec![left, right]).data);
    }
    // A day beside a time is the time at which it begins.
    if op == Operator::Minus && is_timestamp(of_left) && *of_right == DataType::Date32 {
        let right = cast(*right, of_left.clone());
        return Ok(call(interval::difference(), vec![*left, right]).data);
    }
    if op == Operator::Minus && *of_left == DataType::Date32 && is_timestamp(of_right) {
        let left = cast(*left, of_right.clone());
        return Ok(call(interval::difference(), vec![left, *right]).data);
    }
    // A day ± an interval is a local time.
    if matches!(op, Operator::Plus | Operator::Minus)
        && *of_left == DataType::Date32
        && matches!(of_right, DataType::Interval(_))
    {
        let left = Box::new(cast(*left, LOCAL));
        return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    if op == Operator::Plus && *of_right == DataType::Date32 && matches!(of_left, DataType::Interval(_)) {
        let right = Box::new(cast(*right, LOCAL));
        return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    Err(BinaryExpr { left, op, right })
}

/// Values of two types that meet.
fn of_values(
    BinaryExpr { left, op, right }: BinaryExpr,
    of_left: &DataType,
    of_right: &DataType,
    schema: &DFSchema,
) -> Transformed<Expr> {
    if is_comparison(op) && (is_bpchar(&left) || is_bpchar(&right)) {
        let (left, right) = (Box::new(without_blanks(*left)), Box::new(without_blanks(*right)));
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    if is_comparison(op) {
        let read = |side: &Expr, other: &DataType| as_numeric(side).filter(|_| is_decimal(other));
        if let Some(right) = read(&right, of_left) {
            return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right: Box::new(right) }));
        }
        if let Some(left) = read(&left, of_right) {
            return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right }));
        }
    }
    if is_comparison(op)
        && let Some(instant) = instant_among([&*left, &*right].into_iter(), schema)
    {
        let left = Box::new(as_instant(*left, &instant, schema));
        let right = Box::new(as_instant(*right, &instant, schema));
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    // The engine numbers rows without a sign.
    if is_arithmetic(op) && (*of_left == DataType::UInt64 || *of_right == DataType::UInt64) {
        let signed = |side: Box<Expr>, of: &DataType| match of {
            DataType::UInt64 => Box::new(cast(*side, DataType::Int64)),
            _ => side,
        };
        let (left, right) = (signed(left, of_left), signed(right, of_right));
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    if let Some(moved) = shifted(&left, op, &right, schema) {
        return Transformed::yes(moved);
    }
    if let Some(divided) = numerics::operation(&left, op, &right, schema) {
        return Transformed::yes(divided);
    }
    let real = |of: &DataType, other: &DataType| *of == DataType::Float32 && other.is_integer();
    if is_arithmetic(op) && (real(of_left, of_right) || real(of_right, of_left)) {
        let (left, right) =
            (Box::new(cast(*left, DataType::Float64)), Box::new(cast(*right, DataType::Float64)));
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    let meets = is_arithmetic(op) || is_comparison(op);
    let double = DataType::Float64;
    let (left, right) = match (is_decimal(of_left), is_decimal(of_right)) {
        (true, false) if meets && of_right.is_floating() => (Box::new(cast(*left, double)), right),
        (false, true) if meets && of_left.is_floating() => (left, Box::new(cast(*right, double))),
        _ => return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
    };
    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

/// Bits that are moved, within an integer of as many bits as Postgres's has.
fn shifted(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let name = match op {
        Operator::BitwiseShiftLeft => SHIFT_LEFT,
        Operator::BitwiseShiftRight if !left.to_string().contains("__grouping_id") => SHIFT_RIGHT,
        _ => return None,
    };
    let integer = |side: &Expr| side.get_type(schema).is_ok_and(|of| of.is_integer());
    let nothing = |side: &Expr| side.get_type(schema).is_ok_and(|of| of.is_null());
    if !integer(left) || !(integer(right) || nothing(right)) {
        return None;
    }
    let args = vec![cast(left.clone(), integer_type(left, schema)), cast(right.clone(), DataType::Int64)];
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(named(name, Tz::UTC)?, args)))
}

/// The type that an integer has in Postgres: a literal's is four bytes where it fits, and what is computed of two has
/// the longer of theirs.
fn integer_type(value: &Expr, schema: &DFSchema) -> DataType {
    match value {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) if i32::try_from(*number).is_ok() => {
            DataType::Int32
        }
        Expr::Negative(inner) => integer_type(inner, schema),
        Expr::BinaryExpr(of) => {
            let sides = [integer_type(&of.left, schema), integer_type(&of.right, schema)];
            let has = |wanted: &DataType| sides.contains(wanted);
            if has(&DataType::Int64) {
                DataType::Int64
            } else if has(&DataType::Int32) {
                DataType::Int32
            } else {
                DataType::Int16
            }
        }
        value => match value.get_type(schema) {
            Ok(of @ (DataType::Int16 | DataType::Int32)) => of,
            _ => DataType::Int64,
        },
    }
}

fn function(mut function: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let name = function.func.name().to_owned();
    let first = function.args.first().and_then(|arg| arg.get_type(schema).ok());
    let said = match (name.as_str(), function.args.len()) {
        (name, _) if exactness::CONCATENATES.contains(&name) => {
            let apart = |arg: Expr| printed::apart(&arg, schema).unwrap_or(arg);
            function.args = function.args.into_iter().map(apart).collect();
            return Transformed::yes(Expr::ScalarFunction(function));
        }
        ("nullif", 2) if is_zero(&function.args[1]) && is_open(&function.args[0]) => {
            return Transformed::yes(quotient::not_zero(function.args.swap_remove(0)));
        }
        (name, _) if MEET.contains(&name) => return meeting(function, schema),
        (numeric::NUMERIC, _) => {
            let value = function.args.first();
            value.and_then(|value| numeric::exact(value, &value.get_type(schema).ok()?))
        }
        // A text that is written out is json there, in its own form.
        (name, 1..)
            if name.starts_with("jsonb_")
                && function.args.first().is_some_and(is_written)
                && name != "jsonb_build_object"
                && name != "jsonb_build_array" =>
        {
            if let Some(as_json) = named(json::CAST, Tz::UTC) {
                let text = std::mem::take(&mut function.args[0]);
                function.args[0] = Expr::ScalarFunction(ScalarFunction::new_udf(as_json, vec![text]));
            }
            return Transformed::yes(Expr::ScalarFunction(function));
        }
        // Postgres has them of doubles only.
        (name, _) if OF_DOUBLES.contains(&name) && has_reals(&function.args, schema) => {
            let double = |arg: Expr| match arg.get_type(schema) {
                Ok(DataType::Float32) => cast(arg, DataType::Float64),
                _ => arg,
            };
            function.args = function.args.into_iter().map(double).collect();
            return Transformed::yes(Expr::ScalarFunction(function));
        }
        ("exp" | "ln" | "log" | "log10" | "power" | "pow", _)
            if let Some(called) = numerics::called(&name, &function.args, schema) =>
        {
            return Transformed::yes(called);
        }
        // The engine divides two natural logarithms.
        ("log", 1) => return call(log10(), function.args),
        ("array_remove", _) => named(REMOVE, Tz::UTC)
            .map(|remove| Expr::ScalarFunction(ScalarFunction::new_udf(remove, function.args.clone()))),
        // Of no elements there is no length.
        ("array_length", _) if is_one(function.args.get(1)) => {
            let length = cast(Expr::ScalarFunction(function), DataType::Int64);
            let none = call(nullif(), vec![length, lit(0_i64)]).data;
            return Transformed::yes(cast(none, DataType::Int32));
        }
        ("sqrt", 1) => numerics::sqrt(&function.args, schema),
        ("trunc", _) => numerics::trunc(&function.args, schema),
        // Only a double can be rounded without a number of digits, besides a numeric.
        ("round", 1) if first.as_ref().is_some_and(DataType::is_integer) => {
            function.args = function.args.into_iter().map(|arg| cast(arg, DataType::Float64)).collect();
            return Transformed::yes(Expr::ScalarFunction(function));
        }
        ("round", _) => numerics::round(&function.args, schema),
        ("ceil" | "floor", _) => return whole(function, first),
        ("date_part" | "extract", _) => return call(interval::date_part(), function.args),
        _ => None,
    };
    match said {
        Some(said) => Transformed::yes(said),
        None => Transformed::no(Expr::ScalarFunction(function)),
    }
}

/// Functions that a real has none of its own of.
const OF_DOUBLES: [&str; 21] = [
    "sqrt", "cbrt", "ln", "log", "log10", "exp", "sin", "cos", "tan", "cot", "asin", "acos", "atan", "atan2",
    "degrees", "radians", "round", "ceil", "floor", "trunc", "sign",
];

fn has_reals(args: &[Expr], schema: &DFSchema) -> bool {
    args.iter().any(|arg| matches!(arg.get_type(schema), Ok(DataType::Float32)))
}

fn is_zero(value: &Expr) -> bool {
    match value {
        Expr::Literal(value, _) => ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| *value == zero),
        Expr::Cast(Cast { expr, .. }) => is_zero(expr),
        _ => false,
    }
}

fn is_open(value: &Expr) -> bool {
    quotient::of(value).is_some_and(|of| !of.is_rounded())
}

/// What is rounded up may have one digit more. Of a quotient it is whole, and can be published.
fn whole(mut function: ScalarFunction, of: Option<DataType>) -> Transformed<Expr> {
    match of {
        Some(DataType::Decimal256(..)) => {
            let whole = DataType::Decimal128(numeric::PUBLISHED, 0);
            Transformed::yes(cast(Expr::ScalarFunction(function), whole))
        }
        Some(DataType::Decimal128(precision @ ..38, scale)) => {
            let wider = DataType::Decimal128(precision + 1, scale);
            function.args = function.args.into_iter().map(|arg| cast(arg, wider.clone())).collect();
            Transformed::yes(Expr::ScalarFunction(function))
        }
        _ => Transformed::no(Expr::ScalarFunction(function)),
    }
}
