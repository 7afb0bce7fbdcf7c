//! Arithmetic of numerics in which something is divided: a whole expression is computed at once, as the digits of a
//! quotient go into what is computed from it.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::math::expr_fn;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    binary_expr, cast as cast_to,
};

use super::digits::{Digits, too_long};
use super::numeric::{PUBLISHED, digits_of};
use super::wrong;

/// Digits that Arrow holds.
const WIDEST: u8 = 76;

/// What is computed of some arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Formula {
    Argument(usize),
    Negative(Box<Formula>),
    /// `sqrt(x)`.
    Sqrt(Box<Formula>),
    /// The root of a variance, which has as many digits.
    Deviation(Box<Formula>),
    Binary(Operator, Box<Formula>, Box<Formula>),
}

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
    let behind = right.formula.moved(left.args.len(), right.args.len());
    left.args.extend(right.args);
    left.known.extend(right.known);
    let formula = Formula::Binary(op, Box::new(left.formula), Box::new(behind));
    call(Part { formula, ..left }, None)
}

pub fn negative(quotient: Expr) -> Expr {
    let part = part(quotient, &|_| false);
    call(Part { formula: Formula::Negative(Box::new(part.formula)), ..part }, None)
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
    let parts = function.args.iter().map(|arg| {
        let part = part(arg.clone(), known);
        let formula = part.formula.moved(made.args.len(), part.args.len());
        made.args.extend(part.args);
        made.known.extend(part.known);
        formula
    });
    let parts: Vec<Formula> = parts.collect();
    made.formula = whole.formula.clone().of_parts(&parts);
    Some(call(made, whole.to))
}


/// Digits before and after the point that a value may have.
#[derive(Debug, Clone, Copy)]
struct Room {
    before: i64,
    after: i64,
}

impl Room {
    fn of(data_type: &DataType) -> Result<Room> {
        match data_type {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                Ok(Room { before: i64::from(*precision) - i64::from(*scale), after: i64::from(*scale) })
            }
            other => match digits_of(other) {
                Some(digits) => Ok(Room { before: i64::from(digits), after: 0 }),
                None => Err(wrong(format!("{other} is no numeric"))),
            },
        }
    }

    fn computed(formula: &Formula, args: &[Room]) -> Room {
        match formula {
            Formula::Argument(at) => args[*at],
            Formula::Negative(inner) | Formula::Deviation(inner) => Room::computed(inner, args),
            Formula::Sqrt(inner) => {
                let of = Room::computed(inner, args);
                // Half as many before the point; the smallest value has the most after it.
                let after = 16 + (of.after + 3) / 2;
                Room { before: (of.before + 1) / 2, after: after.max(of.after) }
            }
            Formula::Binary(op, left, right) => {
                let (left, right) = (Room::computed(left, args), Room::computed(right, args));
                match op {
                    Operator::Multiply => {
                        Room { before: left.before + right.before, after: left.after + right.after }
                    }
                    Operator::Divide => left.over(right),
                    _ => {
                        Room { before: left.before.max(right.before) + 1, after: left.after.max(right.after) }
                    }
                }
            }
        }
    }

    /// The smallest quotient has the most digits after the point.
    fn over(self, other: Room) -> Room {
        let lowest = -(self.after + 3).div_euclid(4);
        let highest = (other.before + 3).div_euclid(4).max(1) - 1;
        let after = 16 + 4 * (highest - lowest + 1);
        Room { before: self.before + other.after, after: after.max(self.after).max(other.after) }
    }

    /// The numeric that holds it, or as much of it as a numeric can.
    fn data_type(self, widest: u8, after: i64) -> (u8, i8) {
        let widest = i64::from(widest);
        let before = self.before.clamp(0, widest - after.min(widest / 2));
        let after = after.min(widest - before);
        let narrow = |digits: i64| u8::try_from(digits.clamp(1, widest)).unwrap_or(u8::MAX);
        (narrow(before + after), i8::try_from(after).unwrap_or(i8::MAX))
    }
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
        fn written(formula: &Formula, args: &[Expr]) -> Expr {
            match formula {
                Formula::Argument(at) => args[*at].clone(),
                Formula::Negative(inner) => Expr::Negative(Box::new(written(inner, args))),
                Formula::Sqrt(inner) | Formula::Deviation(inner) => expr_fn::sqrt(written(inner, args)),
                Formula::Binary(op, left, right) => {
                    binary_expr(written(left, args), *op, written(right, args))
                }
            }
        }
        let whole = written(&self.formula, args);
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
        let computed = |row: usize| {
            if sides.iter().any(|side| side.is_null(row)) {
                return Ok(None);
            }
            self.formula.compute(row, &sides, &self.known).map(Some)
        };
        let result: ArrayRef = match args.return_type() {
            DataType::Decimal128(precision, scale) => {
                let after = u32::try_from(*scale).unwrap_or_default();
                let fitted = |row| match computed(row)? {
                    Some(value) => {
                        value.fitted(*precision, after, true)?.to_i128().ok_or_else(too_long).map(Some)
                    }
                    None => Ok(None),
                };
                let values = (0..rows.unwrap_or(1)).map(fitted).collect::<Result<Decimal128Array>>()?;
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Decimal256(precision, scale) => {
                let after = u32::try_from(*scale).unwrap_or_default();
                let fitted = |row| match computed(row)? {
                    Some(value) => value.fitted(*precision, after, false).map(Some),
                    None => Ok(None),
                };
                let values: Vec<Option<i256>> = (0..rows.unwrap_or(1)).map(fitted).collect::<Result<_>>()?;
                Arc::new(Decimal256Array::from(values).with_precision_and_scale(*precision, *scale)?)
            }
            other => return Err(wrong(format!("a quotient is no {other}"))),
        };
        match rows {
            Some(_) => Ok(ColumnarValue::Array(result)),
            None => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
        }
    }
}

