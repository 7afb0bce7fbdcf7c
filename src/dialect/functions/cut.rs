//! `trunc(x, n)`, `round(x, -n)` and `sign(x)` of numerics, exactly.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, i256};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::convert::over;
use super::digits::too_long;
use super::{only, wrong};

/// A numeric cut to fewer digits after the point, or to whole tens, hundreds and so on.
pub fn trunc(to: i8) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Trunc { to, rounds: false, signature }))
}

/// A numeric rounded to whole tens, hundreds and so on, half away from zero.
pub fn round(to: i8) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Trunc { to, rounds: true, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Trunc {
    to: i8,
    rounds: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Trunc {
    fn name(&self) -> &str {
        "starmill trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match only(types)? {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                let to = self.to.max(0);
                let cut = scale.saturating_sub(to).unsigned_abs();
                // What is rounded may have one digit more.
                let digits = precision.saturating_sub(cut).saturating_add(u8::from(self.rounds));
                Ok(DataType::Decimal128(digits.clamp(1, 38), to))
            }
            _ => Err(wrong("a numeric is cut")),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("one numeric is cut")) };
        let to = args.return_type().clone();
        let DataType::Decimal128(precision, scale) = to else { return Err(wrong("a numeric is cut")) };
        // What is cut off, and what is put back as zeros.
        let by = |from: i8| u32::from(from.saturating_sub(self.to).unsigned_abs());
        let back = u32::from(scale.saturating_sub(self.to).unsigned_abs());
        over(value, |array| {
            let cut: Decimal128Array = match array.data_type() {
                DataType::Decimal128(_, from) => {
                    let (by, array) = (by(*from), array.as_primitive::<Decimal128Type>());
                    array.try_unary(|value| match self.cut_short(value, by, back) {
                        Some(cut) => Ok(cut),
                        None => self.cut(i256::from_i128(value), by, back),
                    })?
                }
                DataType::Decimal256(_, from) => {
                    let (by, array) = (by(*from), array.as_primitive::<Decimal256Type>());
                    array.try_unary(|value| self.cut(value, by, back))?
                }
                _ => return Err(wrong("a numeric is cut")),
            };
            Ok(Arc::new(cut.with_precision_and_scale(precision, scale)?))
        })
    }
}

impl Trunc {
    /// The same where nothing is long, as most is.
    fn cut_short(&self, value: i128, by: u32, back: u32) -> Option<i128> {
        let power = 10_i128.checked_pow(by)?;
        let (mut cut, rest) = (value / power, (value % power).abs());
        if self.rounds && by > 0 && rest >= power - rest {
            cut += if value < 0 { -1 } else { 1 };
        }
        10_i128.checked_pow(back).and_then(|power| cut.checked_mul(power))
    }

    fn cut(&self, value: i256, by: u32, back: u32) -> Result<i128> {
        // Of more digits than it has nothing is left.
        let Some(power) = i256::from_i128(10).checked_pow(by) else { return Ok(0) };
        let mut cut = value.wrapping_div(power);
        let rest = value.wrapping_rem(power).wrapping_abs();
        if self.rounds && by > 0 && rest >= power.wrapping_sub(rest) {
            let away = if value.is_negative() { i256::MINUS_ONE } else { i256::ONE };
            cut = cut.wrapping_add(away);
        }
        let back = i256::from_i128(10).checked_pow(back).and_then(|power| cut.checked_mul(power));
        match back {
            Some(whole) => whole.to_i128().ok_or_else(too_long),
            None if cut == i256::ZERO => Ok(0),
            None => Err(too_long()),
        }
    }
}

/// -1, 0 or 1: a numeric of a numeric, a double of other numbers.
pub fn sign() -> ScalarUDF {
    ScalarUDF::new_from_impl(Sign { signature: Signature::numeric(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sign {
    signature: Signature,
}

impl ScalarUDFImpl for Sign {
    fn name(&self) -> &str {
        "sign"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match only(types)? {
            DataType::Decimal128(..) => DataType::Decimal128(1, 0),
            _ => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("sign takes one number")) };
        over(value, |array| {
            let signs: ArrayRef = match array.data_type() {
                DataType::Decimal128(..) => {
                    let signs: Decimal128Array = array.as_primitive::<Decimal128Type>().unary(i128::signum);
                    Arc::new(signs.with_precision_and_scale(1, 0)?)
                }
                _ => {
                    let doubles = cast(array, &DataType::Float64)?;
                    let sign = |value: f64| {
                        if value == 0.0 || value.is_nan() { value.abs() } else { value.signum() }
                    };
                    let signs: Float64Array = doubles.as_primitive::<Float64Type>().unary(sign);
                    Arc::new(signs)
                }
            };
            Ok(signs)
        })
    }
}
