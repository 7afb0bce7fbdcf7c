//! Numbers: an integer or numeric out of range and a double that becomes infinite are errors, as in
//! Postgres, where the engine wraps or goes on with infinity.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::{only, wrong};

/// The engine's functions that may give infinity or NaN where Postgres raises.
pub const MAY_BE_INFINITE: [&str; 22] = [
    "ln",
    "log",
    "log2",
    "log10",
    "exp",
    "power",
    "pow",
    "sqrt",
    "cbrt",
    "acos",
    "asin",
    "acosh",
    "atanh",
    "sinh",
    "cosh",
    "cot",
    "tan",
    "degrees",
    "radians",
    "factorial",
    "nanvl",
    "atan2",
];

/// `+`, `-`, `*`, `/` and `%` of two numbers whose types the engine has settled.
pub fn checked(op: Operator) -> Arc<ScalarUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Checked { op, name: format!("starmill {op}"), signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => BinaryTypeCoercer::new(left, &self.op, right).get_result_type(),
            _ => Err(wrong("an operator has two sides")),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return Err(wrong("an operator has two sides")) };
        let floating = left.data_type().is_floating();
        if floating && self.op == Operator::Divide {
            no_zero(right, left)?;
        }
        let kernel = match self.op {
            Operator::Plus => numeric::add,
            Operator::Minus => numeric::sub,
            Operator::Multiply => numeric::mul,
            Operator::Divide => numeric::div,
            _ => numeric::rem,
        };
        let result = apply(left, right, kernel).map_err(|error| match error.find_root() {
            datafusion::common::DataFusionError::ArrowError(arrow, _) => named(arrow, &left.data_type()),
            _ => error,
        })?;
        if floating {
            require_finite(&result, [left, right].into_iter(), &self.op.to_string())?;
        }
        Ok(result)
    }
}

/// The engine's words for what went out of range, in Postgres's.
fn named(error: &ArrowError, data_type: &DataType) -> datafusion::common::DataFusionError {
    match error {
        ArrowError::DivideByZero => wrong("division by zero"),
        ArrowError::ArithmeticOverflow(what) => {
            wrong(format!("{} out of range: {what}", postgres_name(data_type)))
        }
        other => wrong(other),
    }
}

/// What Postgres calls a type of numbers.
pub fn postgres_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 => "smallint",
        DataType::Int32 | DataType::UInt32 => "integer",
        DataType::Int64 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        _ => "numeric",
    }
}

/// Postgres raises when any number, infinity apart from NaN too, is divided by zero.
fn no_zero(divisor: &ColumnarValue, dividend: &ColumnarValue) -> Result<()> {
    let zero = |at: &dyn Array, row: usize| match at.data_type() {
        DataType::Float32 => at.as_primitive::<Float32Type>().value(row) == 0.0,
        DataType::Float64 => at.as_primitive::<Float64Type>().value(row) == 0.0,
        _ => false,
    };
    let sides = [divisor, dividend];
    let rows = sides.iter().filter_map(|side| match side {
        ColumnarValue::Array(array) => Some(array.len()),
        ColumnarValue::Scalar(_) => None,
    });
    let rows = rows.max().unwrap_or(1);
    let single = |side: &ColumnarValue| match side {
        ColumnarValue::Array(array) => Ok((Arc::clone(array), false)),
        ColumnarValue::Scalar(scalar) => scalar.to_array_of_size(1).map(|array| (array, true)),
    };
    let ((divisor, one), (dividend, other)) = (single(divisor)?, single(dividend)?);
    if one && divisor.is_valid(0) && !zero(&divisor, 0) {
        return Ok(());
    }
    let at = |row: usize, single: bool| if single { 0 } else { row };
    let raised = (0..rows).any(|row| {
        let (below, above) = (at(row, one), at(row, other));
        divisor.is_valid(below) && dividend.is_valid(above) && zero(&divisor, below)
    });
    if raised { Err(wrong("division by zero")) } else { Ok(()) }
}

