//! `x::bpchar`: a text whose blanks at the end are nothing when it is compared. It travels without them, so it may be
//! compared and no more; `refuse::kinds` sees to that.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Its name, as the SQL is reworded to.
pub const BPCHAR: &str = "bpchar";

pub fn bpchar() -> ScalarUDF {
    ScalarUDF::new_from_impl(Bpchar { signature: Signature::string(1, Volatility::Immutable) })
}

/// Whether an expression is such a cast.
pub fn is_bpchar(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if function.func.name() == BPCHAR)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bpchar {
    signature: Signature,
}

impl ScalarUDFImpl for Bpchar {
    fn name(&self) -> &str {
        BPCHAR
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bare = |text: &str| text.trim_end_matches(' ').to_owned();
        match args.args.first() {
            Some(ColumnarValue::Scalar(value)) => {
                let text = value.try_as_str().flatten().map(bare);
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text)))
            }
            Some(ColumnarValue::Array(array)) => {
                let texts = arrow::compute::cast(array, &DataType::Utf8)?;
                let bare: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(bare)).collect();
                Ok(ColumnarValue::Array(Arc::new(bare) as ArrayRef))
            }
            None => Err(super::wrong("a cast of nothing")),
        }
    }
}
