//! The branches of a UNION made one type, where Postgres takes another than the engine: a numeric among doubles is a
//! double, a day or a local time among instants is an instant.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, cast};

use super::rewrite::is_decimal;

/// A UNION whose branches have the types that Postgres gives them; other steps as they are.
pub fn as_one_type(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Union(union) = node else { return Ok(node) };
    let width = union.schema.fields().len();
    let wanted: Vec<Option<DataType>> = (0..width).map(|column| met(&union, column)).collect();
    if wanted.iter().all(Option::is_none) {
        return Ok(LogicalPlan::Union(union));
    }
    let inputs = union.inputs.into_iter().map(|input| made(input, &wanted)).collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

/// The type that Postgres makes of a column's types, where the engine makes another.
fn met(union: &Union, column: usize) -> Option<DataType> {
    let all: Vec<DataType> = union.inputs.iter().flat_map(|input| types_of(input, column)).collect();
    let types = || all.iter();
    let instant = types().find(|of| matches!(of, DataType::Timestamp(_, Some(_))));
    if let Some(instant) = instant
        && types().any(|of| matches!(of, DataType::Date32 | DataType::Timestamp(_, None)))
    {
        return Some(instant.clone());
    }
    let floating = types().filter(|of| of.is_floating()).max_by_key(|of| **of == DataType::Float64)?;
    types().any(is_decimal).then(|| floating.clone())
}

/// The types of a column in all branches, also of those that are a UNION themselves.
fn types_of(plan: &LogicalPlan, column: usize) -> Vec<DataType> {
    match plan {
        LogicalPlan::Union(union) => union.inputs.iter().flat_map(|input| types_of(input, column)).collect(),
        LogicalPlan::Distinct(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().flat_map(|input| types_of(input, column)).collect()
        }
        LogicalPlan::Projection(projection) => {
            let through = match projection.expr.get(column).cloned().map(Expr::unalias) {
                Some(Expr::Column(column)) => projection.input.schema().maybe_index_of_column(&column),
                _ => None,
            };
            match through {
                Some(at) => types_of(&projection.input, at),
                None => own(plan, column),
            }
        }
        other => own(other, column),
    }
}

fn own(plan: &LogicalPlan, column: usize) -> Vec<DataType> {
    plan.schema().fields().get(column).map(|field| field.data_type().clone()).into_iter().collect()
}

fn made(input: Arc<LogicalPlan>, wanted: &[Option<DataType>]) -> Result<Arc<LogicalPlan>> {
    let fields = input.schema().iter().zip(wanted);
    let columns: Vec<Expr> = fields
        .map(|((qualifier, field), wanted)| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            match wanted {
                Some(wanted) if field.data_type() != wanted => {
                    cast(column, wanted.clone()).alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            }
        })
        .collect();
    Ok(Arc::new(LogicalPlanBuilder::from(LogicalPlan::clone(&input)).project(columns)?.build()?))
}
