//! `coalesce`, `greatest`, `least` and `nullif` of the engine, among whose arguments a quoted literal takes the others'
//! type: `coalesce(day, '9999-12-31')`. Whether a text that is none meets something else is asked before.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions::core;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub fn all() -> Vec<ScalarUDF> {
    [core::coalesce(), core::greatest(), core::least(), core::nullif()]
        .map(|engine| {
            let signature = Signature::user_defined(Volatility::Immutable);
            ScalarUDF::new_from_impl(Meeting { engine, signature })
        })
        .into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Meeting {
    engine: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Meeting {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::Null);
        let other = types.iter().find(|of| !text(of));
        match other {
            Some(other) if types.contains(&DataType::Utf8) => {
                let typed: Vec<DataType> =
                    types.iter().map(|of| if text(of) { other.clone() } else { of.clone() }).collect();
                self.met(&typed)
            }
            _ => self.met(types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.engine.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.engine.simplify(args, context)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.engine.invoke_with_args(args)
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.engine.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.engine.short_circuits()
    }
}

impl Meeting {
    /// The types that the engine makes of the arguments', whichever way its function says them.
    fn met(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let fields: Vec<FieldRef> = types
            .iter()
            .map(|of| Arc::new(arrow::datatypes::Field::new("argument", of.clone(), true)) as FieldRef)
            .collect();
        let met = datafusion::logical_expr::type_coercion::functions::fields_with_udf(
            &fields,
            self.engine.as_ref(),
        )?;
        Ok(met.iter().map(|field| field.data_type().clone()).collect())
    }
}