impl Formula {
    fn compute(&self, row: usize, sides: &[Side], known: &[bool]) -> Result<Digits> {
        match self {
            Formula::Argument(at) => Ok(sides[*at].digits(row)),
            Formula::Negative(inner) => inner.compute(row, sides, known)?.negated(),
            Formula::Sqrt(inner) => inner.compute(row, sides, known)?.sqrt(inner.is_known(known)),
            Formula::Deviation(inner) => {
                let variance = inner.compute(row, sides, known)?;
                variance.root(variance.scale())
            }
            Formula::Binary(op, left, right) => {
                let (one, other) = (left.compute(row, sides, known)?, right.compute(row, sides, known)?);
                match op {
                    Operator::Plus => one.plus(other),
                    Operator::Minus => one.plus(other.negated()?),
                    Operator::Multiply => one.times(other),
                    _ => one.over(other, left.is_known(known) && right.is_known(known)),
                }
            }
        }
    }

    /// The same of arguments that stand behind others.
    fn moved(self, by: usize, args: usize) -> Formula {
        let parts: Vec<Formula> = (by..by + args).map(Formula::Argument).collect();
        self.of_parts(&parts)
    }

    /// The same of what its arguments are made of.
    fn of_parts(self, parts: &[Formula]) -> Formula {
        let of = |inner: Box<Formula>| Box::new(inner.of_parts(parts));
        match self {
            Formula::Argument(at) => parts[at].clone(),
            Formula::Negative(inner) => Formula::Negative(of(inner)),
            Formula::Sqrt(inner) => Formula::Sqrt(of(inner)),
            Formula::Deviation(inner) => Formula::Deviation(of(inner)),
            Formula::Binary(op, left, right) => Formula::Binary(op, of(left), of(right)),
        }
    }

    /// Which arguments stand below a division.
    fn divided(&self, below: bool, found: &mut [bool]) {
        match self {
            Formula::Argument(at) => found[*at] |= below,
            Formula::Negative(inner) => inner.divided(below, found),
            Formula::Sqrt(inner) | Formula::Deviation(inner) => inner.divided(true, found),
            Formula::Binary(op, left, right) => {
                let below = below || *op == Operator::Divide;
                left.divided(below, found);
                right.divided(below, found);
            }
        }
    }

    fn is_known(&self, known: &[bool]) -> bool {
        match self {
            Formula::Argument(at) => known[*at],
            Formula::Negative(inner) | Formula::Sqrt(inner) | Formula::Deviation(inner) => {
                inner.is_known(known)
            }
            Formula::Binary(_, left, right) => left.is_known(known) && right.is_known(known),
        }
    }
}

/// One argument's values.
enum Side {
    Integers(PrimitiveArray<Int64Type>, bool),
    Narrow(PrimitiveArray<Decimal128Type>, u32, bool),
    Wide(PrimitiveArray<Decimal256Type>, u32, bool),
}

impl Side {
    fn of(value: &ColumnarValue) -> Result<Side> {
        let (array, single) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array_of_size(1)?, true),
        };
        Ok(match array.data_type() {
            DataType::Decimal128(_, scale) => {
                let scale = u32::try_from(*scale).unwrap_or_default();
                Side::Narrow(array.as_primitive().clone(), scale, single)
            }
            DataType::Decimal256(_, scale) => {
                let scale = u32::try_from(*scale).unwrap_or_default();
                Side::Wide(array.as_primitive().clone(), scale, single)
            }
            DataType::UInt64 => {
                let decimals = cast(&array, &DataType::Decimal128(20, 0))?;
                Side::Narrow(decimals.as_primitive().clone(), 0, single)
            }
            _ => Side::Integers(cast(&array, &DataType::Int64)?.as_primitive().clone(), single),
        })
    }

    /// None for what is the same in every row.
    fn rows(&self) -> Option<usize> {
        match self {
            Side::Integers(array, single) => (!single).then(|| array.len()),
            Side::Narrow(array, _, single) => (!single).then(|| array.len()),
            Side::Wide(array, _, single) => (!single).then(|| array.len()),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Side::Integers(array, single) => array.is_null(if *single { 0 } else { row }),
            Side::Narrow(array, _, single) => array.is_null(if *single { 0 } else { row }),
            Side::Wide(array, _, single) => array.is_null(if *single { 0 } else { row }),
        }
    }

    fn digits(&self, row: usize) -> Digits {
        let at = |single: &bool| if *single { 0 } else { row };
        match self {
            Side::Integers(array, single) => Digits::Narrow(i128::from(array.value(at(single))), 0),
            Side::Narrow(array, scale, single) => Digits::Narrow(array.value(at(single)), *scale),
            Side::Wide(array, scale, single) => match array.value(at(single)).to_i128() {
                Some(value) => Digits::Narrow(value, *scale),
                None => Digits::Wide(array.value(at(single)), *scale),
            },
        }
    }
}
