//! Texts of numerics that may come from several places: each prints as many digits after the point as the place it comes
//! from gives it, so that it is printed there.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, cast};

use super::met::as_written;
use super::rewrite::is_decimal;

/// The values one of which `coalesce(n, 0)` or a CASE of numerics gives, where their digits differ.
pub fn branches<'a>(value: &'a Expr, schema: &DFSchema) -> Option<Vec<&'a Expr>> {
    let all: Vec<&Expr> = match value {
        Expr::ScalarFunction(function) if function.func.name() == "coalesce" => {
            function.args.iter().collect()
        }
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| &**then);
            results.chain(case.else_expr.as_deref()).map(as_written).collect()
        }
        _ => return None,
    };
    let types: Vec<DataType> = all.iter().map(|of| of.get_type(schema).ok()).collect::<Option<_>>()?;
    let exact = |of: &DataType| is_decimal(of) || of.is_integer() || of.is_null();
    let differ = types.windows(2).any(|pair| pair[0] != pair[1]);
    (types.iter().all(exact) && types.iter().any(is_decimal) && differ).then_some(all)
}

/// Such a value as a text: of each branch. None for all else.
pub fn apart(value: &Expr, schema: &DFSchema) -> Option<Expr> {
    let text = |of: &Expr| apart(of, schema).unwrap_or_else(|| cast(of.clone(), DataType::Utf8));
    let mut texts = branches(value, schema)?.into_iter().map(text);
    match value {
        Expr::ScalarFunction(function) => {
            let coalesce = ScalarFunction::new_udf(Arc::clone(&function.func), texts.collect());
            Some(Expr::ScalarFunction(coalesce))
        }
        Expr::Case(case) => {
            let whens = case.when_then_expr.iter().map(|(when, _)| when.clone());
            let when_then_expr =
                whens.zip(texts.by_ref()).map(|(when, then)| (when, Box::new(then))).collect();
            let else_expr = texts.next().map(Box::new);
            Some(Expr::Case(Case { expr: case.expr.clone(), when_then_expr, else_expr }))
        }
        _ => None,
    }
}
