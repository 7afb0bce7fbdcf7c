//! The branches of a UNION made one type, where Postgres takes another than the engine: a numeric among doubles is a
//! double, a day or a local time among instants is an instant.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, cast};

use super::functions::convert;
use super::met::common;
use super::refuse::kinds;
use super::rewrite::{call, is_decimal};

/// A UNION whose branches have the types that Postgres gives them; other steps as they are.
pub fn as_one_type(node: LogicalPlan) -> Result<LogicalPlan> {
    let union = match node {
        LogicalPlan::Union(union) => union,
        LogicalPlan::Values(values) => {
            let scales = (0..values.schema.fields().len()).map(|column| {
                let all: BTreeSet<i8> =
                    values.values.iter().filter_map(|row| written_scale(row.get(column)?)).collect();
                all.len() > 1
            });
            let mixed = scales.collect();
            return undeclared(LogicalPlan::Values(values), mixed);
        }
        node => return Ok(node),
    };
    let scales = (0..union.schema.fields().len()).map(|column| {
        let types = union.inputs.iter().flat_map(|input| types_of(input, column));
        types.filter_map(|of| scale_of(&of)).collect::<BTreeSet<i8>>().len() > 1
    });
    let mixed: Vec<bool> = scales.collect();
    undeclared(of_one_type(union)?, mixed)
}

fn of_one_type(union: Union) -> Result<LogicalPlan> {
    let width = union.schema.fields().len();
    let wanted: Vec<Option<DataType>> = (0..width).map(|column| met(&union, column)).collect();
    if wanted.iter().all(Option::is_none) {
        // What was said of a column before its branches were rewritten may hold no more: an enum became its text.
        let said = |field: usize| union.inputs.first().map(|input| input.schema().field(field).metadata());
        let same = (0..width).all(|field| said(field) == Some(union.schema.field(field).metadata()));
        return Ok(LogicalPlan::Union(match same {
            true => union,
            false => Union::try_new_with_loose_types(union.inputs)?,
        }));
    }
    let inputs = union.inputs.into_iter().map(|input| made(input, &wanted)).collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

fn scale_of(of: &DataType) -> Option<i8> {
    match of {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
        of if of.is_integer() => Some(0),
        _ => None,
    }
}

/// The digits after the point of a value as it is written.
fn written_scale(value: &Expr) -> Option<i8> {
    match value {
        Expr::Literal(value, _) if value.is_null() => None,
        Expr::Literal(value, _) => scale_of(&value.data_type()),
        Expr::Cast(of) => written_scale(&of.expr),
        Expr::Negative(inner) => written_scale(inner),
        _ => None,
    }
}

/// Numerics of several scales in one column: each value shows its own digits in Postgres.
fn undeclared(node: LogicalPlan, mixed: Vec<bool>) -> Result<LogicalPlan> {
    let is_numeric = |field: &Field| is_decimal(field.data_type());
    if !node.schema().fields().iter().zip(&mixed).any(|(field, mixed)| *mixed && is_numeric(field)) {
        return Ok(node);
    }
    let fields = node.schema().iter().zip(mixed);
    let columns = fields.map(|((qualifier, field), mixed)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        if !mixed || !is_numeric(field) {
            return column;
        }
        let marked = kinds::undeclared(Field::clone(field), "numeric");
        let metadata = FieldMetadata::from(marked.metadata());
        column.alias_qualified_with_metadata(qualifier.cloned(), field.name(), Some(metadata))
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(node).project(columns)?.build()
}

/// NULLs of no type in some branch have that of the others, for whoever asks before the types are settled.
pub fn with_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_untyped =
        |input: &Arc<LogicalPlan>| input.schema().fields().iter().any(|field| field.data_type().is_null());
    let untyped =
        |node: &LogicalPlan| matches!(node, LogicalPlan::Union(of) if of.inputs.iter().any(is_untyped));
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= untyped(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(plan);
    }
    let typed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Union(union) => {
            let wanted: Vec<Option<DataType>> =
                (0..union.schema.fields().len()).map(|column| met(&union, column)).collect();
            // What else they are made is made once the query is known to be one that is answered.
            let typed = |input: Arc<LogicalPlan>| {
                let own = input.schema().fields().iter().zip(&wanted);
                let own = own.map(|(field, wanted)| wanted.clone().filter(|_| field.data_type().is_null()));
                let own: Vec<Option<DataType>> = own.collect();
                made(input, &own)
            };
            let inputs = union.inputs.into_iter().map(typed).collect::<Result<Vec<_>>>()?;
            Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
        }
        node => Ok(Transformed::yes(node.recompute_schema()?)),
    })?;
    Ok(typed.data)
}

/// The type that Postgres makes of a column's types, where the engine makes another.
fn met(union: &Union, column: usize) -> Option<DataType> {
    let all: Vec<DataType> = union.inputs.iter().flat_map(|input| types_of(input, column)).collect();
    let types = || all.iter().filter(|of| !of.is_null());
    // Where all are NULL, it is a text, and does not become something else in a further branch.
    let Some(first) = types().next() else { return all.first().map(|_| DataType::Utf8) };
    let instant = types().find(|of| matches!(of, DataType::Timestamp(_, Some(_))));
    if let Some(instant) = instant
        && types().any(|of| matches!(of, DataType::Date32 | DataType::Timestamp(_, None)))
    {
        return Some(instant.clone());
    }
    let floating = types().filter(|of| of.is_floating()).max_by_key(|of| **of == DataType::Float64);
    match floating {
        Some(floating) if types().any(is_decimal) => Some(floating.clone()),
        _ => common(&all).or_else(|| {
            let one = types().all(|of| of == first);
            (one && all.iter().any(DataType::is_null)).then(|| first.clone())
        }),
    }
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
                // What is said of a numeric's digits goes with a cast, and holds of no double.
                Some(wanted) if wanted.is_floating() && is_decimal(field.data_type()) => {
                    let double = call(convert::to_double(wanted), vec![column]).data;
                    double.alias_qualified(qualifier.cloned(), field.name())
                }
                Some(wanted) if field.data_type() != wanted => {
                    cast(column, wanted.clone()).alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            }
        })
        .collect();
    Ok(Arc::new(LogicalPlanBuilder::from(LogicalPlan::clone(&input)).project(columns)?.build()?))
}
