//! Rewrites a plan's expressions to those that answer as Postgres does.
//!
//! Two rules: one before the engine settles the types, for operations whose result has another type in
//! Postgres; one after it, where operands have their final types and implicit casts are written out.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF, cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::average::Above;
use super::functions::json::build;
use super::functions::{interval_sums, print};
use super::refuse::kinds;
use super::{average, enums, exactness, meaning, multisets, unions};

/// What runs before the types are settled.
#[derive(Debug)]
pub struct Meaning;

/// What runs after it.
#[derive(Debug)]
pub struct Exactness;

impl AnalyzerRule for Meaning {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        over_expressions(plan, &average::as_one, &meaning::meaning, &|node| {
            let sorted = by_length(enums::sorted_node(node))?;
            enums::kept(multisets::counted(unions::as_one_type(average::as_quotients(sorted)?)?)?)
        })
    }

    fn name(&self) -> &str {
        "postgres_meaning"
    }
}

impl AnalyzerRule for Exactness {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        over_expressions(plan, &|node| Ok((node, None)), &exactness::exactness, &Ok)
    }

    fn name(&self) -> &str {
        "postgres_exactness"
    }
}

/// Intervals in an ORDER BY by their lengths.
fn by_length(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Sort(mut sort) = node else { return Ok(node) };
    let schema = Arc::clone(sort.input.schema());
    for key in &mut sort.expr {
        if let Ok(of) = key.expr.get_type(&schema) {
            *key = interval_sums::sorted(key.clone(), &of);
        }
    }
    Ok(LogicalPlan::Sort(sort))
}

/// What a query gives, in types that a table can have: intervals as their texts, and a NULL of no type as a text.
pub fn publishable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let fields = plan.schema().iter();
    let columns = fields.map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match field.data_type() {
            // What is published is a text, in the star's own order.
            _ if kinds::enum_of(&column, plan.schema()).is_some() => {
                build::as_text(column).alias_qualified(qualifier.cloned(), field.name())
            }
            of if is_interval(of) => print::text(column).alias_qualified(qualifier.cloned(), field.name()),
            DataType::Null => cast(column, DataType::Utf8).alias_qualified(qualifier.cloned(), field.name()),
            _ => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    match columns.iter().all(|column| matches!(column, Expr::Column(_))) {
        true => Ok(plan),
        false => LogicalPlanBuilder::from(plan).project(columns)?.build(),
    }
}

type Rewrite<'a> = &'a dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

/// Rewrites every expression of a plan and of its subqueries, bottom up; names stay as they were.
fn over_expressions(
    plan: LogicalPlan,
    begin: &dyn Fn(LogicalPlan) -> Result<(LogicalPlan, Option<Above>)>,
    rewrite: Rewrite,
    finish: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let (node, above) = begin(node)?;
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema
                .merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        let names = NamePreserver::new(&node);
        let mut named = |expr: Expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        };
        node.map_expressions(|expr| match expr {
            // Each of its parts is a column of what is grouped.
            Expr::GroupingSet(set) => Expr::GroupingSet(set).map_children(&mut named),
            expr => named(expr),
        })?
        .map_data(LogicalPlan::recompute_schema)?
        .map_data(finish)?
        .map_data(|node| match above {
            Some(above) => above.of(node),
            None => Ok(node),
        })
    })?;
    Ok(rewritten.data)
}

pub(super) fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Transformed<Expr> {
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

pub fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

pub fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    )
}

pub fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

pub(super) fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}
