//! Where numerics are divided, and where what comes of it is rounded.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::functions::math::expr_fn;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, cast, lit};

use super::functions::numeric::{NUMERIC, PUBLISHED, digits_of};
use super::functions::powers::Called;
use super::functions::{cut, quotient};
use super::rewrite::is_decimal;

/// An operation of numerics that divides, or computes with what was divided.
pub fn operation(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (of_left, of_right) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let exact = |of: &DataType| is_decimal(of) || of.is_integer();
    if !exact(&of_left) || !exact(&of_right) {
        return None;
    }
    // What an average gave is a column here, and as wide as a quotient: the engine's own types have no room for more.
    let is_open = |side: &Expr, of: &DataType| {
        quotient::of(side).is_some_and(|of| !of.is_rounded()) || matches!(of, DataType::Decimal256(..))
    };
    let divides = match op {
        Operator::Divide => is_decimal(&of_left) || is_decimal(&of_right),
        Operator::Plus | Operator::Minus | Operator::Multiply => {
            is_open(left, &of_left) || is_open(right, &of_right)
        }
        _ => false,
    };
    // Integers here that are numerics there are not cut.
    let whole = op == Operator::Divide && !divides && (gives_numeric(left) || gives_numeric(right));
    if whole {
        let numeric = |side: &Expr, of: &DataType| {
            cast(side.clone(), DataType::Decimal128(digits_of(of).unwrap_or(PUBLISHED), 0))
        };
        let (left, right) = (numeric(left, &of_left), numeric(right, &of_right));
        return Some(quotient::binary(left, op, right, &|side| is_known(side, schema)));
    }
    divides.then(|| {
        let (left, right) = (written_out(left, &of_left), written_out(right, &of_right));
        quotient::binary(left, op, right, &|side| is_known(side, schema))
    })
}

/// Whether an integer is a numeric in Postgres: a field of a time, or arithmetic with one.
pub fn gives_numeric(value: &Expr) -> bool {
    match value {
        Expr::ScalarFunction(function) => match function.func.name() {
            "date_part" | "extract" | "starmill extract" => true,
            "coalesce" | "nullif" | "greatest" | "least" | "abs" => function.args.iter().any(gives_numeric),
            _ => false,
        },
        Expr::BinaryExpr(binary) => gives_numeric(&binary.left) || gives_numeric(&binary.right),
        Expr::Negative(inner) => gives_numeric(inner),
        Expr::Alias(alias) => gives_numeric(&alias.expr),
        _ => false,
    }
}

/// `1e2`, whose scale is below zero, as 100.
fn written_out(value: &Expr, of: &DataType) -> Expr {
    match of {
        DataType::Decimal128(precision, scale @ ..0) => {
            let digits = precision.saturating_add(scale.unsigned_abs()).min(PUBLISHED);
            cast(value.clone(), DataType::Decimal128(digits, 0))
        }
        _ => value.clone(),
    }
}

/// A quotient that is cast to a numeric of stated digits.
pub fn rounded(value: &Expr, to: &DataType) -> Option<Expr> {
    let open = quotient::of(value).is_some_and(|of| !of.is_rounded());
    match to {
        DataType::Decimal128(precision, scale @ 0..) if open => {
            Some(quotient::rounded(value.clone(), *precision, *scale))
        }
        _ => None,
    }
}

/// `round(x, 2)` of a numeric: it has two digits after the point then, in a numeric that can be published.
pub fn round(args: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let (value, digits) = asked(args)?;
    let whole = as_numeric(value, schema);
    let value = whole.as_ref().unwrap_or(value);
    if digits < 0 {
        is_decimal(&value.get_type(schema).ok()?).then_some(())?;
        return Some(Expr::ScalarFunction(ScalarFunction::new_udf(cut::round(digits), vec![value.clone()])));
    }
    if let (Some(open), Expr::ScalarFunction(function)) = (quotient::of(value), value)
        && !open.is_rounded()
    {
        let types: Option<Vec<DataType>> =
            function.args.iter().map(|arg| arg.get_type(schema).ok()).collect();
        let (precision, scale) = open.rounded_type(&types?, i64::from(digits)).ok()?;
        // Where it may have more digits than there is room for, one that has them is an error.
        let (precision, scale) = if scale == digits { (precision, scale) } else { (PUBLISHED, digits) };
        return Some(quotient::rounded(value.clone(), precision, scale));
    }
    // `round(x::numeric, 2)` of a double or a text: Postgres makes all of its digits a numeric first.
    if let Expr::ScalarFunction(function) = value
        && function.func.name() == NUMERIC
        && let [inner] = function.args.as_slice()
    {
        return Some(cast(inner.clone(), DataType::Decimal128(PUBLISHED, digits)));
    }
    match value.get_type(schema).ok()? {
        DataType::Decimal128(precision, scale) if digits > scale => {
            Some(extended(value, precision, scale, digits))
        }
        // The engine says another type of its own function before types are settled than after it.
        DataType::Decimal128(..) => {
            Some(Expr::ScalarFunction(ScalarFunction::new_udf(cut::round(digits), vec![value.clone()])))
        }
        // What else the value is made one type with is not settled yet, so it may need all digits.
        DataType::Decimal256(..) => {
            let to = DataType::Decimal128(PUBLISHED, digits);
            Some(cast(expr_fn::round(args.to_vec()), to))
        }
        _ => None,
    }
}

