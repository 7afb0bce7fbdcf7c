//! `x::numeric` without digits: in Postgres the value as it is. Integers and numerics stay what they are; of others it
//! is not known here how many digits they have, so the query must say it.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};

use super::wrong;

/// Digits that every reader of Parquet holds.
pub const PUBLISHED: u8 = 38;

/// Its name, as the SQL is reworded to.
pub const NUMERIC: &str = "starmill any numeric";

pub fn numeric() -> ScalarUDF {
    ScalarUDF::new_from_impl(Numeric { signature: Signature::any(1, Volatility::Immutable) })
}

/// What the cast of a value is. None where its digits are not known.
pub fn exact(value: &Expr, of: &DataType) -> Option<Expr> {
    let digits = match of {
        DataType::Decimal128(..) | DataType::Decimal256(..) => return Some(value.clone()),
        DataType::Null => PUBLISHED,
        of => match digits_of(of) {
            Some(digits) => digits,
            None => return literal(value),
        },
    };
    Some(cast(value.clone(), DataType::Decimal128(digits, 0)))
}

/// How many digits an integer may have.
pub fn digits_of(integer: &DataType) -> Option<u8> {
    match integer {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Some(5),
        DataType::Int32 | DataType::UInt16 => Some(10),
        DataType::Int64 | DataType::UInt32 => Some(19),
        DataType::UInt64 => Some(20),
        _ => None,
    }
}

/// `'1.50'::numeric` has the digits that are written.
fn literal(value: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = value else { return None };
    let text = text.trim();
    let (whole, after) = text.split_once('.').unwrap_or((text, ""));
    let digits: i128 = format!("{whole}{after}").parse().ok()?;
    let plain = after.bytes().all(|byte| byte.is_ascii_digit()) && whole.len() + after.len() <= 37;
    let scale = i8::try_from(after.len()).ok()?;
    let precision = u8::try_from(digits.unsigned_abs().checked_ilog10().unwrap_or(0) + 1).ok()?;
    let precision = precision.max(scale.unsigned_abs()).max(1);
    plain.then(|| Expr::Literal(ScalarValue::Decimal128(Some(digits), precision, scale), metadata.clone()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Numeric {
    signature: Signature,
}

impl ScalarUDFImpl for Numeric {
    fn name(&self) -> &str {
        NUMERIC
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(38, 10))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(wrong("a cast to numeric without digits: CAST(x AS numeric(20,6))"))
    }
}
