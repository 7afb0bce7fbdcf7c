//! `count(DISTINCT text)` beside other aggregates, as two groupings: first by the text too, then without it; and where
//! an aggregate has no second step, as a set of our own. The engine would keep a set of texts for every group, which it
//! neither counts as memory in full nor spills in time.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::functions::distinct::{count_distinct, counts};

#[derive(Debug)]
pub struct TwoGroupings;

/// What the first grouping calls the text.
const TEXT: &str = " distinct text";

impl OptimizerRule for TwoGroupings {
    fn name(&self) -> &str {
        "distinct_text_as_two_groupings"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => match two_groupings(&aggregate)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => in_one_set(aggregate).map(|found| found.update_data(LogicalPlan::Aggregate)),
            },
            plan => Ok(Transformed::no(plan)),
        }
    }
}

/// An aggregate's function and argument, when it is no more than that.
fn plain(expr: &Expr) -> Option<(&Arc<AggregateUDF>, &[Expr], bool)> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return None };
    let AggregateFunctionParams { args, distinct, filter: None, order_by, null_treatment: None } = params
    else {
        return None;
    };
    order_by.is_empty().then_some((func, args.as_slice(), *distinct))
}

/// The same with our own set in the place of the engine's.
fn in_one_set(mut aggregate: Aggregate) -> Result<Transformed<Aggregate>> {
    let input = Arc::clone(aggregate.input.schema());
    let mut changed = false;
    for expr in &mut aggregate.aggr_expr {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &*expr else { continue };
        let AggregateFunctionParams { args, distinct: true, filter, .. } = params else { continue };
        let [text] = args.as_slice() else { continue };
        if func.name() != "count" || !counts(&text.get_type(&input)?) {
            continue;
        }
        let name = expr.schema_name().to_string();
        let own = AggregateFunction::new_udf(
            Arc::new(count_distinct()),
            args.clone(),
            false,
            filter.clone(),
            vec![],
            None,
        );
        *expr = Expr::AggregateFunction(own).alias(name);
        changed = true;
    }
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let made = Aggregate::try_new_with_schema(input, group_expr, aggr_expr, schema)?;
    Ok(if changed { Transformed::yes(made) } else { Transformed::no(made) })
}

/// The same in two steps, where each aggregate has its second step.
fn two_groupings(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Ok(None);
    }
    let Some(calls) = aggregate.aggr_expr.iter().map(plain).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let mut texts = calls.iter().filter(|(_, _, distinct)| *distinct).map(|(func, args, _)| (func, *args));
    let Some((_, [text])) = texts.next() else { return Ok(None) };
    let same = texts.all(|(_, args)| args == std::slice::from_ref(text));
    let counted = calls.iter().all(|(func, _, distinct)| !distinct || func.name() == "count");
    let input = aggregate.input.schema();
    if !same || !counted || !counts(&text.get_type(input)?) || calls.iter().all(|(_, _, distinct)| *distinct)
    {
        return Ok(None);
    }
    let of = |name: String| Expr::Column(Column::new_unqualified(name));
    let mut first_groups: Vec<Expr> = Vec::new();
    let mut groups: Vec<Expr> = Vec::new();
    for (at, group) in aggregate.group_expr.iter().enumerate() {
        let name = format!(" group {at}");
        first_groups.push(group.clone().alias(&name));
        groups.push(of(name));
    }
    first_groups.push(text.clone().alias(TEXT));
    let (mut firsts, mut seconds): (Vec<Expr>, Vec<Expr>) = (Vec::new(), Vec::new());
    for (at, (expr, (func, _, distinct))) in aggregate.aggr_expr.iter().zip(&calls).enumerate() {
        let name = format!(" part {at}");
        let over = |func: Arc<AggregateUDF>, arg: Expr| {
            Expr::AggregateFunction(AggregateFunction::new_udf(func, vec![arg], false, None, vec![], None))
        };
        if *distinct {
            seconds.push(over(Arc::clone(func), of(TEXT.to_owned())).alias(&name));
            continue;
        }
        let exact = !expr.get_type(input)?.is_floating();
        let second = match func.name() {
            "count" => sum_udaf(),
            "min" | "max" => Arc::clone(func),
            "sum" if exact => Arc::clone(func),
            _ => return Ok(None),
        };
        let part = format!(" first {at}");
        firsts.push(expr.clone().alias(&part));
        seconds.push(over(second, of(part)).alias(&name));
    }
    let first = LogicalPlanBuilder::from(Arc::clone(&aggregate.input)).aggregate(first_groups, firsts)?;
    let second = first.aggregate(groups, seconds)?;
    let mut columns = Vec::new();
    for (at, (qualifier, field)) in aggregate.schema.iter().enumerate() {
        let made = Column::from(second.schema().qualified_field(at));
        let call = at.checked_sub(aggregate.group_expr.len()).map(|at| &calls[at]);
        let column = match call {
            // No rows at all are none, and not NULL.
            Some((func, _, _)) if func.name() == "count" => coalesce(vec![Expr::Column(made), lit(0_i64)]),
            _ => Expr::Column(made),
        };
        if column.get_type(second.schema())? != *field.data_type() {
            return Ok(None);
        }
        columns.push(column.alias_qualified(qualifier.cloned(), field.name()));
    }
    second.project(columns)?.build().map(Some)
}
