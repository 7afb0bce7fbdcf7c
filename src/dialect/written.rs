//! Literals and calls that are written in forms of Postgres's own: intervals in all their spellings, arguments by name.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Interval, Spanned as _, Subscript, UnaryOperator, Value,
};

use super::functions::array_text::elements;
use super::functions::arrays::SLICE;
use super::functions::json::{CAST, CAST_TEXT};
use super::functions::spans::{NEGATIVE, PARTS, read};
use super::reword::call;
use super::words::folded;

/// `-INTERVAL '1 day'`, whose sign the engine gives to the first of its parts alone.
pub fn negative_interval(expr: &mut Expr) {
    fn is_interval(expr: &Expr) -> bool {
        match expr {
            Expr::Nested(inner) => is_interval(inner),
            Expr::Interval(_) => true,
            Expr::Function(function) => function.name.to_string() == NEGATIVE,
            _ => false,
        }
    }
    if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = &*expr
        && is_interval(inner)
    {
        *expr = call(NEGATIVE, expr.span(), &[inner]);
    }
}

/// `varchar(2) 'abc'`, `timestamp(0) '…'`, `jsonb '{}'`: a constant of a type that has a length, digits or a name of its own
/// is a text that is cast.
pub fn as_cast(expr: &Expr) -> Option<Expr> {
    let Expr::TypedString(typed) = expr else { return None };
    let plain = match &typed.data_type {
        DataType::Date | DataType::Interval { .. } => true,
        DataType::Time(digits, _) | DataType::Timestamp(digits, _) => digits.is_none(),
        _ => false,
    };
    (!plain).then(|| Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(typed.value.clone())),
        data_type: typed.data_type.clone(),
        array: false,
        format: None,
    })
}

/// A whole number that no bigint holds is a numeric.
pub fn number(expr: &mut Expr) {
    let Expr::Value(value) = &*expr else { return };
    let Value::Number(digits, _) = &value.value else { return };
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let places = digits.trim_start_matches('0').len();
    if is_whole && places <= 38 && digits.parse::<i64>().is_err() {
        let info = ExactNumberInfo::PrecisionAndScale(38, 0);
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::value(Value::SingleQuotedString(digits.clone()))),
            data_type: DataType::Numeric(info),
            array: false,
            format: None,
        };
    }
}

/// An interval in the one form that the engine reads as Postgres does.
pub fn interval(expr: &mut Expr) {
    let text = match &*expr {
        Expr::Interval(Interval { value, leading_field, last_field, .. }) => {
            let Some(text) = text_of(value) else { return };
            match (leading_field, last_field) {
                (None, _) | (_, Some(_)) => text.to_owned(),
                (Some(field), None) => format!("{text} {field}"),
            }
        }
        Expr::Cast { expr: inner, data_type: DataType::Interval { .. }, format: None, .. } => {
            let Some(text) = text_of(inner) else { return };
            text.to_owned()
        }
        _ => return,
    };
    let Some((months, days, micros)) = read(&text) else { return };
    let sign = if micros < 0 { "-" } else { "" };
    let seconds = format!("{sign}{}.{:06}", micros.abs() / 1_000_000, micros.abs() % 1_000_000);
    let said = format!("{months} months {days} days {seconds} seconds");
    *expr = Expr::Interval(Interval {
        value: Box::new(Expr::value(Value::SingleQuotedString(said))),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    });
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// `make_interval(days => 3)` with all of its arguments, in their order.
pub fn arguments_by_name(expr: &mut Expr) {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return };
    let called = name.0.last().and_then(|part| part.as_ident()).map(folded);
    if called.as_deref() != Some("make_interval") {
        return;
    }
    let none =
        || FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::Number("0".to_owned(), false))));
    let mut all: Vec<FunctionArg> = PARTS.iter().map(|_| none()).collect();
    for (at, arg) in list.args.iter().enumerate() {
        let (place, value) = match arg {
            FunctionArg::Named { name, arg, .. } => {
                (PARTS.iter().position(|part| *part == folded(name)), arg)
            }
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                (PARTS.iter().position(|part| *part == folded(name)), arg)
            }
            FunctionArg::Unnamed(arg) => (Some(at), arg),
            FunctionArg::ExprNamed { .. } => return,
        };
        let Some(slot) = place.and_then(|place| all.get_mut(place)) else { return };
        *slot = FunctionArg::Unnamed(value.clone());
    }
    list.args = all;
}

/// `'{1,2}'::int[]` as the array that it says, each element cast to the type of all.
pub fn array(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type: DataType::Array(of), format: None, .. } = &*expr else { return };
    let ArrayElemTypeDef::SquareBracket(of, None) = of else { return };
    let Some(Ok(elements)) = text_of(inner).map(elements) else { return };
    let cast = |value: Value| Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::value(value)),
        data_type: of.as_ref().clone(),
        array: false,
        format: None,
    };
    let span = expr.span();
    let value = |element: Option<String>| cast(element.map_or(Value::Null, Value::SingleQuotedString));
    let values: Vec<Expr> = elements.into_iter().map(value).collect();
    *expr = match values.as_slice() {
        // None of them, of a type that is known.
        [] => {
            let number = |number: &str| Expr::value(Value::Number(number.to_owned(), false));
            let one = call("make_array", span, &[&cast(Value::Null)]);
            call(SLICE, span, &[&one, &number("2"), &number("1")])
        }
        values => call("make_array", span, &values.iter().collect::<Vec<_>>()),
    };
}

/// A cast to json, which travels as its text.
pub fn json(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, format: None, .. } = &*expr else { return };
    let name = match data_type {
        DataType::JSONB => CAST,
        DataType::JSON => CAST_TEXT,
        _ => return,
    };
    *expr = call(name, expr.span(), &[inner]);
}

/// A slice from the first element, or to the last, which is written without it.
pub fn bounds(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { access_chain, .. } = expr else { return };
    for access in access_chain {
        if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) = access {
            let number = |number: i32| Expr::value(Value::Number(number.to_string(), false));
            lower_bound.get_or_insert_with(|| number(1));
            upper_bound.get_or_insert_with(|| number(i32::MAX));
        }
    }
}
