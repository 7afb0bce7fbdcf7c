//! What is computed of numerics where something is divided: a formula over some arguments, and the digits that its
//! parts have.

use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::nullif;
use datafusion::functions::math::expr_fn;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, Operator, binary_expr, lit};

use super::digits::{Digits, Shown};
use super::numeric::digits_of;
use super::powers::{Called, Servers};
use super::wrong;

/// What is computed of some arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Formula {
    Argument(usize),
    Negative(Box<Formula>),
    /// `nullif(x, 0)`.
    NotZero(Box<Formula>),
    /// `sqrt(x)`.
    Sqrt(Box<Formula>),
    /// The root of a variance, which has as many digits.
    Deviation(Box<Formula>),
    Binary(Operator, Box<Formula>, Box<Formula>),
    /// `exp`, `ln`, `log` or `power`.
    Called(Called, Vec<Formula>),
}

/// How a formula is read where Postgres's answer depends on what is not known here.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub servers: Servers,
    pub unknown: Shown,
}

impl Reading {
    pub const USUAL: Reading = Reading { servers: Servers::Since16, unknown: Shown::Most };
}

/// Digits before and after the point that a value may have.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub before: i64,
    pub after: i64,
}

impl Room {
    pub fn of(data_type: &DataType) -> Result<Room> {
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

    pub fn computed(formula: &Formula, args: &[Room]) -> Room {
        match formula {
            Formula::Argument(at) => args[*at],
            Formula::Negative(inner) | Formula::NotZero(inner) | Formula::Deviation(inner) => {
                Room::computed(inner, args)
            }
            Formula::Sqrt(inner) => {
                let of = Room::computed(inner, args);
                // Half as many before the point; the smallest value has the most after it.
                let after = 16 + (of.after + 3) / 2;
                Room { before: (of.before + 1) / 2, after: after.max(of.after) }
            }
            Formula::Called(function, parts) => {
                let after =
                    parts.iter().map(|part| Room::computed(part, args).after).max().unwrap_or_default();
                match function {
                    // What is larger is an error; what is smaller has more digits than are kept unrounded.
                    Called::Exp | Called::Power => Room { before: 24, after: after + 24 },
                    Called::Ln => Room { before: 4, after: after + 17 },
                    Called::Log => Room { before: 12, after: after + 24 },
                }
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
    pub fn over(self, other: Room) -> Room {
        let lowest = -(self.after + 3).div_euclid(4);
        let highest = (other.before + 3).div_euclid(4).max(1) - 1;
        let after = 16 + 4 * (highest - lowest + 1);
        Room { before: self.before + other.after, after: after.max(self.after).max(other.after) }
    }

    /// The numeric that holds it, or as much of it as a numeric can.
    pub fn data_type(self, widest: u8, after: i64) -> (u8, i8) {
        let widest = i64::from(widest);
        let before = self.before.clamp(0, widest - after.min(widest / 2));
        let after = after.min(widest - before);
        let narrow = |digits: i64| u8::try_from(digits.clamp(1, widest)).unwrap_or(u8::MAX);
        (narrow(before + after), i8::try_from(after).unwrap_or(i8::MAX))
    }
}

impl Formula {
    /// As it was written.
    pub fn written(&self, args: &[Expr]) -> Expr {
        match self {
            Formula::Argument(at) => args[*at].clone(),
            Formula::Negative(inner) => Expr::Negative(Box::new(inner.written(args))),
            Formula::NotZero(inner) => {
                let sides = vec![inner.written(args), lit(0_i64)];
                Expr::ScalarFunction(ScalarFunction::new_udf(nullif(), sides))
            }
            Formula::Sqrt(inner) | Formula::Deviation(inner) => expr_fn::sqrt(inner.written(args)),
            Formula::Called(function, parts) => {
                let sides: Vec<Expr> = parts.iter().map(|part| part.written(args)).collect();
                match (function, sides.as_slice()) {
                    (Called::Exp, [of]) => expr_fn::exp(of.clone()),
                    (Called::Ln, [of]) => expr_fn::ln(of.clone()),
                    (Called::Log, [base, of]) => expr_fn::log(base.clone(), of.clone()),
                    (Called::Power, [base, of]) => expr_fn::power(base.clone(), of.clone()),
                    _ => lit(ScalarValue::Null),
                }
            }
            Formula::Binary(op, left, right) => binary_expr(left.written(args), *op, right.written(args)),
        }
    }

    /// None where a part of it is NULL.
    pub fn compute(
        &self,
        row: usize,
        sides: &[Side],
        known: &[bool],
        reading: Reading,
    ) -> Result<Option<Digits>> {
        let inner = |of: &Formula| of.compute(row, sides, known, reading);
        // Those that are known are what they are.
        let shown = |all: bool| if all { Shown::Most } else { reading.unknown };
        Ok(Some(match self {
            Formula::Argument(at) => sides[*at].digits(row),
            Formula::Binary(op, left, right) => {
                let (Some(one), Some(other)) = (inner(left)?, inner(right)?) else { return Ok(None) };
                match op {
                    Operator::Plus => one.plus(other)?,
                    Operator::Minus => one.plus(other.negated()?)?,
                    Operator::Multiply => one.times(other)?,
                    _ => one.over(other, shown(left.is_known(known) && right.is_known(known)))?,
                }
            }
            Formula::Called(function, parts) => {
                let values = parts.iter().map(inner).collect::<Result<Option<Vec<Digits>>>>()?;
                let Some(values) = values else { return Ok(None) };
                function.computed(&values, shown(self.is_known(known)), reading.servers)?
            }
            Formula::Negative(of) | Formula::NotZero(of) | Formula::Sqrt(of) | Formula::Deviation(of) => {
                let Some(value) = inner(of)? else { return Ok(None) };
                match self {
                    Formula::NotZero(_) if value.is_zero() => return Ok(None),
                    Formula::NotZero(_) => value,
                    Formula::Negative(_) => value.negated()?,
                    Formula::Sqrt(_) => value.sqrt(shown(of.is_known(known)))?,
                    _ => value.root(value.scale())?,
                }
            }
        }))
    }

    /// The same of arguments that stand behind others.
    pub fn moved(self, by: usize, args: usize) -> Formula {
        let parts: Vec<Formula> = (by..by + args).map(Formula::Argument).collect();
        self.of_parts(&parts)
    }

    /// The same of what its arguments are made of.
    pub fn of_parts(self, parts: &[Formula]) -> Formula {
        let of = |inner: Box<Formula>| Box::new(inner.of_parts(parts));
        match self {
            Formula::Argument(at) => parts[at].clone(),
            Formula::Negative(inner) => Formula::Negative(of(inner)),
            Formula::NotZero(inner) => Formula::NotZero(of(inner)),
            Formula::Sqrt(inner) => Formula::Sqrt(of(inner)),
            Formula::Deviation(inner) => Formula::Deviation(of(inner)),
            Formula::Binary(op, left, right) => Formula::Binary(op, of(left), of(right)),
            Formula::Called(function, inner) => {
                Formula::Called(function, inner.into_iter().map(|inner| inner.of_parts(parts)).collect())
            }
        }
    }

    pub fn has_power(&self) -> bool {
        match self {
            Formula::Argument(_) => false,
            Formula::Negative(inner)
            | Formula::NotZero(inner)
            | Formula::Sqrt(inner)
            | Formula::Deviation(inner) => inner.has_power(),
            Formula::Binary(_, left, right) => left.has_power() || right.has_power(),
            Formula::Called(function, parts) => {
                *function == Called::Power || parts.iter().any(Formula::has_power)
            }
        }
    }

    /// Which arguments stand below a division.
    pub fn divided(&self, below: bool, found: &mut [bool]) {
        match self {
            Formula::Argument(at) => found[*at] |= below,
            Formula::Negative(inner) | Formula::NotZero(inner) => inner.divided(below, found),
            Formula::Sqrt(inner) | Formula::Deviation(inner) => inner.divided(true, found),
            Formula::Called(_, parts) => parts.iter().for_each(|part| part.divided(true, found)),
            Formula::Binary(op, left, right) => {
                let below = below || *op == Operator::Divide;
                left.divided(below, found);
                right.divided(below, found);
            }
        }
    }

    pub fn is_known(&self, known: &[bool]) -> bool {
        match self {
            Formula::Argument(at) => known[*at],
            Formula::Negative(inner)
            | Formula::NotZero(inner)
            | Formula::Sqrt(inner)
            | Formula::Deviation(inner) => inner.is_known(known),
            Formula::Binary(_, left, right) => left.is_known(known) && right.is_known(known),
            Formula::Called(_, parts) => parts.iter().all(|part| part.is_known(known)),
        }
    }
}

/// One argument's values.
pub enum Side {
    Integers(PrimitiveArray<Int64Type>, bool),
    Narrow(PrimitiveArray<Decimal128Type>, u32, bool),
    Wide(PrimitiveArray<Decimal256Type>, u32, bool),
}

impl Side {
    pub fn of(value: &ColumnarValue) -> Result<Side> {
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
    pub fn rows(&self) -> Option<usize> {
        match self {
            Side::Integers(array, single) => (!single).then(|| array.len()),
            Side::Narrow(array, _, single) => (!single).then(|| array.len()),
            Side::Wide(array, _, single) => (!single).then(|| array.len()),
        }
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Side::Integers(array, single) => array.is_null(if *single { 0 } else { row }),
            Side::Narrow(array, _, single) => array.is_null(if *single { 0 } else { row }),
            Side::Wide(array, _, single) => array.is_null(if *single { 0 } else { row }),
        }
    }

    pub fn digits(&self, row: usize) -> Digits {
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
