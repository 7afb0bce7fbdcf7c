//! Arithmetic of numerics in which something is divided: a whole expression is computed at once, as the digits of a
//! quotient go into what is computed from it.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Builder, Decimal256Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast as cast_to,
};

use super::digits::{Digits, Shown, too_long};
use super::formula::{Formula, Reading, Room, Side};
use super::numeric::PUBLISHED;
use super::powers::{Called, Servers};
use super::short_quotient::Short;
use super::wrong;

/// Digits that Arrow holds.
const WIDEST: u8 = 76;

/// An expression of numerics.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Quotient {
    formula: Formula,
    /// Whether an argument's scale is what Postgres shows of it.
    known: Vec<bool>,
    /// What it is rounded to, where the query says it.
    to: Option<(u8, i8)>,
    signature: Signature,
}

/// A part of an expression that is being put together.
struct Part {
    formula: Formula,
    args: Vec<Expr>,
    known: Vec<bool>,
}

impl Part {
    /// Takes the arguments of another part; its formula is of them then.
    fn take(&mut self, other: Part) -> Formula {
        let formula = other.formula.moved(self.args.len(), other.args.len());
        self.args.extend(other.args);
        self.known.extend(other.known);
        formula
    }
}

/// The quotient that an expression is, unless it is rounded already.
pub fn of(expr: &Expr) -> Option<&Quotient> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let inner: &dyn Any = function.func.inner().as_ref();
    inner.downcast_ref::<Quotient>()
}

fn part(expr: Expr, known: &dyn Fn(&Expr) -> bool) -> Part {
    match of(&expr) {
        Some(Quotient { formula, known, to: None, .. }) => {
            let (formula, known) = (formula.clone(), known.clone());
            let args = match expr {
                Expr::ScalarFunction(function) => function.args,
                _ => Vec::new(),
            };
            Part { formula, args, known }
        }
        _ => {
            let known = known(&expr);
            Part { formula: Formula::Argument(0), args: vec![expr], known: vec![known] }
        }
    }
}

fn call(part: Part, to: Option<(u8, i8)>) -> Expr {
    let Part { formula, args, known } = part;
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let quotient = ScalarUDF::new_from_impl(Quotient { formula, known, to, signature });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(quotient), args))
}

/// An operation one side of which is a quotient, or which makes one.
pub fn binary(left: Expr, op: Operator, right: Expr, known: &dyn Fn(&Expr) -> bool) -> Expr {
    let (mut left, right) = (part(left, known), part(right, known));
    let right = left.take(right);
    let formula = Formula::Binary(op, Box::new(left.formula), Box::new(right));
    call(Part { formula, ..left }, None)
}

pub fn negative(quotient: Expr) -> Expr {
    let part = part(quotient, &|_| false);
    call(Part { formula: Formula::Negative(Box::new(part.formula)), ..part }, None)
}

/// `nullif(x, 0)` of a quotient, by which something is divided.
pub fn not_zero(quotient: Expr) -> Expr {
    let part = part(quotient, &|_| false);
    call(Part { formula: Formula::NotZero(Box::new(part.formula)), ..part }, None)
}

/// A function of numerics that has digits of its own.
pub fn called(function: Called, args: Vec<Expr>, known: &dyn Fn(&Expr) -> bool) -> Expr {
    let mut made = Part { formula: Formula::Argument(0), args: Vec::new(), known: Vec::new() };
    let parts = args.into_iter().map(|arg| made.take(part(arg, known))).collect();
    made.formula = Formula::Called(function, parts);
    call(made, None)
}

/// `sqrt(x)` of a numeric, whose digits are chosen like a quotient's.
pub fn sqrt(value: Expr, known: &dyn Fn(&Expr) -> bool) -> Expr {
    let part = part(value, known);
    call(Part { formula: Formula::Sqrt(Box::new(part.formula)), ..part }, None)
}

/// The deviation whose square a variance is.
pub fn root(variance: Expr) -> Expr {
    let part = part(variance, &|_| false);
    call(Part { formula: Formula::Deviation(Box::new(part.formula)), ..part }, None)
}

/// A quotient rounded to a numeric.
pub fn rounded(quotient: Expr, precision: u8, scale: i8) -> Expr {
    call(part(quotient, &|_| false), Some((precision, scale)))
}

/// A quotient whose arguments have become quotients themselves, as one with them; none when it has none such.
pub fn joined(function: &ScalarFunction, known: &dyn Fn(&Expr) -> bool) -> Option<Expr> {
    let inner: &dyn Any = function.func.inner().as_ref();
    let whole = inner.downcast_ref::<Quotient>()?;
    let is_open = |arg: &Expr| of(arg).is_some_and(|of| !of.is_rounded());
    if !function.args.iter().any(is_open) {
        return None;
    }
    let mut made = Part { formula: Formula::Argument(0), args: Vec::new(), known: Vec::new() };
    let parts: Vec<Formula> = function.args.iter().map(|arg| made.take(part(arg.clone(), known))).collect();
    made.formula = whole.formula.clone().of_parts(&parts);
    Some(call(made, whole.to))
}