/// A result that is infinite or no number, though no operand was.
fn require_finite<'a>(
    result: &ColumnarValue,
    operands: impl Iterator<Item = &'a ColumnarValue>,
    what: &str,
) -> Result<()> {
    let results = result.to_array_of_rows()?;
    let odd = odd_rows(&results);
    if odd.is_empty() {
        return Ok(());
    }
    let mut innocent = odd;
    for operand in operands {
        let array = match operand {
            ColumnarValue::Array(array) => Arc::clone(array),
            ColumnarValue::Scalar(scalar) => scalar.to_array_of_size(results.len())?,
        };
        let were = odd_rows(&array);
        innocent.retain(|row| !were.contains(row));
    }
    match innocent.first() {
        None => Ok(()),
        Some(row) => {
            let value = ScalarValue::try_from_array(&results, *row)?;
            let how = if value.to_string() == "NaN" { "no number" } else { "out of range: overflow" };
            Err(wrong(format!("{} {how} ({what} gives {value})", postgres_name(results.data_type()))))
        }
    }
}

trait Rows {
    fn to_array_of_rows(&self) -> Result<ArrayRef>;
}

impl Rows for ColumnarValue {
    fn to_array_of_rows(&self) -> Result<ArrayRef> {
        match self {
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
            ColumnarValue::Scalar(scalar) => scalar.to_array_of_size(1),
        }
    }
}

fn odd_rows(array: &ArrayRef) -> Vec<usize> {
    let nulls = array.nulls();
    let valid = |row: &usize| nulls.is_none_or(|nulls| nulls.is_valid(*row));
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            if values.iter().all(|value| value.is_finite()) {
                return Vec::new();
            }
            (0..values.len()).filter(|row| !values[*row].is_finite()).filter(valid).collect()
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            (0..values.len()).filter(|row| !values[*row].is_finite()).filter(valid).collect()
        }
        _ => Vec::new(),
    }
}

/// `-x`, which the engine wraps at the smallest integer.
pub fn negative() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Negative { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Negative {
    signature: Signature,
}

impl ScalarUDFImpl for Negative {
    fn name(&self) -> &str {
        "starmill negative"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        only(types).cloned()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("- has one operand")) };
        let data_type = value.data_type();
        match value {
            ColumnarValue::Array(array) => {
                let negated = numeric::neg(array).map_err(|error| named(&error, &data_type))?;
                Ok(ColumnarValue::Array(negated))
            }
            ColumnarValue::Scalar(scalar) => {
                let negated =
                    numeric::neg(&scalar.to_array_of_size(1)?).map_err(|error| named(&error, &data_type))?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?))
            }
        }
    }
}

/// One of the engine's functions, held to finite results.
pub fn finite(inner: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let name = format!("starmill {}", inner.name());
    Arc::new(ScalarUDF::new_from_impl(Finite { inner: Arc::clone(inner), name }))
}

/// A function of the engine's under its own name, of whose order nothing is said: it asks for the range of what it is given,
/// which functions of ours do not tell.
pub fn unordered(inner: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Finite { inner: Arc::clone(inner), name: inner.name().to_owned() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Finite {
    inner: Arc<ScalarUDF>,
    name: String,
}

impl ScalarUDFImpl for Finite {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operands = args.args.clone();
        let result = self.inner.invoke_with_args(args)?;
        require_finite(&result, operands.iter(), self.inner.name())?;
        Ok(result)
    }
}

/// `round` of a double: to the even neighbour when both are as near.
pub fn round_double() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(RoundDouble { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundDouble {
    signature: Signature,
}

impl ScalarUDFImpl for RoundDouble {
    fn name(&self) -> &str {
        "starmill round"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        only(types).cloned()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("round has one argument here")) };
        let rounded = |array: &ArrayRef| -> ArrayRef {
            match array.data_type() {
                DataType::Float32 => Arc::new(
                    array.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even),
                ),
                _ => {
                    let doubles: &Float64Array = array.as_primitive::<Float64Type>();
                    Arc::new(doubles.unary::<_, Float64Type>(f64::round_ties_even))
                }
            }
        };
        match value {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(rounded(array))),
            ColumnarValue::Scalar(scalar) => {
                let array = rounded(&scalar.to_array_of_size(1)?);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }
}
