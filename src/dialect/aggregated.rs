//! Aggregates that give json, said as arrays of what they put together.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Spanned as _,
};

use super::functions::json::build::{ARRAY, ARRAY_B, ELEMENT, MEMBER, OBJECT, OBJECT_B, OBJECT_ONCE};
use super::reword::{call, sorted_by};
use super::sets::plain;
use super::words::folded;

/// `jsonb_agg(x ORDER BY y)` and its kin.
pub fn as_arrays(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return };
    let (whole, part, arguments) = match folded(name).as_str() {
        "json_agg" => (ARRAY, ELEMENT, 1),
        "jsonb_agg" => (ARRAY_B, ELEMENT, 1),
        "json_object_agg" => (OBJECT, MEMBER, 2),
        "jsonb_object_agg" => (OBJECT_B, MEMBER, 2),
        _ => return,
    };
    let span = expr.span();
    let Expr::Function(function) = expr else { return };
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(args) = plain(&list.args).filter(|args| args.len() == arguments) else { return };
    if list.duplicate_treatment.is_some() {
        return;
    }
    let part = call(part, span, &args.iter().collect::<Vec<_>>());
    let ordered = list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
    let whole = match whole {
        // Its members have no order, but by their keys.
        OBJECT_B if !ordered => {
            list.clauses.push(sorted_by(part.clone()));
            OBJECT_ONCE
        }
        whole => whole,
    };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(part))];
    let array = Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_span(span, "array_agg"))]),
        ..function.clone()
    };
    *expr = call(whole, span, &[&Expr::Function(array)]);
}
