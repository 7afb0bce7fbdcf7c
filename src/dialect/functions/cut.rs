//! `trunc(x, n)` and `sign(x)` of numerics, exactly.

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

/// A numeric cut to fewer digits after the point.
pub fn trunc(to: i8) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Trunc { to, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Trunc {
    to: i8,
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
                let cut = scale.saturating_sub(self.to).unsigned_abs();
                Ok(DataType::Decimal128(precision.saturating_sub(cut).clamp(1, 38), self.to))
            }
            _ => Err(wrong("a numeric is cut")),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("one numeric is cut")) };
        let to = args.return_type().clone();
        let DataType::Decimal128(precision, scale) = to else { return Err(wrong("a numeric is cut")) };
        let by = |from: i8| u32::from(from.saturating_sub(scale).unsigned_abs());
        over(value, |array| {
            let cut: Decimal128Array = match array.data_type() {
                DataType::Decimal128(_, from) => {
                    let power = 10_i128.pow(by(*from));
                    array.as_primitive::<Decimal128Type>().unary(|value| value / power)
                }
                DataType::Decimal256(_, from) => {
                    let power = i256::from_i128(10).wrapping_pow(by(*from));
                    let cut = |value: i256| value.wrapping_div(power).to_i128().ok_or_else(too_long);
                    array.as_primitive::<Decimal256Type>().try_unary(cut)?
                }
                _ => return Err(wrong("a numeric is cut")),
            };
            Ok(Arc::new(cut.with_precision_and_scale(precision, scale)?))
        })
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