impl Quotient {
    fn room(&self, types: &[DataType]) -> Result<Room> {
        let args = types.iter().map(Room::of).collect::<Result<Vec<_>>>()?;
        Ok(Room::computed(&self.formula, &args))
    }

    /// The numeric that a quotient of such arguments becomes when it is rounded to so many digits.
    pub fn rounded_type(&self, types: &[DataType], digits: i64) -> Result<(u8, i8)> {
        let Room { before, after } = self.room(types)?;
        Ok(Room { before: before + 1, after }.data_type(PUBLISHED, digits))
    }

    pub fn is_rounded(&self) -> bool {
        self.to.is_some()
    }

    /// How it may be read besides as usual, and what is said where that gives another value.
    fn other_readings(&self) -> Vec<(Reading, &'static str)> {
        let mut found = Vec::new();
        if self.formula.has_power() {
            found.push((
                Reading { servers: Servers::Before16, ..Reading::USUAL },
                "servers before Postgres 16 and since give this power other digits: round it to fewer, or compute it in \
                 doubles, power(CAST(x AS double precision), CAST(y AS double precision))",
            ));
        }
        let mut divided = vec![false; self.known.len()];
        self.formula.divided(false, &mut divided);
        if divided.iter().zip(&self.known).any(|(divided, known)| *divided && !known) {
            found.push((
                Reading { unknown: Shown::Fewest, ..Reading::USUAL },
                "how many digits this has in Postgres depends on how its numerics are written, and they have no declared \
                 scale; state it: CAST(x AS numeric(20,2)) / y, or round the whole to fewer digits",
            ));
        }
        found
    }

    /// The arguments that something is divided by or of, and whose scale is not known.
    pub fn unknown<'a>(&self, args: &'a [Expr]) -> impl Iterator<Item = &'a Expr> {
        let mut divided = vec![false; args.len()];
        self.formula.divided(false, &mut divided);
        let known = self.known.clone();
        args.iter()
            .zip(divided)
            .zip(known)
            .filter(|((_, divided), known)| *divided && !known)
            .map(|((arg, _), _)| arg)
    }

    /// As it was written.
    pub fn shown(&self, args: &[Expr]) -> Expr {
        let whole = self.formula.written(args);
        match self.to {
            Some((precision, scale)) => cast_to(whole, DataType::Decimal128(precision, scale)),
            None => whole,
        }
    }
}

impl ScalarUDFImpl for Quotient {
    fn name(&self) -> &str {
        "starmill quotient"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if let Some((precision, scale)) = self.to {
            return Ok(DataType::Decimal128(precision, scale));
        }
        let room = self.room(types)?;
        let (precision, scale) = room.data_type(WIDEST, room.after);
        // One that is not rounded cannot be published, however short its digits are.
        Ok(DataType::Decimal256(precision.max(PUBLISHED + 1), scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sides = args.args.iter().map(Side::of).collect::<Result<Vec<_>>>()?;
        let rows = sides.iter().filter_map(Side::rows).max();
        let (precision, scale) = match args.return_type() {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                (*precision, *scale)
            }
            other => return Err(wrong(format!("a quotient is no {other}"))),
        };
        let after = u32::try_from(scale).unwrap_or_default();
        let others = self.other_readings();
        let fitted = |row: usize| -> Result<Option<Digits>> {
            if sides.iter().any(|side| side.is_null(row)) {
                return Ok(None);
            }
            let by = |reading: Reading| {
                let value = self.formula.compute(row, &sides, &self.known, reading)?;
                value.map(|value| value.fitted(precision, after, self.is_rounded())).transpose()
            };
            let value = by(Reading::USUAL)?;
            let same = |other: Result<Option<Digits>>| {
                other.is_ok_and(|other| other.map(Digits::wide) == value.map(Digits::wide))
            };
            let otherwise = others.iter().find(|(reading, _)| !same(by(*reading)));
            match otherwise {
                Some((_, why)) => Err(wrong(why)),
                None => Ok(value),
            }
        };
        let count = rows.unwrap_or(1);
        let result: ArrayRef = match args.return_type() {
            DataType::Decimal128(..) => {
                let short = match self.is_rounded() && others.is_empty() {
                    true => Short::of(&self.formula, &sides, &self.known, (precision, after)),
                    false => None,
                };
                let mut values = Decimal128Builder::with_capacity(count);
                for row in 0..count {
                    let is_null = sides.iter().any(|side| side.is_null(row));
                    match short.as_ref().filter(|_| !is_null).and_then(|short| short.at(row)) {
                        Some(value) => values.append_value(value),
                        None => {
                            let value = fitted(row)?.map(|value| value.narrow().ok_or_else(too_long));
                            values.append_option(value.transpose()?);
                        }
                    }
                }
                Arc::new(values.finish().with_precision_and_scale(precision, scale)?)
            }
            _ => {
                let values = (0..count).map(fitted);
                let wide = |value: Result<Option<Digits>>| Ok(value?.map(Digits::wide));
                let values = values.map(wide).collect::<Result<Vec<_>>>()?;
                Arc::new(Decimal256Array::from(values).with_precision_and_scale(precision, scale)?)
            }
        };
        match rows {
            Some(_) => Ok(ColumnarValue::Array(result)),
            None => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
        }
    }
}