/// More digits after the point than a value has are zeros.
fn extended(value: &Expr, precision: u8, scale: i8, digits: i8) -> Expr {
    let more = digits.saturating_sub(scale).unsigned_abs();
    cast(value.clone(), DataType::Decimal128(precision.saturating_add(more).min(PUBLISHED), digits))
}

/// `sqrt(x)` of a numeric, which is one.
pub fn sqrt(args: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let [value] = args else { return None };
    let of = value.get_type(schema).ok()?;
    is_decimal(&of).then(|| quotient::sqrt(value.clone(), &|side| is_known(side, schema)))
}

/// `exp`, `ln`, `log` and `power`, where one of their arguments makes them numerics.
pub fn called(name: &str, args: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let types: Vec<DataType> = args.iter().map(|arg| arg.get_type(schema).ok()).collect::<Option<_>>()?;
    let exact = types.iter().all(|of| is_decimal(of) || of.is_integer());
    let some = types.iter().any(is_decimal);
    let known = |side: &Expr| is_known(side, schema);
    let function = match (name, args) {
        ("exp", [_]) if some => Called::Exp,
        ("ln", [_]) if some => Called::Ln,
        ("log" | "log10", [_]) if some => Called::Log,
        // Postgres has it of numerics only.
        ("log", [_, _]) if exact => Called::Log,
        ("power" | "pow", [_, _]) if some && exact => Called::Power,
        _ => return None,
    };
    let ten = (function == Called::Log && args.len() == 1).then(|| lit(10_i64));
    let args = args.iter().zip(&types).map(|(arg, of)| written_out(arg, of));
    let args = ten.into_iter().chain(args).collect();
    Some(quotient::called(function, args, &known))
}

/// `trunc(x, 2)` of a numeric.
pub fn trunc(args: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let (value, digits) = asked(args)?;
    let whole = as_numeric(value, schema).filter(|_| args.len() > 1);
    let value = whole.as_ref().unwrap_or(value);
    let (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) =
        value.get_type(schema).ok()?
    else {
        return None;
    };
    if digits >= scale {
        return Some(extended(value, precision, scale, digits));
    }
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(cut::trunc(digits), vec![value.clone()])))
}

/// What is rounded or cut, and to how many digits after the point, where that is written out; before it, when they are less than none.
fn asked(args: &[Expr]) -> Option<(&Expr, i8)> {
    let (value, digits) = match args {
        [value] => (value, 0),
        [value, Expr::Literal(digits, _)] => match digits.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(digits) => (value, i8::try_from(digits?).ok()?),
            _ => return None,
        },
        _ => return None,
    };
    (digits.unsigned_abs() <= PUBLISHED).then_some((value, digits))
}

/// An integer that is rounded to digits is a numeric in Postgres.
fn as_numeric(value: &Expr, schema: &DFSchema) -> Option<Expr> {
    let of = value.get_type(schema).ok()?;
    of.is_integer().then(|| cast(value.clone(), DataType::Decimal128(digits_of(&of).unwrap_or(PUBLISHED), 0)))
}

/// Whether a numeric's scale is what Postgres shows of each of its values. One of 38 digits may have been declared
/// without any, or be a sum of such.
pub fn is_known(value: &Expr, schema: &DFSchema) -> bool {
    let is_narrow = || match value.get_type(schema) {
        Ok(DataType::Decimal128(precision, _)) => precision < PUBLISHED,
        Ok(of) => of.is_integer(),
        Err(_) => false,
    };
    match value {
        Expr::Literal(..) => true,
        Expr::Column(_) | Expr::OuterReferenceColumn(..) => {
            is_narrow() && super::refuse::kinds::is_declared(value, schema)
        }
        Expr::Cast(Cast { .. }) => true,
        Expr::Negative(inner) => is_known(inner, schema),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Plus | Operator::Minus | Operator::Multiply,
            right,
        }) => is_known(left, schema) && is_known(right, schema),
        Expr::ScalarFunction(function) => match (function.func.name(), function.args.as_slice()) {
            ("nullif", [first, _]) => is_known(first, schema),
            ("abs", [only]) => is_known(only, schema),
            _ => quotient::of(value).is_some() && is_narrow(),
        },
        _ => value.get_type(schema).is_ok_and(|of| of.is_integer()),
    }
}
